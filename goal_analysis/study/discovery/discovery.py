"""The whole of a discovery: searches with equal budgets, then the best few against the baselines over fresh seeds.

What is found is chosen with one seed on a fold of the training images, so its score there flatters it; what counts is
the comparison on dev over seeds that no search has seen, and that on other data which nothing was chosen on. The report
says better, worse or within noise, and all formulas.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from optuna.trial import FrozenTrial

from goal_analysis.files import folder_name, json_value, write_whole
from goal_analysis.recombination.description import described
from goal_analysis.recombination.export import export
from goal_analysis.recombination.text import to_toml
from goal_analysis.recombination.verdict import verdict
from goal_analysis.study.comparison import Comparison
from goal_analysis.study.discovery.search import PREDICTS, Search
from goal_analysis.study.discovery.simplification import TOLERANCE, Step, simplify
from goal_analysis.study.driver import Driver, Failure
from goal_analysis.study.engine import Job
from goal_analysis.study.runs import Data, compared_on, declare
from goal_analysis.study.tuning import TRIALS
from goal_analysis.symbolic.objective import Objective
from goal_analysis.vse.folder.run_folder import RunError, identity
from goal_analysis.vse.loop.experiment import Experiment

DECLARED, TEXT = "discovery.json", "discovery.md"


@dataclass(frozen=True, eq=False)
class Contender:
    """What is compared over fresh seeds.

    Args:
        name: how tables call it.
        search: the name of the search that chose it.
        experiment: as its search left it, named after the trial.
        objective: that it trains with.
        rsum: dev RSUM of the trial.
    """

    name: str
    search: str
    experiment: Experiment
    objective: Objective
    rsum: float


@dataclass(frozen=True, eq=False)
class Discovery:
    """What a discovery found.

    Args:
        contenders: the best few of the search, the best made simple, and the best of every baseline's.
        steps: of making it simple.
        comparisons: by the name of the data, over fresh seeds.
        trials: of all searches, a row each.
        failures: runs of the comparison that did not come to an end.
    """

    contenders: tuple[Contender, ...]
    steps: tuple[Step, ...]
    comparisons: Mapping[str, Comparison]
    trials: pd.DataFrame
    failures: tuple[Failure, ...]


def discover(
    driver: Driver,
    search: Search,
    baselines: Sequence[Search],
    finalists: int,
    seeds: int,
    also_on: Data,
) -> Discovery:
    """Search, compare, and write what was found into the driver's folder.

    The folder is new, or one where the same discovery was begun, with budgets no larger; the searches go on there.

    Args:
        driver: of the study.
        search: in the space of objectives.
        baselines: with searches of their own; differences are to the first.
        finalists: how many of the search are compared.
        seeds: of the comparison, 0 to ``seeds`` − 1, none of which a search has used.
        also_on: other data that the same contenders are compared on, by name.

    Raises:
        RunError: another discovery was begun in the folder, or one with larger budgets.
        ValueError: a search without a trial that came to an end.
    """
    folder, base, every = driver.folder, search.base, [search, *baselines]
    _begin(folder, base, {s.name: s.budget for s in every}, search.data)
    compared = {**search.data, **also_on}
    runs = sum(s.budget for s in every) * len(search.data) + len(compared) * seeds * (finalists + len(baselines))
    driver.expect(runs, done=sum(s.pruned for s in every))
    owner: dict[Job, Search] = {}
    driver.run(
        _in_turn(every, owner),
        ended=lambda job, failure: owner[job].ended(job, failure),
        watch=lambda job: owner[job].watch(job),
    )
    best = search.best(finalists)
    steps, simple = simplify(driver, search, best[0])
    named = {f"{search.name} {place}": (search, trial) for place, trial in enumerate(best, 1)}
    if simple.number not in [trial.number for trial in best]:
        named[f"{search.name} 1, simplified"] = search, simple
    named |= {baseline.name: (baseline, *baseline.best(1)) for baseline in baselines}
    contenders = tuple(_contender(name, *of) for name, of in named.items())
    trials = pd.DataFrame([record for s in every for record in s.records()])
    write_whole(folder / TRIALS, trials.to_csv(index=False))
    # By trial, for the best of a search that went on is another.
    experiments = {c.name: c.experiment for c in contenders}
    comparisons, failures = compared_on(driver, experiments, compared, seeds, baselines[0].name)
    outcome = Discovery(contenders, tuple(steps), comparisons, trials, tuple(failures))
    for contender in contenders:
        stem = folder / folder_name(contender.name)
        write_whole(stem.with_suffix(".toml"), to_toml(contender.objective))
        write_whole(stem.with_suffix(".py"), export(contender.objective, contender.name.replace(" ", "_")))
    write_whole(folder / TEXT, text_of(outcome, every, seeds))
    return outcome


def _contender(name: str, search: Search, trial: FrozenTrial) -> Contender:
    experiment = search.experiment_of(trial)
    return Contender(name, search.name, experiment, search.read(experiment.objective), float(trial.value or 0.0))


def _in_turn(searches: Sequence[Search], owner: dict[Job, Search]) -> Iterator[Job]:
    coming = {search: search.jobs() for search in searches}
    while coming:
        for search in list(coming):
            job = next(coming[search], None)
            if job is None:
                del coming[search]
            else:
                owner[job] = search
                yield job


def _begin(folder: Path, base: Experiment, budgets: Mapping[str, int], data: Data) -> None:
    def going_on(before: dict) -> dict:
        begun = before["budgets"]
        smaller = begun.keys() != budgets.keys() or any(begun[name] > budget for name, budget in budgets.items())
        if before["experiment"] != identity(base) or smaller or before["data"] != given["data"]:
            raise RunError(
                f"{folder}: got another experiment, other data or smaller budgets than this discovery was begun with"
            )
        return given

    given = json_value({"budgets": budgets, "data": data})
    declare(folder / DECLARED, base, given, {"budgets": dict, "data": dict}, going_on)


def text_of(found: Discovery, searches: Sequence[Search], seeds: int) -> str:
    """The discovery as Markdown: what was searched, the tables, and what is known of every contender."""
    base, data = searches[0].base, searches[0].data
    lines = [
        f"{base.name} on {' and '.join(data)}, at most {base.training.epochs} epochs a run. Trials have one seed, are "
        "drawn by the tree-structured Parzen estimator and ended early by successive halving; chosen by the RSUM on a "
        f"fifth of the training images{', the mean over the data' if len(data) > 1 else ''}.",
        "",
        "| search | run | to the end | ended early | failed | copies, not run | rejected, not run | best RSUM |",
        "|---|---|---|---|---|---|---|---|",
    ]
    ended: dict[object, str] = {}
    for name, of_search in found.trials.groupby("search", sort=False):
        state, why = of_search["state"], of_search["why"].astype(str)
        ran = of_search[state != "not run"]
        counts = [sum(ran["state"] == kind) for kind in ("complete", "pruned", "fail")]
        idle = [sum((state == "not run") & why.str.startswith(kind)) for kind in ("copy", "rejected")]
        best = ran[ran["state"] == "complete"]["rsum"].max()
        lines.append(f"| {name} | {' | '.join(map(str, [len(ran), *counts, *idle]))} | {best:.1f} |")
        ended[name] = f"chosen of {counts[0]} that came to an end, of {len(ran)} that were run"
    lines += ["", *_rungs(searches)]
    for name, comparison in found.comparisons.items():
        own = name in data
        lines += ["", f"## {name}: {seeds} fresh seeds" + ("" if own else ", on which nothing was chosen"), ""]
        lines += [comparison.caption, "", *comparison.markdown()]
    lines += [f"- did not come to an end: {failure}" for failure in found.failures]
    lines += ["", "## What choosing did", "", _LUCK, ""]
    for c in found.contenders:
        means = [found.comparisons[name].table.set_index("objective")["mean"].get(c.name, math.nan) for name in data]
        fresh = f"{sum(means) / len(means):.1f} on dev over fresh seeds"
        lines.append(f"- {c.name}: {c.rsum:.1f} in the trial, {ended[c.search]}; {fresh}")
    lines += ["", f"## {found.contenders[0].name}, made simple", "", *_steps(found.steps)]
    for contender in found.contenders:
        lines += ["", f"## {contender.name}", "", *_known(contender, base)]
    return "\n".join(lines) + "\n"


_LUCK = (
    "The best of many trials is so partly by luck, and the fold is another set of images than dev. A trial's number is "
    "no estimate; what is compared is the mean over fresh seeds."
)


def _rungs(searches: Sequence[Search]) -> Iterator[str]:
    yield "Whether an early epoch predicts the end, by trials that no rung has ended. A rung is used where the rank "
    yield f"correlation of its RSUM with the end's is {PREDICTS} or more."
    yield from ("", "| search | epoch | rank correlation | trials | used |", "|---|---|---|---|---|")
    for search in searches:
        for rung in search.rungs:
            correlation = "–" if math.isnan(rung.correlation) else f"{rung.correlation:.2f}"
            used = "yes" if rung.is_used else "no"
            yield f"| {search.name} | {rung.epoch} | {correlation} | {rung.trials} | {used} |"


def _steps(steps: Sequence[Step]) -> Iterator[str]:
    yield "What was left out, fitted again or rounded, in this order, by single trials on the fold. A step is kept if it "
    yield f"costs at most {TOLERANCE} of RSUM against what the kept ones before have left."
    yield from ("", "| step | RSUM | cost against the winner | kept |", "|---|---|---|---|")
    for step in steps:
        numbers = "– | –" if step.rsum is None else f"{step.rsum:.1f} | {step.cost:+.1f}"
        yield f"| {step.what} | {numbers} | {'yes' if step.is_kept else 'no'} |"


def _known(contender: Contender, base: Experiment) -> Iterator[str]:
    objective = contender.objective
    about = described(objective, verdict(objective))
    factors, field = about.weights.factors, about.weights
    if factors is not None:
        yield f"- T = `{factors.triplet}`"
        yield f"- P⁺ = `{factors.positive}`, P⁻ = `{factors.negative}`"
    else:
        yield f"- w⁺ = `{field.positive}`, w⁻ = `{field.negative}`"
    if about.settings:
        yield f"- {', '.join(f'{name} = {value:.4g}' for name, value in about.settings.items())}"
    yield f"- mining: {about.mining}; direction: {about.direction}"
    yield f"- {about.verdict.said}: {about.reason}"
    own, trained = base.training, contender.experiment.training
    changed = {name: value for name, value in vars(trained).items() if value != getattr(own, name)}
    yield f"- trained with {', '.join(f'{name} = {value}' for name, value in changed.items()) or 'the preset as it is'}"
