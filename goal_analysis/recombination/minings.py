"""Minings: how an anchor's positives and negatives are aggregated where weights are prescribed, and as text."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from goal_analysis.declarations import expect_kind, naming, number_of, number_text, one_of
from goal_analysis.numeric.engine.selections import DistanceWeighted, MaskAbove, SelectivelyHard, SemiHard, TopK
from goal_analysis.symbolic.language.aggregators import EACH, EACH_MEAN, MAX, MEAN, MIN, Aggregator, soft_max, soft_min
from goal_analysis.symbolic.language.hyperparameter import exact
from goal_analysis.symbolic.objective import Objective


@dataclass(frozen=True)
class Mining:
    """How the pairs of an anchor are aggregated. None keeps the objective's own aggregator, or takes the hardest."""

    positives: Aggregator | None
    negatives: Aggregator | None
    selection: Any = None  # of the negatives that are aggregated; None for all


def hardest() -> Mining:
    """The least similar positive and most similar negative (Hermans et al., 2017, https://arxiv.org/abs/1703.07737)."""
    return Mining(MIN, MAX)


def softmax(positive_scale: float | int = 10.0, negative_scale: float | int = 10.0) -> Mining:
    """Soft extremes log Σ exp(β·s)/β; at scale 0 the mean."""
    made = []
    for soft, name, value in (
        (soft_min, "positive_scale", positive_scale),
        (soft_max, "negative_scale", negative_scale),
    ):
        if not 0 <= value < float("inf"):
            raise ValueError(f"mining softmax: {name}: got {value} but expected a finite number of at least 0")
        made.append(soft(exact(value)) if value else MEAN)
    return Mining(*made)


def mean() -> Mining:
    """The means of the similarities: all pairs, with one weight an anchor."""
    return Mining(MEAN, MEAN)


def every() -> Mining:
    """Every positive with every negative: all triplets."""
    return Mining(EACH, EACH)


def top_k(k: int = 5) -> Mining:
    """The least similar positive with each of the k most similar negatives; their weights are averaged."""
    return Mining(MIN, EACH_MEAN, TopK(k))


def semi_hard(margin: float | int = 0.2) -> Mining:
    """All triplets with 0 < s_p − s_n ≤ margin."""
    return Mining(EACH, EACH, SemiHard(margin))


def mask_above(margin: float | int = 0.1) -> Mining:
    """The objective's own aggregators, of the negatives with s_n ≤ s_p + margin: others pass for positives."""
    return Mining(None, None, MaskAbove(margin))


def selectively_hard(epsilon: float | int = 0.01) -> Mining:
    """The hardest triplet, or all negatives where it is undecided."""
    return Mining(MIN, EACH_MEAN, SelectivelyHard(epsilon))


def distance_weighted(dim: int = 512, cutoff: float | int = 0.5, reach: float | int = 1.4) -> Mining:
    """For every positive one negative, drawn so that all distances are equally likely."""
    return Mining(EACH, EACH, DistanceWeighted(dim, cutoff, reach))


MININGS: dict[str, Callable[..., Mining]] = {
    "hardest": hardest,
    "semi_hard": semi_hard,
    "all": every,
    "top_k": top_k,
    "distance_weighted": distance_weighted,
    "selectively_hard": selectively_hard,
    "mask_above": mask_above,
    "mean": mean,
    "softmax": softmax,
}
"""The minings that text can name."""

_CALL = re.compile(r"\s*(\w+)\s*(?::([^()]*)|\(([^()]*)\))?\s*")


def mining_of(text: str | Mining) -> Mining:
    """The mining of a text: a name with numbers by their place, as in ``softmax:6,12`` (one number is both scales), or
    by their names, as in ``softmax(positive_scale=6, negative_scale=12)``. Others are a ValueError.
    """
    if isinstance(text, Mining):
        return text
    expect_kind("mining", text, str, "a text such as hardest or softmax:12, or a Mining")
    call = _CALL.fullmatch(text)
    name = call[1] if call else text.strip()
    if call is None or name not in MININGS:
        raise ValueError(f"mining: got {name!r} but expected one of {one_of(MININGS, name)}")
    accepted = {p.name: p.annotation for p in inspect.signature(MININGS[name]).parameters.values()}
    parts = [part for part in (call[2] or call[3] or "").split(",") if part.strip()]
    if len(parts) > len(accepted):
        expected = f"up to {len(accepted)}: {', '.join(accepted)}" if accepted else "none"
        raise ValueError(f"mining {name}: got {len(parts)} numbers in {text!r} but expected {expected}")
    numbers: dict[str, float | int] = {}
    for place, part in zip(accepted, parts, strict=False):
        key, _, value = (piece.strip() for piece in (part if "=" in part else f"{place}={part}").rpartition("="))
        if key not in accepted or key in numbers:
            raise ValueError(f"mining {name}: got {part.strip()!r} but expected each of {', '.join(accepted)} once")
        with naming(f"mining {name}: {key}"):
            number = number_of(value)
            if accepted[key] is int and not number.is_integer():
                raise ValueError(f"got {value} but expected a whole number")
        numbers[key] = int(number) if accepted[key] is int else number
    if name == "softmax" and len(parts) == 1 and "=" not in parts[0]:
        numbers = dict.fromkeys(accepted, *numbers.values())
    return MININGS[name](**numbers)


def numbers_of(mining: Mining) -> tuple[str, dict[str, float | int]] | None:
    """The name of a mining among `MININGS`, and its numbers; None of another one."""
    if any(p.free_symbols for a in (mining.positives, mining.negatives) if a is not None for p in a.parameters):
        return None
    own = {k: v for k, v in getattr(mining.selection, "__dict__", {}).items() if isinstance(v, float | int)}
    for name, make in MININGS.items():
        accepted = list(inspect.signature(make).parameters)
        numbers = own
        if name == "softmax" and mining.selection is None:
            sides = zip(accepted, (mining.positives, mining.negatives), strict=True)
            numbers = {key: float(side.parameters[0]) if side and side.parameters else 0.0 for key, side in sides}
        if set(numbers) == set(accepted) and make(**numbers) == mining:
            return name, numbers
    return None


def mining_text(mining: Mining, named: bool = False) -> str:
    """The text that `mining_of` reads as this mining, without a source of randomness; a ValueError of another one."""
    found = numbers_of(mining)
    if found is None:
        raise ValueError(f"mining: got {mining!r} but expected one of {', '.join(MININGS)}: others have no text")
    name, numbers = found
    if named and numbers:
        return f"{name}({', '.join(f'{key}={number_text(value)}' for key, value in numbers.items())})"
    values = [number_text(value) for value in numbers.values()]
    said = values[:1] if name == "softmax" and len(set(values)) == 1 else values
    return f"{name}:{','.join(said)}" if said else name


def mining_in(objective: Objective) -> Mining | None:
    """The mining of an objective all of whose terms aggregate similarities in one way; None of another one."""
    found = set()
    for term in objective.terms:
        similarities = all(side.inner == s and side.pool.name == "OWN" for _, s, side in term.aggregates)
        if len(term.sides) < 2 or not term.plain or not similarities or term.sides[0].selection is not None:
            return None
        p, n = term.sides
        found.add(Mining(p.aggregator, n.aggregator, n.selection))
    return found.pop() if len(found) == 1 else None
