"""The winner of a search made simple: parts and constants left out, numbers fitted again and rounded.

Every step is a trial of the search's own kind, of the same seed on the same fold. It is kept if it costs at most
`TOLERANCE` of RSUM against what the steps before have left, a refit if it gains. So the whole costs more than one step;
how much is measured over fresh seeds, where what is left stands beside the winner.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial

from goal_analysis.study.driver import Driver
from goal_analysis.study.search import Search

TOLERANCE = 0.5

REFITS, SPREAD = 4, 0.2
"""So many trials move all numbers of what is left, by factors of this deviation."""

NEUTRAL: Mapping[str, Any] = {
    "training.image_image": 0.0,
    "training.text_text": 0.0,
    "direction": "cosine",
    "positive": "constant",
    "negative": "constant",
    **{f"{side}.{part}": 0.0 for side in ("positive", "negative") for part in ("second", "first", "centre")},
    "triplet.margin": 0.0,
    "triplet.bias": 0.0,
    "triplet": "constant",
}
"""What leaves a choice or a constant out, in the order in which that is tried."""


@dataclass(frozen=True)
class Step:
    """A step of the simplification.

    Args:
        what: was tried.
        rsum: of its trial; None where it did not come to an end, or makes no objective.
        cost: of RSUM, against the winner.
        is_kept: whether the next steps begin with it.
    """

    what: str
    rsum: float | None
    cost: float
    is_kept: bool


def simplify(driver: Driver, search: Search, winner: FrozenTrial) -> tuple[list[Step], FrozenTrial]:
    """Run the steps that are not done; give them, and the trial that is left.

    Args:
        driver: of the study.
        search: that has ended.
        winner: its best trial.
    """
    steps: list[Step] = []
    left, best = winner, float(winner.value or 0.0)
    for what, change in _changes(winner):
        parameters = change(left.params)
        if parameters == left.params:
            continue
        trial = _tried(driver, search, f"{winner.number}: {what}", parameters)
        rsum, before = None if trial is None else trial.value, float(left.value or 0.0)
        kept = rsum is not None and (rsum > before if what.startswith("refit") else rsum >= before - TOLERANCE)
        steps.append(Step(what, rsum, float("nan") if rsum is None else best - rsum, kept))
        if kept and trial is not None:
            left = trial
    return steps, left


def _changes(winner: FrozenTrial) -> Iterator[tuple[str, Any]]:
    for name, neutral in NEUTRAL.items():
        yield f"{name} = {neutral}", lambda given, n=name, v=neutral: given | {n: v} if n in given else given
    for number in range(REFITS):
        rng = np.random.default_rng((winner.number, number))
        factors = {name: float(np.exp(SPREAD * rng.normal())) for name in sorted(winner.params)}
        yield f"refit {number + 1}", lambda given, by=factors: _mapped(winner, given, lambda n, x: x * by.get(n, 1.0))
    for digits in (2, 1):
        yield (
            f"{digits} digit{'s' if digits > 1 else ''}",
            lambda given, d=digits: _mapped(winner, given, lambda n, x: float(f"{x:.{d}g}")),
        )


def _mapped(winner: FrozenTrial, given: Mapping[str, Any], change: Any) -> dict[str, Any]:
    """Every number that is no whole one, changed within its range."""
    found = dict(given)
    for name, value in given.items():
        if isinstance(value, float) and name in winner.distributions:
            of = winner.distributions[name]
            found[name] = min(max(change(name, value), of.low), of.high)  # pyright: ignore[reportAttributeAccessIssue]
    return found


def _tried(driver: Driver, search: Search, what: str, parameters: Mapping[str, Any]) -> FrozenTrial | None:
    driver.run(search.variant(what, parameters), search.ended, lambda job: "")
    return search.variant_of(what)
