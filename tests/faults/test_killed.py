"""SIGKILL at chosen moments: nothing is half-written, and the same call ends as if nothing had happened."""

import json
import os
import signal
from pathlib import Path

import pytest

from goal_analysis import writing
from goal_analysis.study.tuning import JOURNAL, storage
from goal_analysis.vse.folder import checkpoint, run_folder
from goal_analysis.vse.folder import run as run_module
from goal_analysis.vse.folder.run_folder import RunError
from goal_analysis.vse.loop import batches, training
from goal_analysis.writing import UNFINISHED, write_whole

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

MOMENTS = {
    "data loading": (batches._Batches, "__getitem__", 3),
    "a step": (training, "_clipped", 6),
    "a checkpoint's tensors": (checkpoint, "save_file", 3),
    "a checkpoint before it is flushed": (checkpoint, "_flush", 5),
    "a checkpoint before it has its name": (checkpoint.Path, "replace", 8),
    "a record of the log": (run_folder.os, "fsync", 14),
    "the evaluation of an epoch": (training, "record_of", 2),
    "the architecture": (run_module, "write_json", 1),
    "the result": (run_module, "write_json", 2),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_is_killed_goes_on_and_ends_as_if_it_had_not_been(
    contents, at_call, in_a_child, train, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    owner, name, number = MOMENTS[moment]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, at_call(number, getattr(owner, name)))
        assert in_a_child(lambda: train(tmp_path / "run")) == -signal.SIGKILL
    train(tmp_path / "run")
    assert contents(tmp_path / "run") == contents(whole)
    left = [path.name for path in (tmp_path / "run").rglob(".*")]
    assert left == [], "of what was half-written nothing stays"


def test_a_child_that_is_left_alone_ends_by_itself(in_a_child, train, tmp_path: Path) -> None:
    assert in_a_child(lambda: train(tmp_path / "run")) == 0


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_file_being_written_is_the_old_one(
    at_call, in_a_child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = tmp_path / "report.html"
    write_whole(path, "old")
    owner = writing.os if moment == "fsync" else writing.Path
    with monkeypatch.context() as patch:
        patch.setattr(owner, moment, at_call(1, getattr(owner, moment)))
        assert in_a_child(lambda: write_whole(path, "new, and longer than before")) == -signal.SIGKILL
    assert path.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == [f".report.html{UNFINISHED}", "report.html"]
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_several_that_write_one_file_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    texts = [str(k) * 20_000 for k in range(4)]
    children = []
    for text in texts:
        child = os.fork()
        if not child:
            for _ in range(20):
                write_whole(path, text)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]


def test_a_journal_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    """Of a study whose process was killed while it wrote down a trial."""
    import optuna

    study = optuna.create_study(storage=storage(tmp_path), study_name="a", direction="maximize")
    for value in (1.0, 2.0):
        study.tell(study.ask(), value)
    journal = tmp_path / JOURNAL
    before = journal.read_bytes()
    journal.write_bytes(before + b'{"op_code":4,"worker_id":"x')
    again = optuna.load_study(storage=storage(tmp_path), study_name="a")
    again.tell(again.ask(), 3.0)
    assert [t.value for t in optuna.load_study(storage=storage(tmp_path), study_name="a").trials] == [1.0, 2.0, 3.0]
    assert journal.read_bytes().startswith(before)
    assert all(json.loads(line) for line in journal.read_text().splitlines())
    journal.write_bytes(b"nonsense\n" + before)
    with pytest.raises(RunError, match=r"trials\.journal: got .* but expected the trials that a study writes"):
        storage(tmp_path)
