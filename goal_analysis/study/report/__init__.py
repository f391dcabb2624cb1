"""Pages of HTML, each one file that needs no network: on training runs, on objectives, and on a data set."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import torch
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from goal_analysis.declarations import expect_among
from goal_analysis.files import json_text, regular
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import scores
from goal_analysis.pictures.batch import pairs_frame, triplets_frame
from goal_analysis.pictures.charts import Chart, training_chart
from goal_analysis.pictures.run_frames import Records, log_frame
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.study.comparison import Comparison, compare
from goal_analysis.study.gallery import Gallery, LoadData, Shown, gallery, pixels
from goal_analysis.study.report.objectives import Laid, ObjectiveOf, breakable, cells, objective_sections
from goal_analysis.study.report.runs import MEASURES, Group, compared_groups, gather_runs
from goal_analysis.vse.data.precomp import open_features
from goal_analysis.vse.data.split import RetrievalData, Split, spread
from goal_analysis.vse.loop.experiment import Experiment

ROWS, DOTS = 2_000, 1_000  # embeddings of a batch that are read, and triplets that are drawn
QUERIES = 6  # images, and captions, in a gallery
EXAMPLES = 12  # images of a split, on the page on a data set


@dataclass(frozen=True, eq=False)
class OnData:
    """The groups that are compared, all on the same data, and what came of them."""

    name: str
    fingerprint: str
    groups: tuple[Group, ...]
    comparison: Comparison | None  # where a run has a result
    means: dict[str, dict[str, float]]  # of all measures by label, at each run's best epoch
    training: Chart | None
    galleries: tuple[tuple[str, Gallery | str], ...]  # by the group's label, or why there is none
    queries: tuple[int, int] | None  # images and captions that the results are of, where that is known


def report(
    paths: Sequence[Path],
    objective_of: ObjectiveOf,
    load: LoadData,
    baseline: str | None = None,
    queries: int = QUERIES,
    command: Sequence[str] = (),
) -> str:
    """The page on the runs in these folders; differences are to the baseline, a group's label or its objective's name
    before tuning, by default their study's, or the first. No readable run and no such baseline are ValueErrors.
    """
    groups, faults = gather_runs(paths)
    if not groups:
        raise ValueError("\n".join(faults) or "report: got no run but expected one at least")
    baseline = _labelled(groups, baseline)
    load = _once(load)
    return written(
        "report.html",
        groups=groups,
        faults=faults,
        data=[_on_data(alike, load, baseline, queries) for alike in compared_groups(groups, baseline)],
        objectives=objective_sections((group.objective for group in groups), objective_of),
        versions=_versions(groups),
        command=said(command),
    )


def said(command: Sequence[str]) -> str:
    """A command as it is typed, by the name under which it is installed."""
    return shlex.join(["goal-analyze", *command[1:]]) if command else ""


def _labelled(groups: Sequence[Group], baseline: str | None) -> str | None:
    labels = [group.label for group in groups]
    named = [group.label for group in groups if group.runs[0].experiment.name == baseline]
    if baseline is None or baseline in labels:
        return baseline
    if len(named) != 1:
        expect_among("baseline", baseline, labels)
    return named[0]


def _on_data(groups: Sequence[Group], load: LoadData, baseline: str | None, queries: int) -> OnData:
    galleries = tuple((group.label, _gallery(group, load, queries)) for group in groups) if queries else ()
    best = {g.label: {run.experiment.seed: run.best for run in g.finished if run.best} for g in groups if g.finished}
    stated = [g.label for g in groups for run in g.runs if run.study.baseline == run.folder.resolve().parent.name]
    first = next((str(label) for label in (baseline, *stated, *best) if label in best), "")
    logs = [Records(g.label, run.experiment.seed, run.epochs) for g in groups for run in g.runs]
    rsum = {label: {seed: measures["rsum"] for seed, measures in runs.items()} for label, runs in best.items()}
    return OnData(
        name=groups[0].data.name,
        fingerprint=groups[0].data.fingerprint,
        groups=tuple(groups),
        comparison=compare(rsum, first) if best else None,
        means={label: {m: fmean(one[m] for one in runs.values()) for m in MEASURES} for label, runs in best.items()},
        training=training_chart(log_frame(logs, "epoch")),
        galleries=galleries,
        queries=next((one.queries for _, one in galleries if isinstance(one, Gallery)), None),
    )


def _once(load: LoadData) -> LoadData:
    loaded: dict[str, RetrievalData] = {}

    def remembered(experiment: Experiment) -> RetrievalData:
        key = json.dumps(experiment.data, sort_keys=True, default=str)
        if key not in loaded:
            loaded[key] = load(experiment)
        return loaded[key]

    return remembered


def _gallery(group: Group, load: LoadData, queries: int) -> Gallery | str:
    """The gallery of the first seed: the best one would flatter."""
    try:
        return gallery((group.finished or group.runs)[0], load, queries)
    except (OSError, ValueError, KeyError, RuntimeError) as problem:
        return str(problem)


def _versions(groups: Sequence[Group]) -> list[tuple[str, list[str]]]:
    found: dict[str, dict[str, None]] = {}
    for run in (run for group in groups for run in group.runs):
        for name, version in {**run.record.versions, "git revision": run.record.revision or "none"}.items():
            found.setdefault(name, {})[version] = None
    return [(name, list(versions)) for name, versions in found.items()]


def data_page(source: str, splits: Sequence[Split], unusable: Sequence[str], examples: int = EXAMPLES) -> str:
    """The page on a data set: what is wrong with it, and images of every split, at even distances, with captions."""
    shown = []
    for split in splits:
        rows = spread(len(split.images), examples).tolist()
        captions = [[c for c, of in zip(split.captions, split.image_of, strict=True) if of == row] for row in rows]
        images = [Shown(of[0], row, pixels(split, row)) for row, of in zip(rows, captions, strict=True)]
        shown.append((split, list(zip(images, captions, strict=True))))
    return written("data.html", source=source, splits=shown, unusable=unusable)


def explore(
    texts: Iterable[str],
    objective_of: ObjectiveOf,
    files: Sequence[Path] = (),
    labels: Path | None = None,
    command: Sequence[str] = (),
) -> str:
    """The page on objectives, each with a batch: ``.npy`` files of shape ``(2, pairs, dim)``, twice ``(pairs, dim)``,
    or ``(embeddings, dim)`` with labels, a ``.npy`` or a text with one a line. What does not fit is a ValueError.
    """
    laid = _batch(files, labels) if files else None
    return written("explore.html", objectives=objective_sections(texts, objective_of, laid), command=said(command))


def _batch(files: Sequence[Path], labels: Path | None) -> Callable[[GradientObjective], Laid]:
    arrays = [_embeddings(path) for path in files]
    shapes = ", ".join(f"{path} of shape {tuple(array.shape)}" for path, array in zip(files, arrays, strict=True))
    expected = "one file (2, pairs, dim), two files (pairs, dim), or one file (embeddings, dim) and its labels"
    if len(arrays) == 1 and labels is None and arrays[0].ndim == 3 and len(arrays[0]) == 2:
        x, y = arrays[0]
    elif len(arrays) == 2 and labels is None and arrays[0].ndim == 2 and arrays[0].shape == arrays[1].shape:
        x, y = arrays
    elif len(arrays) == 1 and labels is not None and arrays[0].ndim == 2:
        x = y = arrays[0]
    else:
        raise ValueError(f"batch: got {shapes}{' and labels' if labels else ''} but expected {expected}")
    matches = Matches.of_pairs(len(x)) if labels is None else Matches.of_labels(_labels(labels, len(x)))
    if not (matches.positives.any(1) & matches.negatives.any(1)).any():
        raise ValueError(f"batch: got {shapes} but expected an anchor with a positive and a negative")

    count = int((matches.positives.sum(1) * matches.negatives.sum(1)).sum())

    def laid(objective: GradientObjective) -> Laid:
        s = scores(objective.objective.similarity, x, y)
        triplets = triplets_frame(pairs_frame(s, s, matches))
        hardest = triplets.groupby("anchor")["s_n"].transform("max") == triplets["s_n"]
        both = [of for _, of in triplets.assign(hardest=hardest).groupby("hardest")]
        shown = pd.concat([of.sample(min(len(of), DOTS), random_state=0) for of in both])
        return shown, f"{len(x):,} anchors; {len(shown):,} of {count:,} triplets are drawn"

    return laid


def _embeddings(path: Path) -> torch.Tensor:
    features, _ = open_features(path)
    pairs = features.batch(np.arange(min(len(features), ROWS))).double()
    return pairs[:, :ROWS] if pairs.ndim == 3 else pairs


def _labels(path: Path, count: int) -> torch.Tensor:
    if path.suffix == ".npy":
        with regular(path).open("rb") as file:
            found = np.lib.format.read_array(file, allow_pickle=False).ravel().tolist()
    else:
        found = regular(path).read_text("utf-8").split()
    if len(found) < count:
        raise ValueError(f"{path}: got {len(found)} labels but expected {count}, one an embedding")
    return torch.from_numpy(np.unique(np.array(found[:count]).astype(str), return_inverse=True)[1])


def written(template: str, **values: Any) -> str:
    """A template of this folder filled in, as one page that needs no network and runs no script but its own."""
    loader = FunctionLoader(_template)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"said": said, "json": json_text, "cells": cells, "breakable": breakable}
    (hashed, plotly), script = _plotly(), _template("weights.js") + _template("page.js")
    policy = (
        f"default-src 'none'; script-src {hashed} {_hash(script)}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return environment.get_template(template).render(
        plotly=plotly, script=Markup(script), policy=policy, style=Markup(_template("page.css")), **values
    )


@cache
def _plotly() -> tuple[str, str]:
    """How the policy names Plotly, and Plotly packed to a third of its size."""
    script = get_plotlyjs()
    return _hash(script), base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode()


def _hash(script: str) -> str:
    """How the page's policy names a script: no other may run, whatever a caption holds."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _template(name: str) -> str:
    return (resources.files("goal_analysis.study.report") / "templates" / name).read_text("utf-8")
