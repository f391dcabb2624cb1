"""Where a run stands, and how that goes into a checkpoint and comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from goal_analysis.vse.folder.checkpoint import Checkpoint, CheckpointError, newest


@dataclass
class Progress:
    """Where a run stands; with the tensors, all that a checkpoint holds.

    Args:
        step: how many steps were made.
        best_rsum: the best on dev, at the end of an epoch.
        best_step: when; None before the first.
        worse_epochs: since then.
        stopped: why the run ended before its last epoch; empty if it did not.
        zero_steps: how many steps in a row, up to this one, had no gradient; 0 where a checkpoint does not say.
    """

    step: int = 0
    best_rsum: float = -1.0
    best_step: int | None = None
    worse_epochs: int = 0
    stopped: str = ""
    zero_steps: int = 0


def judged(progress: Progress, rsum: float, patience: int) -> Progress:
    """The progress after an epoch with this RSUM on dev; stopped after so many worse ones, if patience is above 0."""
    if rsum > progress.best_rsum:
        return replace(progress, best_rsum=rsum, best_step=progress.step, worse_epochs=0)
    worse = progress.worse_epochs + 1
    stopped = f"no better dev RSUM in {worse} epochs" if patience and worse >= patience else ""
    return replace(progress, worse_epochs=worse, stopped=stopped)


def checkpoint_of(model: nn.Module, optimizer: Any, progress: Progress) -> Checkpoint:
    """All that `resumed` needs."""
    tensors = {
        f"{number}.{name}": value
        for number, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }
    return Checkpoint(progress.step, model.state_dict(), tensors, dict(vars(progress)))


def resumed(
    folder: Path, model: nn.Module, optimizer: Any, tell: Callable[[int, str], None] = lambda step, problem: None
) -> Progress:
    """Where the newest checkpoint stands; its tensors are put into the model and the optimizer.

    Args:
        folder: of the checkpoints.
        model: as it was built.
        optimizer: of its parameters.
        tell: is handed the step that is gone on from, and what was wrong with a newer checkpoint.

    Raises:
        CheckpointError: there are checkpoints, but none is what was written, or they are another model's.
    """
    found, problems = newest(folder)
    if found is None:
        if problems:
            raise CheckpointError("\n".join(problems))
        return Progress()
    for problem in problems:
        tell(found.step, problem)
    try:
        put_into(model, found.model)
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in found.optimizer.items():
            number, _, key = name.partition(".")
            state.setdefault(int(number), {})[key] = value
        _check_moments(state, list(model.parameters()))
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        return _progress_of(found.state)
    except (ValueError, TypeError, LookupError, AttributeError) as problem:
        raise CheckpointError(f"{folder}: step {found.step}: {problem}") from problem


def put_into(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a model the parameters and buffers of a checkpoint.

    Raises:
        CheckpointError: they are another model's.
    """
    try:
        model.load_state_dict(dict(tensors))
    except RuntimeError as problem:
        said = " ".join(str(problem).split())[:300]
        raise CheckpointError(f"got {said} but expected the tensors of this model") from problem


def _check_moments(state: Mapping[int, Mapping[str, Tensor]], parameters: list[nn.Parameter]) -> None:
    for number, tensors in state.items():
        if not 0 <= number < len(parameters) or set(tensors) != {"step", "exp_avg", "exp_avg_sq"}:
            raise ValueError(f"got {sorted(tensors)} of parameter {number} but expected AdamW's step and moments")
        shape = parameters[number].shape
        if any(tensors[name].shape != shape for name in ("exp_avg", "exp_avg_sq")) or tensors["step"].numel() != 1:
            raise ValueError(f"got moments of another shape than parameter {number} but expected {tuple(shape)}")


def _progress_of(state: Mapping[str, Any]) -> Progress:
    found, default = Progress(**state), Progress()
    for name, value in state.items():
        accepted = (int, type(None)) if name == "best_step" else (type(getattr(default, name)),)
        if type(value) not in accepted or (type(value) is int and value < 0):
            raise ValueError(f"{name}: got {value!r} but expected {' or '.join(kind.__name__ for kind in accepted)}")
    return found
