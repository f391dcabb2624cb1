"""The runs of a report: found in folders, read, and those that differ by their seed alone put together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from goal_analysis.study.driver import Progress, study_of
from goal_analysis.vse.folder import run_folder as on_disk
from goal_analysis.vse.folder.run_folder import RunData, RunError, RunRecord
from goal_analysis.vse.loop.experiment import Experiment

RECALLS = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10")
MEASURES = (*RECALLS, "rsum", "i2t_median_rank", "t2i_median_rank")  # what a run measures after every epoch


@dataclass(frozen=True, eq=False)
class Run:
    """A run as its folder records it."""

    folder: Path
    record: RunRecord
    epochs: tuple[Mapping[str, Any], ...]  # their records so far, with `MEASURES`
    best: Mapping[str, Any] | None  # the record of the best one; None while the run has no result
    study: Progress  # that it is part of, if any

    @property
    def experiment(self) -> Experiment:
        """What was run."""
        return self.record.experiment


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ by their seed alone, in its order, under a label that no other group of the page has."""

    label: str
    runs: tuple[Run, ...]

    @property
    def objective(self) -> str:
        """The objective of the runs."""
        return self.runs[0].experiment.objective

    @property
    def data(self) -> RunData:
        """The data of the runs."""
        return self.runs[0].record.data

    @property
    def finished(self) -> tuple[Run, ...]:
        """Those that have a result."""
        return tuple(run for run in self.runs if run.best is not None)


def compared_groups(groups: Sequence[Group], baseline: str | None = None) -> list[list[Group]]:
    """The groups of `gather_runs`, in parts whose runs may be paired by seed; the baseline's group decides first.

    On the same data, they are those of one study, or equal but for name, objective, learning rate and seed.
    """
    parts: list[list[Group]] = []
    for group in sorted(groups, key=lambda one: one.label != baseline):
        alike = (p for p in parts if p[0].data.fingerprint == group.data.fingerprint and _same_study(p[0], group))
        if (part := next(alike, None)) is None:
            parts.append(part := [])
        part.append(group)
    return [sorted(part, key=groups.index) for part in parts]


def _same_study(one: Group, other: Group) -> bool:
    def setting(group: Group) -> dict[str, Any]:
        kept = on_disk.identity(replace(group.runs[0].experiment, name="any", objective="", seed=0))
        return kept | {"training": {k: v for k, v in kept["training"].items() if k != "learning_rate"}}

    def studies(group: Group) -> set[Path]:
        return {r.folder.resolve().parents[1] for r in group.runs if r.folder.name == f"seed-{r.experiment.seed}"}

    return bool(studies(one) & studies(other)) or setting(one) == setting(other)


def gather_runs(paths: Sequence[Path]) -> tuple[tuple[Group, ...], tuple[str, ...]]:
    """The groups of the runs in or below these folders, in the order they are found, and what is wrong with others."""
    read: dict[str, dict[int, Run]] = {}
    faults = []
    folders: dict[Path, Path] = {}
    for path in paths:
        try:
            for folder in on_disk.run_folders(path):
                folders.setdefault(folder.resolve(), folder)
        except RunError as problem:
            faults.append(str(problem))
    for folder in folders.values():
        try:
            run = read_one(folder)
        except (OSError, ValueError) as problem:
            faults.append(str(problem))
            continue
        same = on_disk.identity(replace(run.experiment, seed=0)), run.record.data.fingerprint
        alike = read.setdefault(json.dumps(same, sort_keys=True, default=str), {})
        before = alike.setdefault(run.experiment.seed, run)
        if before is not run:
            faults.append(f"{folder}: got the run that {before.folder} holds too; the page shows the latter")
        elif run.best is None:
            done = f"{len(run.epochs)} of {run.experiment.training.epochs} epochs"
            faults.append(f"{folder}: has no result yet, after {done}; its curve is shown, its numbers count nowhere")
    groups = [tuple(run for _, run in sorted(alike.items())) for alike in read.values()]
    return tuple(map(Group, _labels(groups), groups)), tuple(faults)


def read_one(folder: Path) -> Run:
    """The run in a folder."""
    record, path, study = on_disk.read_run(folder), folder / on_disk.RESULT, study_of(folder)
    try:
        result = json.loads(path.read_text("utf-8")) if path.exists() else None
        return Run(
            folder=folder,
            record=replace(record, command=study.command or record.command),
            epochs=tuple(_measures(one) for one in on_disk.read_log(folder) if one["kind"] == "epoch"),
            best=_measures(result["best"]) if result is not None else None,
            study=study,
        )
    except RunError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        said = f"no {problem}" if isinstance(problem, KeyError) else problem
        raise RunError(f"{folder}: got {said} but expected what a run writes") from problem


def _measures(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "epoch"} | {name: float(record[name]) for name in ("epoch", "step", *MEASURES)}


def _labels(groups: Sequence[Sequence[Run]]) -> list[str]:
    """The shortest names that tell groups apart: objectives, or experiments and objectives, or folders."""
    ways = [
        [group[0].experiment.objective for group in groups],
        [f"{group[0].experiment.name}: {group[0].experiment.objective}" for group in groups],
        [f"{group[0].experiment.objective} in {group[0].folder}" for group in groups],
    ]
    return next((labels for labels in ways if len(set(labels)) == len(labels)), ways[-1])
