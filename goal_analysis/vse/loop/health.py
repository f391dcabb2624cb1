"""What goes wrong in training: a gradient that is not finite or vanishes, collapse, and short memory."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
"""So many steps in a row without a gradient, or all of a shorter run, and it has vanished; one alone says nothing."""

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
    """A gradient that is not finite before clipping, or none in every further `VANISHING_STEPS` steps."""
    if not math.isfinite(norm):
        return Trouble(
            "not finite",
            step,
            f"got a gradient of norm {norm} but expected a finite one; the learning rate is too high, an input is not "
            "finite, or the model divides by zero: lower training.learning_rate, raise training.warm_up_steps or set "
            "training.clip",
        )
    if zero_steps and zero_steps % min(VANISHING_STEPS, steps) == 0:
        counted = "1 step" if zero_steps == 1 else f"{zero_steps} steps in a row"
        return Trouble(
            "vanishing gradient",
            step,
            f"got no gradient for {counted}, the last of norm {norm:.3g}, but expected one of "
            f"{VANISHED:g} at least; no triplet has a weight any more: the margin is met everywhere, the scale "
            "saturates the triplet weight, the embeddings have collapsed, or the batches have no negatives",
        )
    return None


def collapse(outputs: Any, ids: Tensor, step: int) -> Trouble | None:
    """Find scores of different images, or embeddings of images or texts ``(pairs, dim)``, that are all one point.
    Hardest negatives from a random start can do this: the gradient pulls every embedding to the mean ("Hard Negative
    Examples are Hard, but Useful", Xuan et al., ECCV 2020, https://arxiv.org/abs/2007.12749).
    """
    if isinstance(outputs, Tensor):
        spreads = {"scores": ("each other", outputs.max() - outputs.min())}
    else:
        kinds = zip(("image embeddings", "text embeddings"), (x.float() for x in outputs[:2]), strict=True)
        spreads = {what: ("their mean", (x - x.mean(0)).norm(dim=1).max()) for what, x in kinds}
    for what, (whom, spread) in spreads.items():
        if spread < COLLAPSED and len(ids.unique()) > 1:  # not so if it is no number, which the gradient tells
            cause = COLLAPSES if step > 1 else "what the model reads or begins with makes no difference between them"
            return Trouble("collapse", step, f"all {what} of the batch lie within {spread:.2g} of {whom}; {cause}")
    return None


class OutOfMemory(RuntimeError):
    """Something does not fit into memory; the message says what would need less."""


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
    said = str(problem) if isinstance(problem, RuntimeError) else ""
    short = "can't allocate memory" in said or "out of memory" in said
    return short or isinstance(problem, MemoryError | torch.OutOfMemoryError | OutOfMemory)


def _memory_in_use() -> str:
    """The most memory that the process has had, and how much of the GPU's is taken where there is one."""
    parts = ["an unknown part of the memory"]
    with suppress(ImportError):  # on Windows
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        parts = [f"{peak / GIB:.1f} GiB of memory at most"]
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        parts.append(f"{(total - free) / GIB:.1f} of {total / GIB:.1f} GiB of the GPU's")
    return " and ".join(parts)
