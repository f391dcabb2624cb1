"""Training runs as jobs of a study."""

from __future__ import annotations

import json
from pathlib import Path

from goal_analysis.study.jobs import Job
from goal_analysis.vse.experiment import Experiment
from goal_analysis.vse.run import RESULT
from goal_analysis.vse.run_folder import RunError
from goal_analysis.writing import json_text, write_whole

DECLARED = "experiment.json"


def run_job(name: str, experiment: Experiment, folder: Path) -> Job:
    """The job that trains an experiment in a folder, or goes on with it there.

    Args:
        name: how messages call it.
        experiment: what is run; it is written into the folder.
        folder: of the run.
    """
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
