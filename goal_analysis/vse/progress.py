"""Where a run stands, and how that goes into a checkpoint and comes back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from goal_analysis.vse.checkpoint import Checkpoint, CheckpointError, newest


@dataclass
class Progress:
    """Where a run stands; with the tensors, all that a checkpoint holds.

    Args:
        step: how many steps were made.
        best_rsum: the best on dev, at the end of an epoch.
        best_step: when; None before the first.
        worse_epochs: since then.
        stopped: why the run ended before its last epoch; empty if it did not.
    """

    step: int = 0
    best_rsum: float = -1.0
    best_step: int | None = None
    worse_epochs: int = 0
    stopped: str = ""


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


def resumed(folder: Path, model: nn.Module, optimizer: Any) -> Progress:
    """Where the newest checkpoint stands; its tensors are put into the model and the optimizer."""
    found, problems = newest(folder)
    if found is None:
        if problems:
            raise CheckpointError("\n".join(problems))
        return Progress()
    model.load_state_dict(dict(found.model))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in found.optimizer.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return Progress(**found.state)
