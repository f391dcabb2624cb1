"""What goes wrong in training: a gradient that is not finite or vanishes, collapse, and short memory."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

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


def collapse(outputs: Any, ids: Tensor, step: int) -> Trouble | None:
    """Find scores of different images that are all equal, or embeddings of images or texts that are all one point.

    ``outputs`` are scores, or begin with both embeddings, of shape ``(pairs, dim)``; ``ids`` has the image of every
    pair, and what a model gives of one image may well be alike. Hardest negatives from a random start can do this: the
    gradient pulls every embedding to the mean before any structure is learnt ("Hard Negative Examples are Hard, but
    Useful", Xuan, Stylianou, Liu and Pless, ECCV 2020, https://arxiv.org/abs/2007.12749).
    """
    if len(ids.unique()) < 2:
        return None
    of_scores = {"scores": outputs} if isinstance(outputs, Tensor) else {}
    for what, x in (of_scores or {"image embeddings": outputs[0], "text embeddings": outputs[1]}).items():
        x = x.detach().float()
        if of_scores:
            spread, whom = x.amax() - x.amin(), "each other"
        else:
            spread, whom = torch.linalg.vector_norm(x - x.mean(0), dim=1).amax(), "their mean"
        if spread < COLLAPSED:  # not so if it is not a number, which the gradient tells
            cause = f"all {what} of the batch lie within {spread:.2g} of {whom}; {COLLAPSES}"
            return Trouble("collapse", step, cause)
    return None


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
