"""A study of 24 runs on a cluster of which a node is killed in the middle, beside the same study on one machine.

    python benchmarks/killed_node.py [--write]

The cluster is Ray's: a head without room for runs and two nodes with room for one each, all on this machine, by Ray's
own cluster utilities. All processes of one node are killed when a third of the runs is done and both nodes are in the
middle of one. ``--write`` puts the table into ``benchmarks/results/killed-node.md``; where a table of the study is not
the same byte for byte, a run is lost or one was made twice to its end, this ends with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from goal_analysis.files import write_whole

TABLES = ("comparison.csv", "trials.csv", "comparison.md")
DECLARED, LOG, RESULT = "experiment.json", "log.jsonl", "result.json"
OBJECTIVES = ("info_nce(tau=12)", "vse_pp", "circle(gamma=32, anchors=both)", "sup_con(scale=12, anchors=both)")
SETTINGS = ("training.batch_size=20", "training.checkpoint_steps=2", "model.image.dim=8")
MADE = Path(__file__).parent / "results" / "killed-node.md"


@dataclass(frozen=True)
class Size:
    """How large the study is: ``trials`` of each objective, and ``seeds``, of so many epochs each."""

    objectives: tuple[str, ...] = OBJECTIVES
    trials: int = 2
    seeds: int = 4
    epochs: int = 8

    @property
    def runs(self) -> int:
        """All runs of the study."""
        return len(self.objectives) * (self.trials + self.seeds)


@dataclass(frozen=True)
class Moment:
    """When the node was killed.

    Args:
        done: the results that there were, with the times of their writing.
        within: the epochs of every run that had begun and not ended.
    """

    done: dict[Path, int]
    within: dict[Path, int]


def make_data(where: Path) -> Path:
    """Features of noise with five captions an image, as files."""
    where.mkdir(parents=True)
    for split, images, seed in (("train", 200, 1), ("dev", 12, 2)):
        rng = np.random.default_rng(seed)
        features = rng.random((images, 12), np.float32)
        captions = [f"a {'red' if row[k] < 0.5 else 'blue'} dog {k}" for row in features for k in range(5)]
        np.save(where / f"{split}_ims.npy", features)
        (where / f"{split}_caps.txt").write_text("\n".join(captions) + "\n")
        (where / f"{split}_ids.txt").write_text("\n".join(map(str, range(images))) + "\n")
    return where


def study(folder: Path, data: Path, engine: Any, size: Size) -> None:
    """The study, in a folder, by an engine; what it takes is imported here, for runs import this file too."""
    from goal_analysis.api.objectives import text_of, value_of
    from goal_analysis.study.driver import Driver
    from goal_analysis.study.search import Setting, storage
    from goal_analysis.study.tuning import run_study, tuning_of
    from goal_analysis.vse.loop.experiment import read_experiment

    base = read_experiment("bag_of_words", str(data), assignments=(*SETTINGS, f"training.epochs={size.epochs}"))
    with Driver(folder, engine) as driver:
        setting = Setting(folder, storage(driver), base, {base.data_name: base.data}, text_of, value_of)
        searches = [tuning_of(name, value_of(name), setting, size.trials) for name in size.objectives]
        run_study(driver, searches, size.seeds)


def epochs_of(run: Path) -> list[int]:
    """The epochs in the log of a run, as far as it is written."""
    lines = (run / LOG).read_text().splitlines()
    records = [json.loads(line) for line in lines if line.endswith("}")]
    return [record["epoch"] for record in records if record["kind"] == "epoch"]


def runs_of(folder: Path) -> list[Path]:
    """The folders of all runs of a study that were declared."""
    return sorted(path.parent for path in folder.rglob(DECLARED))


def without_a_node(folder: Path, data: Path, size: Size) -> Moment:
    """The study on a cluster of which a node is killed when a third of the runs is done and each node has one."""
    from ray.cluster_utils import Cluster

    from goal_analysis.study.cluster import RayCluster

    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    moments: list[Moment] = []

    def kill() -> None:
        while not moments:
            time.sleep(0.1)
            with suppress(FileNotFoundError):  # an old checkpoint was just removed
                look()

    def look() -> None:
        done = {path: path.stat().st_mtime_ns for path in folder.rglob(RESULT)}
        begun = [run for run in runs_of(folder) if not (run / RESULT).exists()]
        within = {run: len(epochs_of(run)) for run in begun if (run / LOG).exists()}
        if len(done) >= size.runs // 3 and sum(map(bool, within.values())) == len(nodes):
            cluster.remove_node(nodes[0], allow_graceful=False)
            moments.append(Moment(done, within))

    killer = Thread(target=kill, daemon=True)
    killer.start()
    try:
        study(folder, data, RayCluster(cluster.address), size)
    finally:
        cluster.shutdown()
    killer.join(1)
    if not moments:
        raise RuntimeError("got a study that ended before a node was killed but expected longer runs")
    return moments[0]


def went_on(run: Path) -> bool:
    """Whether what a run has printed begins after its first epoch: its first process had ended."""
    return "epoch 1/" not in (run / "output.log").read_text()


def compared(whole: Path, parted: Path, moment: Moment, size: Size) -> dict[str, tuple[Any, Any]]:
    """What was found, and what was expected."""
    runs = runs_of(parted)
    ended = {path: path.stat().st_mtime_ns for path in parted.rglob(RESULT)}
    epochs = {run: epochs_of(run) for run in runs}
    found: dict[str, tuple[Any, Any]] = {
        "runs": (len(runs), size.runs),
        "runs with a result": (len(ended), size.runs),
        "runs with every epoch once": (sum(e == [*range(1, len(e) + 1)] for e in epochs.values()), size.runs),
        "runs done before, made again": (sum(ended.get(path) != when for path, when in moment.done.items()), 0),
        "runs that went on elsewhere": (sum(went_on(run) for run in moment.within), 1),
    }
    for name in TABLES:
        found[f"`{name}`, bytes that differ"] = (
            sum(a != b for a, b in zip((whole / name).read_bytes(), (parted / name).read_bytes(), strict=False))
            + abs((whole / name).stat().st_size - (parted / name).stat().st_size),
            0,
        )
    logs = [(run / LOG).read_bytes() == (whole / run.relative_to(parted) / LOG).read_bytes() for run in runs]
    return found | {"logs of runs that are the same, byte for byte": (sum(logs), size.runs)}


def main() -> None:
    """Make both studies, print the table, and end with 1 if anything is not as expected."""
    from goal_analysis.study.engine import LocalProcesses

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    given, size = parser.parse_args(), Size()
    with tempfile.TemporaryDirectory() as place:
        data = make_data(Path(place) / "data")
        study(Path(place) / "whole", data, LocalProcesses(), size)
        moment = without_a_node(Path(place) / "parted", data, size)
        found = compared(Path(place) / "whole", Path(place) / "parted", moment, size)
    rows = "\n".join(f"| {what} | {is_} | {expected} |" for what, (is_, expected) in found.items())
    text = (
        f"# A killed node\n\nA study of {size.runs} runs, {len(size.objectives)} objectives with {size.trials} trials "
        f"and {size.seeds} seeds each, on a head and two nodes of Ray on one machine, by `python "
        f"benchmarks/killed_node.py`. One node was killed when {len(moment.done)} runs were done and each node was in "
        "the middle of one. The expected numbers are of the same study by the local engine, without a loss.\n\n"
        f"| | with a killed node | expected |\n|---|---|---|\n{rows}\n"
    )
    print(text)
    right = all(is_ == expected for is_, expected in found.values())
    if given.write and right:
        write_whole(MADE, text)
        print(f"written to {MADE}")
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
