"""Jobs: what is done stays done, failures are told and stop no other, callers share jobs, and what signals do."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path

import pytest

from goal_analysis.study.jobs import Failure, Job, delayed_signals, run_jobs, sigterm_as_interrupt


def job(folder: Path, name: str, objective: str = "nca/linear") -> Job:
    output = folder / name / "objective.py"
    return Job(name, ("export", objective, "-o", str(output)), output, folder / name / "output.log")


def test_every_job_is_run_once(tmp_path: Path) -> None:
    jobs = [job(tmp_path, name) for name in "ab"]
    ended = []
    assert run_jobs(jobs, 2, report=lambda j, failure: ended.append((j.name, failure))) == []
    assert sorted(ended) == [("a", None), ("b", None)]
    written = [j.output.stat().st_mtime_ns for j in jobs]
    assert run_jobs(jobs, 2, report=lambda j, failure: ended.append((j.name, failure))) == []
    assert len(ended) == 4, "what was done before is reported too"
    assert [j.output.stat().st_mtime_ns for j in jobs] == written


def test_failures_are_told_and_stop_no_other(tmp_path: Path) -> None:
    silent = job(tmp_path, "b")
    silent = Job("b", ("compose", "nca/linear", "--json"), silent.output, silent.log)
    failures = {
        f.job.name: str(f) for f in run_jobs([job(tmp_path, "a", "nonsense/linear"), silent, job(tmp_path, "c")], 1)
    }
    assert set(failures) == {"a", "b"}
    assert "a: ended with 2: " in failures["a"]
    assert "nonsense" in failures["a"]
    assert failures["b"].startswith("b: ended with 0: ")
    assert job(tmp_path, "c").done


def test_the_next_job_is_asked_for_when_there_is_room(tmp_path: Path) -> None:
    ended: list[str] = []

    def coming():
        yield job(tmp_path, "a")
        assert ended == ["a"]
        yield job(tmp_path, "b")

    run_jobs(coming(), 1, report=lambda j, failure: ended.append(j.name))
    assert ended == ["a", "b"]


def test_a_watched_job_is_ended_with_the_reason(tmp_path: Path) -> None:
    (failure,) = run_jobs([job(tmp_path, "a")], 1, watch=lambda j: "it is no good")
    assert str(failure) == "a: it is no good"


def test_what_another_has_claimed_is_waited_for(tmp_path: Path) -> None:
    taken = job(tmp_path, "a")
    claim = taken.claim()
    assert claim is not None
    assert taken.claim() is None
    looks = 0

    def watch(running: Job) -> str:
        nonlocal looks
        looks += 1
        if looks == 1:  # the other one is done now
            taken.output.write_text("by another")
            claim.release()
        return ""

    ended: list[tuple[str, Failure | None]] = []
    assert run_jobs([taken, job(tmp_path, "b")], 1, report=lambda j, f: ended.append((j.name, f)), watch=watch) == []
    assert sorted(ended) == [("a", None), ("b", None)]
    assert taken.output.read_text() == "by another"


def test_what_another_does_while_a_process_is_started_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = Job.claim

    def late(taken: Job) -> object:
        claim = claimed(taken)
        taken.output.write_text("by another")
        return claim

    monkeypatch.setattr(Job, "claim", late)  # of this process, not of the one that is started
    assert run_jobs([job(tmp_path, "a")], 1) == []
    assert job(tmp_path, "a").output.read_text() == "by another"
    assert not job(tmp_path, "a").log.exists()


def long(folder: Path) -> Job:
    """A job of half a minute that writes nothing."""
    return Job("long", ("verify", "--all"), folder / "nothing", folder / "long" / "output.log")


@contextmanager
def calling(folder: Path, made: Callable[..., Job], *args: str) -> Iterator[subprocess.Popen]:
    """A program that runs a job of this module, when the job has begun."""
    file = folder / "caller.py"
    file.write_text(f"""
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells take from what they begin in the background
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_jobs import {made.__name__}
from goal_analysis.study import jobs
jobs.PRELOADED = ()  # most jobs of this module end before they need anything
if __name__ == "__main__":
    only = {made.__name__}(Path({str(folder)!r}), *{args})
    jobs.run_jobs([only], 1, watch=lambda j: print("begun", flush=True) or "")
""")
    with subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "begun\n"
        deadline = time.monotonic() + 60
        while not made(folder, *args).log.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        yield caller


def test_a_killed_caller_leaves_its_job_claimed_until_that_ends(tmp_path: Path) -> None:
    """Its process goes on, and whoever comes next waits for it instead of running the job twice."""
    with calling(tmp_path, job, "a") as caller:
        os.kill(caller.pid, signal.SIGKILL)
    assert run_jobs([job(tmp_path, "a")], 1) == []
    assert job(tmp_path, "a").done


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_caller_that_is_told_to_end_ends_its_jobs(tmp_path: Path, sent: signal.Signals) -> None:
    with calling(tmp_path, long) as caller:
        assert long(tmp_path).claim() is None
        os.kill(caller.pid, sent)
    assert caller.returncode == -signal.SIGINT
    claim = long(tmp_path).claim()
    assert claim is not None, "its process goes on"
    claim.release()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_caller_that_is_told_to_end_while_it_starts_a_job_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals
) -> None:
    """The server has made the process and the caller has not heard of it, which takes seconds with the first."""
    told, processes = forkserver.read_signed, []

    def read_signed(of: int) -> int:
        number = told(of)
        if not processes:
            processes.append(number)
            signal.raise_signal(sent)
        return number

    monkeypatch.setattr(forkserver, "read_signed", read_signed)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_jobs([long(tmp_path)], 1)
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(ProcessLookupError):
        os.kill(processes[0], signal.SIGKILL)


def test_a_caller_keeps_its_own_answer_to_sigterm(tmp_path: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        assert run_jobs([job(tmp_path, "a")], 1, watch=lambda j: os.kill(os.getpid(), signal.SIGTERM) or "") == []
    finally:
        signal.signal(signal.SIGTERM, before)
    assert set(heard) == {signal.SIGTERM}


def test_no_process_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got 0 processes but expected 1 at least"):
        run_jobs([], 0)


SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def own_answers() -> Iterator[None]:
    """Of a program that a user has begun in the foreground, whoever runs the tests."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, answer in before.items():
        signal.signal(number, answer)


@pytest.mark.parametrize("sent", SIGNALS)
@pytest.mark.parametrize("problem", [None, EOFError("the server was interrupted too")])
def test_a_signal_is_answered_at_the_end(sent: signal.Signals, problem: Exception | None) -> None:
    done = []

    def work() -> None:
        signal.raise_signal(sent)
        done.append(sent)
        if problem:
            raise problem

    with pytest.raises(KeyboardInterrupt), sigterm_as_interrupt(), delayed_signals():
        work()
    assert done == [sent]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_whoever_answers_a_signal_still_does() -> None:
    heard: list[str] = []

    def answer(number: int, frame: object) -> None:
        heard.append(signal.Signals(number).name)

    for number in SIGNALS:
        signal.signal(number, answer)
    with sigterm_as_interrupt(), delayed_signals():
        for number in SIGNALS:
            signal.raise_signal(number)
        assert heard == []
    assert heard == ["SIGINT", "SIGTERM"]
    assert [signal.getsignal(number) for number in SIGNALS] == [answer, answer]


def test_a_signal_that_is_ignored_stays_so() -> None:
    """As Ctrl-C is for what a shell has begun in the background, and for what that starts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with delayed_signals():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)


def test_other_threads_hold_nothing_back() -> None:
    seen: list[object] = []

    def work() -> None:
        with sigterm_as_interrupt(), delayed_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
