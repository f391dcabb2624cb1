"""What goes wrong in training, found and named: numbers that are not finite, collapse, vanishing gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

COLLAPSED = 1e-3
"""Distance to the mean embedding below which all embeddings pass for one: similarities then differ by less.

Of scores that no embeddings give, the difference itself.
"""

COLLAPSES = (
    "the likely cause is mining the hardest negatives from the start: begin with all of them "
    "(training.epochs_on_all=1), mine softly (@softmax:12), or lower training.learning_rate"
)

VANISHED = 1e-10
"""Norm of the gradient of all parameters below which nothing is learnt."""

VANISHING_STEPS = 20
"""So many steps in a row without a gradient, or all steps of a shorter run, and it has vanished.

One alone says nothing: in a small batch all pairs may be of one image, which leaves no negatives, or meet the margin.
"""


class TrainingTrouble(RuntimeError):
    """Training that cannot succeed; the message has the step and the likely cause."""


@dataclass(frozen=True)
class Trouble:
    """What was found.

    Args:
        kind: ``not finite``, ``collapse`` or ``vanishing gradient``.
        step: at which step.
        cause: what it likely comes from, and what helps.
    """

    kind: str
    step: int
    cause: str

    def __str__(self) -> str:
        return f"step {self.step}: {self.kind}: {self.cause}"


def without_gradient(norm: float, before: int) -> int:
    """How many steps in a row nothing was learnt in, after one with a gradient of this norm.

    >>> without_gradient(0.0, before=3), without_gradient(0.5, before=3)
    (4, 0)

    Args:
        norm: of the gradient of all parameters.
        before: how many there were before it.
    """
    return before + 1 if norm < VANISHED else 0


def gradient_trouble(norm: float, step: int, zero_steps: int, steps: int) -> Trouble | None:
    """What the norm of the gradient of all parameters says: it is not finite, or has vanished.

    A gradient has vanished after `VANISHING_STEPS` steps in a row without one, which is said again after as many more.

    Args:
        norm: before clipping.
        step: at which.
        zero_steps: how many in a row, this one among them, had no gradient; see `without_gradient`.
        steps: of the whole run.
    """
    if not math.isfinite(norm):
        return Trouble(
            "not finite",
            step,
            f"got a gradient of norm {norm} but expected a finite one; the learning rate is too high, an input is not "
            "finite, or the model divides by zero: lower training.learning_rate, raise training.warm_up_steps or set "
            "training.clip",
        )
    if zero_steps and zero_steps % min(VANISHING_STEPS, steps) == 0:
        return Trouble(
            "vanishing gradient",
            step,
            f"got no gradient for {_steps(zero_steps)}, the last of norm {norm:.3g}, but expected one of "
            f"{VANISHED:g} at least; no triplet has a weight any more: the margin is met everywhere, the scale "
            "saturates the triplet weight, the embeddings have collapsed, or the batches have no negatives",
        )
    return None


def _steps(number: int) -> str:
    return "1 step" if number == 1 else f"{number} steps in a row"


def collapse(embeddings: Tensor, which: str, step: int) -> Trouble | None:
    """Whether all embeddings are one point, so that all similarities are equal.

    Hardest negatives from a random start can do this: the gradient pulls every embedding to the mean before any
    structure is learnt ("Hard Negative Examples are Hard, but Useful", Xuan, Stylianou, Liu and Pless, ECCV 2020,
    https://arxiv.org/abs/2007.12749).

    Args:
        embeddings: shape ``(embeddings, dim)``; unit vectors, of different images or texts.
        which: what they are, for the message.
        step: at which.
    """
    e = embeddings.detach().float()
    if len(e) < 2:
        return None
    spread = float(torch.linalg.vector_norm(e - e.mean(0), dim=1).amax())
    return _collapse(spread, f"{which} embeddings", "their mean", step)


def collapse_of_scores(scores: Tensor, step: int) -> Trouble | None:
    """Whether all scores of a model that gives no embeddings are equal, which is what collapse means of those.

    Args:
        scores: shape ``(images, captions)``; of two different images at least.
        step: at which.
    """
    s = scores.detach().float()
    if s.numel() < 2:
        return None
    spread = float(s.amax() - s.amin())
    return _collapse(spread, "scores", "each other", step)


def _collapse(spread: float, what: str, whom: str, step: int) -> Trouble | None:
    if not spread < COLLAPSED:  # nor if it is not a number, which the gradient tells
        return None
    return Trouble("collapse", step, f"all {what} of the batch lie within {spread:.2g} of {whom}; {COLLAPSES}")
