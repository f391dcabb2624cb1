"""Local processes: jobs end, are cancelled, begin again when they were killed, and never outlive who submitted them."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from goal_analysis.study.engine import ATTEMPTS, VISIBLE, Engine, Job, LocalProcesses
from goal_analysis.vse.folder.run_folder import RESULT, lock_run


def job(folder: Path, name: str, objective: str = "nca/linear") -> Job:
    (folder / name).mkdir()
    return Job(name, folder / name, ("export", objective, "-o", str(folder / name / RESULT)))


def long(folder: Path, name: str = "long") -> Job:
    """A job that says its process and which device it sees, and goes on until it is ended."""
    (folder / name).mkdir()
    code = folder / f"{name}.py"
    code.write_text(f"import os, time\nprint(os.getpid(), os.environ.get({VISIBLE!r}), flush=True)\ntime.sleep(100)\n")
    return Job(name, folder / name, ("--extension", str(code), "list"))


@pytest.fixture
def engine() -> Iterator[Engine]:
    found = LocalProcesses()
    yield found
    found.close()


def ended(engine: Engine, jobs: int) -> dict[Job, str]:
    """How so many jobs ended."""
    found: dict[Job, str] = {}
    deadline = time.monotonic() + 120
    while len(found) < jobs and time.monotonic() < deadline:
        found |= engine.wait(1.0)
    return found


def said(one: Job) -> list[str]:
    """The words that a long job says when it has begun."""
    until(lambda: one.log.exists() and one.log.read_text().endswith("\n"))
    return one.log.read_text().split()


def has_ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def until(told: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not told() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert told()


def test_jobs_end_and_what_is_done_is_not_done_again(tmp_path: Path, engine: Engine) -> None:
    good, bad = job(tmp_path, "good"), job(tmp_path, "bad", "nonsense/linear")
    for one in (good, bad):
        engine.submit(one)
    assert ended(engine, 2) == {good: "ended with 0", bad: "ended with 2"}
    assert good.done
    assert "nonsense" in bad.log.read_text()
    written = (good.folder / RESULT).stat().st_mtime_ns
    engine.submit(good)
    assert ended(engine, 1) == {good: "ended with 0"}
    assert (good.folder / RESULT).stat().st_mtime_ns == written


def test_a_cancelled_job_ends_and_is_not_begun_again(tmp_path: Path, engine: Engine) -> None:
    one = long(tmp_path)
    engine.submit(one)
    engine.cancel(one)
    assert ended(engine, 1) == {one: "killed by SIGTERM"}
    assert engine.wait(0.0) == {}


@pytest.mark.parametrize("times", [1, ATTEMPTS])
def test_a_job_whose_process_is_killed_is_begun_again(tmp_path: Path, engine: Engine, times: int) -> None:
    one = job(tmp_path, "a")
    engine.submit(one)
    for _ in range(times):
        (process,) = multiprocessing.active_children()
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        how = engine.wait(0.0)
    assert how == ({one: "killed by SIGKILL"} if times == ATTEMPTS else {})
    if times < ATTEMPTS:
        assert ended(engine, 1) == {one: "ended with 0"}


def test_when_the_server_is_killed_its_jobs_are_ended_and_begun_again(tmp_path: Path, engine: Engine) -> None:
    """It alone knew how they ended; two processes that make one run would refuse each other."""
    from multiprocessing import forkserver

    one = long(tmp_path)
    engine.submit(one)
    before = int(said(one)[0])
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)  # pyright: ignore[reportAttributeAccessIssue]
    assert engine.wait(5.0) == {}
    until(lambda: has_ended(before))
    until(lambda: int(said(one)[0]) != before)


def test_a_run_that_is_just_being_made_is_waited_for(tmp_path: Path, engine: Engine) -> None:
    one = job(tmp_path, "a")
    with lock_run(one.folder):
        engine.submit(one)
        assert engine.wait(2.0) == {}
        (one.folder / RESULT).write_text("by another")
    assert ended(engine, 1) == {one: "ended with 0"}
    assert (one.folder / RESULT).read_text() == "by another"
    assert not one.log.exists()


def test_jobs_end_with_whoever_submitted_them(tmp_path: Path) -> None:
    file, one = tmp_path / "caller.py", long(tmp_path)
    file.write_text(f"""
from pathlib import Path
from goal_analysis.study import engine as engines
if __name__ == "__main__":
    engines.PRELOADED = ()  # what the job does not need either
    engine = engines.LocalProcesses()
    engine.submit(engines.Job("long", Path({str(one.folder)!r}), {one.words}))
    engine.wait(100.0)
""")
    with subprocess.Popen([sys.executable, str(file)]) as caller:
        process = int(said(one)[0])
        assert not has_ended(process)
        caller.kill()
    until(lambda: has_ended(process))


def test_every_job_sees_a_device_that_the_fewest_see(tmp_path: Path) -> None:
    """Of two devices, which a machine need not have for that."""
    engine = LocalProcesses(devices=("3", "GPU-5"))
    assert engine.places == 2

    def seen_by(name: str) -> str:
        one = long(tmp_path, name)
        engine.submit(one)
        return said(one)[1]

    try:
        assert [seen_by(name) for name in "abc"] == ["3", "GPU-5", "3"]
        assert seen_by("d") == "GPU-5"
    finally:
        engine.close()
