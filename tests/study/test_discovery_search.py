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
from goal_analysis.study.discovery.search import REJECTED, Rules, Search
from goal_analysis.study.jobs import Failure
from goal_analysis.study.runs import DECLARED
from goal_analysis.study.tuning import storage
from goal_analysis.symbolic.weight import PairWeights
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
    rules = Rules(folder, storage(folder), base(workers=workers), budget, to_toml, from_toml, accepts)
    return Search("found", by_tau, rules, first)


def logged(job, *rsums: float) -> None:
    lines = [f'{{"kind": "epoch", "step": {e}, "epoch": {e}, "rsum": {rsum}}}' for e, rsum in enumerate(rsums, 1)]
    (job.output.parent / LOG).write_text("\n".join(lines) + "\n")


def test_a_copy_and_what_no_objective_can_have_are_not_run_and_do_not_count(tmp_path: Path) -> None:
    given = search(tmp_path, 3, taus(1.0, (1.0, 3), 8.0, 2.0, 4.0))
    jobs = list(given.jobs())
    assert [job.output.parent.name for job in jobs] == ["0", "3", "4"]
    told = {record["trial"]: record["why"] for record in given.records()}
    assert told[1] == "copy of 0"
    assert told[2] == "rejected 8 is too much"


def test_what_was_not_asked_for_is_not_run(tmp_path: Path) -> None:
    given = search(tmp_path, 1, taus(1.0, 2.0), lambda o: "1" if o.hyperparameters[0].default == 1 else "")
    (job,) = given.jobs()
    assert job.output.parent.name == "1"
    assert given.study.trials[0].user_attrs[REJECTED] == "1"


def test_what_falls_behind_is_ended_and_what_leads_is_not(tmp_path: Path) -> None:
    given = search(tmp_path, 3, taus(1.0, 2.0, 4.0))
    best, poor, last = given.jobs()
    logged(best, 100.0, 120.0)
    assert given.watch(best) == ""
    logged(poor, 50.0)
    why = given.watch(poor)
    assert "ended after epoch 1 with a dev RSUM of 50.0" in why
    given.ended(poor, Failure(poor, 143, why))
    given.ended(last, Failure(last, 1))
    states = [record["state"] for record in given.records()]
    assert states == ["running", "pruned", "fail"]
    assert given.left == 1


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
    assert [job.output for job in again] == [first.output, first.output.parents[1] / "1" / first.output.name]


def test_a_discovery_goes_on_with_other_workers(tmp_path: Path) -> None:
    """Also with what was drawn before, and in the comparison."""
    _begin(tmp_path, base(workers=2), {"found": 2})
    given = search(tmp_path, 2, taus(1.0, 2.0), workers=2)
    done, _ = given.jobs()
    done.output.write_text(json.dumps({"best": {"rsum": 100.0}}))
    given.ended(done, None)
    _begin(tmp_path, base(), {"found": 2})
    again = search(tmp_path, 2)
    (left,) = again.jobs()
    assert json.loads((left.output.parent / DECLARED).read_text())["training"]["workers"] == 0
    assert [experiment.training.workers for experiment, _ in again.best(2)] == [0]
    with pytest.raises(RunError, match="got another experiment or smaller budgets"):
        _begin(tmp_path, base(epochs=8), {"found": 2})


def test_a_space_of_copies_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "MOST_REJECTED", 40)
    given = search(tmp_path, 50)
    assert len(list(given.jobs())) <= 3
