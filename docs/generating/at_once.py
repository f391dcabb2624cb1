"""Work that is done for every loss, over all cores of the machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Item, Found = TypeVar("Item"), TypeVar("Found")


def over_cores(work: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """What the work finds for every item, in their order; in this process where there is one item or one core.

    Args:
        work: a function of a module, or a `functools.partial` of one, which new processes import.
        items: what it is called with.
    """
    items = list(items)
    at_once = min(len(items), os.cpu_count() or 1)
    if at_once < 2:
        return [work(item) for item in items]
    with ProcessPoolExecutor(at_once, get_context("spawn")) as pool:
        return list(pool.map(work, items))
