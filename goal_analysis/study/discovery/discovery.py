"""The whole of a discovery: searches with equal budgets, then the best few against the baselines over fresh seeds.

What is found is chosen on dev with one seed, so its score there flatters it; what counts is the comparison over seeds
that no search has seen, and that on other data which nothing was chosen on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from goal_analysis.files import folder_name, write_json, write_whole
from goal_analysis.recombination.export import export
from goal_analysis.recombination.text import to_toml
from goal_analysis.study.comparison import Comparison, compare
from goal_analysis.study.discovery.finding import Contender, Discovery, text_of
from goal_analysis.study.discovery.search import Search
from goal_analysis.study.driver import Driver, Failure
from goal_analysis.study.engine import Job
from goal_analysis.study.runs import read_declaration, run_over_seeds
from goal_analysis.study.tuned_comparison import COMPARISON, TRIALS
from goal_analysis.vse.folder.run_folder import RunError, identity
from goal_analysis.vse.loop.experiment import Experiment

DECLARED, TEXT = "discovery.json", "discovery.md"


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
    folder, base, every = driver.folder, search.rules.base, [search, *baselines]
    _begin(folder, base, {s.name: s.rules.budget for s in every})
    compared = (1 + len(also_on)) * seeds
    runs = sum(s.rules.budget for s in every) + compared * (finalists + len(baselines))
    driver.expect(runs, done=sum(s.pruned for s in every))
    owner: dict[Job, Search] = {}
    driver.run(
        _in_turn(every, owner),
        ended=lambda job, failure: owner[job].ended(job, failure),
        watch=lambda job: owner[job].watch(job),
    )
    contenders = _contenders(search, baselines, finalists)
    trials = pd.DataFrame([record for s in every for record in s.records()])
    write_whole(folder / TRIALS, trials.to_csv(index=False))
    comparisons: dict[str, Comparison] = {}
    failures: list[Failure] = []
    for name, data in {base.data_name: base.data, **also_on}.items():
        # By trial, for the best of a search that went on is another.
        experiments = {c.experiment.name: replace(c.experiment, data=dict(data)) for c in contenders}
        where = folder / COMPARISON / folder_name(name)
        reached, failed = run_over_seeds(driver, where, experiments, seeds)
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


def _contenders(search: Search, baselines: Sequence[Search], finalists: int) -> tuple[Contender, ...]:
    found = []
    for one, count in ((search, finalists), *((b, 1) for b in baselines)):
        best = one.best(count)
        if not best:
            raise ValueError(f"{one.name}: got no trial that came to an end but expected one of {one.rules.budget}")
        for place, (experiment, rsum) in enumerate(best, 1):
            name = f"{one.name} {place}" if one is search else one.name
            found.append(Contender(name, one.name, experiment, one.rules.read(experiment.objective), rsum))
    return tuple(found)


def _in_turn(searches: Sequence[Search], owner: dict[Job, Search]) -> Iterator[Job]:
    """One job of every search in turn, until no search has any."""
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
    """Write down what is searched for, or refuse another discovery than the folder has."""
    path = folder / DECLARED
    earlier = read_declaration(path, {"budgets": dict})
    if earlier is not None:
        goes_on = earlier["budgets"].keys() == budgets.keys() and all(
            earlier["budgets"][n] <= budgets[n] for n in budgets
        )
        if earlier["experiment"] != identity(base) or not goes_on:
            raise RunError(f"{folder}: got another experiment or smaller budgets than this discovery was begun with")
    write_json(path, {"experiment": base.mapping(), "budgets": budgets})
