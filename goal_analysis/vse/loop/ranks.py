"""The processes of one training run: when one has ended, however it ended, the others end too and say which.

A process that waits for another in the middle of an exchange may wait for half an hour, or for ever. So every rank
holds a lock in the run's folder, which ends with the process, and a thread of each looks at the locks of the others.
Ranks on machines that do not share the folder see those of their own machine alone.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lightning_fabric import Fabric
from torch import distributed

from goal_analysis.files import try_lock
from goal_analysis.vse.folder.run_folder import RunError
from goal_analysis.vse.loop.health import TrainingTrouble

LOOK = 1.0
"""Seconds between two looks at the others."""

GRACE = 3.0
"""Seconds in which a failed exchange is traced to a rank that has ended."""

DONE = "done"


class RankError(RuntimeError):
    """Another process of the run has ended; the message names its rank."""


@contextmanager
def together(folder: Path, fabric: Fabric) -> Iterator[None]:
    """Meanwhile the end of one rank is the end of all, within seconds; for one process alone nothing happens.

    Args:
        folder: of the run.
        fabric: launched.

    Raises:
        RunError: on every rank, where the folder of one cannot be written or another run has it.
        RankError: an exchange failed for another rank has ended; where this rank hangs in one, the process ends
            with exit code 1 and the same message.
    """
    if fabric.world_size == 1:
        yield
        return
    rank, ranks = fabric.global_rank, fabric.world_size
    files = {other: folder / f"rank-{other}.lock" for other in range(ranks)}
    lock, problem = None, None
    try:
        lock = try_lock(files[rank])
        if lock is None:
            problem = f"{folder}: got a run that another process is writing but expected one at a time"
        else:
            _last_words(files[rank]).unlink(missing_ok=True)
    except OSError as error:
        problem = str(error)
    told: list[str | None] = [None] * ranks
    distributed.all_gather_object(told, problem)
    for other, said in enumerate(told):
        if said:
            raise RunError(f"rank {other}: {said}")
    assert lock is not None
    others = {other: path for other, path in files.items() if other != rank and path.exists()}
    over = threading.Event()
    threading.Thread(target=_watch, args=(folder, rank, others, over), daemon=True).start()
    try:
        yield
    except BaseException as error:
        over.set()
        failed = isinstance(error, RuntimeError) and not isinstance(error, TrainingTrouble)
        gone = _first_gone(others, GRACE) if failed else ""
        _last_words(files[rank]).write_text(gone or " ".join(f"{error!r}".split())[:500], "utf-8")
        if gone:
            raise RankError(gone) from error
        raise
    else:
        over.set()
        _last_words(files[rank]).write_text(DONE, "utf-8")
    finally:
        lock.release()


def _watch(folder: Path, rank: int, others: Mapping[int, Path], over: threading.Event) -> None:
    while not over.wait(LOOK):
        gone = _first_gone(others)
        if gone and not over.wait(LOOK):  # an exchange that failed by itself is told by the one who waited for it
            os.write(2, f"{folder}: {gone}; rank {rank} ends too\n".encode())
            os._exit(1)


def _first_gone(others: Mapping[int, Path], seconds: float = 0.0) -> str:
    """What there is to say of the first rank that has ended before its work did; empty if none has."""
    deadline = time.monotonic() + seconds
    while True:
        for other, path in others.items():
            lock = try_lock(path)
            if lock is None:
                continue
            lock.release()
            words = _last_words(path)
            said = words.read_text("utf-8") if words.exists() else ""
            if said != DONE:
                return f"rank {other} has ended: {said or 'killed, without a word'}"
        if time.monotonic() >= deadline:
            return ""
        time.sleep(0.1)


def _last_words(lock: Path) -> Path:
    """The file in which the rank that has this lock says how it ended."""
    return lock.with_suffix(".ended")
