"""The probe inside the `Trainer` of transformers, and so inside that of sentence-transformers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState

from goal_analysis.numeric.probe import GradientProbe
from goal_analysis.recombination.adapters import SURROGATE
from goal_analysis.recombination.objective import GradientObjective


class ProbeCallback(TrainerCallback):
    """A `GradientProbe` whose numbers go where the trainer's own go, as ``probe/push_share`` and so on.

    `Trainer.log` hands them to TensorBoard and whatever else ``report_to`` names, and into ``state.log_history``. The
    steps are the trainer's; batches whose gradients are accumulated into one step make one record, their mean.

    Args:
        probe: one that follows an objective, or that the loss hands its scores to.
        log: the ``log`` of the trainer.
    """

    def __init__(self, probe: GradientProbe, log: Callable[[dict[str, float]], Any]) -> None:
        self.probe, self.log = probe, log

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Warn where the model's value without gradients, by which the trainer would choose, is the surrogate."""

        def warn(*of: Any) -> None:
            if not torch.is_grad_enabled():
                warnings.warn(SURROGATE, stacklevel=2)

        if args.load_best_model_at_end and args.metric_for_best_model in ("loss", "eval_loss"):
            for objective in more["model"].modules():
                if isinstance(objective, GradientObjective):
                    objective.register_forward_hook(warn)

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Tell the probe the step, by the number that the trainer logs it under."""
        self.probe.at = state.global_step + 1

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Log what was recorded."""
        if found := self.probe.take():
            due = control.should_log  # which the trainer takes for done after any log
            self.log({f"probe/{name}": value for name, value in found.items() if name != "step"})
            control.should_log = due
