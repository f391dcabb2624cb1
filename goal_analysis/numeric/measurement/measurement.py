"""What was measured of a loss, and what it says: weights, verdicts, pulls and pushes, and where something is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from goal_analysis.numeric.measurement.arrangement import Arrangement
from goal_analysis.numeric.measurement.calling import OF_PAIRS, Inputs, Shape
from goal_analysis.numeric.measurement.fields import ACROSS, ALONG, CLEAR, NOTICEABLE, Jump, MeasuredFactors, Turning
from goal_analysis.symbolic.analysis.integrability import Integrability

if TYPE_CHECKING:
    import pandas as pd

ROUNDING = 1e-13  # weights below this share of the largest are shown as 0
DEAD = 1e-9  # a point is dead if both weights are below this share of the largest weight on the plane, or rounding
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
        whole, found = self.gradients.triu(1).abs().sum().item() or 1.0, {}
        for name, mask in self.arrangement.relations.items():
            pulls, pushes = (self.gradients[:, mask].mul(sign).clamp(min=0).sum().item() / whole for sign in (-1, 1))
            found[name] = pulls, pushes
        return found

    def on_hardest(self) -> tuple[float, ...]:
        """The share of pull on the farthest positive, of push on the closest negative; NaN where there is but one."""
        whole, found = self.gradients.triu(1).abs().sum().item(), []
        anchors = next(iter(self.arrangement.readings.values()))
        for of_anchors, sign in zip(anchors.unbind(1), (-1, 1), strict=True):
            total = hardest = 0.0
            for pairs in of_anchors[of_anchors.flatten(1).sum(1) > 1]:
                weights, s = self.gradients[:, pairs].abs(), sign * self.similarities[:, pairs]
                hardest += weights.gather(1, s.argmax(1, keepdim=True)).sum().item()
                total += weights.sum().item()
            found.append(hardest / total if total > NOTICEABLE * whole else math.nan)
        return tuple(found)


@dataclass(frozen=True, eq=False)
class Measurement:
    """The measured weights of a loss, and what follows from them.

    Args:
        name: what tables call it.
        shape: how the loss was called, with ``settings`` besides its inputs.
        returned: which part of the returned value is the loss, or that its mean is; empty for a scalar.
        s_p: the grid along s_p, shape ``(s_p,)``.
        s_n: the grid along s_n, shape ``(s_n,)``.
        w_p: w⁺, shape ``(s_p, s_n)``, NaN where no unit vectors reach, or where the loss is not finite.
        w_n: w⁻, likewise.
        inside: where unit vectors reach.
        curl: ∂w⁺/∂s_n + ∂w⁻/∂s_p, likewise; differenced a thousandth beside the point.
        on_plane: the curl on the plane, as a share of the slopes and the weights.
        factors: T, P⁺ and P⁻ with their misfit.
        on_batches: the same on random batches.
        unexplained: the share of the embeddings' gradient that no gradient of similarities explains.
        precision: the resolution of the type that the loss returns.
        noise: how far rounding moves a weight, as a share of the largest.
        turned: the share by which the embeddings' gradient changes when all of them are turned together.
        remembers: whether a call changes the next ones, so that each was made on a fresh copy.
        aside: the share of the pairs' gradient on pairs that are neither positives nor negatives here.
        jumps: where the weights jump on the plane; ``jumps_on_batches``: in the space of all similarities.
        stopped_by: what keeps the loss from being continuous by construction; empty if it is.
        batches: the gradients on random batches.
        not_finite: what is not finite at the ends of the similarities and on poor batches, by place.
        between: what the loss does with labels between those of positives and negatives, if anything.
        explodes: which weights grow without bound, by the end that they grow towards.
        learned: the gradient of every parameter of the loss on the plane, or its norm.
        trail: s_p, s_n, w⁺ and w⁻ at points that close in on the jumps, shape ``(4, bisected)``.
        connected: whether autograd reaches the inputs.
        deterministic: whether a second call at the same point gave the same gradient.
        nearest: a `Neighbour` for each of the nearest known losses, where they were looked for.
    """

    name: str
    shape: Shape
    returned: str
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
    precision: float
    noise: float
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
        """Where weights were measured."""
        return self.w_p.isfinite()

    @property
    def _signed(self) -> Float[Tensor, "2 points"]:
        """w⁺ and w⁻ where there are weights; what is next to nothing beside the largest is zero."""
        known = torch.stack([self.w_p, self.w_n])[:, self.reached]
        return known.where(known.abs() > max(DEAD, self.precision) * known.abs().max(), 0.0)

    @property
    def dead(self) -> Bool[Tensor, "s_p s_n"]:
        """Where both weights vanish."""
        return torch.zeros_like(self.reached).masked_scatter(self.reached, (self._signed == 0).all(0))

    @property
    def dead_share(self) -> float:
        """The share of the plane, as far as it was reached, where both weights vanish."""
        return (self.dead.sum() / self.reached.sum()).item()

    @property
    def unreliable(self) -> str:
        """Why the weights do not describe the loss; empty if they do."""
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
        return bool(((self._signed < 0).any(1) & ~(self._signed > 0).any(1)).all())

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
                most = 2 * turned.field.abs().max().item()
                return Integrability(False, f"the weights turn {where}: the largest difference of slopes is {most:.3g}")
        every = [(jump, where) for where, (_, found) in seen.items() for jump in found if jump.tangential >= 0]
        leaning = [(jump, where) for jump, where in every if jump.tangential > ACROSS]
        if leaning:
            jump, where = max((one for one in leaning if one[1] == leaning[0][1]), key=lambda one: one[0].tangential)
            at = f" at s_p = {jump.point[0]:.4g}, s_n = {jump.point[1]:.4g}" if where == "on the plane" else ""
            reason = f"the weights jump by {jump.change.norm():.3g} {where}{at}, and not along the normal of where they"
            return Integrability(False, f"{reason} jump (sine {min(1.0, jump.tangential):.2g})")
        if not self.stopped_by:
            return Integrability(True, "the loss is continuous by what it calls, and stops no gradient")
        shares = ", ".join(f"{max(turned.share, NOTICEABLE):.2g} {where}" for where, (turned, _) in seen.items())
        normal = sum(jump.tangential < ALONG for jump, _ in every)
        said = f"of {len(every)} jumps {normal} are normal to where they are" if every else "no jump was found"
        nothing = f"nothing was found against it (turning at most {shares}; {said})"
        return Integrability(None, f"open: {nothing}, and it is not proved: {self.stopped_by}")

    @property
    def verdict_in_words(self) -> str:
        """The verdict in one sentence."""
        return {True: "yes: ", False: "no: ", None: ""}[self.integrable] + self.verdict.reason

    def frame(self) -> pd.DataFrame:
        """One row a point: s_p, s_n, w_p, w_n, T, P_p, P_n, curl, dead, reached."""
        import pandas as pd  # a third of a second, which a page does without

        factors = {"T": self.factors.triplet, "P_p": self.factors.positive[:, None], "P_n": self.factors.negative}
        columns = {"s_p": self.s_p[:, None], "s_n": self.s_n, "w_p": self.w_p, "w_n": self.w_n, **factors}
        columns |= {"curl": self.curl, "dead": self.dead, "reached": self.reached}
        return pd.DataFrame({name: x.expand_as(self.w_p).flatten().numpy() for name, x in columns.items()})

    def findings(self) -> dict[str, str]:
        """The lines of `summary`, by topic."""
        shape, misfit = self.shape, self.factors.misfit
        known = torch.stack([self.w_p, self.w_n])[:, self.reached]
        clear = known.where(known.abs() > ROUNDING * known.abs().max(), 0.0)
        places = dict(self.not_finite)
        if missing := int((self.inside & ~self.reached).sum()):
            places[f"{missing} of {int(self.inside.sum())} points of the plane"] = "NaN or infinite"
        how = [(f"{self.reached.double().mean():.0%} of the plane reached", True)]
        how += [(f"{n} = {f'{v:.5g}' if isinstance(v, float) else v}", True) for n, v in self.settings.items()]
        how += [
            (str(shape.dtype).removeprefix("torch."), shape.dtype != torch.float64),
            ("the views in turn", shape.in_turn),
            (f"{shape.dim} dimensions", shape.dim),
            (f"proxies {shape.proxies}, {shape.classes} classes", shape.proxies),
            (
                f"labels {shape.labels[0]:g} of positives and {shape.labels[1]:g} of negatives",
                shape.inputs is Inputs.PAIRS or shape.beside in OF_PAIRS,
            ),
            ("labels in a column", shape.in_column),
            ("embeddings turned at random", shape.turned),
            (f"the {shape.beside} beside it", shape.beside),
            (self.returned, self.returned),
        ]
        unseen = "nowhere have both weights been seen together"
        why = self.unreliable or (unseen if math.isnan(misfit) else "the misfit is what the rounding makes")
        separable = {True: "yes", False: "no", None: f"undecided: {why}"}[self.separable]
        index = f"(index {self.on_batches.share:.2g} on batches, curl share {self.on_plane.share:.2g} on the plane)"
        stopped = (
            f"{_percent(self.unexplained)} of the gradient is no gradient by similarities: it is stopped at one end of "
            "the pairs, or the loss reads something else"
        ) * (self.unexplained > max(NOTICEABLE, CLEAR * self.noise))
        besides = f"{_percent(self.aside)} of the weight lies on other pairs than positives and negatives"
        copies = "its calls change the next ones; every call was on a fresh copy, as it was handed in"
        said = {
            "measured on": f"{shape.inputs.value}; {', '.join(text for text, holds in how if holds)}",
            "weights": ", ".join(f"{name} {_span(w)}" for name, w in zip(("w⁺", "w⁻"), clear, strict=True)),
            "pulls and pushes": self._pulls_and_pushes() if self.dead_share < 1 else "",
            "signs": self._signs(),
            "separable": f"{separable} (misfit {misfit:.2g})",
            "integrable": f"{self.verdict_in_words} {index}",
            "jumps": self._jump_lines() if self.jumps else "",
            "dead": self._dead_region(),
            "not finite": "; ".join(f"{what} at {where}" for where, what in places.items()) or "nowhere that was tried",
            "explodes": "; ".join(f"{end}: {what}" for end, what in self.explodes.items()) or "nowhere",
            "graded": self.between,
            "learns": "; ".join(f"{name}, gradient {_span(g)}" for name, g in self.learned.items()),
            "remembers": copies if self.remembers else "",
            "beware": self.unreliable if not self.deterministic or self.turned > UNEXPLAINED else stopped,
            "besides": besides if self.aside > max(NOTICEABLE, CLEAR * self.noise) else "",
            "nearest": self._nearest() if self.nearest and not self.nearest[0].problem else "",
        }
        return {topic: text for topic, text in said.items() if text}

    def _pulls_and_pushes(self) -> str:
        shares, said = self.batches.shares(), []
        for side, word in enumerate(("pulls", "pushes")):
            whole = sum(share[side] for share in shares.values())
            parts = [f"{_percent(share[side])} {name}" for name, share in shares.items() if share[side] > NOTICEABLE]
            said.append(f"{_percent(whole)} {word} ({', '.join(parts)})" if parts else f"nothing {word}")
        names = ("pull is on its farthest positive", "push is on its closest negative")
        hardest = zip(self.batches.on_hardest(), names, strict=True)
        said += [f"{_percent(share)} of an anchor's {name}" for share, name in hardest if not math.isnan(share)]
        return "; ".join(said)

    def _signs(self) -> str:
        if self.is_reversed:
            return "reversed: it pushes every positive away and pulls every negative closer"
        shares = (self._signed < 0).double().mean(1).tolist()
        wrong = zip(("pushes positives away", "pulls negatives closer"), shares, strict=True)
        return " and ".join(f"{word} on {_percent(share)} of the plane" for word, share in wrong if share)

    def _jump_lines(self) -> str:
        at = torch.stack([jump.point for jump in self.jumps])
        s_p, s_n = at.T
        left, lines = torch.ones(len(at), dtype=torch.bool), []
        for name, value in {"s_n − s_p": s_n - s_p, "s_p": s_p, "s_n": s_n, "s_p + s_n": s_p + s_n}.items():
            for common in value.round(decimals=5).unique():
                here = left & ((value - common).abs() < 2e-5)
                if int(here.sum()) > 2:
                    lines.append(f"{name} = {common + 0.0:.4g}")
                    left &= ~here
        where = [f"where {', '.join(lines)}"] if lines else []
        if left.any():
            x, y = at[left][0].tolist()
            where.append(f"on no straight line, for example at s_p = {x + 0.0:.4g}, s_n = {y + 0.0:.4g}")
        return f"the weights jump {' and '.join(where)}"

    def _dead_region(self) -> str:
        dead, gaps = self.dead, self.s_n - self.s_p[:, None]
        if not dead.any():
            return "nowhere"
        if torch.equal(dead, self.reached):
            why = "" if self.connected else ": autograd does not reach the inputs"
            return f"everywhere: the loss has no gradient{why}"
        spans = {"s_p": self.s_p[dead.any(1)], "s_n": self.s_n[dead.any(0)], "s_n − s_p": gaps[dead]}
        within = ", ".join(f"{name} {values.min():.2f} … {values.max():.2f}" for name, values in spans.items())
        return f"{_percent(self.dead_share)} of the plane, within {within}"

    def _nearest(self) -> str:
        first, *others = self.nearest
        on_batch, on_triplet = first.on_batches, first.distance
        same = "the same as" if on_batch < EXACT else "near" if on_batch < NEAR else "none is near; the nearest is"
        if on_batch >= EXACT > on_triplet:
            same = "on one triplet the same, on batches not:"
        same = f"of what similarities explain, {same}" if self.unreliable else same
        named = [n for n in others if not n.problem and n.loss.name not in first.ties]
        return "; ".join([f"{same} {first.in_words}", *(f"{n.loss.name} ({n.best:.2g})" for n in named)])

    def record(self) -> dict[str, Any]:
        """Everything that was measured, as numbers and text that JSON takes."""
        of_jumps = {"plane": self.jumps, "batches": self.jumps_on_batches}
        learned = {name: g.nan_to_num() for name, g in self.learned.items()}
        own = ("name", "dead_share", "not_finite", "unexplained", "aside", "s_p", "s_n", "w_p", "w_n")
        found = {name: getattr(self, name) for name in own} | {
            "verdict": self.integrable,
            "shares": {name: {"pulls": pull, "pushes": push} for name, (pull, push) in self.batches.shares().items()},
            "on_hardest": dict(zip(("positive", "negative"), self.batches.on_hardest(), strict=True)),
            "explosions": self.explodes,
            "misfit": self.factors.misfit,
            "non_integrability": self.on_batches.share,
            "curl_share": self.on_plane.share,
            "jumps_on": {
                where: [{"at": j.point, "change": j.change, "tangential": j.tangential} for j in found]
                for where, found in of_jumps.items()
            },
            "learned": {name: [g.min(), g.max()] for name, g in learned.items()},
            "nearest": [near.record() for near in self.nearest],
        }
        return _plain(self.findings() | found)

    def summary(self) -> str:
        """A few lines of text."""
        return "\n".join([self.name, *(f"  {topic}: {text}" for topic, text in self.findings().items())])

    def __repr__(self) -> str:
        near = f"; nearest {self.nearest[0].loss.name}" if self.nearest else ""
        return f"Measurement({self.name}{near})"

    def _repr_markdown_(self) -> str:
        rows = (f"| {topic} | {text} |" for topic, text in self.findings().items())
        return "\n".join([f"| {self.name} | |", "|---|---|", *rows])


def _plain(x: Any) -> Any:
    if isinstance(x, Mapping):
        return {key: _plain(value) for key, value in x.items()}
    if isinstance(x, Tensor | list):
        return [_plain(value) for value in x] if not isinstance(x, Tensor) else _plain(x.tolist())
    return None if isinstance(x, float) and not math.isfinite(x) else x


def _span(values: Tensor) -> str:
    known = values[values.isfinite()]
    return f"from {known.min() + 0.0:.3g} to {known.max() + 0.0:.3g}" if len(known) else "never finite"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{100 * share:.2g}%"
