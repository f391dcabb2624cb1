"""Which objective should one train with? All are tuned with the same budget, and then compared over fresh seeds.

What is chosen, is chosen on dev, the seeds of the comparison are none of the tuning's, and what is done is not run
again: the same call goes on after any end, and begins again what failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from goal_analysis.files import folder_name, folder_names, json_value, write_json, write_whole
from goal_analysis.study.comparison import Comparison, compare
from goal_analysis.study.driver import Driver, Failure
from goal_analysis.study.runs import read_declaration, run_over_seeds
from goal_analysis.study.tuning import Candidate, best_values, trials_of
from goal_analysis.vse.folder.run_folder import RUN, RunError, identity, read_run
from goal_analysis.vse.loop.experiment import Experiment

STUDY, TABLE, TEXT, TRIALS, COMPARISON = "study.json", "comparison.csv", "comparison.md", "trials.csv", "comparison"


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


def tuned_comparison(
    driver: Driver, base: Experiment, candidates: Sequence[Candidate], budget: int, seeds: int, probe_steps: int = 0
) -> Outcome:
    """Tune, compare, and write what was found into the driver's folder: new, or one where the same study was begun.

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
    trials = {c.name: trials_of(folder, c, budget) for c in candidates}
    failures = driver.run(trial.job(base) for of_round in zip(*trials.values(), strict=True) for trial in of_round)
    chosen = {name: best_values(of) for name, of in trials.items()}
    tuned = {c.name: c.experiment(probed, chosen[c.name], 0) for c in candidates}
    for name, experiment in tuned.items():
        _set_aside(folder, folder_name(name), experiment)
    found, failed = run_over_seeds(driver, folder / COMPARISON, tuned, seeds)
    if first not in found:
        raise ValueError(f"{folder}: got no run of the baseline {first!r} that came to an end")
    table = pd.DataFrame([trial.record for of in trials.values() for trial in of])
    outcome = Outcome(compare(found, first), chosen, table, (*failures, *failed))
    write_whole(folder / TABLE, outcome.comparison.table.to_csv(index=False))
    write_whole(folder / TRIALS, table.to_csv(index=False))
    write_whole(folder / TEXT, text_of(outcome, base, budget, seeds))
    return outcome


def _set_aside(folder: Path, name: str, chosen: Experiment) -> None:
    """Move an objective's runs of the comparison away if they were made before a better trial, which had failed, came
    to its end.
    """
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


def _begin(folder: Path, base: Experiment, candidates: Sequence[Candidate], budget: int, probe_steps: int) -> int:
    """Write down what is studied, or refuse another study than the folder has; return the steps between probes.

    More candidates or more seeds go on with a study; another experiment, another budget or another objective under a
    name that the study has would make a table of unlike things.
    """
    path = folder / STUDY
    experiment = replace(base, seed=0, objective="")
    given = json_value(
        {
            "experiment": experiment.mapping(),
            "budget": budget,
            "probe_steps": probe_steps,
            "candidates": {
                c.name: {"objective": c.write(c.objective), "scales": [asdict(s) for s in c.scales]} for c in candidates
            },
        }
    )
    before = read_declaration(path, {"budget": int, "candidates": dict})
    if before is not None:
        for name, value in (("experiment", identity(experiment)), ("budget", budget)):
            if before[name] != value:
                raise RunError(f"{folder}: got another {name} than this study was begun with; expected an empty folder")
        for name, candidate in given["candidates"].items():
            if before["candidates"].get(name, candidate) != candidate:
                raise RunError(f"{folder}: got another objective {name!r} than this study has; expected another name")
        given["candidates"] = before["candidates"] | given["candidates"]
        given["probe_steps"] = before.get("probe_steps", base.training.probe_steps)
    folder_names(given["candidates"])  # refused before the first has run
    write_json(path, given)
    return given["probe_steps"]
