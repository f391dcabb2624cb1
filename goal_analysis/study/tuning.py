"""Which objective should one train with? All are tuned with the same budget, and then compared over fresh seeds.

The first trial of an objective has its own values. The others fill its ranges evenly (Sobol's sequence, scrambled), so
no trial waits for another, and the same study has the same trials when it begins again. A trial is a training run in a
folder of its own, and the folder is all that is kept of it.

What is chosen, is chosen on dev, the seeds of the comparison are none of the tuning's, and what is done is not run
again: the same call goes on after any end, and begins again what failed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from goal_analysis.files import folder_name, folder_names, json_value, write_whole
from goal_analysis.study.comparison import Comparison, compare
from goal_analysis.study.driver import Driver, Failure, best_rsum
from goal_analysis.study.engine import Job
from goal_analysis.study.runs import declare, run_job, run_over_seeds
from goal_analysis.study.scales import LEARNING_RATE, Scale, points, scaled
from goal_analysis.symbolic.objective import Objective
from goal_analysis.vse.folder.run_folder import RUN, RunError, identity, read_run
from goal_analysis.vse.loop.experiment import Experiment

STUDY, TABLE, TEXT, TRIALS, COMPARISON = "study.json", "comparison.csv", "comparison.md", "trials.csv", "comparison"

TUNING_SEED = 1000
"""Of the trials' runs; the comparison's seeds count from 0."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """An objective that is tuned.

    Args:
        name: how tables call it.
        objective: with its own values.
        scales: what of it is tuned.
        write: the text that an experiment names an objective by.
    """

    name: str
    objective: Objective
    scales: tuple[Scale, ...]
    write: Callable[[Objective], str]

    def experiment(self, base: Experiment, values: Mapping[str, float], seed: int = 0) -> Experiment:
        """The experiment of a run with these values of the scales."""
        rate = values.get(LEARNING_RATE, base.training.learning_rate)
        text = self.write(scaled(self.objective, values))
        return replace(
            base, name=self.name, objective=text, training=replace(base.training, learning_rate=rate), seed=seed
        )


Trial = tuple[dict[str, float], Job]
"""Values of a candidate's scales, and the run that tries them."""


def trials_of(folder: Path, candidate: Candidate, base: Experiment, budget: int) -> list[Trial]:
    """The trials of a candidate, with folders in that of the study."""
    where = folder / "tuning" / folder_name(candidate.name)
    found = points(candidate.scales, budget, zlib.crc32(candidate.name.encode()))
    experiments = (candidate.experiment(base, values, TUNING_SEED) for values in found)
    jobs = [run_job(f"{candidate.name}, trial {i}", e, where / f"trial-{i}") for i, e in enumerate(experiments)]
    return list(zip(found, jobs, strict=True))


def best_values(trials: Sequence[Trial]) -> dict[str, float]:
    """The values of the trial with the best dev RSUM; those of the first, the candidate's own, where none has any."""
    return max(trials, key=lambda trial: _rsum(trial[1]) or 0.0)[0]


def _rsum(job: Job) -> float | None:
    return best_rsum(job.folder) if job.done else None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a study found.

    Args:
        comparison: over the seeds, on dev.
        chosen: by candidate, the values of its scales; its own where no trial came to an end.
        trials: a row a trial, with ``objective``, its scales, ``state`` and ``rsum``.
        failures: what did not come to an end.
    """

    comparison: Comparison
    chosen: dict[str, dict[str, float]]
    trials: pd.DataFrame
    failures: tuple[Failure, ...]

    def __repr__(self) -> str:
        return f"Outcome({len(self.trials)} trials, {len(self.failures)} failed; {self.comparison!r})"


def tuned_comparison(
    driver: Driver, base: Experiment, candidates: Sequence[Candidate], budget: int, seeds: int, probe_steps: int = 0
) -> Outcome:
    """Tune, compare, and write what was found into the driver's folder: new, or one where the same study was begun.

    More candidates or more seeds go on with a study; another experiment, another budget or another objective under a
    name that the study has would make a table of unlike things.

    Args:
        driver: of the study.
        base: data, model and training of every run.
        candidates: the baseline first.
        budget: trials of each.
        seeds: of the comparison, 0 to ``seeds`` − 1.
        probe_steps: the comparison's runs log statistics of the weights every so many steps; 0 for none. A study that
            was begun goes on with its own.

    Raises:
        RunError: another study was begun in the folder.
        ValueError: two candidates would have one folder; or no run of the baseline came to an end.
    """
    folder, first = driver.folder, candidates[0].name
    steps = _begin(folder, base, candidates, budget, probe_steps)
    probed = replace(base, training=replace(base.training, probe_steps=steps))
    driver.expect(len(candidates) * (budget + seeds))
    trials = {c.name: trials_of(folder, c, base, budget) for c in candidates}
    failures = driver.run(job for of_round in zip(*trials.values(), strict=True) for _, job in of_round)
    chosen = {name: best_values(of) for name, of in trials.items()}
    tuned = {c.name: c.experiment(probed, chosen[c.name]) for c in candidates}
    for experiment in tuned.values():
        _set_aside(folder, experiment)
    found, failed = run_over_seeds(driver, folder / COMPARISON, tuned, seeds)
    if first not in found:
        raise ValueError(f"{folder}: got no run of the baseline {first!r} that came to an end")
    rows = ((name, values, _rsum(job)) for name, of in trials.items() for values, job in of)
    table = pd.DataFrame(
        {"objective": name, **values, "state": "fail" if rsum is None else "complete", "rsum": rsum}
        for name, values, rsum in rows
    )
    outcome = Outcome(compare(found, first), chosen, table, (*failures, *failed))
    write_whole(folder / TABLE, outcome.comparison.table.to_csv(index=False))
    write_whole(folder / TRIALS, table.to_csv(index=False))
    write_whole(folder / TEXT, text_of(outcome, base, budget, seeds))
    return outcome


def _begin(folder: Path, base: Experiment, candidates: Sequence[Candidate], budget: int, probe_steps: int) -> int:
    experiment = replace(base, seed=0, objective="")
    declared = {
        c.name: {"objective": c.write(c.objective), "scales": [asdict(s) for s in c.scales]} for c in candidates
    }
    given = json_value({"budget": budget, "probe_steps": probe_steps, "candidates": declared})

    def going_on(before: dict) -> dict:
        for name, value in (("experiment", identity(experiment)), ("budget", budget)):
            if before[name] != value:
                raise RunError(f"{folder}: got another {name} than this study was begun with; expected an empty folder")
        for name, one in given["candidates"].items():
            if before["candidates"].get(name, one) != one:
                raise RunError(f"{folder}: got another objective {name!r} than this study has; expected another name")
        every = before["candidates"] | given["candidates"]
        folder_names(every)
        return given | {"probe_steps": before.get("probe_steps", base.training.probe_steps), "candidates": every}

    folder_names(declared)  # refused before the first has run
    return declare(folder / STUDY, experiment, given, {"budget": int, "candidates": dict}, going_on)["probe_steps"]


def _set_aside(folder: Path, chosen: Experiment) -> None:
    """Move an objective's runs of the comparison away if they were made before a better trial, which had failed, came
    to its end.
    """
    name = folder_name(chosen.name)
    for run in sorted((folder / COMPARISON / name).glob(f"*/{RUN}")):
        made = read_run(run.parent).experiment
        if identity(made) != identity(replace(chosen, seed=made.seed)):
            aside = folder / "set-aside"
            aside.mkdir(exist_ok=True)
            run.parents[1].rename(aside / f"{name}-{len(list(aside.iterdir()))}")
            return


def text_of(outcome: Outcome, base: Experiment, budget: int, seeds: int) -> str:
    """The study as Markdown: what was run, the table, and a sentence an objective."""
    lines = [
        f"Dev RSUM of {base.name} on {base.data_name}: {seeds} seeds an objective, each tuned with "
        f"{budget} trials of one other seed; the best dev epoch of {base.training.epochs} at most. "
        + outcome.comparison.caption,
        "",
    ]
    chosen = {name: ", ".join(f"{s} = {value:.4g}" for s, value in of.items()) for name, of in outcome.chosen.items()}
    lines += outcome.comparison.markdown(chosen)
    lines += [f"- did not come to an end: {failure}" for failure in outcome.failures]
    return "\n".join(lines) + "\n"
