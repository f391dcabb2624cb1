"""Training runs as jobs of a study, alone or over several seeds, and the declaration that a study begins with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from goal_analysis.files import folder_names, json_text, write_whole
from goal_analysis.study.jobs import Failure, Job, run_jobs
from goal_analysis.vse.folder.run import RESULT
from goal_analysis.vse.folder.run_folder import RUN, RunError, check_same, identity, read_record, read_run
from goal_analysis.vse.loop.experiment import Experiment, experiment_from_mapping

DECLARED = "experiment.json"

Jobs = dict[tuple[str, int], Job]
"""By the name of the experiment and the seed, seed by seed."""


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
    words = ("train", str(declared), "-o", str(folder))
    return Job(name, words, folder / RESULT, folder / "output.log")


def best_rsum(folder: Path) -> float:
    """The best dev RSUM of a run that is done.

    Raises:
        RunError: its result is not what a run writes.
    """
    expected = "the result that a run writes"
    return read_record(folder / RESULT, expected, lambda result: float(result["best"]["rsum"]))


def _check_same_data(folders: Iterable[Path]) -> None:
    """Raise unless all runs that name the same data have seen the same content."""
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


def best_by_seed(jobs: Jobs, measured: Callable[[Path], float] = best_rsum) -> dict[str, dict[int, float]]:
    """The best dev RSUM, or what else is measured in a run's folder, by name and seed of the runs that are done.

    A name without any is left out.

    Raises:
        RunError: a result is not what a run writes, or data have changed between the runs.
    """
    done = {run: job.output.parent for run, job in jobs.items() if job.done}
    _check_same_data(done.values())
    found: dict[str, dict[int, float]] = {}
    for (name, seed), folder in done.items():
        found.setdefault(name, {})[seed] = measured(folder)
    return found


def run_over_seeds(
    folder: Path,
    experiments: Mapping[str, Experiment],
    seeds: int,
    processes: int,
    report: Callable[[Job, Failure | None], None] = lambda job, failure: None,
) -> tuple[dict[str, dict[int, float]], list[Failure]]:
    """Run what of `seed_jobs` is not done, ``processes`` at once on one thread each; what `best_by_seed` says, and what
    failed.
    """
    jobs = seed_jobs(folder, experiments, seeds)
    failures = run_jobs(jobs.values(), processes, report=report)
    return best_by_seed(jobs), failures


def read_declaration(path: Path, kinds: Mapping[str, type]) -> dict[str, Any] | None:
    """What a study wrote into its folder when it began, so the same command goes on there and another one is refused.

    Of its experiment, the `identity` is given. An option that is newer than the study has its default there.

    Args:
        path: of the declaration.
        kinds: the names that the declaration has besides ``experiment``, and the types of their values.

    Returns:
        The declaration; None where no study has begun.

    Raises:
        RunError: the file is not what was written.
    """
    if not path.exists():
        return None
    expected = {"experiment": dict, **kinds}

    def checked(found: Any) -> dict[str, Any]:
        if not isinstance(found, dict) or not all(isinstance(found.get(name), kind) for name, kind in expected.items()):
            raise ValueError(f"no {', '.join(expected)}")
        return found

    found = read_record(path, "what a study writes", checked)
    return found | {"experiment": identity(experiment_from_mapping(found["experiment"], f"{path}: experiment"))}
