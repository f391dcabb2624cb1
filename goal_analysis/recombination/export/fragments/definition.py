"""The objective once more, one triplet at a time in Python's floats, and the test that compares."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from goal_analysis.recombination.export.fragments.definition_directions import defined_dot as defined_gradients
from goal_analysis.recombination.export.fragments.definition_mining import defined_chances
from goal_analysis.recombination.export.fragments.definition_mining import defined_hardest as defined_triplets
from goal_analysis.recombination.export.fragments.directions import dot_products as similarities
from goal_analysis.recombination.export.fragments.formulas import (
    changed_settings,
    defined_negative_weight,
    defined_positive_weight,
    defined_relative_similarities,
    defined_triplet_weight,
    triplet_weight,
)
from goal_analysis.recombination.export.fragments.mining import chances, distance_weighted_triplets
from goal_analysis.recombination.export.fragments.objective import Objective
from goal_analysis.recombination.export.fragments.settled import (
    BOTH_ASK,
    HAS_SETTINGS,
    IMAGES_ASK,
    MEAN,
    NEGATIVE_SCALE,
    POSITIVE_SCALE,
    RANDOM,
    RECORDED,
    RELATIVE,
    UNIFORM,
)


def self_test() -> bool:
    """Compare with loops over triplets and with the numbers of the day this was written; print what was found."""
    wrong: list[str] = []
    if HAS_SETTINGS:
        wrong += changed_settings()
    off = formula_difference()
    print(f"T differs by {off:.1e} from its definition over the range of the scores")
    if not off <= 1e-9:
        wrong.append("T")
    x, y, ids = example()
    recorded = torch.zeros(8, dtype=torch.float64)
    for what, image_ids in (("pairs", None), ("images with ids", ids)):
        of_image = torch.arange(len(x)) if image_ids is None else image_ids
        match = of_image[:, None] == of_image
        x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
        scores = similarities(x.detach(), y.detach()).requires_grad_()
        torch.manual_seed(0)
        (weights,) = torch.autograd.grad(Objective().from_scores(scores, match), scores)
        torch.manual_seed(0)
        to_x, to_y = torch.autograd.grad(Objective()(x, y, image_ids), (x, y))
        torch.manual_seed(0)
        expected = torch.tensor(defined_weights(scores.tolist(), match.tolist()), dtype=torch.float64)
        to_x_expected, to_y_expected = defined_gradients(expected, x.detach(), y.detach())
        off = float((weights - expected).abs().max())
        off_x, off_y = float((to_x - to_x_expected).abs().max()), float((to_y - to_y_expected).abs().max())
        print(
            f"{what}: the largest weight is {float(expected.abs().max()):.6g}; differences from loops over triplets: "
            f"weights {off:.1e}, gradients {off_x:.1e} and {off_y:.1e}"
        )
        tolerance = 1e-9 * max(1.0, float(expected.abs().sum()))
        if not max(off, off_x, off_y) <= tolerance:
            wrong.append(what)
        recorded += torch.cat([to_x.abs().sum(0), to_y.abs().sum(0)])
    if not RANDOM:
        then = torch.tensor(RECORDED, dtype=torch.float64)
        off = float((recorded - then).abs().max())
        print(f"sums of the gradients: {off:.1e} from the recorded ones")
        if not off <= 1e-8 * max(1.0, float(then.max())):
            wrong.append("recorded numbers")
    print(f"FAILED: {', '.join(wrong)}" if wrong else "passed")
    return not wrong


def formula_difference() -> float:
    """The largest difference of T from its definition, as a share of its size, over many pairs of scores."""
    points = [(2 * (k * 0.6180339887 % 1) - 1, 2 * (k * 0.7548776662 % 1) - 1) for k in range(2000)]
    s_p, s_n = torch.tensor(points, dtype=torch.float64).unbind(1)
    largest = 0.0
    for (p, n), found in zip(points, triplet_weight(s_p, s_n).tolist(), strict=True):
        try:
            expected = defined_triplet_weight(p, n)
        except (ValueError, OverflowError, ZeroDivisionError):  # T has no value here
            continue
        largest = max(largest, abs(found - expected) / max(1.0, abs(expected)))
    return largest


def example() -> tuple[Tensor, Tensor, Tensor]:
    """Twelve images and texts in four dimensions, some easy and some hard, with ids that repeat."""
    k = torch.arange(48, dtype=torch.float64).view(12, 4)
    x = torch.nn.functional.normalize(torch.sin(1 + k * k), dim=1)
    y = torch.nn.functional.normalize(x + 0.6 * torch.cos(k * k * k), dim=1)
    return x, y, torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 0])


def defined_weights(s: list[list[float]], match: list[list[bool]]) -> list[list[float]]:
    """W by the definition: a sum over triplets."""
    weights = [[0.0] * len(row) for row in s]
    anchors = 0
    if BOTH_ASK:
        anchors += add_rows(s, match, weights, swapped=False)
        anchors += add_rows(transposed(s), transposed(match), weights, swapped=True)
    elif IMAGES_ASK:
        anchors += add_rows(s, match, weights, swapped=False)
    else:
        anchors += add_rows(transposed(s), transposed(match), weights, swapped=True)
    if MEAN:
        return [[w / max(anchors, 1) for w in row] for row in weights]
    else:
        return weights


def transposed(matrix: list) -> list:
    """Columns as rows."""
    return [list(column) for column in zip(*matrix, strict=True)]


def add_mined_rows(s: list[list[float]], match: list[list[bool]], weights: list[list[float]], swapped: bool) -> int:
    """Add the weights with rows as anchors, and say how many of those have a triplet."""

    def add(a: int, b: int, weight: float) -> None:
        a, b = (b, a) if swapped else (a, b)
        weights[a][b] += weight

    if RANDOM:
        triplets = drawn_triplets(s, match)
    else:
        triplets = [
            (a, p, n, m)
            for a, row in enumerate(s)
            for p, n, m in defined_triplets(
                row,
                [j for j, matches in enumerate(match[a]) if matches],
                [j for j, matches in enumerate(match[a]) if not matches],
            )
        ]
    if RELATIVE:
        for own, (a, p, n, m) in enumerate(triplets):
            t = m * defined_triplet_weight(s[a][p], s[a][n])
            others = defined_relative_similarities(s, match, triplets, own)
            add(a, p, -t * defined_positive_weight(s[a][p], *others))
            add(a, n, t * defined_negative_weight(s[a][n], *others))
    else:
        for a, p, n, m in triplets:
            t = m * defined_triplet_weight(s[a][p], s[a][n])
            add(a, p, -t * defined_positive_weight(s[a][p]))
            add(a, n, t * defined_negative_weight(s[a][n]))
    return len({triplet[0] for triplet in triplets})


def add_softmax_rows(s: list[list[float]], match: list[list[bool]], weights: list[list[float]], swapped: bool) -> int:
    """Add the weights with rows as anchors, and say how many of those have positives and negatives."""
    anchors = 0
    for a, row in enumerate(s):
        positives = [j for j, matches in enumerate(match[a]) if matches]
        negatives = [j for j, matches in enumerate(match[a]) if not matches]
        if not positives or not negatives:
            continue
        anchors += 1
        x_p, q_p = soft(row, positives, -POSITIVE_SCALE)
        x_n, q_n = soft(row, negatives, NEGATIVE_SCALE)
        t = defined_triplet_weight(x_p, x_n)
        added = [(j, -t * q * defined_positive_weight(row[j])) for j, q in zip(positives, q_p, strict=True)]
        added += [(j, t * q * defined_negative_weight(row[j])) for j, q in zip(negatives, q_n, strict=True)]
        for j, weight in added:
            i, k = (j, a) if swapped else (a, j)
            weights[i][k] += weight
    return anchors


def soft(row: list[float], members: list[int], scale: float) -> tuple[float, list[float]]:
    """log Σ exp(scale·s)/scale over the members, and its derivatives."""
    if UNIFORM:
        if scale == 0:
            return math.fsum(row[j] for j in members) / len(members), [1 / len(members)] * len(members)
    top = max(scale * row[j] for j in members)
    shares = [math.exp(scale * row[j] - top) for j in members]
    total = math.fsum(shares)
    return (top + math.log(total)) / scale, [share / total for share in shares]


def drawn_triplets(s: list[list[float]], match: list[list[bool]]) -> list[tuple[int, int, int, float]]:
    """The triplets that this seed draws, once the chances are seen to be right."""
    scores, positives = torch.tensor(s, dtype=torch.float64), torch.tensor(match)
    found = chances(scores, ~positives).tolist()
    for a, row in enumerate(s):
        expected = defined_chances(row, [j for j, matches in enumerate(match[a]) if not matches])
        if max(abs(p - q) for p, q in zip(found[a], expected, strict=True)) > 1e-9:
            raise ValueError(f"chances of row {a}: got {found[a]} but expected {expected}")
    drawn = distance_weighted_triplets(scores, positives, ~positives)
    return [(a, p, n, 1.0) for a, p, n in zip(*(part.tolist() for part in drawn), strict=True)]


add_rows = add_mined_rows
