"""Out of memory: told apart from other errors, and said with what was in use and what would need less."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

GIB = 2**30


class OutOfMemory(RuntimeError):
    """What was done does not fit into the memory; the message says what would need less."""


@contextmanager
def within_memory(doing: str, less: str) -> Iterator[None]:
    """Turn what NumPy, Python and PyTorch raise where memory is short into an `OutOfMemory`.

    Args:
        doing: what is done, with its sizes.
        less: what would need less.

    Raises:
        OutOfMemory: what is done does not fit.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as problem:
        if isinstance(problem, OutOfMemory) or not is_out_of_memory(problem):
            raise
        raise OutOfMemory(f"{doing}: out of memory, with {in_use()} in use; try {less}") from problem


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether an error says that memory was short, on the CPU or on a GPU.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes do not fit"))
    (True, False)
    """
    if isinstance(problem, MemoryError | torch.OutOfMemoryError | OutOfMemory):
        return True
    said = str(problem)
    return isinstance(problem, RuntimeError) and ("can't allocate memory" in said or "out of memory" in said)


def in_use() -> str:
    """How much memory the process has had at most, and how much of the GPU's is taken where there is one."""
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
