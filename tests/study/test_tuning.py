"""Tuning and comparing with equal budgets: the trials, what goes on, and what is written; training is stood in for."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import pytest

from goal_analysis.recombination.recombine import composed
from goal_analysis.study import OBJECTIVE
from goal_analysis.study.driver import DECLARED, TRIAL_FOLD, TRIAL_SEED, Data, Driver, read_progress
from goal_analysis.study.engine import Job
from goal_analysis.study.scales import Scale, points
from goal_analysis.study.search import Setting, storage
from goal_analysis.study.tuning import STUDY, TABLE, TEXT, TRIALS, Outcome, run_study, tuning_of
from goal_analysis.symbolic.objective import Objective
from goal_analysis.vse.folder.run_folder import RESULT, RUN, RunError
from goal_analysis.vse.loop.experiment import Experiment, experiment_from_mapping, preset
from losses_catalog.weights import constant_pair, constant_triplet, hinge_triplet, linear_pair, nca_triplet

BEST = {"hinge": 0.15, "nca": 4.0}
"""Where what stands for training has its maximum."""


def base() -> Experiment:
    return replace(experiment_from_mapping(preset("bag_of_words")), seed=0)


def write(objective: Objective) -> str:
    return json.dumps({h.name: float(h.default) for h in objective.hyperparameters})


PARTS = ((hinge_triplet, constant_pair), (nca_triplet, linear_pair), (constant_triplet, linear_pair))


def candidates() -> dict[str, Objective]:
    return {t.name: composed(t, p) for t, p in PARTS}


def read(text: str) -> Objective:
    settings = json.loads(text)
    values = candidates().values()
    return next(v.with_settings(settings) for v in values if {h.name for h in v.hyperparameters} == set(settings))


def train(job: Job) -> None:
    """Write what training would: the farther a scale is from its best, the lower; each seed adds its own."""
    declared = json.loads((job.folder / DECLARED).read_text())
    settings = json.loads(declared["objective"])
    away = sum(abs(value - BEST[declared["name"]]) for value in settings.values())
    level = (
        10.0 * ("other" in json.dumps(declared["data"]))
        + {"hinge": 200.0, "nca": 220.0, "constant": 210.0}[declared["name"]]
    )
    record = {"experiment": declared, "data": {"name": "data", "fingerprint": "0" * 16, "shape": [8, 6]}}
    (job.folder / RUN).write_text(json.dumps(record))
    (job.folder / RESULT).write_text(json.dumps({"best": {"rsum": level - away + declared["seed"] % 3}}))


def declarations(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.rglob(DECLARED))]


@dataclass
class StandIn:
    """An engine that lets jobs end one by one, the last to begin first; some fail, and one interrupts the study."""

    fails: Callable[[Job], bool] = lambda job: False
    interrupts: Callable[[Job], bool] = lambda job: False
    places: int = 2
    begun: list[Job] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)

    def submit(self, job: Job) -> None:
        self.begun.append(job)

    def wait(self, seconds: float) -> dict[Job, str]:
        job = self.begun.pop()
        if self.interrupts(job):
            raise KeyboardInterrupt
        self.ran.append(job.name)
        if self.fails(job):
            return {job: "ended with 1"}
        train(job)
        return {job: "ended with 0"}

    def cancel(self, job: Job) -> None:
        raise AssertionError

    def close(self) -> None:
        self.begun.clear()


def study(
    folder: Path,
    of: dict[str, Objective],
    budget: int,
    seeds: int,
    engine: StandIn | None = None,
    on: Experiment | None = None,
    said: list[str] | None = None,
    probe_steps: int = 0,
    data: Data | None = None,
    also_on: Data | None = None,
) -> Outcome:
    base_ = on or base()
    with Driver(folder, engine or StandIn(), say=(said if said is not None else []).append) as driver:
        searched = data or {base_.data_name: base_.data}
        setting = Setting(folder, storage(driver), base_, searched, write, read)
        searches = [tuning_of(name, value, setting, budget, (OBJECTIVE,)) for name, value in of.items()]
        return run_study(driver, searches, seeds, also_on, probe_steps)


def test_points_begin_with_the_objectives_own_and_fill_the_range() -> None:
    scales = (Scale("a", 10, 1, 100), Scale("b", 0.2, 0, 0.4, logarithmic=False))
    found = points(scales, 17)
    assert found[0] == {"a": 10, "b": 0.2}
    assert found == points(scales, 17)
    for quarter in range(4):  # Sobol's sequence: of 16 points four in every quarter of every range
        low, high = 10 ** (quarter / 2), 10 ** ((quarter + 1) / 2)
        assert sum(low <= p["a"] <= high for p in found[1:]) == 4
        assert sum(quarter / 10 <= p["b"] <= (quarter + 1) / 10 for p in found[1:]) == 4
    assert points(scales, 1) == found[:1]


def test_every_objective_has_the_same_budget_and_the_best_is_found(tmp_path: Path) -> None:
    outcome = study(tmp_path, candidates(), 8, 1)
    trials, compared = declarations(tmp_path / "tuning"), declarations(tmp_path / "comparison")
    assert (len(trials), len(compared)) == (24, 3)
    assert {(run["seed"], run["data"]["fold"]) for run in trials} == {(TRIAL_SEED, TRIAL_FOLD)}
    assert {(run["seed"], "fold" in run["data"]) for run in compared} == {(0, False)}, "dev is left for the comparison"
    records = outcome.trials[outcome.trials.search == "hinge"]
    nearest = records.loc[(records.margin - BEST["hinge"]).abs().idxmin()]
    assert outcome.chosen["hinge"] == {"margin": nearest.margin}
    assert set(outcome.chosen["constant"]) == {"training.learning_rate"}


TABLES = (TABLE, TRIALS, TEXT)


@pytest.mark.parametrize("number", [0, 1, 7, 11, 12, 17])
def test_a_study_that_is_interrupted_goes_on_and_ends_as_if_it_had_not_been(tmp_path: Path, number: int) -> None:
    whole, parted = StandIn(), StandIn()
    study(tmp_path / "whole", candidates(), 4, 2, whole)
    parted.interrupts = lambda job: len(parted.ran) == number
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path / "parted", candidates(), 4, 2, parted)
    parted.interrupts = lambda job: False
    study(tmp_path / "parted", candidates(), 4, 2, parted)
    assert sorted(parted.ran) == sorted(whole.ran), "every run was made once"
    for name in TABLES:
        assert (tmp_path / "parted" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_failed_is_begun_again_by_the_same_call(tmp_path: Path) -> None:
    whole, parted = StandIn(), StandIn(lambda job: job.name in ("nca, trial 1", "constant trial 0, seed 0"))
    study(tmp_path / "whole", candidates(), 2, 2, whole)
    outcome = study(tmp_path / "parted", candidates(), 2, 2, parted)
    assert sorted(f.job.name for f in outcome.failures) == ["constant trial 0, seed 0", "nca, trial 1"]
    assert list(outcome.trials.groupby("search").size()) == [2, 2, 2], "the budgets are equal"
    again = StandIn()
    assert study(tmp_path / "parted", candidates(), 2, 2, again).failures == ()
    assert {"constant trial 0, seed 0", "nca, trial 1"} <= set(again.ran)
    for name in TABLES:
        assert (tmp_path / "parted" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_second_driver_is_refused_and_says_who_has_the_folder(tmp_path: Path) -> None:
    def second(job: Job) -> bool:
        with pytest.raises(RunError, match=rf"a study that process {os.getpid()} on .* drives but expected one driver"):
            study(tmp_path, candidates(), 1, 1)
        return False

    study(tmp_path, candidates(), 1, 1, StandIn(second))
    study(tmp_path, candidates(), 1, 1)


def test_how_far_a_study_is_can_be_asked_from_elsewhere(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(job: Job) -> bool:
        progress, driven = read_progress(tmp_path)
        assert driven
        asked.append(f"{progress} | {', '.join(progress.running)}")
        return job.name.startswith("constant") and job.name.endswith("seed 1")

    said: list[str] = []
    with pytest.raises(RunError, match=r"progress.json: got .* but expected what a study writes"):
        read_progress(tmp_path)
    study(tmp_path, candidates(), 2, 2, StandIn(ask), said=said)
    assert asked[0] == "0 of 12 runs done, 2 running, 10 waiting | hinge, trial 0, nca, trial 0"
    assert re.match(
        r"1 of 12 runs done, 2 running, 9 waiting; best so far 215.0, nca, trial 0; less than a minute", asked[1]
    )
    assert len(said) == 12
    assert re.match(r"nca, trial 0: dev RSUM 215.0 \(1 of 12 runs done, 1 running, 10 waiting; best", said[0])
    assert any(re.match("constant trial ., seed 1: ended with 1: without a word; see", line) for line in said)
    progress, driven = read_progress(tmp_path)
    assert not driven
    assert (progress.done, progress.failed, progress.waiting, progress.running) == (11, 1, 0, ())
    assert progress.best == "nca, trial 1"


def test_a_study_writes_what_it_found(tmp_path: Path) -> None:
    outcome = study(tmp_path, candidates(), 4, 4)
    table = pd.read_csv(tmp_path / TABLE).set_index("objective")
    assert next(iter(table.index)) == "nca"
    assert table.loc["nca", "seeds"] == 4
    assert table.loc["nca", "deviation"] == pytest.approx((11 / 12) ** 0.5), "of 0, 1, 2 and 0"
    text = (tmp_path / TEXT).read_text()
    assert "4 seeds an objective, each tuned with 4 trials" in text
    assert "nca: better than hinge" in text
    assert f"tau = {outcome.chosen['nca']['tau']:.4g}" in text
    trials = pd.read_csv(tmp_path / TRIALS)
    assert list(trials.groupby("search").size()) == [4, 4, 4]
    runs = [json.loads(p.read_text()) for p in sorted((tmp_path / "comparison").glob(f"scenes/nca_*/*/{DECLARED}"))]
    assert [run["seed"] for run in runs] == [0, 1, 2, 3]
    assert {run["objective"] for run in runs} == {json.dumps({"tau": outcome.chosen["nca"]["tau"]})}


def test_a_study_goes_on_and_grows_but_does_not_change(tmp_path: Path) -> None:
    first = dict(list(candidates().items())[:2])
    study(tmp_path, first, 2, 2)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")}
    study(tmp_path, candidates(), 2, 3)
    study(tmp_path, first, 2, 3)
    assert set(json.loads((tmp_path / STUDY).read_text())["searches"]) == {"hinge", "nca", "constant"}
    by_workers = replace(base(), training=replace(base().training, workers=1))
    study(tmp_path, candidates(), 2, 4, on=by_workers)
    runs = [run for run in declarations(tmp_path / "comparison") if (run["name"], run["seed"]) == ("nca", 3)]
    assert [run["training"]["workers"] for run in runs] == [1]
    study(tmp_path, candidates(), 4, 4)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    study(tmp_path / "whole", candidates(), 4, 4)
    for name in TABLES:
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), "as if begun with all of it"
    with pytest.raises(RunError, match="hinge: got a budget of 3 but expected 4 at least"):
        study(tmp_path, candidates(), 3, 3)
    with pytest.raises(RunError, match="got another experiment"):
        study(tmp_path, candidates(), 4, 3, on=replace(base(), model={"image": {"name": "linear"}}))
    with pytest.raises(RunError, match="got another data"):
        study(tmp_path, candidates(), 4, 3, data={"elsewhere": {"name": "elsewhere"}})
    other = {"hinge": composed(hinge_triplet, constant_pair).with_settings({"margin": 0.3})}
    with pytest.raises(RunError, match="got another objective 'hinge' than this study has"):
        study(tmp_path, candidates() | other, 4, 3)


def test_trials_on_several_data_are_chosen_by_the_mean_and_compared_on_each(tmp_path: Path) -> None:
    data = {"one": {"name": "one"}, "other": {"name": "other"}}
    outcome = study(tmp_path, candidates(), 3, 4, data=data, also_on={"third": {"name": "third"}})
    assert list(outcome.comparisons) == ["one", "other", "third"]
    by_data = outcome.table.query("objective == 'nca'").set_index("data")["mean"]
    assert by_data["other"] - by_data["one"] == pytest.approx(10)
    trials = [run for run in declarations(tmp_path / "tuning") if run["name"] == "nca"]
    assert sorted(run["data"]["name"] for run in trials) == ["one"] * 3 + ["other"] * 3
    best = outcome.trials.query("search == 'nca'")["rsum"].max()
    assert best == pytest.approx(by_data["one"] + 5 - sum((0, 1, 2, 0)) / 4 + TRIAL_SEED % 3)
    text = (tmp_path / TEXT).read_text()
    assert "## other\n" in text
    assert "## third, on which nothing was chosen\n" in text


def test_a_trial_without_a_result_on_every_data_set_chooses_nothing(tmp_path: Path) -> None:
    data = {"one": {"name": "one"}, "other": {"name": "other"}}
    outcome = study(tmp_path, candidates(), 2, 1, StandIn(lambda job: job.name == "nca, trial 1 on other"), data=data)
    states = outcome.trials.query("search == 'nca'")["state"].tolist()
    assert states == ["complete", "fail"]
    assert outcome.chosen["nca"] == {"tau": 10}


def test_two_objectives_do_not_share_a_folder(tmp_path: Path) -> None:
    one, other, _ = candidates().values()
    with pytest.raises(ValueError, match="got 'a/b' and 'a:b' but expected names that differ"):
        study(tmp_path, {"a/b": one, "a:b": other}, 2, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"driver.lock", "progress.json", "trials.journal"}


def test_runs_of_the_comparison_are_probed_as_the_study_was_begun_with(
    tmp_path: Path,
) -> None:
    def probes(folder: Path) -> set[tuple[str, int]]:
        declared = [json.loads(path.read_text()) for path in folder.rglob(DECLARED)]
        kinds = {True: "tuning", False: "comparison"}
        return {(kinds[run["seed"] == TRIAL_SEED], run["training"]["probe_steps"]) for run in declared}

    study(tmp_path / "new", candidates(), 2, 2, probe_steps=7)
    assert probes(tmp_path / "new") == {("tuning", 0), ("comparison", 7)}
    study(tmp_path / "new", candidates(), 2, 3, probe_steps=9)
    assert probes(tmp_path / "new") == {("tuning", 0), ("comparison", 7)}


def test_what_fails_is_said_and_a_baseline_that_fails_ends_the_study(tmp_path: Path) -> None:
    outcome = study(tmp_path, candidates(), 2, 2, StandIn(lambda job: job.name.startswith("nca")))
    assert set(outcome.comparison.table.objective) == {"hinge", "constant"}
    assert len(outcome.failures) == 2
    assert "did not come to an end: nca, trial 1" in (tmp_path / TEXT).read_text()
    assert set(outcome.chosen) == {"hinge", "constant"}
    later = study(tmp_path / "later", candidates(), 2, 2, StandIn(lambda job: "nca trial" in job.name))
    assert re.search(r"did not come to an end: nca trial \d, seed 1", (tmp_path / "later" / TEXT).read_text())
    assert (set(later.comparison.table.objective), len(later.failures)) == ({"hinge", "constant"}, 2)
    with pytest.raises(ValueError, match="got no run of the baseline 'hinge' that came to an end"):
        study(tmp_path / "seeds", candidates(), 2, 2, StandIn(lambda job: "hinge trial" in job.name))
    with pytest.raises(ValueError, match="hinge: got no trial that came to an end but expected one of 2"):
        study(tmp_path / "other", candidates(), 2, 2, StandIn(lambda job: job.name.startswith("hinge")))


def test_no_run_at_once_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="jobs: got 0 but expected a whole number from 1 to 100,000"):
        Driver(tmp_path, StandIn(), 0)
