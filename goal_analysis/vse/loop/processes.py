"""The processes of a run: readers of images, and ranks. A rank may wait for a dead one for ever, so each holds a lock
in the run's folder, which ends with the process, and a thread of each looks at the others' locks.
"""

import gc
import os
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import distributed

from goal_analysis.declarations import expect_among
from goal_analysis.files import try_lock
from goal_analysis.vse.folder.run_folder import RunError
from goal_analysis.vse.loop.health import TrainingTrouble

AWAITED = 1.0  # seconds in which the death of a reader is known after the reader has stopped to answer
LOOK = 1.0  # seconds between two looks at the other ranks
GRACE = 3.0  # seconds in which a failed exchange is traced to a rank that has ended

DONE = "done"
ACCELERATORS = ("auto", "cpu", "cuda", "mps")


def start_fabric(accelerator: str, precision: Any, devices: int = 1, nodes: int = 1) -> Fabric:
    """Fabric for so many processes on so many machines, one a device; a ValueError where this machine lacks them."""
    expect_among("accelerator", accelerator, ACCELERATORS)
    try:
        fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, precision=precision)
        fabric.launch()
    except RuntimeError as problem:
        raise ValueError(f"accelerator: got {accelerator!r} but expected what this machine has: {problem}") from problem
    return fabric


class WorkerError(RuntimeError):
    """A process that reads images has died."""


class RankError(RuntimeError):
    """Another process of the run has ended; the message names its rank."""


@contextmanager
def name_dead_workers(workers: int) -> Iterator[None]:
    """Turn PyTorch's error for a dead reading process, raised at any place in the program, into a `WorkerError`."""
    try:
        yield
    except Exception as problem:
        chain = list(_chain(problem))
        deaths = [e for e in chain if isinstance(e, RuntimeError) and "DataLoader worker" in str(e)]
        lost = [e for e in chain if workers and isinstance(e, ConnectionError | EOFError)]
        if not deaths and not lost:
            raise
        if not deaths:  # what a dying one had sent could not be fetched; PyTorch's handler tells of it in a moment
            with suppress(RuntimeError):
                time.sleep(AWAITED)
        for error in chain:  # their frames hold the loader, which would tell of the death again and again
            traceback.clear_frames(error.__traceback__)
        gc.collect()
        death = (deaths or lost)[0]
        raise WorkerError(
            f"got a dead process of the {workers} that read images: {str(death).rstrip('. ') or type(death).__name__}. "
            f"The system ends them where memory is short: try training.workers={workers // 2}, with which the run goes "
            "on too"
        ) from problem


def _chain(problem: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was raised while handling."""
    while problem is not None:
        yield problem
        problem = problem.__context__


@contextmanager
def watch_ranks(folder: Path, fabric: Fabric) -> Iterator[None]:
    """End all ranks within seconds after one has ended. RunError is raised on every rank where the folder of one cannot
    be written or another run has it; RankError where an exchange failed for another rank has ended. Where this rank
    hangs in one, the process ends with exit code 1 and the same message.
    """
    if fabric.world_size == 1:
        yield
        return
    rank = fabric.global_rank
    files = {other: folder / f"rank-{other}.lock" for other in range(fabric.world_size)}
    lock, problem = None, f"{folder}: got a run that another process is writing but expected one at a time"
    try:
        lock = try_lock(files[rank])
        if lock is not None:
            _last_words(files[rank]).unlink(missing_ok=True)
    except OSError as error:
        lock, problem = None, str(error)
    problems: list[str | None] = [None] * fabric.world_size
    distributed.all_gather_object(problems, None if lock else problem)
    for other, said in enumerate(problems):
        if said:
            raise RunError(f"rank {other}: {said}")
    assert lock is not None
    others = {other: path for other, path in files.items() if other != rank and path.exists()}
    over = threading.Event()
    threading.Thread(target=_watch, args=(folder, rank, others, over), daemon=True).start()
    words = DONE
    try:
        yield
    except BaseException as error:
        over.set()
        failed = isinstance(error, RuntimeError) and not isinstance(error, TrainingTrouble)
        gone = _first_gone(others, GRACE) if failed else ""
        words = gone or " ".join(f"{error!r}".split())[:500]
        if gone:
            raise RankError(gone) from error
        raise
    finally:
        over.set()
        _last_words(files[rank]).write_text(words, "utf-8")
        lock.release()


def _watch(folder: Path, rank: int, others: Mapping[int, Path], over: threading.Event) -> None:
    while not over.wait(LOOK):
        gone = _first_gone(others)
        if gone and not over.wait(LOOK):  # an exchange that failed by itself is told by the one who waited for it
            os.write(2, f"{folder}: {gone}; rank {rank} ends too\n".encode())
            os._exit(1)


def _first_gone(others: Mapping[int, Path], seconds: float = 0.0) -> str:
    """A message on the first rank that ended before its work was done; empty where there is none."""
    deadline = time.monotonic() + seconds
    while True:
        for other, path in others.items():
            if (lock := try_lock(path)) is None:
                continue
            lock.release()
            words = _last_words(path)
            said = words.read_text("utf-8") if words.exists() else "killed, without a word"
            if said != DONE:
                return f"rank {other} has ended: {said}"
        if time.monotonic() >= deadline:
            return ""
        time.sleep(0.1)


def _last_words(lock: Path) -> Path:
    """The file in which the rank that has this lock says how it ended."""
    return lock.with_suffix(".ended")
