"""Training runs as jobs of a study, alone and over seeds, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from goal_analysis.files import folder_names, json_text, write_whole
from goal_analysis.study.driver import best_rsum
from goal_analysis.study.engine import Job
from goal_analysis.vse.folder.run_folder import RUN, RunError, check_same, read_run
from goal_analysis.vse.loop.experiment import Experiment

DECLARED = "experiment.json"

COMPARISON = "comparison"

TRIAL_SEED, TRIAL_FOLD = 1000, 0
"""Of the trials' runs: the comparison's seeds count from 0, and the fold leaves dev for it."""

Data = Mapping[str, Mapping[str, Any]]
"""Tables ``[data]`` of experiments, by the name that tables have of them."""


def run_job(name: str, experiment: Experiment, folder: Path) -> Job:
    """The job that trains an experiment in a folder, or goes on with it there.

    Args:
        name: how messages call it.
        experiment: what is run; it is written into the folder.
        folder: of the run.

    Raises:
        RunError: the folder holds a run of another experiment, or a damaged one.
    """
    if (folder / RUN).exists():
        check_same(folder, experiment)
    declared = folder / DECLARED
    text = json_text(experiment.mapping())
    if not declared.exists() or declared.read_text("utf-8") != text:
        write_whole(declared, text)
    return Job(name, folder, ("train", str(declared), "-o", str(folder)))


def seed_jobs(folder: Path, experiments: Mapping[str, Experiment], seeds: int) -> dict[tuple[str, int], Job]:
    """The jobs that train experiments over the seeds 0 to ``seeds`` − 1, by name and seed.

    Raises:
        ValueError: two of the names would have one folder, or one holds a run of another experiment.
    """
    where = {name: folder / inner for name, inner in folder_names(experiments).items()}
    return {
        (name, seed): run_job(f"{name}, seed {seed}", replace(experiment, seed=seed), where[name] / f"seed-{seed}")
        for seed in range(seeds)
        for name, experiment in experiments.items()
    }


def by_seed(
    jobs: Mapping[tuple[str, int], Job], measured: Callable[[Path], float] = best_rsum
) -> dict[str, dict[int, float]]:
    """What was measured, by name and seed, of the jobs that are done, without names that have none.

    Raises:
        RunError: a result is not what a run writes, or data have changed between the runs.
    """
    done = {run: job.folder for run, job in jobs.items() if job.done}
    first: dict[str, tuple[Path, str]] = {}
    for folder in done.values():
        record = read_run(folder)
        read = record.data.fingerprint
        before, expected = first.setdefault(json_text(record.experiment.data), (folder, read))
        if read != expected:
            raise RunError(
                f"{folder}: got data with the fingerprint {read} but expected {expected}, as in {before}: "
                "they have changed in between, and such runs are not compared"
            )
    found: dict[str, dict[int, float]] = {}
    for (name, seed), folder in done.items():
        found.setdefault(name, {})[seed] = measured(folder)
    return found
