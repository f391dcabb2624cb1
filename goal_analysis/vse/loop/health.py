"""What goes wrong in training: a gradient that is not finite or vanishes, collapse, and short memory."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

COLLAPSED = 1e-3  # embeddings closer than this to their mean, and scores that differ by less, pass for one point

COLLAPSES = (
    "the likely cause is mining the hardest negatives from the start: begin with all of them "
    "(training.epochs_on_all=1), mine softly (@softmax:12), or lower training.learning_rate"
)

VANISHED = 1e-10  # norm of the gradient of all parameters below which nothing is learnt

VANISHING_STEPS = 20
"""So many steps in a row without a gradient, or all steps of a shorter run, and the gradient has vanished.

One alone says nothing: in a small batch all pairs may be of one image, which leaves no negatives, or meet the margin.
"""

GIB = 2**30


class TrainingTrouble(RuntimeError):
    """Training that cannot succeed; the message has the step and the likely cause."""


@dataclass(frozen=True)
class Trouble:
    """A ``not finite`` gradient, a ``collapse`` or a ``vanishing gradient``, with its likely cause and what helps."""

    kind: str
    step: int
    cause: str

    def __str__(self) -> str:
        return f"step {self.step}: {self.kind}: {self.cause}"


def count_without_gradient(norm: float, before: int) -> int:
    """Count the steps in a row without a gradient, after a step with a gradient of this norm."""
    return before + 1 if norm < VANISHED else 0


def gradient_trouble(norm: float, step: int, zero_steps: int, steps: int) -> Trouble | None:
    """Find a gradient that is not finite before clipping, or has vanished in a run of so many steps.

    A gradient has vanished after `VANISHING_STEPS` steps in a row without one, which is said again after as many more.
    """
    if not math.isfinite(norm):
        cause = (
            f"got a gradient of norm {norm} but expected a finite one; the learning rate is too high, an input is not "
            "finite, or the model divides by zero: lower training.learning_rate, raise training.warm_up_steps or set "
            "training.clip"
        )
        return Trouble("not finite", step, cause)
    if zero_steps and zero_steps % min(VANISHING_STEPS, steps) == 0:
        counted = "1 step" if zero_steps == 1 else f"{zero_steps} steps in a row"
        cause = (
            f"got no gradient for {counted}, the last of norm {norm:.3g}, but expected one of "
            f"{VANISHED:g} at least; no triplet has a weight any more: the margin is met everywhere, the scale "
            "saturates the triplet weight, the embeddings have collapsed, or the batches have no negatives"
        )
        return Trouble("vanishing gradient", step, cause)
    return None


def collapse(embeddings: Tensor, which: str, step: int) -> Trouble | None:
    """Find embeddings of shape ``(embeddings, dim)`` that are all one point, so that all similarities are equal.

    Hardest negatives from a random start can do this: the gradient pulls every embedding to the mean before any
    structure is learnt ("Hard Negative Examples are Hard, but Useful", Xuan, Stylianou, Liu and Pless, ECCV 2020,
    https://arxiv.org/abs/2007.12749).
    """
    e = embeddings.detach().float()
    spread = float(torch.linalg.vector_norm(e - e.mean(0), dim=1).amax()) if len(e) > 1 else math.inf
    return _collapse(spread, f"{which} embeddings", "their mean", step)


def collapse_of_scores(scores: Tensor, step: int) -> Trouble | None:
    """Find scores of different images that are all equal: the collapse of a model that gives no embeddings."""
    s = scores.detach().float()
    return _collapse(float(s.amax() - s.amin()) if s.numel() > 1 else math.inf, "scores", "each other", step)


def _collapse(spread: float, what: str, whom: str, step: int) -> Trouble | None:
    if not spread < COLLAPSED:  # nor if it is not a number, which the gradient tells
        return None
    return Trouble("collapse", step, f"all {what} of the batch lie within {spread:.2g} of {whom}; {COLLAPSES}")


class OutOfMemory(RuntimeError):
    """Something does not fit into the memory; the message says what would need less."""


@contextmanager
def within_memory(doing: str, less: str) -> Iterator[None]:
    """Turn what is raised where memory is short into an `OutOfMemory` that says what needs ``less``."""
    try:
        yield
    except (RuntimeError, MemoryError) as problem:
        if isinstance(problem, OutOfMemory) or not is_out_of_memory(problem):
            raise
        raise OutOfMemory(f"{doing}: out of memory, with {_memory_in_use()} in use; try {less}") from problem


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether an error says that memory was short, on the CPU or on a GPU."""
    if isinstance(problem, MemoryError | torch.OutOfMemoryError | OutOfMemory):
        return True
    said = str(problem)
    return isinstance(problem, RuntimeError) and ("can't allocate memory" in said or "out of memory" in said)


def _memory_in_use() -> str:
    """The most memory that the process has had, and how much of the GPU's is taken where there is one."""
    try:
        import resource
    except ImportError:  # on Windows
        parts = ["an unknown part of the memory"]
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        parts = [f"{peak / GIB:.1f} GiB of memory at most"]
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        parts.append(f"{(total - free) / GIB:.1f} of {total / GIB:.1f} GiB of the GPU's")
    return " and ".join(parts)
