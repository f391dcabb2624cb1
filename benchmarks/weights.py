"""How much slower compiled weights are than weights written by hand in torch.

Prints, for every loss and size, the ratio of the times: compiled over hand-written, the median and the
quartiles over pairs of runs that follow each other at once, on one thread. Goals: 1.5 at N = 128 and 1.1 at
N = 4096, for N similarities and for a matrix of N × N. Below 1 the compiled weights are faster.

    python benchmarks/weights.py --sizes 128 4096
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from goal_analysis.numeric.compilation import compiled
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.weight import compose
from losses_catalog import pair_weights, triplet_weights
from losses_catalog.circle import circle_loss
from losses_catalog.info_nce import info_nce_loss
from losses_catalog.multi_similarity import multi_similarity_loss

GOALS = {128: 1.5, 4096: 1.1}
MOST_TIME = 0.02
"""Seconds that one timing of a small problem lasts: the call is repeated within it."""

Weights = Callable[[Tensor, Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Contest:
    """T, P⁺ and P⁻ of one objective, compiled and written by hand."""

    name: str
    compiled: Weights
    by_hand: Weights


def circle_by_hand(p: Tensor, n: Tensor) -> tuple[Tensor, ...]:
    """T, P⁺ and P⁻ of the circle loss, γ = 256 and m = 0.25."""
    pull, push = 1.25 - p, (n + 0.25).clamp_min(0)
    return 256 * torch.sigmoid(256 * (push * (n - 0.25) - pull * (p - 0.75))), pull, push


def multi_similarity_by_hand(p: Tensor, n: Tensor) -> tuple[Tensor, ...]:
    """T, P⁺ and P⁻ of the multi-similarity loss, α = 2, β = 50 and λ = ½."""
    return torch.ones_like(p), torch.sigmoid(-2 * (p - 0.5)), torch.sigmoid(50 * (n - 0.5))


def info_nce_by_hand(p: Tensor, n: Tensor) -> tuple[Tensor, ...]:
    """T, P⁺ and P⁻ of InfoNCE, scale 10."""
    one = torch.ones_like(p)
    return 10 * torch.sigmoid(10 * (n - p)), one, one


def nca_linear_by_hand(p: Tensor, n: Tensor) -> tuple[Tensor, ...]:
    """T, P⁺ and P⁻ of nca × linear, τ = 10."""
    return torch.sigmoid(10 * (n - p)), 1 - p, n


def linear_by_hand(p: Tensor, n: Tensor) -> tuple[Tensor, ...]:
    """T, P⁺ and P⁻ of constant × linear."""
    return torch.ones_like(p), 1 - p, n


def contests() -> list[Contest]:
    """The objectives of the table, the published ones at their defaults."""
    triplet = {weight.name: weight for weight in triplet_weights}
    pair = {weights.name: weights for weights in pair_weights}
    fields = {
        "circle": (decompose(circle_loss).field, circle_by_hand),
        "multi_similarity": (decompose(multi_similarity_loss).field, multi_similarity_by_hand),
        "info_nce": (decompose(info_nce_loss).field, info_nce_by_hand),
        "nca × linear": (compose(triplet["nca"], pair["linear"]), nca_linear_by_hand),
        "constant × linear": (compose(triplet["constant"], pair["linear"]), linear_by_hand),
    }
    found = []
    for name, (field, by_hand) in fields.items():
        factors, values = field.factors, field.values()
        expressions = (factors.triplet, factors.positive, factors.negative)
        found.append(Contest(name, compiled([e.subs(values) for e in expressions], [s_p, s_n]), by_hand))
    return found


def seconds(weights: Weights, p: Tensor, n: Tensor, repeats: int) -> float:
    """The time of one call, over ``repeats`` calls."""
    start = time.perf_counter()
    for _ in range(repeats):
        weights(p, n)
    return (time.perf_counter() - start) / repeats


def check(contest: Contest) -> None:
    """Raise unless both compute the same: a fast wrong answer wins nothing."""
    p, n = (torch.rand(100, dtype=torch.float64) * 2 - 1 for _ in range(2))
    torch.testing.assert_close(contest.compiled(p, n), contest.by_hand(p, n), rtol=1e-10, atol=1e-12)


def measure(contest: Contest, shape: tuple[int, ...], rounds: int) -> dict[str, object]:
    """One row of the table."""
    p, n = (torch.rand(shape) * 2 - 1 for _ in range(2))
    once = max(seconds(contest.compiled, p, n, 2), seconds(contest.by_hand, p, n, 2))
    repeats = max(1, int(MOST_TIME / once))
    times = pd.DataFrame(
        {
            "compiled": seconds(contest.compiled, p, n, repeats),
            "by hand": seconds(contest.by_hand, p, n, repeats),
        }
        for _ in range(rounds)
    )
    low, median, high = (times["compiled"] / times["by hand"]).quantile([0.25, 0.5, 0.75])
    goal = GOALS.get(shape[0])
    return {
        "weights": contest.name,
        "shape": " × ".join(map(str, shape)),
        "compiled µs": times["compiled"].median() * 1e6,
        "by hand µs": times["by hand"].median() * 1e6,
        "ratio": median,
        "quartiles": f"{low:.2f}–{high:.2f}",
        "goal": "" if goal is None else f"≤ {goal}: {'met' if median <= goal else 'MISSED'}",
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 4096], help="values of N")
    parser.add_argument("--rounds", type=int, default=30, help="pairs of timings for every ratio")
    parser.add_argument("--no-matrices", action="store_true", help="vectors of N similarities alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with torch.no_grad():
        for contest in contests():
            check(contest)
            for size in options.sizes:
                for shape in ((size,), (size, size))[: 1 if options.no_matrices else 2]:
                    rows.append(measure(contest, shape, options.rounds))
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.2f}".format))


if __name__ == "__main__":
    main()
