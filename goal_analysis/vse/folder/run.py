"""Runs: an experiment begun in a folder, gone on with, and read back with its best model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from goal_analysis.files import write_json, write_whole
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.vse.data.images import Images, statistics
from goal_analysis.vse.data.reading import pictures_by_workers
from goal_analysis.vse.data.split import RetrievalData
from goal_analysis.vse.folder.checkpoint import CheckpointError, load, newest, steps
from goal_analysis.vse.folder.provenance import revision, versions
from goal_analysis.vse.folder.run_folder import (
    CHECKPOINTS,
    RUN,
    RunError,
    check_same,
    locked,
    read_log,
    read_run,
    write_run,
)
from goal_analysis.vse.loop.batches import dead_workers_named
from goal_analysis.vse.loop.experiment import Experiment, experiment_from_mapping
from goal_analysis.vse.loop.memory import within_memory
from goal_analysis.vse.loop.progress import put_into
from goal_analysis.vse.loop.ranks import together
from goal_analysis.vse.loop.training import Progress, Report, steps_of_epoch, train
from goal_analysis.vse.models.model import build_model, build_tokenizer, portable, restored_tokenizer
from goal_analysis.vse.models.text import Tokenizer

TOKENIZER, ARCHITECTURE, RESULT = "tokenizer.json", "architecture.json", "result.json"


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """What a run made.

    Args:
        experiment: what was run.
        model: with the weights of the step, in evaluation mode.
        tokenizer: of its captions.
        step: at which the weights were taken.
        shape: of an image.
    """

    experiment: Experiment
    model: nn.Module
    tokenizer: Tokenizer
    step: int
    shape: tuple[int, ...]

    def check_images(self, images: Images, where: Path) -> None:
        """Raise unless images are such as those trained on: features, or pictures of whatever height and width.

        Args:
            images: that are to be embedded.
            where: what the error begins with.

        Raises:
            RunError: they have other features or channels.
        """
        found, read = tuple(images.shape[1:]), 0 if len(self.shape) == 3 else -1
        if len(found) != len(self.shape) or found[read] != self.shape[read]:
            raise RunError(f"{where}: got images of shape {found} but expected {self.shape}, as it was trained on")


def start(
    experiment: Experiment,
    objective: GradientObjective,
    data: RetrievalData,
    folder: Path,
    fabric: Fabric,
    command: Sequence[str] = (),
    report: Report = lambda record: None,
) -> Progress:
    """Run an experiment in an empty or new folder, or go on with the same one that was begun there.

    Args:
        experiment: what is run; of one that is gone on with, the number of workers may be another.
        objective: the one that the experiment names.
        data: the data that it names.
        folder: of the run; left to another one where the model or the batches cannot be made.
        fabric: launched.
        command: what the user typed, for the record.
        report: is handed every record of the log.

    Raises:
        RunError: the folder holds another experiment, or one on other data; or somebody is writing in it.
        RankError: of several processes another one has ended.
        WorkerError: a process that reads images has died.
    """
    if not fabric.is_global_zero:
        with together(folder, fabric):
            fabric.barrier()
            return _train(experiment, objective, data, folder, fabric, report, {})
    with together(folder, fabric), locked(folder):
        record = {
            "experiment": experiment.mapping(),
            "data": {"name": data.name, "fingerprint": data.fingerprint(), "shape": list(data.train.images.shape)},
            "command": list(command),
            "versions": versions(),
            "revision": revision(),
        }
        if (folder / RUN).exists():
            check_same(folder, experiment)
            check_data(folder, data)
        fabric.barrier()
        return _train(experiment, objective, data, folder, fabric, report, record)


def trained(folder: Path, step: int | None = None) -> TrainedModel:
    """The model of a run, by default with the weights that were best on dev.

    Raises:
        RunError: there is no run, or no checkpoint yet.
        CheckpointError: the checkpoint is not what was written.
    """
    record = read_run(folder)
    experiment = experiment_from_mapping(record["experiment"], f"{folder / RUN}: experiment")
    checkpoint = None
    if step is None:
        checkpoint, problems = newest(folder / CHECKPOINTS)
        if checkpoint is None:
            raise CheckpointError("\n".join(problems) or f"{folder}: got a run without a checkpoint but expected one")
        if problems:  # which step is the best, only the newest says
            raise CheckpointError(f"{problems[0]}; goal-analyze train --resume {folder} goes on from that")
        best = checkpoint.state.get("best_step")
        step = best if type(best) is int else checkpoint.step
    if step not in steps(folder / CHECKPOINTS):
        raise RunError(f"{folder}: got the step {step} but expected one of {steps(folder / CHECKPOINTS)}")
    if checkpoint is None or checkpoint.step != step:
        checkpoint = load(folder / CHECKPOINTS, step)
    tokenizer = _tokenizer_of(folder)
    shape = record["data"].get("shape")
    if not isinstance(shape, list) or not 2 <= len(shape) <= 4 or any(type(n) is not int or n < 1 for n in shape):
        raise RunError(f"{folder / RUN}: shape: got {shape!r} but expected whole numbers, that of all images first")
    with within_memory(f"{folder}: its model", "a smaller model.image.dim"):
        model = _model_of(folder, tuple(shape[1:]), tokenizer)
    try:
        put_into(model, checkpoint.model)
    except CheckpointError as problem:
        raise CheckpointError(f"{folder}: step {step}: {problem}") from problem
    return TrainedModel(experiment, model.eval(), tokenizer, step, tuple(shape[1:]))


def _tokenizer_of(folder: Path) -> Tokenizer:
    path = folder / TOKENIZER
    try:
        return restored_tokenizer(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, RecursionError) as problem:
        raise RunError(f"{path}: got {problem} but expected the tokenizer that a run writes") from problem


def _model_of(folder: Path, shape: tuple[int, ...], tokenizer: Tokenizer) -> nn.Module:
    path = folder / ARCHITECTURE
    try:
        tables = json.loads(path.read_text("utf-8"))
        if not isinstance(tables, dict):
            raise ValueError(f"{tables!r:.100}")
        return build_model(tables, shape, tokenizer)
    except (OSError, ValueError, RecursionError) as problem:
        raise RunError(f"{path}: got {problem} but expected the model that a run writes") from problem


def check_data(folder: Path, data: RetrievalData) -> None:
    """Raise unless these are the data that the run in the folder is trained on.

    Raises:
        RunError: the data have another fingerprint, or there is no run.
    """
    found, expected = data.fingerprint(), read_run(folder)["data"]["fingerprint"]
    if found != expected:
        raise RunError(
            f"{folder}: got data {data.name} with the fingerprint {found} but expected {expected}: "
            "it has changed since the run began"
        )


def _train(experiment, objective, data, folder, fabric, report, record) -> Progress:
    steps_of_epoch(experiment.training, len(data.train))
    torch.manual_seed(experiment.seed)
    workers = experiment.training.workers
    tokenizer = build_tokenizer(experiment.model, data.train.captions)
    with dead_workers_named(workers):
        found = statistics(pictures_by_workers(data.train, workers).images)
    model = build_model(experiment.model, tuple(data.train.images.shape[1:]), tokenizer, found)
    if fabric.is_global_zero:
        if not (folder / RUN).exists():
            write_run(folder, record)
        write_whole(folder / TOKENIZER, json.dumps(tokenizer.to_json(), ensure_ascii=False) + "\n")
        write_json(folder / ARCHITECTURE, portable(experiment.model, model))
    with dead_workers_named(workers):
        progress = train(experiment, objective, model, tokenizer, data, folder, fabric, report)
    if fabric.is_global_zero:
        epochs = [record for record in read_log(folder) if record["kind"] == "epoch"]
        best = next(record for record in epochs if record["step"] == progress.best_step)
        write_json(folder / RESULT, {"best": best, "stopped": progress.stopped})
    return progress
