"""Training runs as jobs of a study."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from goal_analysis.files import json_text, write_whole
from goal_analysis.study.jobs import Job
from goal_analysis.vse.folder.run import RESULT
from goal_analysis.vse.folder.run_folder import RUN, RunError, check_same, read_run
from goal_analysis.vse.loop.experiment import Experiment

DECLARED = "experiment.json"


def run_job(name: str, experiment: Experiment, folder: Path) -> Job:
    """The job that trains an experiment in a folder, or goes on with it there.

    Args:
        name: how messages call it.
        experiment: what is run; it is written into the folder.
        folder: of the run.

    Raises:
        RunError: in the folder is a run of another experiment, or what is none.
    """
    if (folder / RUN).exists():
        check_same(folder, experiment)
    declared = folder / DECLARED
    text = json_text(experiment.mapping())
    if not declared.exists() or declared.read_text("utf-8") != text:
        write_whole(declared, text)
    words = ("train", str(declared), "-o", str(folder))
    return Job(name, words, folder / RESULT, folder / "output.log")


def best_of(folder: Path) -> float:
    """The best dev RSUM of a run that is done.

    Raises:
        RunError: its result is not what a run writes.
    """
    path = folder / RESULT
    try:
        return float(json.loads(path.read_text("utf-8"))["best"]["rsum"])
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError) as problem:
        raise RunError(f"{path}: got {problem!r} but expected the result that a run writes") from problem


def check_same_data(folders: Iterable[Path]) -> None:
    """Raise unless runs that name the same data were begun on the same.

    Raises:
        RunError: the data of one have changed since another was begun, or a folder has no run.
    """
    first: dict[str, tuple[Path, str]] = {}
    for folder in folders:
        record = read_run(folder)
        found = record["data"]["fingerprint"]
        before, expected = first.setdefault(json_text(record["experiment"].get("data")), (folder, found))
        if found != expected:
            raise RunError(
                f"{folder}: got data with the fingerprint {found} but expected {expected}, as in {before}: "
                "they have changed in between, and such runs are not compared"
            )
