"""Training runs as jobs of a study: trials, and comparisons over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from goal_analysis.files import folder_names, json_text, write_whole
from goal_analysis.study.comparison import Comparison, compare
from goal_analysis.study.driver import Driver, Failure, best_rsum
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


def trial_jobs(name: str, experiment: Experiment, data: Data, folder: Path) -> tuple[Job, ...]:
    """The jobs of a trial, one a data set: on a fold of the training images, by which objectives are chosen."""
    where = {one: folder if len(data) == 1 else folder / inner for one, inner in folder_names(data).items()}
    trial = replace(experiment, seed=TRIAL_SEED)
    return tuple(
        run_job(
            name if len(data) == 1 else f"{name} on {one}",
            replace(trial, data={**of, "fold": TRIAL_FOLD}),
            where[one],
        )
        for one, of in data.items()
    )


def mean_rsum(jobs: Iterable[Job]) -> float | None:
    """The mean of the best RSUM of the jobs of a trial; None before all have come to an end."""
    jobs = tuple(jobs)
    return sum(best_rsum(job.folder) for job in jobs) / len(jobs) if all(job.done for job in jobs) else None


def compared_on(
    driver: Driver, experiments: Mapping[str, tuple[str, Experiment]], data: Data, seeds: int, baseline: str
) -> tuple[dict[str, Comparison], list[Failure]]:
    """Run what of the experiments on these data over seeds is not done, and compare them by dev RSUM.

    Args:
        driver: of the study.
        experiments: by the name that tables have, with the name of the folder of their runs.
        data: that each is run on.
        seeds: 0 to ``seeds`` − 1.
        baseline: that differences are to.

    Raises:
        ValueError: no run of the baseline came to an end; or as `seed_jobs`.
    """
    comparisons, failures = {}, []
    for name, inner in folder_names(data).items():
        of_data = {key: replace(experiment, data=dict(data[name])) for key, experiment in experiments.values()}
        jobs = seed_jobs(driver.folder / COMPARISON / inner, of_data, seeds)
        failures += driver.run(jobs.values())
        reached = by_seed(jobs)
        found = {one: reached[key] for one, (key, _) in experiments.items() if key in reached}
        if baseline not in found:
            raise ValueError(f"{driver.folder}: got no run of the baseline {baseline!r} that came to an end")
        comparisons[name] = compare(found, baseline)
    return comparisons, failures


def _check_same_data(folders: Iterable[Path]) -> None:
    first: dict[str, tuple[Path, str]] = {}
    for folder in folders:
        record = read_run(folder)
        found = record.data.fingerprint
        before, expected = first.setdefault(json_text(record.experiment.data), (folder, found))
        if found != expected:
            raise RunError(
                f"{folder}: got data with the fingerprint {found} but expected {expected}, as in {before}: "
                "they have changed in between, and such runs are not compared"
            )


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
    _check_same_data(done.values())
    found: dict[str, dict[int, float]] = {}
    for (name, seed), where in done.items():
        found.setdefault(name, {})[seed] = measured(where)
    return found
