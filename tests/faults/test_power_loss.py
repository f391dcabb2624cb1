"""A machine that loses its power at any moment: files are the old or the new ones, and runs go on, bit for bit."""

import pickle
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest
from power_loss import Recorder, State, put, states_left

from goal_analysis.files import UNFINISHED, whole_folder, write_whole

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture
def recorded(in_a_child, tmp_path: Path) -> Callable[[Path, Callable[[], object]], list[tuple]]:
    """The events below a folder while a child does some work."""

    def record(root: Path, work: Callable[[], object]) -> list[tuple]:
        def watched() -> None:
            recorder = Recorder(root)
            recorder.begin()
            work()
            recorder.look()
            recorder.looking = True
            (tmp_path / "events").write_bytes(pickle.dumps(recorder.events))

        root.mkdir(exist_ok=True)
        assert in_a_child(watched) == 0
        return pickle.loads((tmp_path / "events").read_bytes())

    return record


def unfinished(name: str) -> bool:
    return fnmatch(name, f".*{UNFINISHED}")


def states(events: list[tuple], at_end: bool = False) -> list[State]:
    return states_left(events, at_end, unfinished)


OLD, NEW = b"old" * 10, b"new, and longer" * 10


def written_anew(path: Path) -> None:
    write_whole(path, NEW)


def written_in_place(path: Path) -> None:
    path.write_bytes(NEW)


def renamed_unsynchronised(path: Path) -> None:
    path.with_name("other").write_bytes(NEW)
    path.with_name("other").replace(path)


@pytest.mark.parametrize("where", ["report.html", "new/folder/report.html"])
def test_a_file_is_the_old_one_or_the_new_one_and_stays_when_it_is_written(recorded, tmp_path: Path, where) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "report.html").write_bytes(OLD)
    old = states(recorded(disk, lambda: None), at_end=True)[0].get(where)
    events = recorded(disk, lambda: written_anew(disk / where))
    assert {state.get(where) for state in states(events)} == {old, NEW}
    assert {state.get(where) for state in states(events, at_end=True)} == {NEW}


@pytest.mark.parametrize("careless", [written_in_place, renamed_unsynchronised])
def test_a_writer_that_forgets_to_synchronise_is_found(recorded, tmp_path: Path, careless) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "report.html").write_bytes(OLD)
    found = {state["report.html"] for state in states(recorded(disk, lambda: careless(disk / "report.html")))}
    assert found >= {OLD, NEW, NEW[: len(NEW) // 2], bytes(len(NEW))}


def test_a_folder_is_the_old_one_or_the_new_one(recorded, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    (disk / "model").mkdir(parents=True)
    (disk / "model" / "weights").write_bytes(OLD)

    def work() -> None:
        with whole_folder(disk / "model") as made:
            (made / "text").mkdir()
            (made / "weights").write_bytes(NEW)
            (made / "text" / "tokenizer").write_bytes(NEW)

    events = recorded(disk, work)
    new = {"model": None, "model/weights": NEW, "model/text": None, "model/text/tokenizer": NEW}
    found = states(events)
    assert all(state in ({}, {"model": None, "model/weights": OLD}, new) for state in found), found
    assert len(found) == 3, "between two renames there is none, and the old one is still there by another name"
    assert states(events, at_end=True) == [new]


def test_a_run_goes_on_from_whatever_is_left_and_ends_bit_for_bit(
    contents, recorded, train, whole: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    events = recorded(disk, lambda: train(disk / "run"))
    found = states(events)
    print(len(events), len(found))
    expected = contents(whole)
    for number, state in enumerate(found):
        left = put(state, tmp_path / f"left {number}")
        train(left / "run")
        assert contents(left / "run") == expected, state.keys()
