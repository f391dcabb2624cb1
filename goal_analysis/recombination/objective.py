"""Objectives that train: modules whose gradient is the weight matrix W, whether or not it is that of a loss."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from goal_analysis.declarations import expect_kind
from goal_analysis.numeric.engine.dense import loss, weight_matrix
from goal_analysis.numeric.engine.functions import Functions
from goal_analysis.numeric.engine.geometry import alike
from goal_analysis.numeric.engine.pairs import Rank
from goal_analysis.numeric.engine.surrogate import differentiable_once, prescribed, quick_surrogate, uncompiled
from goal_analysis.numeric.functions import functions_of, functions_with
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.rounding import safe_loss
from goal_analysis.numeric.similarity import SCORES, Direction, embedding_gradients
from goal_analysis.numeric.similarity import scores as pairwise
from goal_analysis.recombination.description import Description
from goal_analysis.recombination.recombine import refusal
from goal_analysis.recombination.verdict import along_similarity, loss_of, verdict, verdict_on_scores
from goal_analysis.symbolic.analysis.integrability import Integrability
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter
from goal_analysis.symbolic.language.similarity import COSINE, DOT, Similarity
from goal_analysis.symbolic.objective import Objective

SHORTEST = 1e-12
"""Of rows that are shorter, squares may be 0."""

UNIT = 1e-2
"""How far a length may be from 1 before embeddings no longer pass for unit vectors."""


class GradientObjective(nn.Module):
    """An objective as a torch module.

        W_ap = −T(x_p, x_n)·q_p·P⁺(s_p)        W_an = T(x_p, x_n)·q_n·P⁻(s_n)

    It returns the surrogate ⟨stop_gradient(W), S⟩. Its gradient by the scores is W, and by the embeddings what the
    direction makes of W, times the upstream gradient. So mixed precision with a scaler, accumulation and clipping need
    nothing special. The value of the surrogate means nothing; where there is a loss, `value` gives it.

    For the cosine, embeddings that are no unit vectors are normalised, with one warning. The transforms of `torch.func`
    go through a module.

    ``learned`` holds the hyperparameters that training moves, as parameters, see `Learned`; None where there are none.

    Args:
        objective: the value: a loss, or a recombination.
        refuse_nonfinite: whether NaN and infinities in the input raise an error instead of passing through.
        match: what makes the matches of a batch from the ids of its images and texts; by default those of equal ids.

    Raises:
        TypeError: what was given is no `Objective`.
        ValueError: a weight is not real somewhere in the range of the similarity or of soft aggregates.

    >>> import goal_analysis as ga
    >>> objective = ga.objective("nca(tau=1)/constant")
    >>> scores = torch.tensor([[0.9, 0.1], [0.3, 0.8]], requires_grad=True)
    >>> objective.from_scores(scores, Matches.of_pairs(2)).backward()
    >>> scores.grad
    tensor([[-0.1661,  0.1605],
            [ 0.1830, -0.1773]])
    """

    def __init__(
        self,
        objective: Objective,
        refuse_nonfinite: bool = True,
        match: Callable[[Tensor, Tensor], Matches] = Matches.of_image_ids,
    ) -> None:
        super().__init__()
        such = "an Objective, such as goal_analysis.objective('nca/linear') makes of text"
        expect_kind("objective", objective, Objective, such)
        refused = refusal(objective)
        if refused:
            raise ValueError(refused)
        self.objective = objective
        self.refuse_nonfinite, self.match = refuse_nonfinite, match
        self.learned = Learned(objective) if objective.learned else None
        self._warned, self._made = False, None
        name = DOT.name if objective.similarity == COSINE else objective.similarity.name
        quick = objective.direction is None and objective.grouped is None and name in SCORES
        quick = quick and match == Matches.of_image_ids
        self._measured = name if quick else None

    @property
    def functions(self) -> Functions:
        """The objective as the engine reads it, with what is learned as it is now."""
        if self._made is None and self.learned is None:
            self._made = functions_of(self.objective)
        return self._made or self._functions(self.objective)

    def _functions(self, objective: Objective) -> Functions:
        return functions_of(objective) if self.learned is None else functions_with(objective, self.learned.numbers())

    @property
    def similarity(self) -> Similarity:
        """What the scores measure."""
        return self.objective.similarity

    @property
    def name(self) -> str:
        """The objective's name."""
        return self.objective.name

    @uncompiled
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        image_embeddings: Float[Tensor, "images dim"],
        text_embeddings: Float[Tensor, "texts dim"],
        image_ids: Int[Tensor, " images"] | None = None,
        text_ids: Int[Tensor, " texts"] | None = None,
        carried: Float[Tensor, "images texts"] | None = None,
        rank: Rank | None = None,
    ) -> Float[Tensor, ""]:
        """The surrogate of a batch of embeddings.

        Args:
            image_embeddings: the rows.
            text_embeddings: the columns.
            image_ids: of the images: texts of one image match it and are no negatives of it. By default text i
                matches image i alone.
            text_ids: the image that each text describes; by default text i comes with image i.
            carried: what every pair carries, which formulas read as ``y_p`` and ``y_n``; see `Matches`.
            rank: the share of a joined batch that `AcrossProcesses` gives this rank.

        Raises:
            ValueError: shapes or ids that do not fit, or a number that is not finite, with its row.
        """
        x, y = self._accepted(image_embeddings, text_embeddings, image_ids, text_ids)
        if self._measured is not None and self.learned is None:
            unit = self.similarity == COSINE  # by now
            value = quick_surrogate(self.functions, self._measured, x, y, image_ids, text_ids, rank, unit)
            if value is not None:
                return value
        matches = self.matches(x, image_ids, text_ids, carried)
        similarity, moved = DOT if self.similarity == COSINE else self.similarity, self.objective.direction
        with torch.autocast(x.device.type, enabled=False):
            x, y = alike(x, y)
            s = pairwise(similarity, x, y) if moved is None else MovingScores.apply(x, y, similarity, moved)
            return self._surrogate(s, matches, 1 if self.learned is None else self.learned.ranks)

    @uncompiled
    def from_scores(self, scores: Float[Tensor, "rows columns"], matches: Matches) -> Float[Tensor, ""]:
        """The surrogate of scores from anywhere, such as a model whose score is no dot product.

        A parameter that the scores are made with, such as a learned scale, moves as they do, by ⟨W, ∂S⟩.

        Args:
            scores: the rows are images, the columns texts.
            matches: which pairs are positives and which negatives.

        Raises:
            ValueError: shapes that do not fit, or a score that is not finite, with its row.
            TypeError: ``matches`` is no `Matches`.
        """
        self._check_scores(scores, matches)
        return self._surrogate(scores, matches, 1)

    def _surrogate(self, s: Tensor, matches: Matches, ranks: int) -> Tensor:
        w = self.weight_matrix(s, matches)
        value = prescribed(s, None, w, None, (w * s.detach()).sum())
        return value if self.learned is None else value + self.learned.surrogate(s, matches, ranks)

    @uncompiled
    def value(
        self,
        image_embeddings: Float[Tensor, "images dim"],
        text_embeddings: Float[Tensor, "texts dim"],
        image_ids: Int[Tensor, " images"] | None = None,
        text_ids: Int[Tensor, " texts"] | None = None,
        carried: Float[Tensor, "images texts"] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss whose gradient trains, up to a constant; differentiable, and fit for a learning curve.

        The arguments are those of `forward`.

        Raises:
            ValueError: the objective is the gradient of no loss, or no closed form is known, with the reason; or
                `forward` refuses the input.

        >>> import goal_analysis as ga
        >>> objective = ga.objective("nca(tau=1)/constant")
        >>> objective.value(torch.eye(2), torch.eye(2))
        tensor(0.3133)
        """
        x, y = self._accepted(image_embeddings, text_embeddings, image_ids, text_ids)
        of_unit = DOT if self.similarity == COSINE and self.objective.direction is None else self.similarity
        with torch.autocast(x.device.type, enabled=False):
            s = pairwise(of_unit, *(e.to(torch.promote_types(e.dtype, torch.float32)) for e in (x, y)))
        along, *_ = along_similarity(self.objective) or (self.objective,)
        return self._value(self.verdict(), along, s, self.matches(x, image_ids, text_ids, carried))

    @uncompiled
    def value_from_scores(self, scores: Float[Tensor, "rows columns"], matches: Matches) -> Float[Tensor, ""]:
        """The loss of scores from anywhere whose gradient by the scores is W; the direction does not matter.

        The arguments are those of `from_scores`.

        Raises:
            ValueError: W is the gradient of no loss of the scores, or of none with a known closed form, with the
                reason; or what `from_scores` refuses.
        """
        self._check_scores(scores, matches)
        return self._value(verdict_on_scores(self.objective), self.objective, scores, matches)

    def weight_matrix(self, scores: Float[Tensor, "rows columns"], matches: Matches) -> Float[Tensor, "rows columns"]:
        """W(S), which takes the place of a loss's ∂L/∂S; a constant, in float32 at least."""
        self._check_kinds(scores, matches)
        with torch.no_grad():
            s = scores.detach().to(torch.promote_types(scores.dtype, torch.float32))
            return weight_matrix(self.functions, s, *matches.tables)

    def verdict(self) -> Integrability:
        """Whether what trains is the gradient of a loss of the embeddings."""
        return verdict(self.objective)

    def describe(self) -> Description:
        """What the objective is: its weights, whether what trains is the gradient of a loss, and of which."""
        return Description(self.objective)

    def _value(self, found: Integrability, objective: Objective, scores: Tensor, matches: Matches) -> Tensor:
        of = loss_of(objective) if found.integrable is True else None
        if of is None:
            known = "not known to be" if found.integrable is None else "not"
            none = f"that is {known} the gradient of a loss ({found.reason})"
            given = "of whose loss no closed form was found" if found.integrable is True else none
            expected = "one that is the gradient of a loss with a closed form, as `describe` tells"
            raise ValueError(f"{self.name}: got an objective {given} but expected {expected}")
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        return loss(self._functions(safe_loss(of)), scores, *matches.tables)

    def extra_repr(self) -> str:
        """The objective in a line."""
        o = self.objective
        parts = [o.name, f"{o.reduction.value} over {o.anchors.value}", (o.direction or o.similarity).name]
        values = {h.name: float(h.default) for h in o.hyperparameters} | (self.learned.values if self.learned else {})
        return ", ".join([*parts, *(f"{name}={value:g}" for name, value in values.items())])

    def _repr_markdown_(self) -> str:
        return self.describe()._repr_markdown_()

    def plot(self, kind: str | None = None) -> Any:
        """Its picture, a matplotlib figure; see `goal_analysis.plot`."""
        return self.objective.plot(kind)

    def replaced(self, **changes: Any) -> GradientObjective:
        """The objective with other fields of its value, ``refuse_nonfinite`` or ``match``, and the same parameters."""
        refuse, match = (changes.pop(name, getattr(self, name)) for name in ("refuse_nonfinite", "match"))
        found = GradientObjective(replace(self.objective, **changes), refuse, match)
        if self.learned is not None and found.learned is not None and found.objective.learned == self.objective.learned:
            for name, parameter in self.learned.named_parameters():
                found.learned.register_parameter(name, parameter)
        return found

    def _check_kinds(self, scores: Tensor, matches: Matches) -> None:
        expect_kind("scores", scores, Tensor, "a tensor (rows, columns)")
        such = f"Matches, such as Matches.of_pairs({len(scores)}) or Matches.of_image_ids(images, texts)"
        expect_kind("matches", matches, Matches, such)
        matches.check_for(self.objective, scores, self.name)

    def _check_scores(self, scores: Tensor, matches: Matches) -> None:
        self._check_kinds(scores, matches)
        if self.refuse_nonfinite:
            check_finite("scores", scores, scores.detach().sum(1))

    def matches(
        self, images: Tensor, image_ids: Tensor | None, text_ids: Tensor | None, carried: Tensor | None
    ) -> Matches:
        """Which pairs of a batch match, by ``match``, and what they carry; the arguments are those of `forward`."""
        if image_ids is None:
            found = Matches.of_pairs(len(images), images.device)
        else:
            found = self.match(image_ids, image_ids if text_ids is None else text_ids)
        found = found if carried is None else replace(found, carried=carried)
        found.check_for(self.objective, found.positives, self.name)
        return found

    def _accepted(
        self, images: Tensor, texts: Tensor, image_ids: Tensor | None, text_ids: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        check_shapes(images, texts, image_ids, text_ids)
        of_images, of_texts = lengths(images), lengths(texts)
        if are_unit(torch.cat((of_images, of_texts))):  # what is not finite has no length of 1
            return images, texts
        if self.refuse_nonfinite:
            check_finite("image_embeddings", images, of_images)
            check_finite("text_embeddings", texts, of_texts)
        return self._unit(images, of_images, "image_embeddings"), self._unit(texts, of_texts, "text_embeddings")

    def _unit(self, embeddings: Tensor, of_rows: Tensor, name: str) -> Tensor:
        if self.similarity != COSINE or are_unit(of_rows):
            return embeddings
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"got embeddings of lengths from {of_rows.min():.3g} to {of_rows.max():.3g} but expected unit vectors "
                "for the cosine; they are normalised",
                stacklevel=7,  # who called the module: torch stands between
            )
        return unit_vectors(embeddings, of_rows, name, self.refuse_nonfinite)


class MovingScores(torch.autograd.Function):
    """The scores of embeddings, whose gradient moves these along a direction, or that of a similarity."""

    @staticmethod
    def forward(x: Tensor, y: Tensor, similarity: Similarity, direction: Direction | Similarity) -> Tensor:
        """S."""
        return pairwise(similarity, x, y)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep what the backward pass needs."""
        ctx.direction = inputs[3]
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What the direction makes of the upstream gradient."""
        with torch.autocast(upstream.device.type, enabled=False):
            found = embedding_gradients(ctx.direction, upstream, *ctx.saved_tensors)
        return differentiable_once(ctx, *found, None, None)


def check_shapes(images: Any, texts: Any, image_ids: Any, text_ids: Any) -> None:
    """Raise an error unless these fit together as `GradientObjective.forward` takes them."""
    for kind, e, ids in (("image", images, image_ids), ("text", texts, text_ids)):
        expect_kind(f"{kind}_embeddings", e, Tensor, "a tensor")
        if e.ndim != 2 or not e.is_floating_point():
            got, expected = f"{e.dtype} of shape {tuple(e.shape)}", "floating-point numbers of shape (embeddings, dim)"
            raise ValueError(f"{kind}_embeddings: got a tensor of {got} but expected {expected}")
        if ids is None:
            continue
        expect_kind(f"{kind}_ids", ids, Tensor, "a tensor")
        if ids.shape != e.shape[:1] or ids.is_floating_point() or ids.is_complex():
            got, expected = f"{ids.dtype} of shape {tuple(ids.shape)}", f"whole numbers of shape ({len(e)},)"
            raise ValueError(f"{kind}_ids: got a tensor of {got} but expected {expected}, one an embedding")
    (rows, dim), (columns, other) = images.shape, texts.shape
    if dim != other:
        raise ValueError(
            f"got image_embeddings of shape {tuple(images.shape)} and text_embeddings of shape "
            f"{tuple(texts.shape)} but expected one dim"
        )
    if image_ids is None and (text_ids is not None or rows != columns):
        raise ValueError(f"got {rows} images and {columns} texts without image_ids but expected the ids, or as many")
    if text_ids is None and rows != columns:
        raise ValueError(f"got {columns} texts for {rows} images without text_ids but expected the ids")


def lengths(embeddings: Tensor) -> Tensor:
    """The Euclidean lengths of the rows, in float32 at least, without their history."""
    e = embeddings.detach()
    return torch.linalg.vector_norm(e, dim=1, dtype=None if e.dtype.itemsize >= 4 else torch.float32)


def unit_vectors(x: Tensor, of_rows: Tensor, name: str, refuse_zeros: bool = True) -> Tensor:
    """The rows of x, of these lengths, with length 1; one of zeros is a ValueError with its number, or becomes NaN."""
    if not bool(((of_rows > SHORTEST) & of_rows.isfinite()).all()):  # squares of the numbers are 0 or infinite
        largest = x.detach().abs().amax(1, keepdim=True)
        zero = (largest == 0).nonzero()
        if refuse_zeros and len(zero):
            raise ValueError(f"{name}: row {int(zero[0, 0])}: got zeros alone but expected a vector with a direction")
        x = x / largest
    return nn.functional.normalize(x, dim=1)


def check_finite(name: str, x: Tensor, of_rows: Tensor | None = None) -> None:
    """Raise a ValueError with the number of a row that is not finite; its sum or length is quicker to look at."""
    if not bool((lengths(x) if of_rows is None else of_rows).isfinite().all()):
        for row in (~x.detach().isfinite()).any(1).nonzero()[:1, 0].tolist():
            raise ValueError(f"{name}: row {row}: got a number that is not finite but expected finite numbers")


def are_unit(of_rows: Tensor) -> bool:
    """Whether these lengths are 1 within `UNIT`."""
    if not of_rows.numel():
        return True
    low, high = torch.aminmax(of_rows)
    return float(low) >= 1 - UNIT and float(high) <= 1 + UNIT


class Learned(nn.Module):
    """The learned hyperparameters as parameters: ``log_tau`` of a tau that is always positive, else b; kept in domain.

    Their gradient is ∂L/∂tau, of the declared loss with its stops, or of the loss that prescribed weights are the
    gradient of; where there is none, that is a ValueError, but for what `Objective.learned` prescribes.
    """

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.most, self.ranks, self.moved = objective.most_learned, 1, moving_losses(objective)
        for h, (_, by) in self.most.items():
            value = math.log(h.default) if h.symbol.is_positive else float(h.default)
            name = f"log_{h.name}" if h.symbol.is_positive else h.name
            self.register_parameter(name, nn.Parameter(torch.tensor(value), requires_grad=by != "none"))

    def numbers(self, parameters: Iterable[Tensor] | None = None) -> dict[Hyperparameter, Tensor]:
        """The hyperparameters as they are now, or of parameters in their place; one out of bounds is moved there."""
        found = {}
        for x, (h, (high, _)) in zip(parameters or self.parameters(), self.most.items(), strict=True):
            low = float(h.domain.start)
            if h.symbol.is_positive:
                low, high = math.log(low) if low else -math.inf, math.log(high)
            if not low <= float(x.detach()) <= high:
                x.data.clamp_(low, high)
            found[h] = x.exp() if h.symbol.is_positive else x
        return found

    @property
    def values(self) -> dict[str, float]:
        """The hyperparameters as they are now, by name."""
        return {h.name: number.item() for h, number in self.numbers().items()}

    def surrogate(self, scores: Float[Tensor, "rows columns"], matches: Matches, ranks: int = 1) -> Float[Tensor, ""]:
        """Zero, whose gradient by every parameter is that of its loss of a batch, over how many ranks add it up."""
        result, parameters = scores.new_zeros(()), dict(zip(self.most, self.parameters(), strict=True))
        for of, moved in self.moved.items():
            leaves = {h: x.detach().clone().requires_grad_() for h, x in parameters.items()}
            with torch.enable_grad():
                value = loss(functions_with(of, self.numbers(leaves.values())), scores.detach(), *matches.tables)
            wanted = [leaves[h] for h in moved]
            gradients = torch.autograd.grad(value, wanted, allow_unused=True, materialize_grads=True)
            for x, g in zip(map(parameters.get, moved), gradients, strict=True):
                result = result + prescribed(x, None, g / ranks, None, torch.zeros_like(g))
        return result


def moving_losses(objective: Objective) -> dict[Objective, list[Hyperparameter]]:
    """The losses whose gradients move what is learned, and what each moves; a ValueError where none is known."""
    found: dict[Objective, list[Hyperparameter]] = {}
    for h, (_, by) in objective.most_learned.items():
        own = objective
        if by == "none":
            continue
        if by:
            bare = [term.with_sides(lambda side, _: replace(side, weight=None)) for term in objective.terms]
            own = objective.of_terms(bare, relative=())
        selected = any(side.selection is not None for term in own.terms for side in term.sides)
        of = own if own.is_loss and (by or not selected) else loss_of(own)
        if of is None or h not in of.most_learned:
            given = f"{objective.owner}: learned: got {h.name}{':loss' * bool(by)}"
            other = "" if by else f"{h.name}:loss, moved by the loss without prescribed pair weights, or "
            none = "but no loss is known that reads it and has these weights"
            raise ValueError(f"{given}, {none}; expected {other}{h.name}:none, which stays")
        found.setdefault(safe_loss(of), []).append(h)
    return found
