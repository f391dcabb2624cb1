"""The whole of a discovery: searches with equal budgets, then the best few against the baselines over fresh seeds.

What is found is chosen on dev with one seed, so its score there flatters it; what counts is the comparison over seeds
that no search has seen, and that on other data which nothing was chosen on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from goal_analysis.naming import folder_name
from goal_analysis.recombination.composition import to_toml
from goal_analysis.recombination.description import Description
from goal_analysis.recombination.export import export
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.study.comparison import Comparison, compare
from goal_analysis.study.discovery.search import Search
from goal_analysis.study.jobs import Failure, Job, run_jobs
from goal_analysis.study.over_seeds import over_seeds
from goal_analysis.vse.experiment import Experiment
from goal_analysis.vse.run_folder import RunError
from goal_analysis.writing import write_whole

DECLARED, TRIALS, TEXT = "discovery.json", "trials.csv", "discovery.md"

Report = Callable[[Job, Failure | None, int], None]


@dataclass(frozen=True, eq=False)
class Contender:
    """What is compared over fresh seeds.

    Args:
        name: how tables call it.
        experiment: as its search left it.
        objective: that it trains with.
    """

    name: str
    experiment: Experiment
    objective: GradientObjective


@dataclass(frozen=True, eq=False)
class Discovery:
    """What a discovery found.

    Args:
        contenders: the best few of the search, and the best of every baseline's.
        comparisons: by the name of the data, over fresh seeds.
        trials: of all searches, a row each.
        failures: runs of the comparison that did not come to an end.
    """

    contenders: tuple[Contender, ...]
    comparisons: Mapping[str, Comparison]
    trials: pd.DataFrame
    failures: tuple[Failure, ...]


def discover(
    folder: Path,
    search: Search,
    baselines: Sequence[Search],
    finalists: int,
    seeds: int,
    also_on: Mapping[str, Mapping[str, object]],
    processes: int,
    report: Report = lambda job, failure, left: None,
) -> Discovery:
    """Search, compare, and write what was found into the folder.

    Args:
        folder: new, or one where the same discovery was begun.
        search: in the space of objectives.
        baselines: with searches of their own; differences are to the first.
        finalists: how many of the search are compared.
        seeds: of the comparison, 0 to ``seeds`` − 1, none of which a search has used.
        also_on: other data that the same contenders are compared on, by name.
        processes: runs at once, each on one thread.
        report: is handed every run that ended, its failure, and how many are left.

    Raises:
        RunError: another discovery was begun in the folder.
        ValueError: a search without a trial that came to an end.
    """
    base, every = search.rules.base, [search, *baselines]
    _begin(folder, base, {s.name: s.rules.budget for s in every})
    owner: dict[Job, Search] = {}

    def trial_ended(job: Job, failure: Failure | None) -> None:
        owner[job].ended(job, failure)
        report(job, failure, sum(s.left for s in every))

    run_jobs(_in_turn(every, owner), processes, report=trial_ended, watch=lambda job: owner[job].watch(job))
    contenders = _contenders(search, baselines, finalists)
    trials = pd.DataFrame([record for s in every for record in s.records()])
    write_whole(folder / TRIALS, trials.to_csv(index=False))
    comparisons: dict[str, Comparison] = {}
    failures: list[Failure] = []
    left = (1 + len(also_on)) * seeds * len(contenders)

    def run_ended(job: Job, failure: Failure | None) -> None:
        nonlocal left
        left -= 1
        report(job, failure, left)

    for name, data in {_name_of(base): base.data, **also_on}.items():
        experiments = {c.name: replace(c.experiment, data=dict(data)) for c in contenders}
        where = folder / "comparison" / folder_name(name)
        reached, failed = over_seeds(where, experiments, seeds, processes, run_ended)
        comparisons[name] = compare(reached, baselines[0].name)
        failures += failed
    outcome = Discovery(contenders, comparisons, trials, tuple(failures))
    for contender in contenders:
        stem = folder / folder_name(contender.name)
        write_whole(stem.with_suffix(".toml"), to_toml(contender.objective))
        write_whole(stem.with_suffix(".py"), export(contender.objective, contender.name.replace(" ", "_")))
    write_whole(folder / TEXT, text_of(outcome, base, seeds))
    return outcome


def text_of(found: Discovery, base: Experiment, seeds: int) -> str:
    """The discovery as Markdown: what was searched, the tables, and what is known of every contender.

    Args:
        found: what was found.
        base: data, model and training of every trial.
        seeds: of the comparison.
    """
    lines = [
        f"{base.name} on {_name_of(base)}, at most {base.training.epochs} epochs a run. Trials have one seed, are "
        "drawn by the tree-structured Parzen estimator and ended early by successive halving; chosen by dev RSUM.",
        "",
        "| search | run | to the end | ended early | failed | copies, not run | rejected, not run | best dev RSUM |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, of_search in found.trials.groupby("search", sort=False):
        state, why = of_search["state"], of_search["why"].astype(str)
        ran = of_search[state != "not run"]
        counts = [sum(ran["state"] == kind) for kind in ("complete", "pruned", "fail")]
        idle = [sum((state == "not run") & why.str.startswith(kind)) for kind in ("copy", "rejected")]
        best = ran[ran["state"] == "complete"]["rsum"].max()
        lines.append(f"| {name} | {' | '.join(map(str, [len(ran), *counts, *idle]))} | {best:.1f} |")
    for name, comparison in found.comparisons.items():
        own = name == _name_of(base)
        lines += ["", f"## {name}: {seeds} fresh seeds" + ("" if own else ", on which nothing was chosen"), ""]
        lines += ["| objective | seeds | mean | deviation | difference | interval |", "|---|---|---|---|---|---|"]
        lines += [f"| {objective} | {' | '.join(numbers)} |" for objective, numbers in comparison.cells()]
        lines += ["", *(f"- {statement}" for statement in comparison.statements())]
    lines += [f"- did not come to an end: {failure}" for failure in found.failures]
    for contender in found.contenders:
        lines += ["", f"## {contender.name}", "", *_known(contender, base)]
    return "\n".join(lines) + "\n"


def _known(contender: Contender, base: Experiment) -> Iterator[str]:
    """What is known of a contender, a line of a list each."""
    about: Description = contender.objective.describe()
    verdict = {True: "the gradient of a loss", False: "the gradient of no loss", None: "undecided"}[about.integrable]
    o = contender.objective
    values = {h.name: float(o.field.values(o.settings)[h.symbol]) for h in o.field.hyperparameters}
    yield f"- T = `{o.triplet_weight.expression}`"
    yield f"- P⁺ = `{o.pair_weights.positive}`, P⁻ = `{o.pair_weights.negative}`"
    if values:
        yield f"- {', '.join(f'{name} = {value:.4g}' for name, value in values.items())}"
    yield f"- mining: {o.mining}; direction: {(o.direction or o.similarity).name}"
    yield f"- {verdict}: {about.reason}"
    own, trained = base.training, contender.experiment.training
    changed = {name: value for name, value in vars(trained).items() if value != getattr(own, name)}
    yield f"- trained with {', '.join(f'{name} = {value}' for name, value in changed.items()) or 'the preset as it is'}"


def _contenders(search: Search, baselines: Sequence[Search], finalists: int) -> tuple[Contender, ...]:
    found = []
    for one, count in ((search, finalists), *((b, 1) for b in baselines)):
        best = one.best(count)
        if not best:
            raise ValueError(f"{one.name}: got no trial that came to an end but expected one of {one.rules.budget}")
        for place, experiment in enumerate(best, 1):
            name = f"{one.name} {place}" if one is search else one.name
            found.append(Contender(name, experiment, one.rules.read(experiment.objective)))
    return tuple(found)


def _in_turn(searches: Sequence[Search], owner: dict[Job, Search]) -> Iterator[Job]:
    """A job of every search that has one left, and again."""
    coming = {search: search.jobs() for search in searches}
    while coming:
        for search in list(coming):
            job = next(coming[search], None)
            if job is None:
                del coming[search]
            else:
                owner[job] = search
                yield job


def _name_of(base: Experiment) -> str:
    return Path(str(base.data["name"])).name


def _begin(folder: Path, base: Experiment, budgets: Mapping[str, int]) -> None:
    """Write down what is searched for, or refuse if another discovery was begun here."""
    path = folder / DECLARED
    given = json.loads(json.dumps({"experiment": base.mapping(), "budgets": budgets}))
    if path.exists() and json.loads(path.read_text("utf-8")) != given:
        raise RunError(f"{folder}: got another experiment or other budgets than this discovery was begun with")
    write_whole(path, json.dumps(given, ensure_ascii=False, indent=2) + "\n")
