"""A probe for training loops: it records what the loss does to the scores, and leaves the gradients as they are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from goal_analysis.declarations import check_counts
from goal_analysis.files import write_whole
from goal_analysis.numeric.caching import random_state
from goal_analysis.numeric.compilation import Compiled, compiled
from goal_analysis.numeric.engine.surrogate import quick_surrogate, uncompiled
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import scores as pairwise
from goal_analysis.symbolic.analysis.decomposition import Decomposition
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.weight import WeightField

QUANTILES = (0.1, 0.5, 0.9)  # of every distribution, by default
SMALL = 1024  # columns, up to which products with a square matrix take less time than the dense way


def statistics(
    scores: Float[Tensor, "anchors candidates"],
    gradient: Float[Tensor, "anchors candidates"],
    matches: Matches,
    levels: Sequence[float] = QUANTILES,
    factors: Compiled | None = None,
) -> dict[str, float]:
    """Numbers of some anchors by name, with ``gradient`` ∂L/∂S: −w⁺ at positives, w⁻ at
    negatives; computed in float32 at least.

    - quantiles of s_p and |w⁺| over the positives, of s_n and |w⁻| over the negatives;
    - with ``factors``, of P⁺ and P⁻ over their pairs, and of T at every anchor's hardest pairs;
    - active_share: anchors with any weight, of those that have a positive and a negative;
    - effective_negatives: the mean over the anchors that push of exp(−Σ_j q_j·log q_j) with q = |w⁻|/Σ|w⁻|, which is
      how many negatives share the push;
    - push_share = Σ|w⁻|/(Σ|w⁺| + Σ|w⁻|), and pull_share = 1 − push_share.
    """
    positives, negatives = matches.positives, matches.negatives
    scores, gradient = (t if t.dtype == torch.float64 else t.float() for t in (scores, gradient))
    size = gradient.abs()
    pulls, pushes = size * positives, size * negatives
    of_pairs, sides = (("s", scores), ("w", size)), (("p", positives), ("n", negatives))
    spreads = {f"{name}_{side}": (values, members) for name, values in of_pairs for side, members in sides}
    has_both = positives.any(1) & negatives.any(1)
    if factors is not None:
        least = scores.masked_fill(~positives, torch.inf).amin(1).masked_fill(~has_both, 0.0)
        most = scores.masked_fill(~negatives, -torch.inf).amax(1).masked_fill(~has_both, 0.0)
        _, of_p, of_n = factors(scores, scores)
        spreads |= {"T": (factors(least, most)[0], has_both), "P_p": (of_p, positives), "P_n": (of_n, negatives)}
    push, pull = pushes.sum(), pulls.sum()
    active = ((pulls + pushes).amax(1) > 0) & has_both
    shares = {
        "active_share": active.sum() / has_both.sum(),
        "effective_negatives": torch.special.entr(pushes / pushes.sum(1, keepdim=True)).sum(1).exp().nanmean(),
        "push_share": push / (push + pull),
        "pull_share": pull / (push + pull),
    }
    found = {}
    for name, (values, members) in spreads.items():
        of_members = values[members].cpu().double().numpy()
        quantiles = np.quantile(of_members, levels) if len(of_members) else np.full(len(levels), np.nan)
        found |= {f"{name}_q{100 * level:g}": float(x) for level, x in zip(levels, quantiles, strict=True)}
    return found | {name: float(share) for name, share in shares.items()}


class GradientProbe:
    """Watches score matrices and records, when the loss is differentiated, what `statistics` says of ∂L/∂S.

    The rows are the anchors; hand in ``scores.T`` and ``matches.transposed`` to look from the columns.
    `follow` looks at an objective instead, wherever it is called, and `take` hands over what there is to log. Steps are
    counted, unless a trainer that counts them itself keeps the number of its step in ``probe.at``.
    Nothing of a training step is kept alive and no gradient is changed; the only random numbers drawn are the
    probe's own. Under a gradient scaler the weights come multiplied by its scale; the shares do not.

    Args:
        every: only steps divisible by this are recorded; a record costs about as much as a tenth of a step.
        anchors: of every score matrix only so many rows, chosen at random, are looked at; None for all.
        objective: T, P⁺ and P⁻ are recorded too, as this loss has them.
        settings: hyperparameters of ``objective`` that differ from their defaults.
        quantiles: which of every distribution.
        path: where the table is written when the block is left, see `write`.
        seed: of the choice of anchors.

    Raises:
        ValueError: a number out of range, or an objective whose weights do not separate.

    >>> scores = torch.tensor([[0.9, 0.1], [0.3, 0.8]], requires_grad=True)
    >>> with GradientProbe() as probe:
    ...     probe.watch(scores, Matches.of_pairs(2))
    ...     torch.nn.functional.cross_entropy(10 * scores, torch.arange(2)).backward()
    >>> probe.frame()[["step", "active_share", "effective_negatives", "push_share"]]
       step  active_share  effective_negatives  push_share
    0     0           1.0                  1.0         0.5
    """

    def __init__(
        self,
        *,
        every: int = 10,
        anchors: int | None = 64,
        objective: Decomposition | WeightField | None = None,
        settings: Mapping[str, float] | None = None,
        quantiles: Sequence[float] = QUANTILES,
        path: str | Path | None = None,
        seed: int = 0,
    ) -> None:
        check_counts(every=every, **({} if anchors is None else {"anchors": anchors}))
        if not quantiles or not all(0 <= level <= 1 for level in quantiles):
            raise ValueError(f"GradientProbe: quantiles: got {quantiles} but expected numbers from 0 to 1")
        self._every, self._anchors, self._levels, self._path = every, anchors, tuple(quantiles), path
        self._factors = None if objective is None else _factors(objective, settings)
        self._generator = torch.Generator().manual_seed(seed)
        self._open, self._watched, self._next_step = True, 0, 0
        self._records: list[dict[str, float]] = []
        self._taken, self._handles = 0, []
        self.at: int | None = None

    def __enter__(self) -> GradientProbe:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._open = False
        while self._handles:
            self._handles.pop().remove()
        if self._path is not None:
            self.write(self._path)
        if self._watched and not self._records and kind is None:
            warnings.warn(
                f"GradientProbe: watched {self._watched} score matrices but no gradient reached them; "
                "expected the loss to be computed from the very tensor that is watched",
                stacklevel=2,
            )

    def watch(self, scores: Float[Tensor, "anchors candidates"], matches: Matches, step: int | None = None) -> None:
        """Record ∂L/∂scores at every backward pass through them.

        Args:
            scores: the tensor that the loss is computed from.
            matches: which pairs are positives and which negatives, of the same shape.
            step: the number of the training step; by default every call is the next step. Calls with the same
                number, as when gradients are accumulated over several batches, make one row: their mean.

        Raises:
            RuntimeError: after the probe's block.
            ValueError: scores without a gradient, or of another shape than the matches.
        """
        if not self._open:
            raise RuntimeError("GradientProbe: got something to watch after its with block")
        if not scores.requires_grad:
            raise ValueError("GradientProbe: got scores without a gradient but expected those that the loss reads")
        if self._number(step) % self._every == 0:
            matches.check(scores, "GradientProbe.watch")
            # The hook lives and dies with the graph; what it returns, None, leaves the gradient as it is.
            scores.register_hook(self._recorder(self._number(step), scores, matches))
        self._next_step = self._number(step) + 1

    def follow(self, objective: Any) -> GradientProbe:
        """Record the weights of an objective at every call, until the block is left, and return the probe itself.

        They are W(S) of the embeddings that it is handed, without the factor that its value is multiplied with later.
        They are worked out anew, which leaves gradients and random numbers as they are.

        Args:
            objective: a `GradientObjective`, or what has one in ``objective`` as `AcrossProcesses` has, whose joined
                batch is looked at then.
        """
        objective = objective.objective if isinstance(objective.objective, nn.Module) else objective
        self._handles.append(objective.register_forward_hook(uncompiled(self._look), with_kwargs=True))
        return self

    def take(self) -> dict[str, float]:
        """The newest row of `frame`, by its columns and without NaN; empty if there is none since the last call."""
        newest = [record for record in self._records[self._taken :] if record["step"] == self._records[-1]["step"]]
        self._taken = len(self._records)
        mean = pd.DataFrame(newest).mean().dropna()
        return {"backwards": float(len(newest)), **{str(k): float(v) for k, v in mean.items()}} if newest else {}

    def frame(self) -> pd.DataFrame:
        """One row a step: step, backwards (it is the mean of so many), the columns of `statistics`."""
        by_step = pd.DataFrame(self._records, columns=None if self._records else ["step"]).groupby("step", sort=True)
        found = by_step.mean()
        found.insert(0, "backwards", by_step.size())
        return found.reset_index()

    def write(self, path: str | Path) -> None:
        """Write the table whole or not at all: as JSON Lines where the path ends in .jsonl, and as CSV elsewhere."""
        frame, jsonl = self.frame(), Path(path).suffix == ".jsonl"
        write_whole(Path(path), frame.to_json(orient="records", lines=True) if jsonl else frame.to_csv(index=False))

    def _number(self, step: int | None = None) -> int:
        return next(number for number in (step, self.at, self._next_step) if number is not None)

    def _recorder(self, number: int, scores: Tensor, matches: Matches) -> Callable[[Tensor], None]:
        """What takes ∂L/∂S of these scores, and records some of its rows."""
        self._watched += 1
        order = torch.randperm(len(scores), generator=self._generator)
        chosen = order[: self._anchors].to(scores.device)
        looked_at, among = scores.detach()[chosen], Matches(matches.positives[chosen], matches.negatives[chosen])

        @torch.no_grad()
        def record(gradient: Tensor) -> None:
            if self._open:
                found = statistics(looked_at, gradient.detach()[chosen], among, self._levels, self._factors)
                self._records.append({"step": number} | found)

        return record

    def _look(self, objective: Any, given: tuple, named: dict[str, Any], value: Tensor) -> None:
        """Look at a call of an objective that is followed; of a batch that several ranks share, at all of it."""
        if not value.requires_grad:
            return
        if self._number() % self._every == 0:
            call = signature(objective.forward).bind(*given, **named)
            call.apply_defaults()
            x, y, *ids, carried, _ = call.args
            selections = [side.selection for term in objective.objective.terms for side in term.sides]
            restore = random_state(*(s.generator for s in selections if getattr(s, "generator", None) is not None))
            with torch.autocast(x.device.type, enabled=False):
                x, y = (e.detach().to(torch.promote_types(e.dtype, torch.float32)) for e in (x, y))
                s, matches, quick = pairwise(objective.similarity, x, y), objective.matches(x, *ids, carried), None
                plain = objective.objective.grouped is None and objective.learned is None
                if plain and len(y) <= SMALL and objective.match == Matches.of_image_ids:
                    one = torch.eye(len(y), dtype=s.dtype, device=s.device)  # S is its product with this
                    quick = quick_surrogate(objective.functions, "dot", s.requires_grad_(), one, *ids)
            w = objective.weight_matrix(s, matches) if quick is None else torch.autograd.grad(quick, s)[0]
            restore()
            self._recorder(self._number(), s, matches)(w)
        self._next_step = self._number() + 1


def _factors(objective: Decomposition | WeightField, settings: Mapping[str, float] | None) -> Compiled:
    """T, P⁺ and P⁻ of an objective as functions of s_p and s_n."""
    field = objective.field if isinstance(objective, Decomposition) else objective
    if field.factors is None or field.relative:
        raise ValueError(
            f"objective: got {field.name}, whose weights have no factors T, P⁺ and P⁻ of one triplet, "
            "but expected one that separates"
        )
    values, factors = field.values(settings), field.factors
    return compiled([f.subs(values) for f in (factors.triplet, factors.positive, factors.negative)], [s_p, s_n])
