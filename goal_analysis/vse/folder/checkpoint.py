"""Checkpoints: tensors as safetensors, everything else as JSON, in folders that appear whole or not at all.

A checkpoint is the folder ``step-00001180`` with ``model.safetensors``, ``optimizer.safetensors`` and ``state.json``,
which holds the SHA-256 of both and of itself. It is written under another name, flushed to the disk and renamed, so
that whatever ends the process, a folder of that name is complete. One with a wrong sum is refused, and the one before
it named.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from goal_analysis.files import json_text, whole_folder

MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
KEPT = 2
"""How many of the newest are kept, besides the best."""


class CheckpointError(ValueError):
    """A checkpoint that is not there, not complete or not what was written."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a run needs to go on.

    Args:
        step: how many steps were made.
        model: the parameters and buffers by name.
        optimizer: its tensors by name.
        state: everything else, as JSON can hold it.
    """

    step: int
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    state: Mapping[str, Any]


def save(folder: Path, checkpoint: Checkpoint, best: int | None = None) -> Path:
    """Write a checkpoint into the folder of a run's checkpoints; older ones but the newest and the best are removed.

    Args:
        folder: of all checkpoints of the run; made if it is missing.
        checkpoint: what is written.
        best: the step of the one that is kept however old it is.

    Raises:
        OSError: the folder cannot be written or the disk is full; the checkpoints before it are intact.
    """
    target = folder / _name(checkpoint.step)
    with whole_folder(target) as unfinished:
        sums = {}
        for name, tensors in ((MODEL, checkpoint.model), (OPTIMIZER, checkpoint.optimizer)):
            try:
                save_file({key: t.detach().cpu().contiguous() for key, t in tensors.items()}, unfinished / name)
            except SafetensorError as problem:  # which is how it says that the disk is full
                raise OSError(f"{folder}: {problem}") from problem
            sums[name] = _sum(unfinished / name)
        state = {"step": checkpoint.step, "state": checkpoint.state}
        state["sha256"] = {**sums, STATE: _sum_of_state(state)}
        (unfinished / STATE).write_text(json_text(state), encoding="utf-8")
    for old in steps(folder)[:-KEPT]:
        if old != best:
            shutil.rmtree(folder / _name(old), ignore_errors=True)
    return target


def steps(folder: Path) -> list[int]:
    """The steps of the checkpoints in this folder, in their order."""
    named = (re.fullmatch(r"step-([0-9]{8,18})", path.name) for path in folder.glob("step-*") if path.is_dir())
    found = sorted(int(name[1]) for name in named if name)
    return [step for step in found if (folder / _name(step)).is_dir()]


def load(folder: Path, step: int) -> Checkpoint:
    """The checkpoint of this step.

    Raises:
        CheckpointError: a file is missing, or is not the one that was written; says which, and what else there is.
    """
    path = folder / _name(step)
    before = [other for other in steps(folder) if other < step]
    others = f"; there are checkpoints of the steps {steps(folder)}"
    others += f", the one before it is that of step {before[-1]}" if before else ", none before it"
    try:
        record = json.loads((path / STATE).read_text("utf-8"))
        sums = record["sha256"]
        for name in (*sums, MODEL, OPTIMIZER):
            if name not in (MODEL, OPTIMIZER, STATE) or name not in sums:
                raise CheckpointError(
                    f"{path / STATE}: got the file {name!r} but expected {MODEL} and {OPTIMIZER}{others}"
                )
        for name, expected in sums.items():
            found = _sum_of_state(record) if name == STATE else _sum(path / name)
            if found != expected:
                raise CheckpointError(
                    f"{path / name}: got SHA-256 {found[:12]}… but expected {expected[:12]}…, as it was written{others}"
                )
        model, optimizer = load_file(path / MODEL), load_file(path / OPTIMIZER)
        if record["step"] != step or not isinstance(record["state"], dict):
            raise CheckpointError(f"{path / STATE}: got the step {record['step']!r} but expected {step}{others}")
        return Checkpoint(step, model, optimizer, record["state"])
    except CheckpointError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, SafetensorError) as problem:
        raise CheckpointError(f"{path}: got {problem!r} but expected a checkpoint{others}") from problem


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is what was written, and what was wrong with newer ones."""
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
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sum_of_state(record: Mapping[str, Any]) -> str:
    """Of the step and the state, however they are laid out."""
    said = {name: record[name] for name in ("step", "state")}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
