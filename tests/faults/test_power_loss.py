"""A machine that loses its power at any moment: files are the old or the new ones, and all work ends as without it."""

from pathlib import Path

import pytest
from power_loss import Work, lose_power, put, recorded, states_left
from power_loss_works import NEW, OLD, WORKS, file, model, old_file, old_model

from goal_analysis.files import write_whole
from goal_analysis.vse.folder.run_folder import read_log

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

TRIED = 12  # of the states of a work here; `benchmarks/power_loss.py` tries all
SHARE = {"a training run": 30, "a study of eight runs": 40, "features of pictures": 4}


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_work_ends_as_if_the_machine_had_not_lost_its_power(tmp_path: Path, work: Work) -> None:
    tally = lose_power(work, tmp_path, SHARE.get(work.name, 1))
    assert tally.tried > 1
    assert tally.defects == []


@pytest.mark.parametrize("where", ["report.html", "new/folder/report.html"])
def test_a_file_is_the_old_one_or_the_new_one_and_stays_when_it_is_written(tmp_path: Path, where: str) -> None:
    disk = put({"report.html": OLD}, tmp_path / "disk")
    events = recorded(disk, lambda folder: write_whole(folder / where, NEW))
    old = OLD if where == "report.html" else None
    assert {state.get(where) for state in states_left(events)} == {old, NEW}
    assert {state.get(where) for state in states_left(events, at_end=True)} == {NEW}


def test_a_folder_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    disk = put({}, tmp_path / "disk")
    old_model(disk)
    events = recorded(disk, model)
    old = {"model": None, "model/weights": OLD}
    new = {"model": None, "model/weights": NEW, "model/text": None, "model/text/tokenizer": NEW}
    found = states_left(events)
    assert all(state in ({}, old, new) for state in found), "between two renames the old one has another name"
    assert len(found) == 3
    assert states_left(events, at_end=True) == [new]


def written_in_place(folder: Path) -> None:
    (folder / "report.html").write_bytes(NEW)


def renamed_unsynchronised(folder: Path) -> None:
    (folder / "other").write_bytes(NEW)
    (folder / "other").replace(folder / "report.html")


@pytest.mark.parametrize("careless", [written_in_place, renamed_unsynchronised])
def test_a_writer_that_forgets_to_synchronise_is_found(tmp_path: Path, careless) -> None:
    disk = put({}, tmp_path / "disk")
    old_file(disk)
    found = {state["report.html"] for state in states_left(recorded(disk, careless))}
    assert found >= {OLD, NEW, NEW[: len(NEW) // 2], bytes(len(NEW))}


def once(folder: Path) -> None:
    if not (folder / "report.html").exists():
        renamed_unsynchronised(folder)


def test_work_that_takes_half_a_file_for_a_whole_one_is_found(tmp_path: Path) -> None:
    assert lose_power(Work("careless", once), tmp_path).defects
    assert lose_power(Work("careful", file), tmp_path / "careful").defects == []


@pytest.mark.parametrize("torn", ['{"step": 2, "ki', '{"step"\0\0\0\0\0\0}\n', "\0" * 20, "\0" * 20 + "\n"])
def test_a_last_line_of_a_log_that_was_not_written_whole_is_left_out(tmp_path: Path, torn: str) -> None:
    line = '{"kind": "step", "step": 1}\n'
    (tmp_path / "log.jsonl").write_text(line + torn)
    assert read_log(tmp_path) == [{"kind": "step", "step": 1}]
