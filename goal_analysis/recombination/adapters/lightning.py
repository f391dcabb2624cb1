"""The probe inside Lightning's `Trainer`."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Any

from goal_analysis.numeric.probe import GradientProbe

Callback: Any = object
"""Lightning's, under either of its names; without Lightning there is no trainer that would ask for it."""

for name in ("pytorch_lightning", "lightning.pytorch"):
    with suppress(ImportError):
        Callback = import_module(name).Callback


class ProbeCallback(Callback):
    """A `GradientProbe` whose numbers go to every logger of the trainer, as ``probe/push_share`` and so on.

    The steps are the trainer's; batches whose gradients are accumulated into one step make one record, their mean.

    Args:
        probe: one that follows an objective, or that ``training_step`` hands its scores to.
    """

    def __init__(self, probe: GradientProbe) -> None:
        self.probe = probe

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *batch: Any) -> None:
        """Tell the probe the step."""
        self.probe.at = trainer.global_step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *batch: Any) -> None:
        """Log what was recorded, where the step is over."""
        if trainer.global_step != self.probe.at and (found := self.probe.take()):
            step = int(found.pop("step"))
            for logger in trainer.loggers:
                logger.log_metrics({f"probe/{name}": value for name, value in found.items()}, step)
