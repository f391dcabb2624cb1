"""The few losses that stand for all: every property that a loss of the catalog declares is one of theirs.

The engine and the proofs read how a loss is built, and not its name. A law of theirs is tested on these; what is said
of every single loss, such as that its weights are its gradient, is tested on all.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache

import sympy as sp
import torch

from goal_analysis.numeric.matches import Matches
from goal_analysis.symbolic.language.aggregators import Side
from goal_analysis.symbolic.language.primitives import CARRIED, detach, hinge, step
from goal_analysis.symbolic.objective import Objective, Term


def covering(losses: Sequence[Objective]) -> list[Objective]:
    """As few of the losses, in their order, as have every property that one of them has; chosen greedily."""
    left, chosen = set().union(*map(properties, losses)), []
    while left:
        chosen.append(max(losses, key=lambda loss: len(properties(loss) & left)))
        left -= properties(chosen[-1])
    return [loss for loss in losses if loss in chosen]


def carrying(loss: Objective, matches: Matches) -> Matches:
    """The matches, of which every pair carries a number where the loss reads that."""
    return with_numbers(matches) if loss.reads_carried else matches


def with_numbers(matches: Matches) -> Matches:
    """The matches, of which every pair carries a number, some the same."""
    drawn = torch.rand(matches.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    return replace(matches, carried=(8 * drawn).round() / 8)


@cache
def properties(loss: Objective) -> frozenset:
    """What a loss declares: how it is measured and summed, and the make of each of its terms and sides."""
    of_all = {
        ("similarity", loss.similarity.name),
        ("reduction", loss.reduction),
        ("anchors", loss.anchors),
        ("terms", len(loss.terms)),
        ("proxies", loss.proxies, loss.grouped is not None),
    }
    return frozenset(of_all.union(*map(of_term, loss.terms)))


def of_term(term: Term) -> Iterator[tuple]:
    sides = {"positives": term.positives, "negatives": term.negatives}
    yield ("sides", *(side and (side.aggregator.name, side.pool) for side in sides.values()), len(term.named))
    yield "outer", *made_of([term.effective_outer]), term.plain, term.total is not None
    yield from (("side", name, *of_side(side)) for name, side in sides.items() if side is not None)
    yield from (("named", *of_side(one.side)) for one in term.named)


def of_side(side: Side) -> tuple:
    polynomial = side.inner.is_polynomial(*side.inner.free_symbols)
    return side.aggregator.name, side.pool, polynomial, side.selection is not None, *made_of([side.inner])


def made_of(formulas: Iterable[sp.Expr]) -> tuple[bool, ...]:
    """Whether kinks, jumps, stopped gradients and what pairs carry are in the formulas."""
    return tuple(any(formula.has(kind) for formula in formulas) for kind in (hinge, step, detach, *CARRIED))
