"""Processes that die: workers that read data, and ranks of a run; and memory that runs out."""

import os
import signal
import socket
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from goal_analysis.vse.folder.run import load_model
from goal_analysis.vse.folder.run_folder import RESULT, lock_run
from goal_analysis.vse.loop import training
from goal_analysis.vse.loop.health import OutOfMemory, within_memory
from goal_analysis.vse.loop.processes import WorkerError, name_dead_workers
from goal_analysis.vse.retrieval import scoring
from goal_analysis.vse.retrieval.scoring import embeddings

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def raising(problem: BaseException):
    def call(*_: object, **__: object):
        raise problem

    return call


def error_of(call: Callable[[], object]) -> BaseException:
    with pytest.raises(MemoryError) as caught:
        call()
    return caught.value


NO_MEMORY = (
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
    error_of(lambda: np.empty(2**58, np.uint8)),
)


def test_a_dead_worker_is_named_and_the_run_goes_on_as_it_says(
    train, contents, whole: Path, breaking, tmp_path: Path
) -> None:
    with pytest.raises(
        WorkerError, match=r"dead process of the 1 that read images: .*try training.workers=0, with which"
    ):
        train(tmp_path / "run", "training.workers=1", on=breaking(4))
    train(tmp_path / "run", "training.workers=0")
    assert contents(tmp_path / "run") == contents(whole)


def test_a_death_told_in_the_midst_of_another_error_is_named() -> None:
    """PyTorch tells of it wherever the program is, so also inside of what turns errors into errors of its own."""

    def told_while_checking() -> None:
        try:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
        except RuntimeError as problem:
            raise TypeError("its argument could not be checked") from problem

    with pytest.raises(WorkerError, match=r"of the 2 that read images: DataLoader .* killed"), name_dead_workers(2):
        told_while_checking()

    with pytest.raises(TypeError, match="alone"), name_dead_workers(2):
        raise TypeError("alone")


def test_a_death_that_is_told_late_is_awaited() -> None:
    """What a dying process had sent cannot be fetched, and PyTorch's handler tells of the death after that."""
    told = []

    def tell(*_: object) -> None:
        told.append(True)
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    def fetch() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        raise ConnectionResetError("reset by peer")

    before = signal.signal(signal.SIGALRM, tell)
    try:
        with pytest.raises(WorkerError, match="of the 2 that read images: reset by peer"), name_dead_workers(2):
            fetch()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert told
    with pytest.raises(ConnectionResetError, match="elsewhere"), name_dead_workers(0):
        raise ConnectionResetError("elsewhere")


@pytest.mark.parametrize("problem", NO_MEMORY, ids=lambda p: type(p).__name__)
def test_a_batch_that_does_not_fit_says_what_to_try(
    train, contents, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException
) -> None:
    surrogate, calls = training.surrogate, count(1)
    with monkeypatch.context() as patch:
        patch.setattr(
            training, "surrogate", lambda *given: surrogate(*given) if next(calls) != 4 else raising(problem)()
        )
        said = r"^step 4: 20 pairs a batch: out of memory, with [\d.]+ GiB .* in use; try training.batch_size=10 with "
        with pytest.raises(OutOfMemory, match=said + "training.accumulate=2"):
            train(tmp_path / "run")
    train(tmp_path / "run")
    assert contents(tmp_path / "run") == contents(whole)


def test_other_errors_are_not_taken_for_it(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "surrogate", raising(RuntimeError("shapes do not fit")))
    with pytest.raises(RuntimeError, match="shapes do not fit") as caught:
        train(tmp_path / "run")
    assert not isinstance(caught.value, OutOfMemory)


def test_the_allocator_itself_is_understood() -> None:
    """What PyTorch and NumPy really raise, for more than any machine has."""
    for allocate in (lambda: torch.empty(2**58, dtype=torch.uint8), lambda: np.empty(2**58, np.uint8)):
        said = r"^much: out of memory, with .* in use; try less$"
        with pytest.raises(OutOfMemory, match=said), within_memory("much", "less"):
            allocate()


@pytest.mark.parametrize("problem", NO_MEMORY, ids=lambda p: type(p).__name__)
def test_evaluation_takes_smaller_pieces_and_says_so_when_none_fits(
    whole: Path, data, monkeypatch: pytest.MonkeyPatch, problem: BaseException
) -> None:
    found = load_model(whole)
    expected = embeddings(found.model, data.train, found.tokenizer)  # pyright: ignore[reportArgumentType]
    embed, sizes = found.model.embed_images, []

    def limited(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        if len(images) > most:
            raise problem
        return embed(images)

    monkeypatch.setattr(found.model, "embed_images", limited)
    most = 10
    again = embeddings(found.model, data.train, found.tokenizer)  # pyright: ignore[reportArgumentType]
    assert [float((a - b).detach().abs().max()) < 1e-6 for a, b in zip(expected, again, strict=True)] == [True, True]
    assert sizes == [40, 20, 10, 10, 10, 10]
    most = 0
    with pytest.raises(OutOfMemory, match=r"^evaluating train, 1 at a time: out of memory, with .* in use; try"):
        scoring.embeddings(found.model, data.train, found.tokenizer)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def ranks(train, data, breaking, tmp_path: Path):
    """Trains with two ranks, forked; what each said and its exit code, and how long the last of them took.

    A rank can be given what it does instead of its third step.
    """

    def rank(number: int, port: int, broken: Callable[[], object] | None) -> None:
        os.environ |= {"LOCAL_RANK": str(number), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
        os.environ |= {"MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo", "NODE_RANK": "0"}
        said = os.open(tmp_path / f"said-{number}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 2)
        torch.set_num_threads(1)
        try:
            train(tmp_path / "run", devices=2, on=breaking(4, broken) if broken else data)
        except BaseException as problem:
            os.write(2, f"{type(problem).__name__}: {problem}".encode())
            os._exit(1)
        os._exit(0)

    def run(broken: dict[int, Callable[[], object]]) -> tuple[list[int], list[str], float]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        children = []
        for number in range(2):
            children.append(os.fork())
            if not children[-1]:
                rank(number, port, broken.get(number))
        codes, ended = {}, []
        while len(codes) < 2:
            child, status = os.wait()
            codes[child] = os.waitstatus_to_exitcode(status)
            ended.append(time.monotonic())
        said = [(tmp_path / f"said-{number}").read_text() for number in range(2)]
        return [codes[child] for child in children], said, ended[1] - ended[0]

    return run


@pytest.mark.parametrize("gone", [0, 1])
def test_when_one_rank_is_killed_the_other_ends_and_names_it(ranks, tmp_path: Path, gone: int) -> None:
    codes, said, seconds = ranks({gone: lambda: os.kill(os.getpid(), signal.SIGKILL)})
    assert codes[gone] == -signal.SIGKILL
    assert codes[1 - gone] == 1
    assert f"rank {gone} has ended: killed, without a word" in said[1 - gone]
    assert seconds < 30
    codes, said, _ = ranks({})
    assert codes == [0, 0], said
    assert (tmp_path / "run" / RESULT).exists()


def test_what_a_rank_objects_to_is_said_by_the_other(ranks) -> None:
    def objecting() -> None:
        raise ValueError("row 7 is no good")

    codes, said, seconds = ranks({1: objecting})
    assert codes == [1, 1]
    assert "ValueError: row 7 is no good" in said[1]
    assert "rank 1 has ended: ValueError('row 7 is no good')" in said[0]
    assert seconds < 30


def test_a_rank_that_waits_for_one_that_is_gone_is_ended(ranks) -> None:
    """It hangs in what no error ends, as in an exchange on GPUs."""
    codes, said, seconds = ranks({0: lambda: time.sleep(600), 1: lambda: os.kill(os.getpid(), signal.SIGKILL)})
    assert codes == [1, -signal.SIGKILL]
    assert "rank 1 has ended: killed, without a word; rank 0 ends too" in said[0]
    assert seconds < 30


def test_another_run_in_the_folder_is_refused_by_all_ranks(ranks, tmp_path: Path) -> None:
    with lock_run(tmp_path / "run"):
        codes, said, seconds = ranks({})
    assert codes == [1, 1]
    assert "another process is writing" in said[0]
    assert "rank 0 has ended: RunError" in said[1]
    assert seconds < 30
