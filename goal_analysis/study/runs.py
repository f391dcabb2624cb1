"""Training runs as jobs of a study."""

from __future__ import annotations

import json
import re
from pathlib import Path

from goal_analysis.study.jobs import Job
from goal_analysis.vse.experiment import Experiment
from goal_analysis.vse.run import RESULT
from goal_analysis.writing import write_whole

DECLARED = "experiment.json"


def run_job(name: str, experiment: Experiment, folder: Path) -> Job:
    """The job that trains an experiment in a folder, or goes on with it there.

    Args:
        name: how messages call it.
        experiment: what is run; it is written into the folder.
        folder: of the run.
    """
    declared = folder / DECLARED
    text = json.dumps(experiment.mapping(), ensure_ascii=False, indent=2) + "\n"
    if not declared.exists() or declared.read_text("utf-8") != text:
        write_whole(declared, text)
    words = ("train", str(declared), "-o", str(folder))
    return Job(name, words, folder / RESULT, folder / "output.log")


def best_of(folder: Path) -> float:
    """The best dev RSUM of a run that is done."""
    return float(json.loads((folder / RESULT).read_text("utf-8"))["best"]["rsum"])


def folder_name(name: str) -> str:
    """A name as one that folders can have.

    >>> folder_name("nca(tau=12)/linear@softmax:12")
    'nca_tau=12_linear_softmax_12'
    """
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", name)
