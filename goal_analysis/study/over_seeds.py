"""The same experiments over several seeds: a run each, and the best dev RSUM of those that came to an end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from goal_analysis.files import folder_names
from goal_analysis.study.jobs import Failure, Job, run_jobs
from goal_analysis.study.runs import best_of, check_same_data, run_job
from goal_analysis.vse.loop.experiment import Experiment

Jobs = dict[tuple[str, int], Job]
"""By the name of the experiment and the seed, seed by seed."""


def seed_jobs(folder: Path, experiments: Mapping[str, Experiment], seeds: int) -> Jobs:
    """The runs of experiments over seeds.

    Args:
        folder: where every experiment has a folder, and every seed one in that.
        experiments: by name; their own seeds do not matter.
        seeds: 0 to ``seeds`` − 1.

    Raises:
        ValueError: two of the names would have one folder, or one holds a run of another experiment.
    """
    folders = folder_names(experiments)
    return {
        (name, seed): run_job(
            f"{name}, seed {seed}", replace(experiment, seed=seed), folder / folders[name] / f"seed-{seed}"
        )
        for seed in range(seeds)
        for name, experiment in experiments.items()
    }


def reached(jobs: Jobs) -> dict[str, dict[int, float]]:
    """The best dev RSUM by name and seed of those that came to an end; of a name without any, nothing.

    Raises:
        RunError: a result is not what a run writes, or data have changed between the runs.
    """
    done = {run: job.output.parent for run, job in jobs.items() if job.done}
    check_same_data(done.values())
    found: dict[str, dict[int, float]] = {}
    for (name, seed), folder in done.items():
        found.setdefault(name, {})[seed] = best_of(folder)
    return found


def over_seeds(
    folder: Path,
    experiments: Mapping[str, Experiment],
    seeds: int,
    processes: int,
    report: Callable[[Job, Failure | None], None] = lambda job, failure: None,
) -> tuple[dict[str, dict[int, float]], list[Failure]]:
    """Run what has not been run, seed by seed.

    Args:
        folder: as for `seed_jobs`.
        experiments: as for `seed_jobs`.
        seeds: as for `seed_jobs`.
        processes: runs at once, each on one thread.
        report: is handed every run that ended, and its failure.

    Returns:
        What was `reached`, and what did not come to an end.
    """
    jobs = seed_jobs(folder, experiments, seeds)
    failures = run_jobs(jobs.values(), processes, report=report)
    return reached(jobs), failures
