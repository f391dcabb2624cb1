"""Which runs a report finds in folders, how it puts them together, and what it says of those that it cannot use."""

import json
import shutil
from pathlib import Path

import pytest

from goal_analysis.study.report import report
from goal_analysis.study.report.runs import compared_groups, gather_runs
from goal_analysis.vse.data.split import RetrievalData

RUN_FILES = ("run.json", "result.json", "log.jsonl")


def copied(run: Path, where: Path) -> Path:
    """What a report reads of a run, in another folder, free to be spoilt."""
    where.mkdir(parents=True)
    for name in RUN_FILES:
        shutil.copy(run / name, where)
    return where


def no_data(experiment) -> RetrievalData:
    raise ValueError("the data have moved")


def test_runs_that_differ_by_their_seed_are_one_group(runs: Path) -> None:
    groups, faults = gather_runs([runs])
    assert faults == ()
    assert [group.label for group in groups] == ["hinge/constant", "nca(tau=4)/linear"]
    assert [[run.experiment.seed for run in group.runs] for group in groups] == [[0, 1], [0, 1]]


def test_runs_whose_images_were_read_by_other_workers_are_one_group(runs: Path, tmp_path: Path) -> None:
    other = copied(runs / "hinge_constant" / "seed-1", tmp_path / "other")
    record = json.loads((other / "run.json").read_text())
    record["experiment"]["training"]["workers"] = 2
    (other / "run.json").write_text(json.dumps(record))
    (group,), faults = gather_runs([runs / "hinge_constant" / "seed-0", other])
    assert [run.experiment.seed for run in group.runs] == [0, 1]
    assert faults == ()


def test_a_run_is_found_by_its_own_folder_and_counted_once(runs: Path) -> None:
    one = runs / "hinge_constant" / "seed-1"
    (group,), faults = gather_runs([one, one / ".." / "seed-1"])
    assert len(group.runs) == 1
    assert faults == ()


def test_groups_of_one_objective_are_told_apart(runs: Path, tmp_path: Path) -> None:
    other = copied(runs / "hinge_constant" / "seed-0", tmp_path / "other")
    record = json.loads((other / "run.json").read_text())
    record["experiment"] |= {"name": "longer", "training": record["experiment"]["training"] | {"epochs": 9}}
    (other / "run.json").write_text(json.dumps(record))
    groups, _ = gather_runs([runs / "hinge_constant", other])
    assert [group.label for group in groups] == ["</title>small: hinge/constant", "longer: hinge/constant"]
    record["experiment"]["name"] = "</title>small"
    (other / "run.json").write_text(json.dumps(record))
    groups, _ = gather_runs([runs / "hinge_constant", other])
    assert groups[1].label == f"hinge/constant in {other}"


def test_runs_of_other_settings_are_not_compared_unless_one_study_put_them_side_by_side(
    runs: Path, tmp_path: Path
) -> None:
    """Seeds of other settings are no pairs: equal seeds of them begin from other weights or see other batches."""

    def changed(where: Path, training: dict) -> Path:
        other = copied(runs / "nca(tau=4)_linear" / "seed-0", where)
        record = json.loads((other / "run.json").read_text())
        record["experiment"]["training"] |= training
        (other / "run.json").write_text(json.dumps(record))
        return other

    here = copied(runs / "hinge_constant" / "seed-0", tmp_path / "study" / "hinge" / "seed-0")
    for training, parts in (({"learning_rate": 0.5}, 1), ({"epochs": 9}, 2)):
        alone = changed(tmp_path / f"alone-{parts}", training)
        groups, _ = gather_runs([here, alone])
        assert len(compared_groups(groups)) == parts
    beside = changed(tmp_path / "study" / "other" / "seed-0", {"epochs": 9})
    groups, _ = gather_runs([here, beside])
    (part,) = compared_groups(groups)
    assert part == list(groups)
    record = json.loads((beside / "run.json").read_text())
    record["data"]["fingerprint"] = "0" * 16
    (beside / "run.json").write_text(json.dumps(record))
    assert len(compared_groups(gather_runs([here, beside])[0])) == 2, "other data"


def test_a_table_of_each_part_is_on_the_page(runs: Path, tmp_path: Path, objective_of) -> None:
    other = copied(runs / "nca(tau=4)_linear" / "seed-0", tmp_path / "other")
    record = json.loads((other / "run.json").read_text())
    record["experiment"]["training"] |= {"epochs": 9}
    (other / "run.json").write_text(json.dumps(record))
    text = report([runs, other], objective_of, no_data, queries=0)
    assert "The runs make 2 tables" in text
    assert text.count('class="numbers"') == 2


def spoilt_json(folder: Path) -> None:
    (folder / "run.json").write_text("{")


def without_a_fingerprint(folder: Path) -> None:
    record = json.loads((folder / "run.json").read_text())
    del record["data"]["fingerprint"]
    (folder / "run.json").write_text(json.dumps(record))


def with_a_strange_result(folder: Path) -> None:
    (folder / "result.json").write_text('{"best": {"rsum": "high"}}')


def with_a_strange_log(folder: Path) -> None:
    (folder / "log.jsonl").write_text("[]\n")


def with_nothing(folder: Path) -> None:
    (folder / "run.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoilt_json, "expected the folder of a run, with run.json"),
        (without_a_fingerprint, "run.json: data: got no fingerprint but expected text"),
        (with_a_strange_result, "expected what a run writes"),
        (with_a_strange_log, "expected a record with its kind and its step"),
        (with_nothing, "got no run.json in it but expected the folder of a run, or one of runs"),
    ],
)
def test_a_run_that_cannot_be_read_is_said_and_others_are_shown(spoil, said: str, runs: Path, tmp_path: Path) -> None:
    bad = copied(runs / "hinge_constant" / "seed-0", tmp_path / "bad")
    spoil(bad)
    groups, (fault,) = gather_runs([bad, runs])
    assert len(groups) == 2
    assert fault.startswith(str(bad))
    assert said in fault


def test_a_run_without_a_result_is_shown_but_counts_nowhere(runs: Path, tmp_path: Path, objective_of) -> None:
    going_on = copied(runs / "hinge_constant" / "seed-0", tmp_path / "going-on")
    (going_on / "result.json").unlink()
    first = (going_on / "log.jsonl").read_text().splitlines(keepends=True)
    (going_on / "log.jsonl").write_text("".join(line for line in first if '"epoch": 1,' in line))
    (group,), (fault,) = gather_runs([going_on])
    assert fault.endswith("has no result yet, after 1 of 2 epochs; its curve is shown, its numbers count nowhere")
    assert group.finished == ()
    text = report([going_on], objective_of, no_data, queries=0)
    assert "No run on these data has a result yet." in text
    assert fault in text


def test_a_seed_twice_is_said(runs: Path, tmp_path: Path) -> None:
    again = copied(runs / "hinge_constant" / "seed-0", tmp_path / "again")
    (group,), (fault,) = gather_runs([runs / "hinge_constant", again])
    assert len(group.runs) == 2
    assert f"got the run that {runs / 'hinge_constant' / 'seed-0'} holds too" in fault


def test_nothing_left_is_refused(tmp_path: Path, objective_of) -> None:
    with pytest.raises(ValueError, match="expected the folder of a run, or one of runs"):
        report([tmp_path], objective_of, no_data)


def test_an_unknown_baseline_is_refused(runs: Path, objective_of) -> None:
    expected = r"got 'hinge' but expected one of hinge/constant, nca\(tau=4\)/linear"
    with pytest.raises(ValueError, match=expected):
        report([runs], objective_of, no_data, baseline="hinge")
