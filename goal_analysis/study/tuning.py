"""Which objective should one train with? All are searched with the same budget, and then compared over fresh seeds.

What is chosen by one seed on a fold of the training images is flattered by its score there: what counts is the
comparison on dev over fresh seeds, and on other data. A discovery has one search more, in a space of objectives.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial

from goal_analysis.files import folder_name, folder_names, json_text, json_value, write_json, write_whole
from goal_analysis.recombination.description import Description
from goal_analysis.recombination.export import export
from goal_analysis.recombination.text import to_toml
from goal_analysis.study import TUNED
from goal_analysis.study.comparison import Comparison, compare, markdown_table
from goal_analysis.study.discovery import TOLERANCE, Step, simplify
from goal_analysis.study.driver import COMPARISON, Data, Driver, Failure, by_seed, seed_jobs
from goal_analysis.study.engine import Job
from goal_analysis.study.scales import OF_TRAINING, points, scales_of
from goal_analysis.study.search import PREDICTS, Search, Setting, scaled_objective
from goal_analysis.symbolic.objective import Objective
from goal_analysis.vse.folder.run_folder import RunError, identity, read_record
from goal_analysis.vse.loop.experiment import Experiment, experiment_from_mapping

STUDY, TABLE, TEXT, TRIALS = "study.json", "comparison.csv", "comparison.md", "trials.csv"
DISCOVERY = "discovery.md"  # in place of `TEXT`, with what was found

SEARCHES = "Trials are drawn by the tree-structured Parzen estimator and ended early by successive halving."
RUNGS = (
    "Whether an early epoch predicts the end, by trials that no rung has ended. A rung is used where the rank "
    f"correlation of its RSUM with the end's is {PREDICTS} or more."
)
LUCK = (
    "The best of many trials is so partly by luck, and the fold is another set of images than dev. A trial's number is "
    "no estimate; what is compared is the mean over fresh seeds."
)
SIMPLE = (
    "What was left out, fitted again or rounded, in this order, by single trials on the fold. A step is kept if it "
    f"costs at most {TOLERANCE} of RSUM against what the kept ones before have left."
)


def tuning_of(
    name: str,
    objective: Objective,
    setting: Setting,
    budget: int,
    tuned: Collection[str] = TUNED,
    samples: bool = False,
) -> Search:
    """The search that tunes an objective, at its own values first, then evenly over its scales, or by a sampler."""
    scales = scales_of(objective, setting.base.training, tuned)
    space = json_text({"objective": setting.write(objective), "scales": [asdict(s) for s in scales]})
    first = points(scales, 1 if samples else budget)
    return Search(name, scaled_objective(objective, tuned), setting, budget, first, samples, space=space)


@dataclass(frozen=True, eq=False)
class Contender:
    """What is compared over fresh seeds."""

    name: str  # as tables call it
    search: Search  # that chose it
    trial: FrozenTrial  # of the search; its value is the RSUM on the fold

    @property
    def runs(self) -> str:
        """What the folder of its runs is called: after the trial, for the best of a search that went on is another."""
        return f"{self.search.name} trial {self.trial.number}"

    @property
    def experiment(self) -> Experiment:
        """The experiment with the values that its search chose."""
        return self.search.experiment_of(self.trial)

    @property
    def objective(self) -> Objective:
        """The objective that it trains with."""
        return self.search.setting.read(self.experiment.objective)

    @property
    def values(self) -> dict[str, Any]:
        """What the trial had drawn; of the options of the training, what it trained with."""
        options = {OF_TRAINING + name: value for name, value in asdict(self.experiment.training).items()}
        return {name: options.get(name, value) for name, value in self.trial.params.items()}


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a study found: the best of every search (of one in a space the best few, and one made simple by ``steps``),
    comparisons on dev by the name of the data, and a row a trial with ``search``, ``state``, ``rsum`` and what was
    drawn.
    """

    contenders: tuple[Contender, ...]
    steps: tuple[Step, ...]
    comparisons: dict[str, Comparison]
    trials: pd.DataFrame
    failures: tuple[Failure, ...]

    def __repr__(self) -> str:
        return f"Outcome({len(self.trials)} trials, {len(self.failures)} failed; {self.comparison!r})"

    @property
    def comparison(self) -> Comparison:
        """The comparison on the first data."""
        return next(iter(self.comparisons.values()))

    @property
    def chosen(self) -> dict[str, dict[str, Any]]:
        """The drawn values of every contender's trial."""
        return {c.name: c.values for c in self.contenders}

    @property
    def table(self) -> pd.DataFrame:
        """The tables of all comparisons, with the data of every row."""
        tables = [c.table.assign(data=name) for name, c in self.comparisons.items()]
        return pd.concat(tables, ignore_index=True)


def run_study(
    driver: Driver,
    searches: Sequence[Search],
    seeds: int,
    also_on: Data | None = None,
    probe_steps: int | None = None,
    found: Search | None = None,
    finalists: int = 1,
) -> Outcome:
    """Search, compare, and write what was found into the driver's folder: new, or one where the same study was begun.

    Differences are to the first of the searches; ``also_on`` are data where nothing was chosen, and of ``found``, a
    search in a space of objectives, so many ``finalists`` are compared. More objectives, seeds or budget go on with a
    study; another experiment, data or objective under a known name is a RunError, a first search without an end a
    ValueError.
    """
    setting, folder = searches[0].setting, driver.folder
    every = [*([found] if found else []), *searches]
    steps = _begin(setting, every, setting.base.training.probe_steps if probe_steps is None else probe_steps)
    compared = {**setting.data, **(also_on or {})}
    of_trials, of_seeds = sum(s.budget for s in every), len(searches) + (finalists if found else 0)
    driver.expect(of_trials * len(setting.data) + of_seeds * seeds * len(compared), done=sum(s.pruned for s in every))
    owner: dict[Job, Search] = {}
    failed = driver.run(
        _in_turn(every, owner),
        ended=lambda job, failure: owner[job].ended(job, failure),
        watch=lambda job: owner[job].watch(job),
    )
    failures = [one for one in failed if not owner[one.job].samples]
    contenders, simplified = _contenders(driver, searches, found, finalists)
    trials = pd.DataFrame([record for s in every for record in s.records()])
    write_whole(folder / TRIALS, trials.to_csv(index=False))
    comparisons, baseline = {}, searches[0].name
    for name, inner in folder_names(compared).items():
        experiments = {c.runs: replace(c.experiment, data=dict(compared[name])) for c in contenders}
        probed = {k: replace(e, training=replace(e.training, probe_steps=steps)) for k, e in experiments.items()}
        jobs = seed_jobs(folder / COMPARISON / inner, probed, seeds)
        failures += driver.run(jobs.values())
        reached = by_seed(jobs)
        measured = {c.name: reached[c.runs] for c in contenders if c.runs in reached}
        if baseline not in measured:
            raise ValueError(f"{folder}: got no run of the baseline {baseline!r} that came to an end")
        comparisons[name] = compare(measured, baseline)
    outcome = Outcome(contenders, simplified, comparisons, trials, tuple(failures))
    for c in contenders if found else ():
        name, module = folder_name(c.name), "".join(char if char.isalnum() else "_" for char in c.name)
        write_whole(folder / f"{name}.toml", to_toml(c.objective))
        write_whole(folder / f"{name}.py", export(c.objective, module))
    write_whole(folder / TABLE, outcome.table.to_csv(index=False))
    write_whole(folder / (DISCOVERY if found else TEXT), "\n".join(_text(outcome, every, seeds)) + "\n")
    return outcome


def _contenders(
    driver: Driver, searches: Sequence[Search], found: Search | None, finalists: int
) -> tuple[tuple[Contender, ...], tuple[Step, ...]]:
    chosen: list[Contender] = []
    steps: list[Step] = []
    if found and (best := found.best(finalists)):
        steps, simple = simplify(driver, found, best[0])
        chosen += [Contender(f"{found.name} {place}", found, trial) for place, trial in enumerate(best, 1)]
        if simple.number not in [trial.number for trial in best]:
            chosen.append(Contender(f"{found.name} 1, simplified", found, simple))
    chosen += [Contender(search.name, search, trial) for search in searches for trial in search.best(1)]
    for search in [*([found] if found else []), searches[0]]:
        if search not in [contender.search for contender in chosen]:
            raise ValueError(f"{search.name}: got no trial that came to an end but expected one of {search.budget}")
    return tuple(chosen), tuple(steps)


def _in_turn(searches: Sequence[Search], owner: dict[Job, Search]) -> Iterator[Job]:
    coming = {search: search.jobs() for search in searches}
    while coming:
        for search in list(coming):
            if (job := next(coming[search], None)) is None:
                del coming[search]
            else:
                owner[job] = search
                yield job


def _begin(setting: Setting, searches: Sequence[Search], probe_steps: int) -> int:
    """Write down what the study is, or refuse what is another one than was begun; the steps between two probes."""
    folder, path = setting.folder, setting.folder / STUDY
    experiment = replace(setting.base, seed=0, objective="")
    declared = {s.name: {"budget": s.budget, "space": s.space} for s in searches}
    given = json_value({"probe_steps": probe_steps, "searches": declared, "data": setting.data})
    if path.exists():
        before = read_record(path, "what a study writes", _checked)
        began_with = experiment_from_mapping(before["experiment"], f"{path}: experiment")
        other = "data" if before["data"] != given["data"] else "experiment"
        if other == "data" or identity(began_with) != identity(experiment):
            raise RunError(f"{folder}: got another {other} than this study was begun with; expected an empty folder")
        for name, one in given["searches"].items():
            begun = before["searches"].get(name, one)
            if begun["space"] != one["space"]:
                raise RunError(f"{folder}: got another objective {name!r} than this study has; expected another name")
            if begun["budget"] > one["budget"]:
                raise RunError(
                    f"{folder}: {name}: got a budget of {one['budget']} but expected {begun['budget']} at least, which "
                    "this study was begun with"
                )
        given |= {"probe_steps": before["probe_steps"], "searches": before["searches"] | given["searches"]}
    folder_names(given["searches"])  # refused before the first has run
    write_json(path, {"experiment": experiment.mapping(), **given})
    return given["probe_steps"]


def _checked(found: Any) -> dict[str, Any]:
    expected = {"experiment": dict, "searches": dict, "data": dict, "probe_steps": int}
    if not isinstance(found, dict) or not all(isinstance(found.get(name), kind) for name, kind in expected.items()):
        raise ValueError(f"no {', '.join(expected)}")
    return found


def _text(outcome: Outcome, searches: Sequence[Search], seeds: int) -> Iterator[str]:
    """The study as Markdown: what was searched, a table a data set with a sentence an objective, and what was found."""
    base, data = searches[0].base, searches[0].setting.data
    budgets = " or ".join(map(str, sorted({s.budget for s in searches})))
    found = [s for s in searches if s.samples]
    yield (
        f"Dev RSUM of {base.name}: {seeds} seeds an objective, each tuned with {budgets} trials of one other seed, by "
        f"the best RSUM on a fifth of the training images of {' and '.join(data)}; the best dev epoch of "
        f"{base.training.epochs} at most. {outcome.comparison.caption}"
    )
    if found:
        yield from ("", "## The searches", "", SEARCHES, "")
        yield from markdown_table(_searched(outcome.trials))
        yield from ("", RUNGS, "")
        yield from markdown_table(_rungs(found))
    chosen = {c.name: "below" if found else _chosen(c, base) for c in outcome.contenders}
    for name, comparison in outcome.comparisons.items():
        yield from ("", f"## {name}" + ("" if name in data else ", on which nothing was chosen"), "")
        yield from comparison.markdown(chosen)
    if found:
        yield from ("", "## What choosing did", "", LUCK, "")
        means = outcome.table[outcome.table["data"].isin(list(data))].groupby("objective")["mean"].mean()
        for c in outcome.contenders:
            fresh = f"{means.get(c.name, math.nan):.1f} on dev over fresh seeds"
            yield f"- {c.name}: {c.trial.value:.1f} in the trial, the best of {c.search.budget}; {fresh}"
    if outcome.steps:
        yield from ("", f"## {outcome.contenders[0].name}, made simple", "", SIMPLE, "")
        yield from markdown_table(_steps(outcome.steps))
    for c in outcome.contenders if found else ():
        yield from ("", f"## {c.name}", "", f"Trained with {_chosen(c, base)}.", "")
        yield Description(c.objective)._repr_markdown_()
    yield from (f"- did not come to an end: {failure}" for failure in outcome.failures)


def _chosen(contender: Contender, base: Experiment) -> str:
    """What was tuned of an objective; of one that was found, how it is trained, for the rest is its formulas."""
    if not contender.search.samples:
        named = ((name.removeprefix(OF_TRAINING), value) for name, value in contender.values.items())
        return ", ".join(f"{name} = {value:.4g}" for name, value in named)
    own, trained = base.training, contender.experiment.training
    changed = {name: value for name, value in vars(trained).items() if value != getattr(own, name)}
    return ", ".join(f"{name} = {value}" for name, value in changed.items()) or "the options as they are"


def _searched(trials: pd.DataFrame) -> Iterator[tuple[object, ...]]:
    yield "search", "run", "to the end", "ended early", "failed", "copies, not run", "rejected, not run", "best RSUM"
    for name, of_search in trials.groupby("search", sort=False):
        state, why = of_search["state"], of_search["why"].astype(str)
        counts = [sum(state == kind) for kind in ("complete", "pruned", "fail")]
        idle = [sum((state == "not run") & why.str.startswith(kind)) for kind in ("copy", "rejected")]
        best = of_search[state == "complete"]["rsum"].max()
        yield name, sum(state != "not run"), *counts, *idle, f"{best:.1f}"


def _rungs(searches: Sequence[Search]) -> Iterator[tuple[object, ...]]:
    yield "search", "epoch", "rank correlation", "trials", "used"
    for search in searches:
        for rung in search.rungs:
            correlation = "–" if math.isnan(rung.correlation) else f"{rung.correlation:.2f}"
            yield search.name, rung.epoch, correlation, rung.trials, "yes" if rung.is_used else "no"


def _steps(steps: Sequence[Step]) -> Iterator[tuple[object, ...]]:
    yield "step", "RSUM", "cost against the winner", "kept"
    for step in steps:
        numbers = ("–", "–") if step.rsum is None else (f"{step.rsum:.1f}", f"{step.cost:+.1f}")
        yield step.what, *numbers, "yes" if step.is_kept else "no"
