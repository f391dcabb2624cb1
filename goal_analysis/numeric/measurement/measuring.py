"""The weights of any loss, measured over the plane and on batches, with the verdicts on them.

Nothing is known of the loss but its values, autograd's gradients, and what it calls. w⁺ = −Σ ∂L/∂s over the positives
and w⁻ = Σ ∂L/∂s over the negatives are −∂L/∂s_p and ∂L/∂s_n, or what trains in place of a stopped gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from goal_analysis.numeric.measurement import calling, inspection
from goal_analysis.numeric.measurement.arrangement import Arrangement, batch_similarities, in_batch
from goal_analysis.numeric.measurement.calling import OF_PAIRS, Call, Inputs, LossFunction, UnmeasurableLoss
from goal_analysis.numeric.measurement.fields import NOTICEABLE, fit_factors, jumps, largest, noise_of, share, turning
from goal_analysis.numeric.measurement.gradients import batch_field, mapped, pair_gradients, plane_field, returned
from goal_analysis.numeric.measurement.measurement import UNEXPLAINED, Batches, Measurement

BESIDE = (1.37e-3, -0.89e-3)
"""The curl is looked at this far from the grid, whose points lie on kinks more often than others do."""

SIGNS = torch.tensor([-1.0, 1.0], dtype=torch.float64)
"""(w⁺, w⁻) are the gradient by (s_p, s_n) times these."""

REPEATED, REPEATABLE = 8, 1e-6
"""At so many points the loss is called once more in the end; its gradients may differ by this share."""

COARSE = 10  # so many points a side are enough for the curl of a loss that is called point by point
COMPARED = 4  # so many batches are compared with themselves turned
TURNING = 2  # on so many batches differences of the weights are taken
BATCHES = 12
KINDS = ((0.0, 0.0), (0.3, 1.0), (0.6, 0.5), (1.0, 0.0), (0.0, 2.0), (1.0, 1.0))
"""How close the vectors of a class are, and how spread all of them, from one batch to the next."""
LINES, SEGMENTS = 5, 16  # jumps are sought on so many lines from one batch to another, in so many parts
CLOSED_IN = 6  # so many jumps have points on both sides that lead a fit to them


def measure(
    loss_fn: LossFunction | type,
    inputs: Inputs | None = None,
    *,
    points: int = 21,
    limit: float = 0.95,
    dim: int | None = None,
    dtype: torch.dtype | None = None,
    settings: Mapping[str, Any] | None = None,
    name: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Measurement:
    """Measure the weights w⁺(s_p, s_n) and w⁻(s_p, s_n) of any loss, or of the class of one.

    A module is copied, and stays as it is. The grid goes from −limit to limit; it costs 15·points² calls, and the
    batches up to twice that where weights are no gradient or rounded. ``dim`` is for losses that insist on one, else
    the number of vectors or the width of a parameter; ``dtype`` is float64, or float32 where that is refused;
    ``settings`` go to the constructor and to the call. A call that fails or returns no scalar, and one that is nowhere
    finite, raises `UnmeasurableLoss`; a grid or a dimension that is too small is a ValueError.

    >>> def softmax_of_cosines(images, texts):
    ...     scores = images @ texts.T
    ...     return torch.nn.functional.cross_entropy(10 * scores, torch.arange(len(scores)))
    >>> found = measure(softmax_of_cosines, Inputs.TWO_SETS, points=3, limit=0.5)
    >>> found.w_n
    tensor([[5.0000e+00, 9.9331e+00, 9.9995e+00],
            [6.6929e-02, 5.0000e+00, 9.9331e+00],
            [4.5398e-04, 6.6929e-02, 5.0000e+00]], dtype=torch.float64)
    >>> found.separable, found.integrable
    (True, True)
    """
    if points < 2 or not 0 < limit < 1:
        raise ValueError(f"measure: got points={points}, limit={limit} but expected points ≥ 2, 0 < limit < 1")
    # The random numbers that a loss draws are not taken from the user's.
    with torch.random.fork_rng(devices=[]):
        made, chosen, name = calling.constructed(loss_fn, settings or {}, name or calling.name_of(loss_fn))
        progress("finding out what it takes")
        call = _with_manners(call_of(calling.calls(made, name, chosen, inputs, dim, dtype)))
        return _measured(call, torch.linspace(-limit, limit, points, dtype=torch.float64), progress)


def call_of(tried: Iterator[Call]) -> Call:
    """The first call that gives every vector a gradient that similarities explain, else the nearest to that."""
    found, refusals = [], []
    for call in tried:
        if call.shape.turned and any(merit[0] for merit, _ in found):
            break
        try:
            found.append((_merit(call), call))
        except (UnmeasurableLoss, ValueError) as error:
            refusals.append(error)
            continue
        if min(found[-1][0]) == 1:
            break
    if not found:
        raise refusals[0]
    return max(found, key=lambda one: one[0])[1]


def _merit(call: Call) -> tuple[float, ...]:
    """Whether a call does what its kind means: finite, explained, of both kinds of pairs, of every vector, no other."""
    call = replace(call, remembers=True)  # what one kind of batch leaves behind is nothing to the next kind
    arrangement = in_batch(call.shape)
    batches = _batches(arrangement, range(6))
    found = pair_gradients(call, arrangement, batches)
    plane = plane_field(call)(torch.tensor([[0.3, 0.1], [-0.1, 0.3]], dtype=torch.float64)).nan_to_num()
    gradients = found.gradients.nan_to_num()
    weight = {name: gradients[:, mask].abs().sum().item() for name, mask in arrangement.relations.items()}
    pull, push = (gradients[:, mask] for mask in (arrangement.positives, arrangement.negatives))
    meant = True
    match call.shape.inputs:
        case Inputs.TWO_SETS:
            meant = weight["pairs within one set"] <= NOTICEABLE * sum(weight.values())
        case Inputs.PAIRS:
            others = sum(weight.get(name, 0.0) for name in ("pairs within one set", "other pairs"))
            meant = others <= NOTICEABLE * sum(weight.values()) and bool(pull.mean() < 2 * push.mean().clamp(max=0))
        case Inputs.SCORES:
            # With the labels that it means, a loss is the same where rows and columns are renumbered together.
            turned = [*range(arrangement.first)][::-1]
            turned += [arrangement.first + k for k in turned]
            again = pair_gradients(call, arrangement, batches[:, turned][..., turned]).gradients
            meant = _alike(again[:, turned][..., turned], found.gradients)
            meant &= call.shape.beside not in OF_PAIRS or bool(pull.mean() < push.mean())
        case Inputs.VIEWS | Inputs.STACKED:
            meant = weight["negatives in the same view"] > 0 and bool(pull.mean() < push.mean())
        case Inputs.GROUPS:
            meant = len(pull.sum(0).sign().unique()) == 1
    explained = found.unexplained < UNEXPLAINED
    parts = found.used[: arrangement.first], found.used[arrangement.first :]
    used = all(bool(part.any()) for part in parts if len(part))
    both = (pull.any().item() + push.any().item()) / 2
    of_kind = (both, float(meant), float(used), float(bool(plane.any()))) if explained else (0.0,)
    return float(found.gradients.isfinite().any()), float(explained), *of_kind


def _with_manners(call: Call) -> Call:
    """The call, and whether the loss remembers earlier ones, and whether torch can map it over many points at once."""
    arrangement = in_batch(call.shape)
    batches = _batches(arrangement, (0, 1, 2, 0))

    def one_by_one(call: Call) -> Tensor:
        call, found = replace(call, loss_fn=calling.copy_of(call.loss_fn)), []
        for batch in batches:
            torch.manual_seed(0)
            found.append(pair_gradients(call, arrangement, batch[None]).gradients)
        return torch.cat(found)

    found = one_by_one(call)
    if not _alike(found[:1], found[3:]):
        fresh = replace(call, remembers=True)
        found = one_by_one(fresh)
        return fresh if _alike(found[:1], found[3:]) else call
    with suppress(Exception):
        mapped(call, arrangement, arrangement.points(batches))
        at_once = replace(call, at_once=True)
        if _alike(pair_gradients(at_once, arrangement, batches).gradients, found):
            return at_once
    return call


def _alike(one: Tensor, other: Tensor) -> bool:
    size = max(largest(one), largest(other))
    return bool(torch.equal(one.isnan(), other.isnan()) and largest(one - other) <= REPEATABLE * size)


def _batches(arrangement: Arrangement, seeds: Iterable[int]) -> Tensor:
    return torch.stack([batch_similarities(arrangement, seed, *KINDS[seed % len(KINDS)]) for seed in seeds])


def _measured(call: Call, grid: Tensor, progress: Callable[[str], None]) -> Measurement:
    count, plane = len(grid), plane_field(call)
    points = torch.cartesian_prod(grid, grid)
    inside = plane.arrangement.reaches(plane.similarities(points))
    at = points[inside]

    def on_grid(values: Tensor, where: Tensor = inside) -> Tensor:
        return grid.new_full((count**2,), torch.nan).masked_scatter(where, values).view(count, count)

    progress("measuring the weights on the plane")
    found = pair_gradients(call, plane.arrangement, plane.similarities(at))
    finite = found.gradients.isfinite().flatten(1).all(1)
    if not finite.any():
        raise UnmeasurableLoss(
            f"{call.name}: got a value or a gradient that is not finite, at the similarities "
            f"{[round(s, 4) for s in at[0].tolist()]} of a positive and a negative and wherever else it was called, "
            "but expected finite numbers"
        )
    again = finite.nonzero()[torch.linspace(0, int(finite.sum()) - 1, REPEATED).long(), 0]
    repeated = pair_gradients(call, plane.arrangement, plane.similarities(at[again])).gradients
    signed = torch.stack([on_grid(w) for w in plane.along_axes(found.gradients).T])
    weights = SIGNS[:, None, None] * signed
    beside = at + torch.tensor(BESIDE, dtype=at.dtype)
    deviations, noise = noise_of(plane, beside, torch.tensor([1.0, -0.6], dtype=at.dtype), found.precision)
    # A loss that is called point by point is looked at on a coarser grid.
    on = torch.arange(count) % (1 if call.at_once else max(1, count // COARSE)) == 0
    thin = inside & (on[:, None] & on).flatten()
    on_plane = turning(plane, beside[thin[inside]], torch.ones(2, dtype=torch.bool), noise)
    progress("looking for jumps")
    lines, known = (torch.cat([x, x.transpose(0, 1)]) for x in (points.view(count, count, 2), signed.movedim(0, -1)))
    jumps_on_plane = jumps(plane, lines, known, noise)
    some = jumps_on_plane[:: max(1, len(jumps_on_plane) // CLOSED_IN)]
    closing_in = torch.cat([grid.new_zeros(0, 2), *(jump.closing_in() for jump in some)])
    progress("measuring batches")
    batch = batch_field(call)
    similarities = _batches(batch.arrangement, range(BATCHES))
    gradients = pair_gradients(call, batch.arrangement, similarities).gradients
    usable = gradients.isfinite().flatten(1).all(1)
    batches = Batches(batch.arrangement, similarities[usable], gradients[usable])
    corners = batch.coordinates(batches.similarities[: LINES + 1])
    lines = torch.stack([torch.lerp(corners[:-1], corners[1:], k / SEGMENTS) for k in range(SEGMENTS + 1)], 1)
    jumps_on_batches = jumps(batch, lines, batch(lines), noise) if len(lines) else []
    around = batch.coordinates(torch.stack([batch_similarities(batch.arrangement, seed) for seed in range(TURNING)]))
    moved = (batch.axes & batch.arrangement.measured).any(2).any(1)
    aside = torch.randn(around.shape, generator=torch.Generator().manual_seed(0), dtype=grid.dtype).sign()
    _, batch_noise = noise_of(lambda x: batch(x)[..., moved], around, aside, found.precision)
    upper = found.gradients.nan_to_num().triu(1)
    return Measurement(
        name=call.name,
        shape=call.shape,
        returned=returned(call, batch.arrangement, batch.arrangement.points(similarities)[0].requires_grad_(), {})[1],
        settings={k: v.item() if isinstance(v, Tensor) and v.numel() == 1 else v for k, v in call.settings.items()},
        s_p=grid,
        s_n=grid,
        w_p=weights[0],
        w_n=weights[1],
        inside=inside.view(count, count),
        curl=on_grid(2 * on_plane.field[:, 1, 0], thin),
        on_plane=on_plane,
        factors=fit_factors(grid, weights, torch.stack([on_grid(d) for d in deviations.T])),
        on_batches=turning(batch, around, moved, batch_noise),
        unexplained=found.unexplained,
        precision=found.precision,
        noise=noise / (largest(found.gradients) or 1.0),
        turned=inspection.reading_coordinates(call, batch.arrangement, batches.similarities[:COMPARED]),
        remembers=call.remembers,
        aside=share(upper * ~plane.arrangement.measured, upper),
        jumps=tuple(jumps_on_plane),
        jumps_on_batches=tuple(jumps_on_batches),
        stopped_by=inspection.why_not_continuous(call, batch.arrangement, similarities[3:4]),
        batches=batches,
        not_finite=inspection.not_finite(call),
        between=inspection.between_labels(call),
        explodes=inspection.explosions(plane),
        learned=dict(found.learned),
        trail=torch.cat([closing_in, plane(closing_in) * SIGNS], 1).T,
        connected=found.connected,
        deterministic=largest(repeated - found.gradients[again]) <= REPEATABLE * largest(repeated),
    )
