"""Tuning and comparing with equal budgets: the trials, their storage, and what is written; training is stood in for."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import optuna
import pandas as pd
import pytest

from goal_analysis.recombination.recombine import composed
from goal_analysis.study import runs as runs_module
from goal_analysis.study import tuned_comparison as tuned_comparison_module
from goal_analysis.study.jobs import Failure, Job
from goal_analysis.study.runs import DECLARED
from goal_analysis.study.scales import Scale, points
from goal_analysis.study.tuned_comparison import STUDY, TABLE, TEXT, TRIALS, tuned_comparison
from goal_analysis.study.tuning import TUNING_SEED, Candidate, Tuning, candidate, storage
from goal_analysis.symbolic.objective import Objective
from goal_analysis.vse.folder.run_folder import RUN, RunError
from goal_analysis.vse.loop.experiment import Experiment, experiment_from_mapping, preset
from losses_catalog.weights import constant_pair, constant_triplet, hinge_triplet, linear_pair, nca_triplet

BEST = {"hinge": 0.15, "nca": 4.0}
"""Where what stands for training has its maximum."""


def base() -> Experiment:
    return replace(experiment_from_mapping(preset("bag_of_words")), seed=0)


def write(objective: Objective) -> str:
    return json.dumps({h.name: float(h.default) for h in objective.hyperparameters})


def candidates() -> list[Candidate]:
    parts = ((hinge_triplet, constant_pair), (nca_triplet, linear_pair), (constant_triplet, linear_pair))
    return [candidate(t.name, composed(t, p), write, base()) for t, p in parts]


def train(job: Job) -> None:
    """Write what training would: the farther a scale is from its best, the lower; each seed adds its own."""
    declared = json.loads((job.output.parent / DECLARED).read_text())
    settings = json.loads(declared["objective"])
    away = sum(abs(value - BEST[declared["name"]]) for value in settings.values())
    level = {"hinge": 200.0, "nca": 220.0, "constant": 210.0}[declared["name"]]
    record = {"experiment": declared, "data": {"name": "data", "fingerprint": "0" * 16, "shape": [8, 6]}}
    (job.output.parent / RUN).write_text(json.dumps(record))
    job.output.write_text(json.dumps({"best": {"rsum": level - away + declared["seed"] % 3}}))


def standing_in(jobs, processes, report, fails=lambda job: False, dies_after: int | None = None) -> list[Failure]:
    """`run_jobs` without processes."""
    failures = []
    for number, job in enumerate(jobs):
        if number == dies_after:
            raise KeyboardInterrupt
        if not job.done and fails(job):
            failures.append(Failure(job, 1))
            report(job, failures[-1])
            continue
        if not job.done:
            train(job)
        report(job, None)
    return failures


def stand_in(monkeypatch: pytest.MonkeyPatch, run_jobs: Callable[..., list[Failure]]) -> None:
    """Put this in the place of `run_jobs`, for the trials and for the runs over seeds."""
    for module in (tuned_comparison_module, runs_module):
        monkeypatch.setattr(module, "run_jobs", run_jobs)


@pytest.fixture
def without_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, standing_in)


def test_points_begin_with_the_objectives_own_and_fill_the_range() -> None:
    scales = (Scale("a", 10, 1, 100), Scale("b", 0.2, 0, 0.4, logarithmic=False))
    found = points(scales, 17, seed=1)
    assert found[0] == {"a": 10, "b": 0.2}
    assert found == points(scales, 17, seed=1)
    assert found != points(scales, 17, seed=2)
    for quarter in range(4):  # Sobol's sequence: of 16 points four in every quarter of every range
        low, high = 10 ** (quarter / 2), 10 ** ((quarter + 1) / 2)
        assert sum(low <= p["a"] <= high for p in found[1:]) == 4
        assert sum(quarter / 10 <= p["b"] <= (quarter + 1) / 10 for p in found[1:]) == 4
    assert points(scales, 1, seed=1) == found[:1]


def test_every_objective_has_the_same_budget_and_the_best_is_found(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path, base(), candidates(), 8)
    jobs = list(tuning.jobs())
    assert len({job.output for job in jobs}) == 24
    for job in jobs:
        declared = json.loads((job.output.parent / DECLARED).read_text())
        assert declared["seed"] == TUNING_SEED
        train(job)
        tuning.ended(job, None)
    records = pd.DataFrame(tuning.records("hinge"))
    nearest = records.loc[(records.margin - BEST["hinge"]).abs().idxmin()]
    assert tuning.best("hinge") == {"margin": nearest.margin}
    assert set(tuning.best("constant") or {}) == {"training.learning_rate"}


def test_what_was_begun_is_gone_on_with_and_nothing_runs_twice(tmp_path: Path) -> None:
    first = Tuning(tmp_path, base(), candidates(), 3)
    begun = first.jobs()
    ended, left = next(begun), next(begun)
    train(ended)
    first.ended(ended, None)
    second = Tuning(tmp_path, base(), candidates(), 3)
    assert second.finished == 1
    again = list(second.jobs())
    assert left in again, "its process was killed"
    assert ended not in again
    assert len(again) == 8
    for job in again:
        second.ended(job, Failure(job, 1) if job == left else None) if job == left else (
            train(job),
            second.ended(job, None),
        )
    second.ended(left, None)  # whoever is late changes nothing
    states = [record["state"] for c in candidates() for record in second.records(c.name)]
    assert states.count("complete") == 8
    assert states.count("fail") == 1
    assert list(Tuning(tmp_path, base(), candidates(), 3).jobs()) == []


def test_two_processes_share_the_trials(tmp_path: Path) -> None:
    one, other = (Tuning(tmp_path, base(), candidates(), 2) for _ in range(2))
    mine, theirs = one.jobs(), other.jobs()
    taken = [job.output for pair in zip_longest(mine, theirs) for job in pair if job is not None]
    assert len(set(taken)) == 6
    assert sum(len(one.records(c.name)) for c in candidates()) == 6, (
        "those that both know are one run, which both wait for"
    )


def test_whoever_is_through_has_what_another_began_late_too(tmp_path: Path) -> None:
    """It may be the best, and both are to choose the same; and if its process was killed, somebody is to run it."""
    one, other = (Tuning(tmp_path, base(), candidates()[:1], 3) for _ in range(2))
    mine, theirs = one.jobs(), other.jobs()
    first = next(mine)
    assert next(theirs) == first
    late = next(theirs)
    second, *others = mine
    assert others == [late]
    for job in (first, second, late):
        train(job)
        one.ended(job, None)
    other.ended(late, None)
    assert one.best("hinge") == other.best("hinge")
    assert [record["state"] for record in other.records("hinge")] == ["complete"] * 3
    assert list(Tuning(tmp_path, base(), candidates()[:1], 3).jobs()) == []


def test_a_trial_whose_process_was_killed_before_it_had_its_values_gets_them(tmp_path: Path) -> None:
    begun, whole = (Tuning(tmp_path / name, base(), candidates()[:1], 2) for name in ("begun", "whole"))
    for _ in range(2):
        optuna.load_study(storage=storage(tmp_path / "begun"), study_name="hinge").ask()
    for tuning in (begun, whole):
        for job in tuning.jobs():
            train(job)
            tuning.ended(job, None)
    assert begun.records("hinge") == whole.records("hinge")


def test_a_study_writes_what_it_found(tmp_path: Path, without_processes: None) -> None:
    reported = []
    outcome = tuned_comparison(
        tmp_path, base(), candidates(), 4, 4, 1, lambda job, failure, runs: reported.append((job.name, runs))
    )
    assert len(reported) == 3 * (4 + 4)
    assert {runs for _, runs in reported} == {24}
    table = pd.read_csv(tmp_path / TABLE).set_index("objective")
    assert next(iter(table.index)) == "nca"
    assert table.loc["nca", "seeds"] == 4
    assert table.loc["nca", "deviation"] == pytest.approx((11 / 12) ** 0.5), "of 0, 1, 2 and 0"
    text = (tmp_path / TEXT).read_text()
    assert "4 seeds an objective, each tuned with 4 trials" in text
    assert "nca: better than hinge" in text
    assert f"tau = {outcome.chosen['nca']['tau']:.4g}" in text
    trials = pd.read_csv(tmp_path / TRIALS)
    assert list(trials.groupby("objective").size()) == [4, 4, 4]
    runs = [json.loads(p.read_text()) for p in sorted((tmp_path / "comparison").glob(f"nca/*/{DECLARED}"))]
    assert [run["seed"] for run in runs] == [0, 1, 2, 3]
    assert {run["objective"] for run in runs} == {json.dumps({"tau": outcome.chosen["nca"]["tau"]})}


def test_a_study_goes_on_and_grows_but_does_not_change(tmp_path: Path, without_processes: None) -> None:
    tuned_comparison(tmp_path, base(), candidates()[:2], 2, 2, 1)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")}
    tuned_comparison(tmp_path, base(), candidates(), 2, 3, 1)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert set(json.loads((tmp_path / STUDY).read_text())["candidates"]) == {"hinge", "nca", "constant"}
    by_workers = replace(base(), training=replace(base().training, workers=1))
    tuned_comparison(tmp_path, by_workers, candidates(), 2, 4, 1)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    runs = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob(f"comparison/nca/*/{DECLARED}")}
    assert runs["seed-3"]["training"]["workers"] == 1
    with pytest.raises(RunError, match="got another budget than this study was begun with"):
        tuned_comparison(tmp_path, base(), candidates(), 3, 3, 1)
    with pytest.raises(RunError, match="got another experiment"):
        tuned_comparison(tmp_path, replace(base(), data={"name": "elsewhere"}), candidates(), 2, 3, 1)
    other = replace(candidates()[0], objective=composed(hinge_triplet, constant_pair).with_settings({"margin": 0.3}))
    with pytest.raises(RunError, match="got another objective 'hinge' than this study has"):
        tuned_comparison(tmp_path, base(), [other, *candidates()[1:]], 2, 3, 1)


def test_two_objectives_do_not_share_a_folder(tmp_path: Path, without_processes: None) -> None:
    one, other, _ = candidates()
    with pytest.raises(ValueError, match="got 'a/b' and 'a:b' but expected names that differ"):
        tuned_comparison(tmp_path, base(), [replace(one, name="a/b"), replace(other, name="a:b")], 2, 1, 1)
    assert list(tmp_path.iterdir()) == []


def test_runs_of_the_comparison_are_probed_unless_the_study_was_begun_without(
    tmp_path: Path, without_processes: None
) -> None:
    def probes(folder: Path) -> set[tuple[str, int]]:
        declared = [json.loads(path.read_text()) for path in folder.rglob(DECLARED)]
        kinds = {True: "tuning", False: "comparison"}
        return {(kinds[run["seed"] == TUNING_SEED], run["training"]["probe_steps"]) for run in declared}

    tuned_comparison(tmp_path / "new", base(), candidates(), 2, 2, 1, probe_steps=7)
    assert probes(tmp_path / "new") == {("tuning", 0), ("comparison", 7)}
    tuned_comparison(tmp_path / "new", base(), candidates(), 2, 3, 1, probe_steps=9)
    assert probes(tmp_path / "new") == {("tuning", 0), ("comparison", 7)}
    tuned_comparison(tmp_path / "old", base(), candidates(), 2, 1, 1)
    before = json.loads((tmp_path / "old" / STUDY).read_text())
    del before["probe_steps"], before["experiment"]["training"]["workers"]
    (tmp_path / "old" / STUDY).write_text(json.dumps(before))
    tuned_comparison(tmp_path / "old", base(), candidates(), 2, 2, 1, probe_steps=7)
    assert probes(tmp_path / "old") == {("tuning", 0), ("comparison", 0)}


def test_what_fails_is_said_and_a_baseline_that_fails_ends_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(name: str):
        return lambda jobs, processes, report: standing_in(
            jobs, processes, report, lambda job: job.name.startswith(name)
        )

    stand_in(monkeypatch, failing("nca"))
    outcome = tuned_comparison(tmp_path, base(), candidates(), 2, 2, 1)
    assert set(outcome.comparison.table.objective) == {"hinge", "constant"}
    assert len(outcome.failures) == 4
    assert "did not come to an end: nca, seed 1" in (tmp_path / TEXT).read_text()
    assert outcome.chosen["nca"] == {"tau": 10}
    stand_in(monkeypatch, failing("hinge"))
    with pytest.raises(ValueError, match="got no run of the baseline 'hinge' that came to an end"):
        tuned_comparison(tmp_path / "other", base(), candidates(), 2, 2, 1)
