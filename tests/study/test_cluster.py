"""Ray as the engine: what a killed node had is made again elsewhere, and the study is as if nothing had happened."""

import os
import time
from pathlib import Path
from threading import Thread

import pytest

from goal_analysis.api.objectives import text_of, value_of
from goal_analysis.study.driver import Driver
from goal_analysis.study.engine import Job, LocalProcesses
from goal_analysis.study.search import Setting, storage
from goal_analysis.study.tuning import TABLE, TEXT, TRIALS, run_study, tuning_of
from goal_analysis.vse.folder.run_folder import RESULT
from goal_analysis.vse.loop.experiment import read_experiment

ray = pytest.importorskip("ray", reason="ray, which the extra `cluster` installs, is not here")
pytestmark = pytest.mark.filterwarnings("ignore")

SETTINGS = ("training.epochs=3", "training.batch_size=20", "model.image.dim=8", "training.checkpoint_steps=2")
OBJECTIVES = ("info_nce(tau=12)", "vse_pp")


@pytest.fixture(scope="module")
def data(folder_of_words) -> Path:
    return folder_of_words(200)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch):
    """A head without room, and two nodes with room for a run each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    found = [cluster.add_node(num_cpus=1) for _ in range(2)]
    yield cluster, found
    cluster.shutdown()


def study(folder: Path, data: Path, engine) -> None:
    base = read_experiment("bag_of_words", str(data), assignments=SETTINGS)
    with Driver(folder, engine) as driver:
        setting = Setting(folder, storage(driver), base, {base.data_name: base.data}, text_of, value_of)
        run_study(driver, [tuning_of(name, value_of(name), setting, 1) for name in OBJECTIVES], 1)


def test_a_node_that_is_killed_changes_no_number_and_loses_nothing(tmp_path: Path, data: Path, nodes) -> None:
    from goal_analysis.study.cluster import RayCluster

    cluster, (one, _) = nodes
    study(tmp_path / "whole", data, LocalProcesses())
    parted = tmp_path / "parted"

    def kill() -> None:
        while not list(parted.rglob(RESULT)):
            time.sleep(0.05)
        cluster.remove_node(one, allow_graceful=False)

    killer = Thread(target=kill)
    killer.start()
    engine = RayCluster(cluster.address)
    assert engine.places == 2
    study(parted, data, engine)
    killer.join()
    for name in (TABLE, TRIALS, TEXT):
        assert (parted / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    logs = [path.read_text().splitlines() for path in parted.rglob("output.log")]
    assert len(logs) == 2 * len(OBJECTIVES)
    assert all(len([line for line in lines if line.startswith("epoch 3/3")]) == 1 for lines in logs)


def test_jobs_of_a_cluster_end_and_are_cancelled(tmp_path: Path, nodes) -> None:
    from goal_analysis.study.cluster import RayCluster

    code = tmp_path / "long.py"
    code.write_text("import os, time\nprint(os.getcwd(), flush=True)\ntime.sleep(100)\n")
    long = Job("long", tmp_path / "long", ("--extension", str(code), "list"))
    bad = Job("bad", tmp_path / "bad", ("export", "nonsense/linear"))
    engine = RayCluster(nodes[0].address)
    try:
        for job in (long, bad):
            job.folder.mkdir()
            engine.submit(job)
        found: dict[Job, str] = {}
        while bad not in found or not long.log.exists() or not long.log.read_text():
            found |= engine.wait(0.1)
        assert found == {bad: "ended with 2"}
        assert "nonsense" in bad.log.read_text()
        assert long.log.read_text().strip() == os.getcwd()
        engine.cancel(long)
        while long not in found:
            found |= engine.wait(0.1)
        assert not long.done
    finally:
        engine.close()
