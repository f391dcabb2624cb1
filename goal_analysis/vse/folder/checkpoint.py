"""Checkpoints: where a run stands, in folders that appear whole or not at all; by their SHA-256 damage is refused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from goal_analysis.declarations import read_value
from goal_analysis.files import json_text, regular, whole_folder
from goal_analysis.vse.loop.experiment import Count

MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
KEPT = 2  # so many of the newest are kept, besides the best


class CheckpointError(ValueError):
    """A checkpoint that is missing, incomplete or damaged, or that belongs to another model."""


@dataclass
class Progress:
    """Where a run stands, without its tensors."""

    step: Count = 0
    best_rsum: float = -1.0  # on dev, at the end of an epoch
    best_step: Count | None = None  # its step; None before the first
    worse_epochs: Count = 0  # since then
    stopped: str = ""  # why the run ended before its last epoch
    zero_steps: Count = 0  # how many steps in a row, up to this one, had no gradient
    learned: dict[str, float] = field(default_factory=dict)  # parameters of the objective

    def after_epoch(self, rsum: float, patience: int) -> Progress:
        """The progress after an epoch with this RSUM on dev; so many epochs without a better one stop the run."""
        if rsum > self.best_rsum:
            return replace(self, best_rsum=rsum, best_step=self.step, worse_epochs=0)
        worse = self.worse_epochs + 1
        stopped = f"no better dev RSUM in {worse} epochs" if patience and worse >= patience else ""
        return replace(self, worse_epochs=worse, stopped=stopped)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a run needs to go on; the optimizer's tensors have names such as ``0.exp_avg``."""

    progress: Progress
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    where: str = "checkpoint"  # it was read from, for messages

    @classmethod
    def of(cls, model: nn.Module, optimizer: Any, progress: Progress) -> Checkpoint:
        """The checkpoint of a model and its optimizer as they are now."""
        moments = optimizer.state_dict()["state"].items()
        tensors = {f"{number}.{name}": value for number, values in moments for name, value in values.items()}
        return cls(progress, model.state_dict(), tensors)

    def restore_model(self, model: nn.Module) -> None:
        """Put the parameters and buffers into a model."""
        try:
            model.load_state_dict(dict(self.model))
        except RuntimeError as problem:
            given = f"{self.where}: step {self.progress.step}: got {' '.join(str(problem).split())[:300]}"
            raise CheckpointError(f"{given} but expected the tensors of this model") from problem

    def restore_optimizer(self, optimizer: Any) -> None:
        """Put the moments into an AdamW of the same groups of parameters."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        shapes: dict[str, tuple[int, ...]] = {}
        for number, p in enumerate(parameters):
            moments = dict.fromkeys((f"{number}.exp_avg", f"{number}.exp_avg_sq"), tuple(p.shape))
            shapes |= moments | {f"{number}.step": ()}
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in self.optimizer.items():
            if shapes.get(name) != tuple(value.shape):
                given = f"{self.where}: step {self.progress.step}: got {name} of shape {tuple(value.shape)}"
                raise CheckpointError(f"{given} but expected AdamW's step and moments, of the shapes of the parameters")
            number, _, key = name.partition(".")
            state.setdefault(int(number), {})[key] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def resume(folder: Path, model: nn.Module, optimizer: Any, learned: nn.Module) -> tuple[Progress, list[str]]:
    """Put the newest checkpoint that is intact into a model, its optimizer and what the objective learns; it returns
    where that stands, and what is wrong with newer ones. Without an intact one among some it is a CheckpointError.
    """
    found, problems = newest(folder)
    if found is None and problems:
        raise CheckpointError("\n".join(problems))
    if found is None:
        return Progress(), []
    found.restore_model(model)
    found.restore_optimizer(optimizer)
    if found.progress.learned.keys() != learned.state_dict().keys():
        given = f"{folder}: got {list(found.progress.learned)} of the objective"
        raise CheckpointError(f"{given} but expected {list(learned.state_dict())}")
    for name, value in learned.state_dict().items():
        value.fill_(found.progress.learned[name])
    return found.progress, problems


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint, whole or not at all, and remove all but the newest and the best."""
    progress, path = checkpoint.progress, folder / _name(checkpoint.progress.step)
    with whole_folder(path) as unfinished:
        sums = {}
        for name, tensors in ((MODEL, checkpoint.model), (OPTIMIZER, checkpoint.optimizer)):
            try:
                save_file({key: t.detach().cpu().contiguous() for key, t in tensors.items()}, unfinished / name)
            except SafetensorError as problem:  # which is how it says that the disk is full
                raise OSError(f"{folder}: {problem}") from problem
            sums[name] = _sum(unfinished / name)
        state = {"step": progress.step, "state": vars(progress)}
        (unfinished / STATE).write_text(json_text({**state, "sha256": {**sums, STATE: _sum_of_state(state)}}), "utf-8")
    for old in steps(folder)[:-KEPT]:
        if old != progress.best_step:
            shutil.rmtree(folder / _name(old), ignore_errors=True)
    return path


def steps(folder: Path) -> list[int]:
    """The steps of the checkpoints in this folder, in their order."""
    names = (path.name for path in folder.glob("step-*") if path.is_dir())
    return sorted(int(name[5:]) for name in names if re.fullmatch(r"step-(\d{8}|[1-9]\d{8,17})", name, re.ASCII))


def load(folder: Path, step: int) -> Checkpoint:
    """The checkpoint of this step; a CheckpointError says what is missing or damaged, and which others there are."""
    path = folder / _name(step)
    try:
        record = json.loads(regular(path / STATE).read_text("utf-8"))
        sums = record["sha256"]
        if not {MODEL, OPTIMIZER} <= sums.keys() <= {MODEL, OPTIMIZER, STATE}:
            raise CheckpointError(f"{path / STATE}: got the files {list(sums)} but expected {MODEL} and {OPTIMIZER}")
        for name, expected in sums.items():
            found = _sum_of_state(record) if name == STATE else _sum(path / name)
            if found != expected:
                given = f"{path / name}: got SHA-256 {found}"
                raise CheckpointError(f"{given} but expected {expected}, as it was written by {STATE}")
        progress = read_value(Progress, record["state"], "state")
        if not record["step"] == progress.step == step:
            raise CheckpointError(f"{path / STATE}: got the step {record['step']!r} but expected {step}")
        return Checkpoint(progress, load_file(path / MODEL), load_file(path / OPTIMIZER), str(folder))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, SafetensorError) as problem:
        said = f"{path / STATE}: got {problem!r} but expected where a checkpoint stands"
        if isinstance(problem, OSError):
            said = f"{problem.filename}: got {str(problem.strerror).lower()} but expected what a checkpoint has"
        elif isinstance(problem, CheckpointError):
            said = str(problem)
        before = [other for other in steps(folder) if other < step]
        others = f"the one before it is that of step {before[-1]}" if before else "none before it"
        raise CheckpointError(f"{said}; there are checkpoints of the steps {steps(folder)}, {others}") from problem


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is intact, and what is wrong with newer ones."""
    problems = []
    for step in reversed(steps(folder)):
        try:
            return load(folder, step), problems
        except CheckpointError as problem:
            problems.append(str(problem))
    return None, problems


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _sum(path: Path) -> str:
    with regular(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sum_of_state(record: Mapping[str, Any]) -> str:
    """The sum of the step and the state, whatever their layout."""
    said = {name: record[name] for name in ("step", "state")}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
