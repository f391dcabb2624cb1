"""The winner of a search made simple: what costs little is left out, what costs much stays, and nothing runs twice."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sympy as sp

from goal_analysis.recombination.recombine import composed
from goal_analysis.recombination.text import from_toml, to_toml
from goal_analysis.study.discovery import TOLERANCE, Step, simplify
from goal_analysis.study.driver import DECLARED, Driver
from goal_analysis.study.engine import Job
from goal_analysis.study.search import Search, Setting, storage
from goal_analysis.symbolic.language.primitives import s_n, s_p, sigmoid
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.weight import PairWeights, TripletWeight
from goal_analysis.vse.folder.run_folder import RESULT
from goal_analysis.vse.loop.experiment import TrainingOptions, experiment_from_mapping

BASE = {"data": {"name": "nowhere"}, "model": {}, "objective": "circle"}
WINNER = {"training.text_text": 0.3, "negative": "linear", "triplet.margin": 0.1234, "tau": 12.34}


def grammar(trial, training: TrainingOptions) -> tuple[Objective, TrainingOptions]:
    text_text = trial.suggest_float("training.text_text", 0, 1)
    negative = s_n if trial.suggest_categorical("negative", ("constant", "linear")) == "linear" else sp.S.One
    numbers = trial.suggest_float("triplet.margin", 0, 1), trial.suggest_float("tau", 1, 40, log=True)
    margin, tau = (sp.Rational(f"{number:.4g}") for number in numbers)
    triplet = TripletWeight(name="t", expression=sigmoid(tau * (s_n - s_p + margin)))
    objective = composed(triplet, PairWeights(name="p", positive=1 - s_p, negative=negative))
    return objective, TrainingOptions(captions_per_image=2, text_text=text_text)


@dataclass
class StandIn:
    """An engine whose runs reach 300, and less by what is missing: `costs` of the term, and of P⁻."""

    costs: tuple[float, float]
    places: int = 1
    begun: list[Job] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)

    def submit(self, job: Job) -> None:
        self.begun.append(job)

    def wait(self, seconds: float) -> dict[Job, str]:
        job = self.begun.pop()
        self.ran.append(job.name)
        declared = json.loads((job.folder / DECLARED).read_text())
        (term,) = from_toml(declared["objective"]).terms
        missing = (declared["training"]["text_text"] == 0, term.negatives is not None and term.negatives.weight == 1)
        rsum = 300 - sum(cost for cost, is_missing in zip(self.costs, missing, strict=True) if is_missing)
        (job.folder / RESULT).write_text(json.dumps({"best": {"rsum": rsum}}))
        return {job: "ended with 0"}

    def cancel(self, job: Job) -> None:
        raise AssertionError

    def close(self) -> None: ...


def simplified(folder: Path, engine: StandIn) -> tuple[dict[str, Step], dict]:
    with Driver(folder, engine) as driver:
        data = {"nowhere": BASE["data"]}
        setting = Setting(folder, storage(driver), experiment_from_mapping(BASE), data, to_toml, from_toml)
        search = Search("found", grammar, setting, 1, [WINNER])
        driver.run(search.jobs(), search.ended)
        steps, left = simplify(driver, search, search.best(1)[0])
        return {step.what: step for step in steps}, left.params


@pytest.mark.parametrize(("costs", "kept"), [((0.0, 5.0), (True, False)), ((5.0, 0.0), (False, True))])
def test_what_costs_little_is_left_out_and_what_costs_much_stays(tmp_path: Path, costs: tuple, kept: tuple) -> None:
    steps, left = simplified(tmp_path, StandIn(costs))
    term, negative = steps["training.text_text = 0.0"], steps["negative = constant"]
    assert (term.is_kept, negative.is_kept) == kept
    assert (term.cost, negative.cost) == costs
    assert (left["training.text_text"] == 0, left["negative"] == "constant") == kept
    assert left["triplet.margin"] == 0
    assert left["tau"] == 10, "rounded last, to one digit"
    assert "triplet = constant" not in steps, "the winner draws no such thing"


def test_the_whole_may_cost_more_than_a_step_and_says_so(tmp_path: Path) -> None:
    steps, _ = simplified(tmp_path, StandIn((TOLERANCE, TOLERANCE)))
    assert steps["training.text_text = 0.0"].is_kept
    assert steps["negative = constant"].is_kept
    assert steps["1 digit"].cost == 2 * TOLERANCE


def test_a_simplification_is_made_once(tmp_path: Path) -> None:
    first, again = StandIn((0.0, 5.0)), StandIn((0.0, 5.0))
    once = simplified(tmp_path, first)
    assert simplified(tmp_path, again) == once
    assert (len(first.ran) == len(set(first.ran)) > 5, again.ran) == (True, [])
