"""The log of a run for TensorBoard, beside the one that is always written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from goal_analysis.vse.folder.checkpoint import steps
from goal_analysis.vse.folder.run_folder import CHECKPOINTS
from goal_analysis.vse.loop.training import Report

TENSORBOARD = "tensorboard"
"""The folder in a run's folder; ``tensorboard --logdir RUN`` shows it."""


@contextmanager
def tensorboard_log(folder: Path) -> Iterator[Report]:
    """What takes the records of a run and writes their numbers as ``step/gradient_norm``, ``epoch/rsum`` and so on.

    Records after the newest checkpoint, which a resumed run makes again, are dropped.

    Args:
        folder: of the run.

    Raises:
        ValueError: the package tensorboard is not there.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as problem:
        raise ValueError("tensorboard: expected the package tensorboard: pip install tensorboard") from problem
    newest = max(steps(folder / CHECKPOINTS), default=-1)
    writer = SummaryWriter(str(folder / TENSORBOARD), purge_step=newest + 1)

    def report(record: Mapping[str, Any]) -> None:
        for name, value in record.items():
            if name != "step" and isinstance(value, int | float):
                writer.add_scalar(f"{record['kind']}/{name}", value, record["step"])
        writer.flush()

    try:
        yield report
    finally:
        writer.close()
