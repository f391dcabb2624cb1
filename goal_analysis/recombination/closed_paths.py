"""Work of weights around closed paths: it shows that they are no gradient where no formula of them is at hand.

The paths are rectangles in two scores of a small batch, and the weights come from the engine, with all minings.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import pad

from goal_analysis.numeric.engine.dense import weight_matrix
from goal_analysis.numeric.functions import functions_of, weights_of_scores
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import embedding_gradients
from goal_analysis.numeric.similarity import scores as pairwise
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.proof.identity import Witness

MANY, FEW = 2503, 25  # points of one side of a rectangle; few where every one is a call of its own
RANDOM = 16  # rectangles that are tried where nothing is known of a selection
OTHERS = 8  # scores beside a witness's that are no members
STEP = 1e-5  # of a derivative by embeddings
CERTAIN = 1e-3  # the least asymmetry of a Jacobian, as a share of its largest entry, that no rounding makes

Side = tuple[int, int, float]
"""A score's row and column, and how far it moves."""


def work_witness(objective: Objective, rectangles: Iterable[tuple[Tensor, Side, Side]]) -> tuple[str, Witness] | None:
    """The first rectangle around which the weights certainly do work, in words and as a witness."""
    for start, *sides in rectangles:
        found = _certain_work(objective, start, *sides)
        if found is not None:
            moves = " and ".join(f"s_{i + 1}{j + 1} by {by:.3g}" for i, j, by in sides)
            witness = at_scores(start, found)
            return f"around the rectangle that moves {moves} and back, the weights do work: {witness}", witness
    return None


def at_scores(scores: Tensor, value: float) -> Witness:
    """A value at scores s_11, s_12 and so on, as a witness."""
    names = ((f"s_{i + 1}{j + 1}", float(s)) for i, row in enumerate(scores) for j, s in enumerate(row))
    return Witness(tuple(names), value)


def _certain_work(objective: Objective, start: Tensor, first: Side, second: Side) -> float | None:
    """∮⟨W, dS⟩ around a rectangle if it is certain: above the variation of W from node to node; else None."""
    rows, columns = start.shape
    matches = Matches.of_image_ids(torch.arange(rows), torch.arange(columns))
    functions = functions_of(objective)

    def weights(s: Tensor) -> Tensor:
        return weight_matrix(functions, s, matches.positives, matches.negatives)

    def one_by_one(of: Tensor) -> Tensor:
        return torch.stack([weights(s) for s in of])

    def work(nodes: int, of: Callable[[Tensor], Tensor]) -> tuple[float, float]:
        share, total, error = (torch.arange(nodes, dtype=start.dtype) + 0.5) / nodes, 0.0, 0.0
        for (i, j, by), (k, n, across), beside, sign in (
            (first, second, 0, 1),
            (second, first, 1, 1),
            (first, second, 1, -1),
            (second, first, 0, -1),
        ):
            s = start.expand(nodes, rows, columns).clone()
            s[:, i, j] += share * by
            s[:, k, n] += beside * across
            w = of(s)[:, i, j]
            total += sign * by * float(w.mean())
            error += abs(by) * float(w.diff().abs().sum()) / nodes
        return total, error

    try:
        found, error = work(MANY, torch.vmap(weights))
    except Exception:  # a selection of somebody's own may be none that torch can map
        found, error = work(FEW, one_by_one)
        if abs(found) > error / 10:
            found, error = work(10 * FEW, one_by_one)
    return found if abs(found) > max(error, 1e-9) else None


def keeps_all(selection: Callable[..., Tensor], witness: Witness | None) -> bool:
    """Whether a selection keeps every pair of a witness, which is a point of similarities s_p… and s_n…."""
    point = () if witness is None else witness.point
    of_p, of_n = ([[x for name, x in point if re.fullmatch(rf"{s}\d*", name)]] for s in ("s_p", "s_n"))
    s, other = torch.tensor(of_n, dtype=torch.float64), torch.tensor(of_p, dtype=torch.float64)
    members = pad(torch.ones_like(s, dtype=torch.bool), (0, OTHERS))
    kept = (selection(pad(s, (0, OTHERS)), members, positive) & members for positive in other.split(1, 1))
    return s.numel() > 0 and all(k.equal(members) for k in kept)


def random_rectangles(objective: Objective) -> Iterator[tuple[Tensor, Side, Side]]:
    """Rectangles in two scores of an anchor with one positive and two negatives, the same in every run."""
    source = torch.Generator().manual_seed(0)
    low, high = map(float, objective.similarity.window)
    for _ in range(RANDOM):
        corners = low + (high - low) * torch.rand(2, 3, 3, dtype=torch.float64, generator=source)
        i, j = torch.randperm(3, generator=source)[:2].tolist()
        moved = corners[1, 0] - corners[0, 0]
        yield corners[0], (0, i, float(moved[i])), (0, j, float(moved[j]))


def embedding_witness(objective: Objective) -> tuple[str, Witness] | None:
    """Coordinates of embeddings by which the gradients are not symmetric: ∂g_a/∂b and ∂g_b/∂a differ."""
    unit = objective.similarity != DOT
    matches = Matches.of_image_ids(torch.arange(2), torch.arange(3))

    def field(flat: Tensor) -> Tensor:
        of_rows = flat.view(5, 3)
        lengths = of_rows.norm(dim=1, keepdim=True) if unit else 1.0
        e = of_rows / lengths
        w = weights_of_scores(objective, pairwise(objective.similarity, e[:2], e[2:]), matches)
        g = torch.cat(embedding_gradients(objective.direction or objective.similarity, w, e[:2], e[2:]))
        return ((g - (g * e).sum(1, keepdim=True) * e) / lengths if unit else g).flatten()

    source = torch.Generator().manual_seed(0)
    for _ in range(3):
        at = torch.randn(5, 3, dtype=torch.float64, generator=source)
        at = (at / at.norm(dim=1, keepdim=True) if unit else at).flatten()
        jacobians = []
        for h in (STEP, STEP / 4):
            steps = h * torch.eye(len(at), dtype=torch.float64)
            jacobians.append(torch.stack([(field(at + step) - field(at - step)) / (2 * h) for step in steps]))
        coarse, fine = (j - j.T for j in jacobians)
        place = int(fine.abs().argmax())
        a, b = divmod(place, len(at))
        value, size = float(fine[a, b]), float(jacobians[1].abs().max())
        if abs(value) > CERTAIN * size and abs(value - float(coarse[a, b])) < 0.01 * abs(value):
            names = [f"{row}[{k}]" for row in ("x1", "x2", "y1", "y2", "y3") for k in (1, 2, 3)]
            witness = Witness(tuple(zip(names, at.tolist(), strict=True)), value)
            return f"the derivatives of the gradients by {names[a]} and {names[b]} differ by {value:.4g}", witness
    return None


def selected_mean(low: float, high: float) -> Iterator[tuple[Tensor, Side, Side]]:
    """Rectangles on which one anchor's only triplet leaves low < s_n − s_p < high, while another's positive moves."""
    end, sign = (high, 1) if high < math.inf else (low, -1)
    for middle, most in product((0.1, -0.2, 0.45), (0.4, 0.1, 0.02)):
        inside = min((high - low) / 2, most)
        start = middle + (sign * inside - end) * torch.eye(2, dtype=torch.float64)
        yield start, (0, 1, sign * 2 * inside), (1, 1, inside / 2)
        yield start, (0, 0, 2 * inside), (1, 1, inside / 2)


def exchanged(epsilon: float) -> Iterator[tuple[Tensor, Side, Side]]:
    """Rectangles on which the positive leaves what is as similar as the hardest negative, while another one moves."""
    for top, share in product((0.8, 0.3, -0.2), (0.5, 0.9, -0.5)):
        start = torch.full((1, 3), top, dtype=torch.float64)
        start[0, 0] = top - share * epsilon
        if top - 1.4 * epsilon < -1 or start[0, 0] > 1:
            continue
        # another negative that is far from the hardest, and one close to it
        for below, by in ((0.6, 0.4), (0.06, 0.04)):
            start[0, 2] = top - below
            yield start.clone(), (0, 0, (share - 1.4) * epsilon), (0, 2, by)
