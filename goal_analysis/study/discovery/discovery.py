"""The whole of a discovery: searches with equal budgets, then the best few against the baselines over fresh seeds.

What is found is chosen on dev with one seed, so its score there flatters it; what counts is the comparison over seeds
that no search has seen, and that on other data which nothing was chosen on. The report says better, worse or within
noise, and all formulas.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from goal_analysis.files import folder_name, write_whole
from goal_analysis.recombination.description import described
from goal_analysis.recombination.export import export
from goal_analysis.recombination.text import to_toml
from goal_analysis.recombination.verdict import verdict
from goal_analysis.study.comparison import Comparison, compare
from goal_analysis.study.discovery.search import Search
from goal_analysis.study.driver import Driver, Failure
from goal_analysis.study.engine import Job
from goal_analysis.study.runs import declare, run_over_seeds
from goal_analysis.study.tuning import COMPARISON, TRIALS
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
    driver: Driver,
    search: Search,
    baselines: Sequence[Search],
    finalists: int,
    seeds: int,
    also_on: Mapping[str, Mapping[str, object]],
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
    _begin(folder, base, {s.name: s.budget for s in every})
    compared = (1 + len(also_on)) * seeds * (finalists + len(baselines))
    driver.expect(sum(s.budget for s in every) + compared, done=sum(s.pruned for s in every))
    owner: dict[Job, Search] = {}
    driver.run(
        _in_turn(every, owner),
        ended=lambda job, failure: owner[job].ended(job, failure),
        watch=lambda job: owner[job].watch(job),
    )
    contenders = (
        *_contenders(search, finalists),
        *(replace(c, name=b.name) for b in baselines for c in _contenders(b)),
    )
    trials = pd.DataFrame([record for s in every for record in s.records()])
    write_whole(folder / TRIALS, trials.to_csv(index=False))
    comparisons: dict[str, Comparison] = {}
    failures: list[Failure] = []
    for name, data in {base.data_name: base.data, **also_on}.items():
        # By trial, for the best of a search that went on is another.
        experiments = {c.experiment.name: replace(c.experiment, data=dict(data)) for c in contenders}
        reached, failed = run_over_seeds(driver, folder / COMPARISON / folder_name(name), experiments, seeds)
        by_name = {c.name: reached[c.experiment.name] for c in contenders if c.experiment.name in reached}
        comparisons[name] = compare(by_name, baselines[0].name)
        failures += failed
    outcome = Discovery(contenders, comparisons, trials, tuple(failures))
    for contender in contenders:
        stem = folder / folder_name(contender.name)
        write_whole(stem.with_suffix(".toml"), to_toml(contender.objective))
        write_whole(stem.with_suffix(".py"), export(contender.objective, contender.name.replace(" ", "_")))
    write_whole(folder / TEXT, text_of(outcome, base, seeds))
    return outcome


def _contenders(search: Search, count: int = 1) -> Iterator[Contender]:
    best = search.best(count)
    if not best:
        raise ValueError(f"{search.name}: got no trial that came to an end but expected one of {search.budget}")
    for place, (experiment, rsum) in enumerate(best, 1):
        objective = search.read(experiment.objective)
        yield Contender(f"{search.name} {place}", search.name, experiment, objective, rsum)


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


def _begin(folder: Path, base: Experiment, budgets: Mapping[str, int]) -> None:
    def going_on(before: dict) -> dict:
        begun = before["budgets"]
        smaller = begun.keys() != budgets.keys() or any(begun[name] > budget for name, budget in budgets.items())
        if before["experiment"] != identity(base) or smaller:
            raise RunError(f"{folder}: got another experiment or smaller budgets than this discovery was begun with")
        return given

    given = {"budgets": budgets}
    declare(folder / DECLARED, base, given, {"budgets": dict}, going_on)


def text_of(found: Discovery, base: Experiment, seeds: int) -> str:
    """The discovery as Markdown: what was searched, the tables, and what is known of every contender."""
    lines = [
        f"{base.name} on {base.data_name}, at most {base.training.epochs} epochs a run. Trials have one seed, are "
        "drawn by the tree-structured Parzen estimator and ended early by successive halving; chosen by dev RSUM.",
        "",
        "| search | run | to the end | ended early | failed | copies, not run | rejected, not run | best dev RSUM |",
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
    for name, comparison in found.comparisons.items():
        own = name == base.data_name
        lines += ["", f"## {name}: {seeds} fresh seeds" + ("" if own else ", on which nothing was chosen"), ""]
        lines += [comparison.caption, "", *comparison.markdown()]
        if own:
            lines += ["", _LUCK, ""]
            means = comparison.table.set_index("objective")["mean"]
            for c in found.contenders:
                mean = means.get(c.name, float("nan"))
                fresh = f"{mean:.1f} over fresh seeds ({mean - c.rsum:+.1f})"
                lines.append(f"- {c.name}: {c.rsum:.1f} in the trial, {ended[c.search]}; {fresh}")
    lines += [f"- did not come to an end: {failure}" for failure in found.failures]
    for contender in found.contenders:
        lines += ["", f"## {contender.name}", "", *_known(contender, base)]
    return "\n".join(lines) + "\n"


_LUCK = "The best of many trials is so partly by luck. Its number there is no estimate; the mean over fresh seeds is:"


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
