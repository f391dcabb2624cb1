"""The weights of any loss, measured over the plane and on batches, with the verdicts on them.

Nothing is known of the loss but its values, autograd's gradients, and what it calls. `calling` finds out what it takes,
`arrangement` says which vectors it is given, and `black_box` how ∂L/∂s is recovered. With L(s_p, s_n) the loss of the
constructed vectors,

    w⁺ = −Σ ∂L/∂s over the positive pairs        w⁻ = Σ ∂L/∂s over the negative pairs

are −∂L/∂s_p and ∂L/∂s_n. Where a gradient is stopped, they are what trains in the place of these derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from goal_analysis.numeric.measurement.arrangement import (
    OF_SCORES,
    Arrangement,
    batch_similarities,
    in_batch,
    on_plane,
    plane_similarities,
    reachable,
)
from goal_analysis.numeric.measurement.black_box import (
    PairGradients,
    mapped,
    non_integrability,
    pair_gradients,
    points_with,
    reading_coordinates,
    share,
)
from goal_analysis.numeric.measurement.calling import Call, calls, constructed, copy_of, settings_for
from goal_analysis.numeric.measurement.edges import between_labels, explosions, not_finite
from goal_analysis.numeric.measurement.fields import (
    FAINT,
    NEARBY,
    NOTICEABLE,
    STEPS,
    Field,
    fit_factors,
    largest,
    scatter,
    turning,
    usual_noise,
)
from goal_analysis.numeric.measurement.inputs import (
    Inputs,
    LossFunction,
    UnmeasurableLoss,
    kinds_of,
    name_of,
)
from goal_analysis.numeric.measurement.jumps import Jump, jumps
from goal_analysis.numeric.measurement.measurement import UNEXPLAINED, Batches, Measurement
from goal_analysis.numeric.measurement.tracing import why_not_continuous

BESIDE = (1.37e-3, -0.89e-3)
"""The curl is looked at this far from the grid, whose points lie on kinks more often than others do."""

REPEATED, REPEATABLE = 8, 1e-6
"""At so many points the loss is called once more in the end; its gradients may differ by this share."""

COARSE = 10  # so many points a side are enough for the curl of a loss that is called point by point
COMPARED = 4  # so many batches are compared with themselves turned
SAMPLED = 20  # points at which rounding is looked for before it is measured everywhere
BATCHES = 12
KINDS = ((0.0, 0.0), (0.3, 1.0), (0.6, 0.5), (1.0, 0.0), (0.0, 2.0), (1.0, 1.0))
"""How close the vectors of a class are, and how spread all of them, from one batch to the next."""
LINES, SEGMENTS = 5, 16  # jumps are sought on so many lines from one batch to another, in so many parts
CLOSED_IN = 6  # so many jumps have points on both sides that lead a fit to them
CLOSER = 96  # of a loss that is called point by point, so many sides of the grid's cells are searched for jumps
TESTED = 4  # so many jumps are held against the normal of their surface


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
    """Measure the weights w⁺(s_p, s_n) and w⁻(s_p, s_n) of any loss.

    Args:
        loss_fn: a callable of one of `Inputs` that returns a scalar, or the class of one. A module is copied: its
            parameters, their gradients and its buffers stay as they are.
        inputs: what it takes; by default read off the names of its parameters, and found by trying.
        points: grid points along each similarity; the cost is 15·points² calls of the loss, and the batches',
            up to twice that where weights are no gradient or rounded.
        limit: the grid goes from −limit to limit.
        dim: the dimension of the embeddings, for losses that insist on one; the default is the number of
            vectors, or what a parameter of the loss is wide.
        dtype: of the embeddings and of the copy's parameters; float64, or float32 where that is refused.
        settings: arguments of a class's constructor, and of the call.
        name: what tables call it; by default the callable's own name.
        progress: is told what is being done.

    Raises:
        UnmeasurableLoss: a call fails or returns no scalar; nowhere is it finite.
        ValueError: a grid or a dimension that is too small.

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
    grid, name = torch.linspace(-limit, limit, points, dtype=torch.float64), name or name_of(loss_fn)
    # The random numbers that a loss draws are not taken from the user's.
    with torch.random.fork_rng(devices=[]):
        made, left = constructed(loss_fn, settings or {})
        chosen = settings_for(made, left)
        kinds = (inputs,) if inputs else kinds_of(made, chosen)
        progress("finding out what it takes")
        call = _with_manners(call_of(calls(copy_of(made), name, chosen, kinds, dim, dtype)))
        return _Plane(call, progress).measure(grid)


def call_of(tried: Iterator[Call]) -> Call:
    """The first call that gives every vector a gradient that similarities explain, else what comes nearest to that.

    Raises:
        UnmeasurableLoss: none can be made.
    """
    best, most, refusal = None, (-1.0,), None
    for call in tried:
        try:
            merit = _merit(call)
        except (UnmeasurableLoss, ValueError) as error:
            refusal = refusal or error
            continue
        if merit > most:
            best, most = call, merit
        if min(merit) == 1:
            break
    if best is None:
        assert refusal is not None
        raise refusal
    return best


def _merit(call: Call) -> tuple[float, ...]:
    """Whether a call does what its kind means: finite, explained, of both kinds of pairs, of every vector, no other."""
    arrangement = in_batch(call.shape)
    found = pair_gradients(call, arrangement, torch.stack([_batch(arrangement, seed) for seed in range(6)]))
    plane = _on_plane(call, *torch.tensor([[0.3, -0.1], [0.1, 0.3]], dtype=torch.float64)).gradients.nan_to_num()
    gradients = found.gradients.nan_to_num()
    weight = {name: gradients[:, mask].abs().sum().item() for name, mask in arrangement.relations.items()}
    both = [gradients[:, mask].any().item() for mask in (arrangement.positives, arrangement.negatives)]
    meant = True
    match call.shape.inputs:
        case Inputs.TWO_SETS:
            meant = weight["pairs within one set"] <= NOTICEABLE * sum(weight.values())
        case Inputs.VIEWS | Inputs.STACKED:
            pull, push = (gradients[:, mask].mean() for mask in (arrangement.positives, arrangement.negatives))
            meant = weight["negatives in the same view"] > 0 and bool(pull < push)
        case Inputs.GROUPS:
            meant = len(gradients[:, arrangement.positives].sum(0).sign().unique()) == 1
    explained = share(found.unexplained.nan_to_num(), found.norm.nan_to_num()) < UNEXPLAINED
    parts = [part for part in (found.used[: arrangement.first], found.used[arrangement.first :]) if len(part)]
    used = all(bool(part.any()) for part in parts)
    of_kind = (sum(both) / 2, float(meant), float(used), float(bool(plane.any()))) if explained else (0.0,)
    return float(found.gradients.isfinite().any()), float(explained), *of_kind


def _with_manners(call: Call) -> Call:
    """The call, and whether the loss remembers earlier ones, and whether torch can map it over many points at once."""
    arrangement = in_batch(call.shape)
    batches = torch.stack([_batch(arrangement, seed) for seed in (0, 1, 2, 0)])

    def one_by_one(call: Call) -> Tensor:
        found = []
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
        mapped(call, arrangement, points_with(arrangement, batches))
        at_once = replace(call, at_once=True)
        if _alike(pair_gradients(at_once, arrangement, batches).gradients, found):
            return at_once
    return call


def _alike(one: Tensor, other: Tensor) -> bool:
    size = max(largest(one), largest(other))
    return bool(torch.equal(one.isnan(), other.isnan()) and largest(one - other) <= REPEATABLE * size)


def _batch(arrangement: Arrangement, seed: int) -> Tensor:
    return batch_similarities(arrangement, seed, *KINDS[seed % len(KINDS)])


def _on_plane(call: Call, s_p: Tensor, s_n: Tensor) -> PairGradients:
    arrangement = on_plane(call.shape)
    return pair_gradients(call, arrangement, plane_similarities(arrangement, s_p, s_n))


@dataclass(frozen=True, eq=False)
class _Plane:
    """A loss that is called at points of the plane and on batches."""

    call: Call
    progress: Callable[[str], None]

    def measure(self, grid: Tensor) -> Measurement:
        call, points = self.call, len(grid)
        s_p, s_n = (s.reshape(-1) for s in torch.meshgrid(grid, grid, indexing="ij"))
        inside = self._reachable(s_p, s_n)
        s_p, s_n = s_p[inside], s_n[inside]
        self.progress("measuring the weights on the plane")
        found = _on_plane(call, s_p, s_n)
        if not (finite := found.gradients.isfinite().all(2).all(1)).any():
            raise UnmeasurableLoss(
                f"{call.name}: got a value or a gradient that is not finite, at the similarities "
                f"{[round(s[0].item(), 4) for s in (s_p, s_n)]} of a positive and a negative and wherever else it was "
                "called, but expected finite numbers"
            )
        deviations, noise = self._noise(s_p + BESIDE[0], s_n + BESIDE[1], found.precision)
        # A loss that is called point by point is looked at on a coarser grid.
        every = 1 if call.at_once else max(1, points // COARSE)
        on = torch.arange(points) % every == 0
        thin = inside & (on[:, None] & on).flatten()
        plane = turning(self._curls(s_p[thin[inside]] + BESIDE[0], s_n[thin[inside]] + BESIDE[1]), noise)
        again = finite.nonzero().flatten()[torch.linspace(0, int(finite.sum()) - 1, REPEATED).long()]
        first, repeated = found.gradients[again], _on_plane(call, s_p[again], s_n[again]).gradients

        def on_grid(values: Tensor, where: Tensor = inside) -> Tensor:
            return grid.new_full((points * points,), torch.nan).masked_scatter(where, values).view(points, -1)

        w_p, w_n = map(on_grid, self._sums(found))
        size = max(largest(w_p), largest(w_n))
        self.progress("looking for jumps")
        on_the_plane = self._jumps_on_plane(w_p, w_n, grid, size, noise) if size else []
        self.progress("measuring batches")
        batches = self._batches()
        upper = found.gradients.nan_to_num().triu(1)
        some = on_the_plane[:: max(1, len(on_the_plane) // CLOSED_IN)]
        trail = torch.cat([grid.new_zeros(0, 2), *(jump.closing_in() for jump in some)])
        return Measurement(
            name=call.name,
            shape=call.shape,
            settings={k: v.item() if isinstance(v, Tensor) and v.numel() == 1 else v for k, v in call.settings.items()},
            s_p=grid,
            s_n=grid,
            w_p=w_p,
            w_n=w_n,
            inside=inside.view(points, -1),
            curl=on_grid(plane.field, thin),
            on_plane=plane,
            factors=fit_factors(grid, w_p, w_n, (on_grid(deviations[0]), on_grid(deviations[1]))),
            on_batches=non_integrability(call),
            unexplained=share(found.unexplained.nan_to_num(), found.norm.nan_to_num()),
            turned=reading_coordinates(call, batches.arrangement, batches.similarities[:COMPARED]),
            remembers=call.remembers,
            aside=share(upper * ~on_plane(call.shape).measured, upper),
            jumps=tuple(on_the_plane),
            jumps_on_batches=tuple(self._jumps_on_batches(batches, noise)),
            stopped_by=self._why_not_continuous(),
            batches=batches,
            not_finite=not_finite(call),
            between=between_labels(call),
            explodes=explosions(self._weights),
            learned=dict(found.learned),
            trail=torch.cat([trail.T, self._weights(*trail.T)]) if len(trail) else trail.new_zeros(4, 0),
            connected=found.connected,
            deterministic=bool((repeated - first).abs().max() <= REPEATABLE * first.abs().max()),
        )

    def _reachable(self, s_p: Tensor, s_n: Tensor) -> Tensor:
        inside = reachable(plane_similarities(on_plane(self.call.shape), s_p, s_n))
        return torch.ones_like(inside) if self.call.shape.inputs in OF_SCORES else inside

    def _sums(self, found: PairGradients) -> tuple[Tensor, Tensor]:
        arrangement = on_plane(self.call.shape)
        positives, negatives = (found.gradients[:, m].sum(-1) for m in (arrangement.positives, arrangement.negatives))
        return -positives, negatives

    def _batches(self) -> Batches:
        arrangement = in_batch(self.call.shape)
        similarities = torch.stack([_batch(arrangement, seed) for seed in range(BATCHES)])
        gradients = pair_gradients(self.call, arrangement, similarities).gradients
        finite = gradients.isfinite().all(2).all(1)
        return Batches(arrangement, similarities[finite], gradients[finite])

    def _why_not_continuous(self) -> str:
        arrangement = in_batch(self.call.shape)
        (point,) = points_with(arrangement, _batch(arrangement, 3)[None])
        return why_not_continuous(self.call, arrangement, point)

    def _jumps_on_plane(self, w_p: Tensor, w_n: Tensor, grid: Tensor, size: float, noise: float) -> list[Jump]:
        known = (w_p + w_n).isfinite()
        points = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), -1)
        right, up = known[1:] & known[:-1], known[:, 1:] & known[:, :-1]
        starts = torch.cat([points[:-1][right], points[:, :-1][up]])
        ends = torch.cat([points[1:][right], points[:, 1:][up]])
        if not self.call.at_once:
            both = torch.stack([w_p, w_n])
            bent = torch.cat([_bent(both, 1)[right], _bent(both, 2)[up]])
            first = bent.argsort(descending=True, stable=True)[:CLOSER]
            starts, ends = starts[first], ends[first]

        def weights(x: Tensor) -> Tensor:
            pull, push = self._weights(*x.T)
            return torch.stack([-pull, push], 1)

        return jumps(weights, starts, ends, size, noise, TESTED)

    def _jumps_on_batches(self, batches: Batches, noise: float) -> list[Jump]:
        if len(batches.similarities) < 2 or not batches.gradients.any():
            return []
        pairs = batches.arrangement.measured if self.call.shape.inputs in OF_SCORES else None
        pairs = torch.ones_like(batches.gradients[0]).triu(1).bool() if pairs is None else pairs

        def weights(x: Tensor) -> Tensor:
            similarities = torch.eye(len(pairs), dtype=x.dtype).repeat(len(x), 1, 1)
            similarities[:, pairs] = x
            similarities = similarities + similarities.triu(1).mT
            inside = reachable(similarities) | (self.call.shape.inputs in OF_SCORES)
            found = torch.full_like(x, torch.nan)
            found[inside] = pair_gradients(self.call, batches.arrangement, similarities[inside]).gradients[:, pairs]
            return found

        corners = batches.similarities[: LINES + 1, pairs]
        steps = torch.linspace(0, 1, SEGMENTS + 1, dtype=corners.dtype)[:, None]
        lines = [(1 - steps) * a + steps * b for a, b in pairwise(corners)]
        starts, ends = torch.cat([x[:-1] for x in lines]), torch.cat([x[1:] for x in lines])
        return jumps(weights, starts, ends, largest(batches.gradients), noise, TESTED)

    def _weights(self, s_p: Tensor, s_n: Tensor) -> Tensor:
        """w⁺ and w⁻, shape ``(2, points)``; NaN where no unit vectors are."""
        inside = self._reachable(s_p, s_n)
        weights = self._sums(_on_plane(self.call, s_p[inside], s_n[inside]))
        return torch.stack([torch.full_like(s_p, torch.nan).masked_scatter(inside, w) for w in weights])

    def _noise(self, s_p: Tensor, s_n: Tensor, precision: float) -> tuple[Tensor, float]:
        """The standard deviations of w⁺ and of w⁻ at every point, and the usual one of both."""
        few = torch.linspace(0, len(s_p) - 1, min(SAMPLED, len(s_p))).long()
        for some in (few, slice(None)):
            row = [(s_p[some] + place * NEARBY, s_n[some] - 0.6 * place * NEARBY) for place in range(-2, 3)]
            weights = torch.stack([self._weights(p, n) for p, n in row])
            # A rounding that hides from the differences is still that of the type the loss returns.
            least, deviations = precision / 2 * largest(weights), scatter(weights)
            if max(least, usual_noise(deviations)) <= FAINT * largest(weights):
                return torch.zeros(2, len(s_p), dtype=s_p.dtype), least
        return deviations.clamp(min=least), max(least, usual_noise(deviations))

    def _curls(self, s_p: Tensor, s_n: Tensor) -> Iterator[Field]:
        """∂w⁺/∂s_n + ∂w⁻/∂s_p by differences over one step after the other; 0 where no unit vectors are."""
        for step in STEPS:
            around = [(s_p, s_n + step), (s_p, s_n - step), (s_p + step, s_n), (s_p - step, s_n)]
            above, below, right, left = (self._weights(p, n) for p, n in around)
            by_n, by_p = (above - below) / (2 * step), (right - left) / (2 * step)
            known = (by_n + by_p).isfinite().all(0)
            by_n, by_p = by_n.where(known, 0.0), by_p.where(known, 0.0)
            size = (by_n.abs() + by_p.abs()).sum(0).norm() + sum(w.norm() for w in above.where(known, 0.0))
            yield Field(step, by_n[0] + by_p[1], size.item())


def _bent(weights: Tensor, axis: int) -> Tensor:
    """How much more the weights change between two points of the grid than between their neighbours."""
    change = weights.diff(dim=axis).nan_to_num().movedim(axis, -1)
    around = torch.nn.functional.pad(change, (1, 1), mode="replicate")
    return (change - (around[..., 2:] + around[..., :-2]) / 2).norm(dim=0).movedim(-1, axis - 1)
