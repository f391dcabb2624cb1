"""The search of a discovery: what is run, what is not run twice, and what the pruner is told."""

import json
from pathlib import Path

import pytest
import sympy as sp

from goal_analysis.recombination.recombine import composed
from goal_analysis.recombination.text import from_toml, to_toml
from goal_analysis.study.discovery import search as search_module
from goal_analysis.study.discovery.discovery import _begin
from goal_analysis.study.discovery.grammar import Proposal
from goal_analysis.study.discovery.search import JOURNAL, REJECTED, Search, storage
from goal_analysis.study.driver import Driver, Failure
from goal_analysis.study.runs import DECLARED
from goal_analysis.symbolic.weight import PairWeights
from goal_analysis.vse.folder.run import RESULT
from goal_analysis.vse.folder.run_folder import LOG, RunError
from goal_analysis.vse.loop.experiment import Experiment, experiment_from_mapping
from losses_catalog.weights import nca_triplet

BASE = {
    "name": "small",
    "data": {"name": "nowhere"},
    "model": {"image": {"name": "linear"}, "text": {"name": "bag_of_words"}},
    "objective": "hinge/constant",
    "training": {"epochs": 9},
}


def by_tau(trial, rate: float) -> Proposal:
    tau, times = trial.suggest_categorical("tau", (1.0, 2.0, 4.0, 8.0)), trial.suggest_categorical("times", (1, 3))
    if tau == 8:
        raise ValueError("8 is too much")
    pair = PairWeights(name="p", positive=sp.Integer(times), negative=sp.Integer(times))
    return Proposal(composed(nca_triplet, pair).with_settings({"tau": tau}), {"learning_rate": rate})


def taus(*given: float | tuple[float, int]) -> tuple[dict, ...]:
    pairs = (one if isinstance(one, tuple) else (one, 1) for one in given)
    return tuple({"tau": tau, "times": times} for tau, times in pairs)


def base(**training: int) -> Experiment:
    return experiment_from_mapping(BASE | {"training": BASE["training"] | training})


def search(folder: Path, budget: int, first: tuple = (), accepts=lambda objective: "", workers: int = 0) -> Search:
    with Driver(folder) as driver:
        store = storage(driver)
    return Search("found", by_tau, folder, store, base(workers=workers), budget, to_toml, from_toml, accepts, first)


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


def test_what_falls_behind_is_ended_and_what_leads_is_not(tmp_path: Path) -> None:
    given = search(tmp_path, 3, taus(1.0, 2.0, 4.0))
    best, poor, last = given.jobs()
    logged(best, 100.0, 120.0)
    assert given.watch(best) == ""
    logged(poor, 50.0)
    why = given.watch(poor)
    assert "ended after epoch 1 with a dev RSUM of 50.0" in why
    given.ended(poor, Failure(poor, "killed by SIGTERM", why))
    given.ended(last, Failure(last, "ended with 1"))
    states = [record["state"] for record in given.records()]
    assert states == ["running", "pruned", "fail"]
    assert given.pruned == 1


def test_a_search_goes_on_with_what_was_running(tmp_path: Path) -> None:
    """The epochs that the pruner was told of are not told again, which Optuna warns of."""
    begun = search(tmp_path, 2, taus(1.0, 2.0))
    first = next(begun.jobs())
    logged(first, 50.0)
    begun.watch(first)
    goes_on = search(tmp_path, 2)
    again = list(goes_on.jobs())
    logged(first, 50.0, 60.0)
    goes_on.watch(again[0])
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


def test_a_discovery_goes_on_with_other_workers(tmp_path: Path) -> None:
    """Also with what was drawn before, and in the comparison."""
    _begin(tmp_path, base(workers=2), {"found": 2})
    given = search(tmp_path, 2, taus(1.0, 2.0), workers=2)
    done, _ = given.jobs()
    (done.folder / RESULT).write_text(json.dumps({"best": {"rsum": 100.0}}))
    given.ended(done, None)
    _begin(tmp_path, base(), {"found": 2})
    again = search(tmp_path, 2)
    kept, left = again.jobs()
    assert kept.done
    assert json.loads((left.folder / DECLARED).read_text())["training"]["workers"] == 0
    assert [experiment.training.workers for experiment, _ in again.best(2)] == [0]
    with pytest.raises(RunError, match="got another experiment or smaller budgets"):
        _begin(tmp_path, base(epochs=8), {"found": 2})


def test_a_space_of_copies_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "MOST_REJECTED", 40)
    given = search(tmp_path, 50)
    assert len(list(given.jobs())) <= 3
