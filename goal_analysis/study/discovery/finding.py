"""What a discovery found, and its report: tables that say better, worse or within noise, and all formulas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from goal_analysis.recombination.description import described
from goal_analysis.recombination.verdict import verdict
from goal_analysis.study.comparison import Comparison
from goal_analysis.study.driver import Failure
from goal_analysis.symbolic.objective import Objective
from goal_analysis.vse.loop.experiment import Experiment


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


def text_of(found: Discovery, base: Experiment, seeds: int) -> str:
    """The discovery as Markdown: what was searched, the tables, and what is known of every contender."""
    lines = [
        f"{base.name} on {base.data_name}, at most {base.training.epochs} epochs a run. Trials have one seed, are "
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
        own = name == base.data_name
        lines += ["", f"## {name}: {seeds} fresh seeds" + ("" if own else ", on which nothing was chosen"), ""]
        lines += [comparison.caption, "", *comparison.markdown()]
        if own:
            lines += ["", *_chosen(found, comparison)]
    lines += [f"- did not come to an end: {failure}" for failure in found.failures]
    for contender in found.contenders:
        lines += ["", f"## {contender.name}", "", *_known(contender, base)]
    return "\n".join(lines) + "\n"


def _chosen(found: Discovery, comparison: Comparison) -> Iterator[str]:
    """What choosing the best of many trials does to its number."""
    yield "The best of many trials is so partly by luck. Its number there is no estimate; the mean over fresh seeds is:"
    yield ""
    means = comparison.table.set_index("objective")["mean"]
    for contender in found.contenders:
        states = found.trials.loc[found.trials["search"] == contender.search, "state"]
        mean = means.get(contender.name, float("nan"))
        ran, ended = sum(states != "not run"), sum(states == "complete")
        yield (
            f"- {contender.name}: {contender.rsum:.1f} in the trial, chosen of {ended} that came to an end, of {ran} "
            f"that were run; {mean:.1f} over fresh seeds ({mean - contender.rsum:+.1f})"
        )


def _known(contender: Contender, base: Experiment) -> Iterator[str]:
    """What is known of a contender, a line of a list each."""
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
