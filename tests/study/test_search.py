"""A search: what is run, what is not run twice, and what is ended early."""

import json
from pathlib import Path

import pytest
import sympy as sp

from goal_analysis.recombination.recombine import composed
from goal_analysis.recombination.text import from_toml, to_toml
from goal_analysis.study import search as search_module
from goal_analysis.study.driver import DECLARED, Data, Driver, Failure
from goal_analysis.study.search import JOURNAL, REJECTED, Search, Setting, storage
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.weight import PairWeights
from goal_analysis.vse.folder.run_folder import LOG, RESULT, RunError
from goal_analysis.vse.loop.experiment import Experiment, TrainingOptions, experiment_from_mapping
from losses_catalog.weights import nca_triplet

BASE = {
    "name": "small",
    "data": {"name": "nowhere"},
    "model": {"image": {"name": "linear"}, "text": {"name": "bag_of_words"}},
    "objective": "hinge/constant",
    "training": {"epochs": 9},
}


def by_tau(trial, training: TrainingOptions) -> tuple[Objective, TrainingOptions]:
    tau, times = (
        trial.suggest_categorical("tau", (1.0, 2.0, 4.0, 8.0, *range(10, 21))),
        trial.suggest_categorical("times", (1, 3)),
    )
    if tau == 8:
        raise ValueError("8 is too much")
    pair = PairWeights(name="p", positive=sp.Integer(times), negative=sp.Integer(times))
    return composed(nca_triplet, pair).with_settings({"tau": tau}), training


def taus(*given: float | tuple[float, int]) -> tuple[dict, ...]:
    pairs = (one if isinstance(one, tuple) else (one, 1) for one in given)
    return tuple({"tau": tau, "times": times} for tau, times in pairs)


def base(**training: int) -> Experiment:
    return experiment_from_mapping(BASE | {"training": BASE["training"] | training})


def search(
    folder: Path,
    budget: int,
    first: tuple = (),
    accepts=lambda objective: "",
    workers: int = 0,
    data: Data | None = None,
) -> Search:
    with Driver(folder) as driver:
        store = storage(driver)
    setting = Setting(folder, store, base(workers=workers), data or {"nowhere": BASE["data"]}, to_toml, from_toml)
    return Search("found", by_tau, setting, budget, first, accepts=accepts)


def logged(job, *rsums: float) -> None:
    lines = [f'{{"kind": "epoch", "step": {e}, "epoch": {e}, "rsum": {rsum}}}' for e, rsum in enumerate(rsums, 1)]
    (job.folder / LOG).write_text("\n".join(lines) + "\n")


def test_a_copy_and_what_no_objective_can_have_are_not_run_and_do_not_count(tmp_path: Path) -> None:
    given = search(tmp_path, 3, taus(1.0, (1.0, 3), 8.0, 2.0, 4.0))
    jobs = list(given.jobs())
    assert [job.folder.name for job in jobs] == ["0", "3", "4"]
    told = {record["trial"]: record["why"] for record in given.records()}
    assert told[1] == "copy of 0"
    assert told[2] == "rejected 8 is too much"


def test_what_was_not_asked_for_is_not_run(tmp_path: Path) -> None:
    given = search(tmp_path, 1, taus(1.0, 2.0), lambda o: "1" if o.hyperparameters[0].default == 1 else "")
    (job,) = given.jobs()
    assert job.folder.name == "1"
    assert given.study.trials[0].user_attrs[REJECTED] == "1"


def probed(folder: Path, *ends: float) -> Search:
    """A search whose first ten trials, of an RSUM of 10, 20, … after an epoch, have come to these ends."""
    given = search(folder, 11, taus(*range(10, 21)))
    jobs = given.jobs()
    for place, end in enumerate(ends, 1):
        job = next(jobs)
        logged(job, 10.0 * place, 0.0, end)
        assert given.watch(job) == "", "those that measure the rungs are not ended"
        (job.folder / RESULT).write_text(json.dumps({"best": {"rsum": end}}))
        given.ended(job, None)
    return given


def test_what_falls_behind_is_ended_at_a_rung_that_predicts_the_end(tmp_path: Path) -> None:
    given = probed(tmp_path, *range(10, 20))
    assert [(rung.epoch, rung.trials, rung.is_used) for rung in given.rungs] == [(1, 10, True), (3, 10, True)]
    assert given.rungs[0].correlation == pytest.approx(1)
    last = list(given.jobs())[-1]
    logged(last, 79.0)
    why = given.watch(last)
    assert "ended after epoch 1 with an RSUM of 79.0" in why
    given.ended(last, Failure(last, "killed by SIGTERM", why))
    assert [record["state"] for record in given.records()] == ["complete"] * 10 + ["pruned"]
    assert given.pruned == 1


def test_what_leads_is_not_ended(tmp_path: Path) -> None:
    given = probed(tmp_path, *range(10, 20))
    last = list(given.jobs())[-1]
    logged(last, 81.0)
    assert given.watch(last) == ""


def test_a_rung_that_does_not_predict_the_end_ends_nothing(tmp_path: Path) -> None:
    given = probed(tmp_path, 15, 12, 18, 11, 17, 13, 19, 10, 16, 14)
    assert given.rungs[0].correlation == pytest.approx(0.0, abs=0.2)
    last = list(given.jobs())[-1]
    logged(last, 1.0)
    assert not given.rungs[0].is_used
    assert given.watch(last) == ""


def test_a_trial_on_several_data_has_their_mean_and_what_is_ended_on_the_first_is_not_run_on_others(
    tmp_path: Path,
) -> None:
    given = search(tmp_path, 2, taus(1.0, 2.0), data={"a": {"name": "a"}, "b": {"name": "b"}})
    jobs = given.jobs()
    first, second = next(jobs), next(jobs)
    assert [json.loads((job.folder / DECLARED).read_text())["data"]["name"] for job in (first, second)] == ["a", "b"]
    for job, rsum in ((first, 100.0), (second, 200.0)):
        (job.folder / RESULT).write_text(json.dumps({"best": {"rsum": rsum}}))
        assert [record["rsum"] for record in given.records()][:1] == [None]
        given.ended(job, None)
    assert given.records()[0]["rsum"] == 150.0
    third = next(jobs)
    given.ended(third, Failure(third, "killed by SIGTERM", "ended after epoch 1"))
    assert list(jobs) == []


def test_a_variant_is_run_once_and_counts_for_nothing(tmp_path: Path) -> None:
    given = search(tmp_path, 1, taus(1.0))
    (job,) = given.jobs()
    (job.folder / RESULT).write_text(json.dumps({"best": {"rsum": 100.0}}))
    given.ended(job, None)
    for again in (given, search(tmp_path, 1)):
        (variant,) = again.variant("0: tau = 4", *taus(4.0))
        (variant.folder / RESULT).write_text(json.dumps({"best": {"rsum": 200.0}}))
        again.ended(variant, None)
        assert again.variant_of("0: tau = 4").value == 200
    assert variant.done
    assert [trial.number for trial in again.best(5)] == [0]
    assert len(again.trials) == 1


def test_a_search_goes_on_with_what_was_running(tmp_path: Path) -> None:
    """The epochs that the pruner was told of are not told again, which Optuna warns of."""
    begun = search(tmp_path, 2, taus(1.0, 2.0))
    first = next(begun.jobs())
    logged(first, 50.0)
    begun.watch(first)
    goes_on = search(tmp_path, 2)
    again = list(goes_on.jobs())
    logged(first, 50.0, 60.0)
    assert goes_on.watch(again[0]) == ""
    assert goes_on.study.trials[0].intermediate_values == {1: 50.0, 2: 60.0}
    assert [job.folder for job in again] == [first.folder, first.folder.parent / "1"]


def test_a_trial_that_failed_is_begun_again_and_told_once_it_has_ended(tmp_path: Path) -> None:
    given = search(tmp_path, 1, taus(1.0))
    (job,) = given.jobs()
    given.ended(job, Failure(job, "ended with 1"))
    assert [(r["state"], r["why"][:7]) for r in given.records()] == [("fail", "trouble")]
    again = search(tmp_path, 1)
    (job,) = again.jobs()
    (job.folder / RESULT).write_text(json.dumps({"best": {"rsum": 100.0}}))
    again.ended(job, None)
    assert [(r["state"], r["why"], r["rsum"]) for r in again.records()] == [("complete", "", 100.0)]


@pytest.mark.parametrize("kept", [2, 4])
def test_a_search_that_goes_on_draws_as_if_it_had_not_been_interrupted(tmp_path: Path, kept: int) -> None:
    """Also where its journal ends anywhere, as that of a process that was killed."""

    def drawn(folder: Path) -> list[str]:
        given = search(folder, 3)
        for job in given.jobs():
            if not job.done:
                tau = json.loads((job.folder / DECLARED).read_text())["objective"]
                (job.folder / RESULT).write_text(json.dumps({"best": {"rsum": float(len(tau))}}))
            given.ended(job, None)
        return [str(record) for record in given.records()]

    whole = drawn(tmp_path / "whole")
    lines = (tmp_path / "whole" / JOURNAL).read_bytes().splitlines(keepends=True)
    (tmp_path / "parted").mkdir()
    (tmp_path / "parted" / JOURNAL).write_bytes(b"".join(lines[: len(lines) * kept // 5]) + b'{"op_code":4,"wor')
    assert drawn(tmp_path / "parted") == whole


def test_a_journal_that_is_none_is_refused(tmp_path: Path) -> None:
    search(tmp_path, 1, taus(1.0))
    journal = tmp_path / JOURNAL
    journal.write_bytes(b"nonsense\n" + journal.read_bytes())
    with pytest.raises(RunError, match=r"trials\.journal: got .* but expected the trials that a study writes"):
        search(tmp_path, 1)


def test_a_search_goes_on_with_other_workers(tmp_path: Path) -> None:
    """Also with what was drawn before, and in the comparison."""
    given = search(tmp_path, 2, taus(1.0, 2.0), workers=2)
    done, _ = given.jobs()
    (done.folder / RESULT).write_text(json.dumps({"best": {"rsum": 100.0}}))
    given.ended(done, None)
    again = search(tmp_path, 2)
    kept, left = again.jobs()
    assert kept.done
    assert json.loads((left.folder / DECLARED).read_text())["training"]["workers"] == 0
    assert [again.experiment_of(trial).training.workers for trial in again.best(2)] == [0]


def test_a_space_of_copies_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "MOST_REJECTED", 15)
    given = search(tmp_path, 40)
    assert len(list(given.jobs())) <= 14
