"""The optimizer of a run: AdamW, with parameters in groups by their names, and the learning rate of every step."""

from __future__ import annotations

import math
import re
from fnmatch import fnmatchcase

import torch
from torch import nn

from goal_analysis.declarations import one_of
from goal_analysis.vse.loop.experiment import TrainingOptions

_PREFIX = re.compile(r"^(?:scorer\.)?(image|text)\.(?:local\.)?")


def parameter_names(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters by the names that `ParameterGroup` matches, those of the encoders from ``image`` or ``text`` on.

    >>> list(parameter_names(nn.ModuleDict({"text": nn.ModuleDict({"local": nn.Linear(2, 2)})})))
    ['text.weight', 'text.bias']
    """
    return {_PREFIX.sub(r"\1.", name): parameter for name, parameter in model.named_parameters()}


def make_optimizer(model: nn.Module, options: TrainingOptions) -> torch.optim.AdamW:
    """AdamW of what is trained; a group's ``share`` is its learning rate over that of all others.

    Frozen parameters ask for no gradient from then on. A pattern that matches nothing, or nothing that an earlier one
    leaves, is a ValueError with the names that there are.
    """
    left, made = parameter_names(model), []
    for number, group in enumerate(options.groups):
        found = {name: p for name, p in left.items() if fnmatchcase(name, group.match)}
        if not found:
            earlier = " that an earlier group leaves" if number else ""
            kinds = {re.sub(r"(?<=\.)\d+(?=\.)", "*", name) for name in left}
            given = f"training: groups[{number}]: match: got {group.match!r}, which matches no name{earlier},"
            raise ValueError(f"{given} but expected some of {one_of(kinds, group.match)}")
        left = {name: p for name, p in left.items() if name not in found}
        if group.frozen:
            for parameter in found.values():
                parameter.requires_grad_(False)
            continue
        rate = options.learning_rate if group.learning_rate is None else group.learning_rate
        decay = options.weight_decay if group.weight_decay is None else group.weight_decay
        made.append((found, rate / options.learning_rate, decay))
    if left:
        made.insert(0, (left, 1.0, options.weight_decay))
    if not any(p.requires_grad for found, _, _ in made for p in found.values()):
        raise ValueError("training: groups: got all parameters frozen but expected some to train")
    groups = [{"params": list(of.values()), "share": share, "weight_decay": float(d)} for of, share, d in made]
    return torch.optim.AdamW(groups, lr=float(options.learning_rate), fused=True)


def learning_rate(options: TrainingOptions, step: int, epoch_steps: int) -> float:
    """The learning rate of a step, counted from 0.

    It rises linearly over the warm-up; then it is constant, falls by a factor every few epochs, or follows ½(1 +
    cos(π·t)) with t from 0 after the warm-up to 1 after the last step.

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
