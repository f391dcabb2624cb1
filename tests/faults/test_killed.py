"""SIGKILL at chosen moments: nothing is half-written, and the same call ends as if nothing had happened."""

import os
import signal
import time
from pathlib import Path

import pytest

from goal_analysis.files import ABANDONED, write_whole

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

MOMENTS = {
    "what is run gets its name": ("os.rename", "run.json", 1),
    "the architecture gets its name": ("os.rename", "architecture.json", 1),
    "a record is added to the log": ("open", "log.jsonl", 9),
    "a checkpoint is begun": ("os.mkdir", ".step-*", 3),
    "a checkpoint has one file": ("open", "model.safetensors", 2),
    "a checkpoint has all but its state": ("open", "state.json", 3),
    "a checkpoint gets its name": ("os.rename", "step-*", 2),
    "an old checkpoint is removed": ("shutil.rmtree", "step-*", 1),
    "the table gets its name": ("os.rename", "log.csv", 3),
    "the result gets its name": ("os.rename", "result.json", 1),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_is_killed_before_this_goes_on_and_ends_as_if_it_had_not_been(
    contents, in_a_child, train, whole: Path, tmp_path: Path, moment: str
) -> None:
    assert in_a_child(lambda: train(tmp_path / "run"), *MOMENTS[moment]) == -signal.SIGKILL
    _check_that_it_goes_on(contents, train, whole, tmp_path / "run")


@pytest.mark.parametrize("reading", [1, 2, 5, 9])
def test_a_run_that_is_killed_while_data_are_read_goes_on(
    contents, in_a_child, train, whole: Path, tmp_path: Path, breaking, reading: int
) -> None:
    """The first reading is that of the statistics, and then there is one a step."""
    assert in_a_child(lambda: train(tmp_path / "run", on=breaking(reading))) == -signal.SIGKILL
    _check_that_it_goes_on(contents, train, whole, tmp_path / "run")


def _check_that_it_goes_on(contents, train, whole: Path, run: Path) -> None:
    train(run)
    assert contents(run) == contents(whole)
    assert list(run.rglob(".*")) == [], "of what was half-written nothing stays"


def test_a_child_that_is_left_alone_ends_by_itself(in_a_child, train, tmp_path: Path) -> None:
    assert in_a_child(lambda: train(tmp_path / "run")) == 0


def test_a_file_being_written_is_the_old_one(in_a_child, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_whole(path, "old")
    moment = ("os.rename", "report.html", 1)
    assert in_a_child(lambda: write_whole(path, "new, and longer than before"), *moment) == -signal.SIGKILL
    assert path.read_text() == "old"
    (left,) = set(tmp_path.iterdir()) - {path}
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert left.exists(), "another process may still be writing it"
    hours_ago = time.time() - 2 * ABANDONED
    os.utime(left, (hours_ago, hours_ago))
    write_whole(path, "newer")
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
