"""How an experiment is trained: the options, each with its range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

SCHEDULES = ("cosine", "step", "constant")
PRECISIONS = ("32-true", "64-true", "bf16-mixed")
ON_TROUBLE = ("stop", "continue")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How an experiment is trained.

    Args:
        epochs: passes over all (image, caption) pairs of the training split.
        batch_size: pairs a step, over all processes; an epoch's last incomplete batch is left out.
        captions_per_image: how many captions of an image stand side by side in the order of an epoch, so that they are
            positives of one batch; of an image with fewer left, those.
        text_text: how much the objective on the captions of a batch, each other's positives where they are of one
            image, adds to that on images and captions.
        image_image: the same on the images, whose copies in a batch differ by dropout and augmentation.
        learning_rate: of AdamW, at its highest.
        weight_decay: of AdamW.
        schedule: of the learning rate after its warm-up: ``cosine`` down to 0, ``step`` or ``constant``.
        warm_up_steps: over so many the learning rate rises linearly from 0.
        step_epochs: with ``step``, it is multiplied by ``step_factor`` every so many epochs.
        step_factor: see ``step_epochs``.
        epochs_on_all: for so many epochs all negatives count alike, before those that the objective mines; softmax
            mining, which counts them all by itself, begins as it goes on.
        clip: the norm that the gradient of all parameters is clipped to; 0 for none.
        accumulate: batches whose gradients are averaged into one step.
        precision: ``32-true``, ``64-true`` or ``bf16-mixed``.
        patience: stop after so many epochs without a better dev RSUM; 0 for never.
        checkpoint_steps: a checkpoint every so many steps besides those at the end of every epoch; 0 for none.
        log_steps: a record in the log every so many steps.
        probe_steps: statistics of the objective's weights every so many steps; 0 for none.
        workers: processes that read images; 0 reads them in the training process.
        on_trouble: ``stop`` or ``continue`` when numbers are not finite, embeddings collapse or gradients vanish.

    Raises:
        ValueError: a number out of its range, or a word that is not known.
    """

    epochs: int = 25
    batch_size: int = 128
    captions_per_image: int = 1
    text_text: float | int = 0.0
    image_image: float | int = 0.0
    learning_rate: float | int = 5e-4
    weight_decay: float | int = 1e-4
    schedule: str = "cosine"
    warm_up_steps: int = 0
    step_epochs: int = 15
    step_factor: float | int = 0.1
    epochs_on_all: int = 0
    clip: float | int = 2.0
    accumulate: int = 1
    precision: str = "32-true"
    patience: int = 0
    checkpoint_steps: int = 0
    log_steps: int = 50
    probe_steps: int = 0
    workers: int = 0
    on_trouble: str = "stop"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "captions_per_image", "step_epochs", "accumulate", "log_steps"):
            check(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("warm_up_steps", "epochs_on_all", "patience", "checkpoint_steps", "probe_steps", "workers"):
            check(name, getattr(self, name), getattr(self, name) >= 0, "at least 0")
        for name in ("weight_decay", "clip", "step_factor", "text_text", "image_image"):
            check(name, getattr(self, name), 0 <= getattr(self, name) < float("inf"), "a finite number of at least 0")
        for name in ("text_text", "image_image"):
            right = not getattr(self, name) or self.captions_per_image > 1
            check(
                name,
                getattr(self, name),
                right,
                "0 unless captions_per_image is 2 at least, for there are no positives",
            )
        check("learning_rate", self.learning_rate, 0 < self.learning_rate < float("inf"), "a number above 0")
        for name, known in (("schedule", SCHEDULES), ("precision", PRECISIONS), ("on_trouble", ON_TROUBLE)):
            check(name, getattr(self, name), getattr(self, name) in known, f"one of {', '.join(known)}")


def options_from_mapping(given: Mapping[str, Any], where: str) -> TrainingOptions:
    """The options with these values, the others at their defaults.

    Raises:
        ValueError: an unknown name, a value of another type or out of its range; says what is accepted.
    """
    defaults = TrainingOptions()
    check_keys(given, tuple(f.name for f in fields(defaults)), where)
    for name, value in given.items():
        default = getattr(defaults, name)
        accepted = (int, float) if isinstance(default, float) else (type(default),)
        expected = "a number" if isinstance(default, float) else type(default).__name__
        check(f"{where}: {name}", value, type(value) in accepted, expected)
    try:
        return replace(defaults, **given)
    except ValueError as problem:
        raise ValueError(f"{where}: {problem}") from problem


def check_keys(given: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raise a ValueError that lists the known keys if one is not among them."""
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"{where}: got the key {unknown[0]!r} but expected {', '.join(known)}")


def check(name: str, value: object, right: bool, expected: str) -> None:
    """Raise a ValueError that names the value and what is expected unless it is right."""
    if not right:
        raise ValueError(f"{name}: got {value!r} but expected {expected}")
