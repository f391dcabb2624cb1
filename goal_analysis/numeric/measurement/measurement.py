"""What was measured of a loss, and what it says: weights, verdicts, pulls and pushes, and where something is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from goal_analysis.numeric.measurement.arrangement import Arrangement
from goal_analysis.numeric.measurement.fields import (
    ACROSS,
    ALONG,
    CLEAR,
    NOTICEABLE,
    Jump,
    MeasuredFactors,
    Turning,
)
from goal_analysis.numeric.measurement.inputs import Inputs, Shape
from goal_analysis.symbolic.analysis.integrability import Integrability

ROUNDING = 1e-13  # weights below this share of the largest are shown as 0
DEAD = 1e-9  # a point is dead if both weights are below this share of the largest weight on the plane
UNEXPLAINED = 0.01  # if more of the gradient is no gradient by similarities, the weights do not speak for the loss
EXACT, NEAR = 1e-3, 0.1  # distances up to which a known loss is called the same, and near


@dataclass(frozen=True, eq=False)
class Batches:
    """The gradients by all similarities on random batches."""

    arrangement: Arrangement
    similarities: Float[Tensor, "batches vectors vectors"]
    gradients: Float[Tensor, "batches vectors vectors"]

    def shares(self) -> dict[str, tuple[float, float]]:
        """By relation of the pairs, which share of the whole gradient pulls there, and which pushes."""
        whole = self.gradients.triu(1).abs().sum().item() or 1.0
        found = {}
        for name, mask in self.arrangement.relations.items():
            of_pairs = self.gradients[:, mask]
            found[name] = (
                of_pairs.clamp(max=0).sum().item() / -whole + 0.0,
                of_pairs.clamp(min=0).sum().item() / whole,
            )
        return found

    def on_hardest(self) -> tuple[float, float]:
        """The share of an anchor's pull that is on its farthest positive, and of its push on its closest negative; NaN
        where it has but one.
        """
        whole = self.gradients.triu(1).abs().sum().item()
        anchors, found = next(iter(self.arrangement.readings.values())), []
        for of_anchors, sign in zip(anchors.unbind(1), (-1, 1), strict=True):
            total = hardest = 0.0
            for pairs in of_anchors[of_anchors.flatten(1).sum(1) > 1]:
                weights, s = self.gradients[:, pairs].abs(), sign * self.similarities[:, pairs]
                hardest += weights.gather(1, s.argmax(1, keepdim=True)).sum().item()
                total += weights.sum().item()
            found.append(hardest / total if total > NOTICEABLE * whole else math.nan)
        return found[0], found[1]


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was measured of a loss.

    Args:
        name: what tables call it.
        shape: how the loss was called, with ``settings`` besides its inputs.
        s_p: the grid along s_p, shape ``(s_p,)``.
        s_n: the grid along s_n, shape ``(s_n,)``.
        w_p: w⁺, shape ``(s_p, s_n)``, NaN where no unit vectors reach, or where the loss is not finite.
        w_n: w⁻, likewise.
        inside: where unit vectors reach.
        curl: ∂w⁺/∂s_n + ∂w⁻/∂s_p, likewise; taken a thousandth beside the point.
        on_plane: how much of the slopes and the weights on the plane the curl is.
        factors: T, P⁺ and P⁻ with their misfit.
        on_batches: the same of the weights on random batches.
        unexplained: the share of the embeddings' gradient that no gradient of similarities explains.
        turned: the share by which the embeddings' gradient changes when all of them are turned together.
        remembers: whether its calls change the next ones, so that each was on a fresh copy.
        aside: the share of the pairs' gradient on pairs that are neither positives nor negatives here.
        jumps: where the weights jump on the plane, and ``jumps_on_batches`` in the space of all similarities.
        stopped_by: what keeps the loss from being continuous by construction; empty if it is.
        batches: the gradients on random batches.
        not_finite: what is not finite at the ends of the similarities and on poor batches, by place.
        between: what it makes of labels between those of positives and negatives, if anything.
        explodes: which weights grow without bound, by the end that they grow towards.
        learned: the gradient of every parameter of the loss on the plane, or its norm.
        trail: s_p, s_n, w⁺ and w⁻ at points that close in on the jumps, shape ``(4, bisected)``.
        connected: whether autograd reaches the inputs.
        deterministic: whether a second call at the same point gave the same gradient.
        nearest: a `Neighbour` for each of the nearest known losses, where they were looked for.
    """

    name: str
    shape: Shape
    settings: Mapping[str, Any]
    s_p: Float[Tensor, " s_p"]
    s_n: Float[Tensor, " s_n"]
    w_p: Float[Tensor, "s_p s_n"]
    w_n: Float[Tensor, "s_p s_n"]
    inside: Bool[Tensor, "s_p s_n"]
    curl: Float[Tensor, "s_p s_n"]
    on_plane: Turning
    factors: MeasuredFactors
    on_batches: Turning
    unexplained: float
    turned: float
    remembers: bool
    aside: float
    jumps: tuple[Jump, ...]
    jumps_on_batches: tuple[Jump, ...]
    stopped_by: str
    batches: Batches
    not_finite: Mapping[str, str]
    between: str
    explodes: Mapping[str, str]
    learned: Mapping[str, Float[Tensor, " points"]]
    trail: Float[Tensor, "4 bisected"]
    connected: bool = True
    deterministic: bool = True
    nearest: tuple[Any, ...] = ()

    @property
    def inputs(self) -> Inputs:
        """What the loss was given."""
        return self.shape.inputs

    @property
    def reached(self) -> Bool[Tensor, "s_p s_n"]:
        """Where there are weights."""
        return self.w_p.isfinite()

    @property
    def dead(self) -> Bool[Tensor, "s_p s_n"]:
        """Where both weights vanish."""
        largest = torch.maximum(self.w_p.abs(), self.w_n.abs())
        return self.reached & (largest <= DEAD * largest.nan_to_num().max())

    @property
    def dead_share(self) -> float:
        """The share of the plane, as far as it was reached, where both weights vanish."""
        return (self.dead.sum() / self.reached.sum()).item()

    @property
    def unreliable(self) -> str:
        """Why the weights do not speak for the loss; empty if they do."""
        if not self.deterministic:
            return "the loss draws random numbers or remembers earlier calls: it has two gradients at one point"
        if self.turned > UNEXPLAINED:
            return (
                "the loss reads coordinates and not similarities alone: when all embeddings are turned together, its "
                f"gradient changes by {_percent(self.turned)}"
            )
        if self.unexplained > UNEXPLAINED:
            return f"{_percent(self.unexplained)} of the gradient is unexplained by similarities"
        return ""

    @property
    def separable(self) -> bool | None:
        """Whether T, P⁺ and P⁻ meet the weights; None if that is undecided."""
        misfit, rounding = self.factors.misfit, self.factors.rounding
        if self.unreliable or math.isnan(misfit):
            return None
        if misfit < NOTICEABLE:
            return True
        return None if misfit < CLEAR * rounding else False

    @property
    def integrable(self) -> bool | None:
        """Whether the weights are a gradient: True where proved, False where a witness refutes it, else None."""
        return self.verdict.integrable

    @property
    def is_reversed(self) -> bool:
        """Whether every positive that has weight is pushed away, and every negative pulled closer."""
        known = [w[self.reached] for w in (self.w_p, self.w_n)]
        least = DEAD * max(w.abs().max().item() for w in known)
        return all(bool((w < -least).any()) and not (w > least).any() for w in known)

    @cached_property
    def verdict(self) -> Integrability:
        """Whether the weights are the gradient of a loss, and why.

        Yes is a proof: what the loss calls is continuous and stops no gradient. No is a witness: the weights turn on
        batches or on the plane, or jump across a surface with a part along it. On a loss that reads other pairs too the
        plane is silent, and the batches alone decide.
        """
        if self.unreliable:
            return Integrability(None, f"open: {self.unreliable}")
        seen = {"on batches": (self.on_batches, self.jumps_on_batches)}
        if self.aside < NOTICEABLE:
            seen["on the plane"] = (self.on_plane, self.jumps)
        for where, (turned, _) in seen.items():
            if turned.believed >= NOTICEABLE:
                share = 2 * turned.field.abs().max().item()
                return Integrability(
                    False, f"the weights turn {where}: the largest difference of slopes is {share:.3g}"
                )
        for where, (_, found) in seen.items():
            jump = max(found, key=lambda j: j.tangential if j.tangential > ACROSS else 0.0, default=None)
            if jump is not None and jump.tangential > ACROSS:
                at = f" at s_p = {jump.point[0]:.4g}, s_n = {jump.point[1]:.4g}" if where == "on the plane" else ""
                return Integrability(
                    False,
                    f"the weights jump by {jump.change.norm():.3g} {where}{at}, and not along the normal of where they "
                    f"jump (sine {min(1.0, jump.tangential):.2g})",
                )
        if not self.stopped_by:
            return Integrability(True, "the loss is continuous by what it calls, and stops no gradient")
        shares = ", ".join(f"{max(turned.share, NOTICEABLE):.2g} {where}" for where, (turned, _) in seen.items())
        every = [jump for _, found in seen.values() for jump in found if not math.isnan(jump.tangential)]
        normal = sum(jump.tangential < ALONG for jump in every)
        said = f"; of {len(every)} jumps {normal} are normal to where they are" if every else "; no jump was found"
        nothing = f"nothing was found against it (turning at most {shares}{said})"
        return Integrability(None, f"open: {nothing}, and it is not proved: {self.stopped_by}")

    @property
    def verdict_in_words(self) -> str:
        """The verdict in one sentence."""
        return {True: "yes: ", False: "no: ", None: ""}[self.integrable] + self.verdict.reason

    def frame(self) -> pd.DataFrame:
        """One row a point: s_p, s_n, w_p, w_n, T, P_p, P_n, curl, dead, reached."""
        grid_p, grid_n = torch.meshgrid(self.s_p, self.s_n, indexing="ij")
        columns = {
            "s_p": grid_p,
            "s_n": grid_n,
            "w_p": self.w_p,
            "w_n": self.w_n,
            "T": self.factors.triplet,
            "P_p": self.factors.positive[:, None].expand_as(grid_p),
            "P_n": self.factors.negative[None, :].expand_as(grid_p),
            "curl": self.curl,
            "dead": self.dead,
            "reached": self.reached,
        }
        return pd.DataFrame({name: column.reshape(-1).numpy() for name, column in columns.items()})

    def findings(self) -> dict[str, str]:
        """The lines of `summary`, by topic."""
        return dict(self._findings())

    def _findings(self) -> Iterator[tuple[str, str]]:
        shape = self.shape
        how = [f"{self.reached.double().mean():.0%} of the plane reached"]
        how += [
            f"{name} = {value:.5g}" if isinstance(value, float) else f"{name} = {value}"
            for name, value in self.settings.items()
        ]
        how += [str(shape.dtype).removeprefix("torch.")] if shape.dtype != torch.float64 else []
        how += ["the views in turn"] if shape.in_turn else []
        how += [f"{shape.dim} dimensions"] if shape.dim else []
        how += [f"proxies {shape.proxies}, {shape.classes} classes"] if shape.proxies else []
        how += [f"labels {shape.labels[0]:g} and {shape.labels[1]:g}"] if shape.inputs is Inputs.PAIRS else []
        yield "measured on", f"{shape.inputs.value}; {', '.join(how)}"
        known = {name: w[self.reached] for name, w in (("w⁺", self.w_p), ("w⁻", self.w_n))}
        size = max(w.abs().max().item() for w in known.values())
        clear = {name: torch.where(w.abs() > ROUNDING * size, w, 0.0) for name, w in known.items()}
        yield "weights", ", ".join(f"{n} {_span(w)}" for n, w in clear.items())
        if self.dead_share < 1:
            yield "pulls and pushes", self._pulls_and_pushes()
        if signs := self._signs(known):
            yield "signs", signs
        unseen = "nowhere have both weights been seen together"
        separable = "yes" if self.separable else "no" if self.separable is False else "undecided: " + (
            self.unreliable or (unseen if math.isnan(self.factors.misfit) else "the misfit is what the rounding makes")
        )  # fmt: skip
        yield "separable", f"{separable} (misfit {self.factors.misfit:.2g})"
        index = f"(index {self.on_batches.share:.2g} on batches, curl share {self.on_plane.share:.2g} on the plane)"
        yield "integrable", f"{self.verdict_in_words} {index}"
        if self.jumps:
            yield "jumps", self._jump_lines()
        yield "dead", self._dead_region()
        places = dict(self.not_finite)
        if missing := int((self.inside & ~self.reached).sum()):
            places[f"{missing} of {int(self.inside.sum())} points of the plane"] = "NaN or infinite"
        yield (
            "not finite",
            "; ".join(f"{what} at {where}" for where, what in places.items()) or "nowhere that was tried",
        )
        yield "explodes", "; ".join(f"{end}: {what}" for end, what in self.explodes.items()) or "nowhere"
        if self.between:
            yield "graded", self.between
        if self.learned:
            yield "learns", "; ".join(f"{name}, gradient {_span(g)}" for name, g in self.learned.items())
        if self.remembers:
            yield "remembers", "its calls change the next ones; every call was on a fresh copy, as it was handed in"
        if not self.deterministic or self.turned > UNEXPLAINED:
            yield "beware", self.unreliable
        elif self.unexplained > NOTICEABLE:
            yield (
                "beware",
                f"{_percent(self.unexplained)} of the gradient is no gradient by similarities: "
                "it is stopped at one end of the pairs, or the loss reads something else",
            )
        if self.aside > NOTICEABLE:
            yield "besides", f"{_percent(self.aside)} of the weight lies on other pairs than positives and negatives"
        if self.nearest and not self.nearest[0].problem:
            yield "nearest", self._nearest()

    def _pulls_and_pushes(self) -> str:
        shares = self.batches.shares()
        said = []
        for word, side in (("pulls", 0), ("pushes", 1)):
            if not any(share[side] > NOTICEABLE for share in shares.values()):
                said.append(f"nothing {word}")
                continue
            parts = [f"{_percent(share[side])} {name}" for name, share in shares.items() if share[side] > NOTICEABLE]
            whole = sum(share[side] for share in shares.values())
            said.append(f"{_percent(whole)} {word}" + f" ({', '.join(parts)})")
        names = ("pull is on its farthest positive", "push is on its closest negative")
        hardest = zip(self.batches.on_hardest(), names, strict=True)
        said += [f"{_percent(share)} of an anchor's {name}" for share, name in hardest if not math.isnan(share)]
        return "; ".join(said)

    def _signs(self, known: Mapping[str, Tensor]) -> str:
        if self.is_reversed:
            return "reversed: it pushes every positive away and pulls every negative closer"
        least = DEAD * max(w.abs().max().item() for w in known.values())
        words = zip(("pushes positives away", "pulls negatives closer"), known.values(), strict=True)
        wrong = [(word, (w < -least).double().mean().item()) for word, w in words]
        return " and ".join(f"{word} on {_percent(share)} of the plane" for word, share in wrong if share)

    def _jump_lines(self) -> str:
        at = torch.stack([jump.point for jump in self.jumps])
        values = {"s_n − s_p": at[:, 1] - at[:, 0], "s_p": at[:, 0], "s_n": at[:, 1], "s_p + s_n": at.sum(1)}
        left, lines = torch.ones(len(at), dtype=torch.bool), []
        for name, value in values.items():
            for common in value[left].round(decimals=5).unique():
                here = left & ((value - common).abs() < 2e-5)
                if int(here.sum()) > 2:
                    lines.append(f"{name} = {common + 0.0:.4g}")
                    left &= ~here
        where = [f"where {', '.join(lines)}"] if lines else []
        if left.any():
            s_p, s_n = at[left][0].tolist()
            where.append(f"on no straight line, for example at s_p = {s_p + 0.0:.4g}, s_n = {s_n + 0.0:.4g}")
        return f"the weights jump {' and '.join(where)}"

    def _dead_region(self) -> str:
        if not self.dead.any():
            return "nowhere"
        if self.dead.sum() == self.reached.sum():
            why = "" if self.connected else ": autograd does not reach the inputs"
            return f"everywhere: the loss has no gradient{why}"
        gaps = (self.s_n[None, :] - self.s_p[:, None])[self.dead]
        spans = (self.s_p[self.dead.any(1)], self.s_n[self.dead.any(0)], gaps)
        s_p, s_n, gap = (f"{values.min():.2f} … {values.max():.2f}" for values in spans)
        return f"{_percent(self.dead_share)} of the plane, within s_p {s_p}, s_n {s_n}, s_n − s_p {gap}"

    def _nearest(self) -> str:
        first = self.nearest[0]
        on_batch, on_triplet = first.on_batches, first.distance
        same = "the same as" if on_batch < EXACT else "near" if on_batch < NEAR else "none is near; the nearest is"
        if on_batch >= EXACT > on_triplet:
            same = "on one triplet the same, on batches not:"
        same = f"of what similarities explain, {same}" if self.unreliable else same
        return f"{same} {first.in_words}" + "".join(
            f"; {n.loss.name} ({n.best:.2g})"
            for n in self.nearest[1:]
            if not n.problem and n.loss.name not in first.ties
        )

    def record(self) -> dict[str, Any]:
        """Everything that was measured, as numbers and text that JSON takes."""

        def numbers(x: Tensor) -> list[Any]:
            return [[None if math.isnan(v) else v for v in row] for row in x.tolist()]

        of_jumps = {"plane": self.jumps, "batches": self.jumps_on_batches}
        return {
            "name": self.name,
            **self.findings(),
            "verdict": self.integrable,
            "shares": {name: {"pulls": pull, "pushes": push} for name, (pull, push) in self.batches.shares().items()},
            "on_hardest": dict(zip(("positive", "negative"), map(_number, self.batches.on_hardest()), strict=True)),
            "dead_share": self.dead_share,
            "not_finite": dict(self.not_finite),
            "explosions": dict(self.explodes),
            "unexplained": self.unexplained,
            "aside": self.aside,
            "misfit": _number(self.factors.misfit),
            "non_integrability": self.on_batches.share,
            "curl_share": self.on_plane.share,
            "jumps_on": {
                where: [
                    {"at": j.point.tolist(), "change": j.change.tolist(), "tangential": _number(j.tangential)}
                    for j in found
                ]
                for where, found in of_jumps.items()
            },
            "learned": {
                n: [_number(g.nan_to_num().min().item()), _number(g.nan_to_num().max().item())]
                for n, g in self.learned.items()
            },
            "s_p": self.s_p.tolist(),
            "s_n": self.s_n.tolist(),
            "w_p": numbers(self.w_p),
            "w_n": numbers(self.w_n),
            "nearest": [near.record() for near in self.nearest],
        }

    def summary(self) -> str:
        """A few lines of text."""
        return "\n".join([self.name, *(f"  {topic}: {text}" for topic, text in self.findings().items())])

    def _repr_markdown_(self) -> str:
        rows = (f"| {topic} | {text} |" for topic, text in self.findings().items())
        return "\n".join([f"| {self.name} | |", "|---|---|", *rows])


def _span(values: Tensor) -> str:
    known = values[values.isfinite()]
    return f"from {known.min() + 0.0:.3g} to {known.max() + 0.0:.3g}" if len(known) else "never finite"


def _number(x: float) -> float | None:
    return x if math.isfinite(x) else None


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{100 * share:.2g}%"
