"""The learning rate by step."""

from __future__ import annotations

import math

from goal_analysis.vse.loop.training_options import TrainingOptions


def learning_rate(options: TrainingOptions, step: int, epoch_steps: int) -> float:
    """The learning rate of a step, counted from 0.

    It rises linearly over the warm-up; then it is constant, falls by a factor every few epochs, or follows
    ½(1 + cos(π·t)) with t from 0 after the warm-up to 1 after the last step.

    Args:
        options: schedule, warm-up and the highest learning rate.
        step: which.
        epoch_steps: how many an epoch has.

    >>> options = TrainingOptions(epochs=2, learning_rate=1.0, warm_up_steps=2)
    >>> [round(learning_rate(options, step, 5), 2) for step in range(10)]
    [0.5, 1.0, 1.0, 0.96, 0.85, 0.69, 0.5, 0.31, 0.15, 0.04]
    """
    if step < options.warm_up_steps:
        return options.learning_rate * (step + 1) / options.warm_up_steps
    if options.schedule == "constant":
        return float(options.learning_rate)
    if options.schedule == "step":
        return options.learning_rate * options.step_factor ** (step // epoch_steps // options.step_epochs)
    after, last = step - options.warm_up_steps, options.epochs * epoch_steps - options.warm_up_steps
    return options.learning_rate * (1 + math.cos(math.pi * after / max(last, 1))) / 2
