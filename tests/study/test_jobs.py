"""Jobs: those that are done stay done, those that fail say so and stop no other."""

import sys
from pathlib import Path

import pytest

from goal_analysis.study.jobs import Job, run_jobs


def job(folder: Path, name: str, program: str) -> Job:
    return Job(name, (sys.executable, "-c", program), folder / name / "output", folder / name / "log")


def writing(path: Path) -> str:
    return f"open({str(path)!r}, 'a').write('x')"


def test_every_job_is_run_once(tmp_path: Path) -> None:
    jobs = [job(tmp_path, name, writing(tmp_path / name / "output")) for name in "abc"]
    ended = []
    assert run_jobs(jobs, 2, report=ended.append) == []
    assert run_jobs(jobs, 2, report=ended.append) == []
    assert sorted(j.name for j in ended) == ["a", "b", "c"]
    assert [(tmp_path / name / "output").read_text() for name in "abc"] == ["x"] * 3


def test_failures_are_told_and_stop_no_other(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "a", "raise SystemExit('no luck')"),
        job(tmp_path, "b", "pass"),
        job(tmp_path, "c", writing(tmp_path / "c" / "output")),
    ]
    failures = {failure.job.name: str(failure) for failure in run_jobs(jobs, 1)}
    assert failures["a"].startswith("a: ended with 1: no luck; see ")
    assert failures["b"].startswith("b: ended with 0: without a word; see ")
    assert jobs[2].done


def test_no_process_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got 0 processes but expected 1 at least"):
        run_jobs([], 0)
