"""Runs: an experiment is run in a folder, goes on there after any end, and is read back with its best model."""

import json
import platform
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from goal_analysis.files import write_json, write_whole
from goal_analysis.numeric.matches import Matches
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.vse.data.answers import TaughtMatches
from goal_analysis.vse.data.split import Images, RetrievalData, Split, statistics
from goal_analysis.vse.folder import run_folder as on_disk
from goal_analysis.vse.folder.checkpoint import CheckpointError, Progress, load, newest, steps
from goal_analysis.vse.folder.run_folder import RunError
from goal_analysis.vse.loop.batches import pictures_by_workers
from goal_analysis.vse.loop.experiment import Experiment, TrainingOptions
from goal_analysis.vse.loop.health import within_memory
from goal_analysis.vse.loop.interrupts import signals_noted
from goal_analysis.vse.loop.processes import name_dead_workers, watch_ranks
from goal_analysis.vse.loop.training import Report, make_optimizer, steps_of_epoch, train
from goal_analysis.vse.models.dual_encoder import RetrievalModel
from goal_analysis.vse.models.model import build_model, build_tokenizer, portable_tables, restore_tokenizer
from goal_analysis.vse.models.text import Tokenizer, tokenizer_json
from goal_analysis.vse.retrieval.scoring import embeddings

TOKENIZER, ARCHITECTURE = "tokenizer.json", "architecture.json"
PACKAGES = ("goal-analysis", "torch", "numpy", "lightning-fabric", "safetensors")  # whose versions are kept


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model that a run has trained, in evaluation mode, with the weights of a step and the shape of an image."""

    folder: Path
    experiment: Experiment
    model: RetrievalModel
    tokenizer: Tokenizer
    step: int
    shape: tuple[int, ...]

    def load_split(self, name: str, data: str | None = None, **more: Any) -> Split:
        """A split of the run's data, or of others that are read as those are; see `Experiment`."""
        found = self.experiment.load_split(name, data, **more)
        self.check_images(found.images)
        return found

    def check_images(self, images: Images) -> None:
        """Raise unless images have the features or channels of those trained on; pictures may have any size."""
        found, read = tuple(images.shape[1:]), 0 if len(self.shape) == 3 else -1
        if len(found) != len(self.shape) or found[read] != self.shape[read]:
            given = f"{self.folder}: got images of shape {found}"
            raise RunError(f"{given} but expected {self.shape}, as it was trained on")


def run_experiment(
    experiment: Experiment,
    objective: GradientObjective,
    data: RetrievalData,
    folder: Path,
    fabric: Fabric,
    command: Sequence[str] = (),
    report: Report = lambda record: None,
) -> Progress:
    """Run an experiment in an empty or new folder, or go on with its run; the number of workers may differ. A RunError
    says that the folder holds another experiment, other data, or a run that another process is writing; a RankError or
    WorkerError that another process has ended. Ctrl-C, SIGTERM and SIGHUP write a checkpoint and are a
    KeyboardInterrupt.
    """
    if objective.objective.reads_carried:
        given = f"{objective.name}: got an objective that reads what pairs carry"
        raise ValueError(f"{given} but expected one that reads similarities alone: data sets carry nothing else")
    leads = fabric.is_global_zero
    with watch_ranks(folder, fabric), on_disk.lock_run(folder) if leads else nullcontext():
        if leads and (folder / on_disk.RUN).exists():
            on_disk.check_same(folder, experiment)
            check_data(folder, data)
            checkpoint, _ = newest(folder / on_disk.CHECKPOINTS)
            if checkpoint is not None:
                _check_log(folder, checkpoint.progress.step, experiment.training, len(data.train))
        elif leads and steps(folder / on_disk.CHECKPOINTS):
            given = f"{folder}: got checkpoints without {on_disk.RUN}, which says what was run"
            raise RunError(f"{given}, but expected an empty folder, or a whole run")
        fabric.barrier()
        steps_of_epoch(experiment.training, len(data.train))
        torch.manual_seed(experiment.seed)
        workers = experiment.training.workers
        tokenizer = build_tokenizer(experiment.model, data.train.captions)
        with name_dead_workers(workers):
            found = statistics(pictures_by_workers(data.train, workers).images)
        model = build_model(experiment.model, tuple(data.train.images.shape[1:]), tokenizer, found)
        optimizer = make_optimizer(model, experiment.training)
        match = _matched(data.train, experiment.training)
        if leads:
            if not (folder / on_disk.RUN).exists():
                write_json(folder / on_disk.RUN, asdict(_record(experiment, data, command)))
            write_whole(folder / TOKENIZER, json.dumps(tokenizer_json(tokenizer), ensure_ascii=False) + "\n")
            write_json(folder / ARCHITECTURE, portable_tables(experiment.model, model))
        stamps = data.stamps()

        def checked(record: Mapping[str, Any]) -> None:
            changed = stamps.items() - data.stamps().items() if record["kind"] == "epoch" else ()
            for path, _ in changed:
                raise RunError(f"{path}: got other content than when the run began but expected the same to its end")
            report(record)

        with name_dead_workers(workers), signals_noted() as asked:
            progress = train(
                experiment, objective, model, optimizer, match, tokenizer, data, folder, fabric, checked, asked
            )
        if leads:
            check_data(folder, data)
            best = _epoch_that_ended(folder, progress.best_step)
            write_json(folder / on_disk.RESULT, {"best": best, "stopped": progress.stopped})
    return progress


def load_model(folder: Path) -> TrainedModel:
    """The best model on dev of a run; a RunError where there is none, a CheckpointError where none is intact."""
    record = on_disk.read_run(folder)
    shape = record.data.shape[1:]
    checkpoint, problems = newest(folder / on_disk.CHECKPOINTS)
    if checkpoint is None:
        raise CheckpointError("\n".join(problems) or f"{folder}: got a run without a checkpoint but expected one")
    if problems:  # which step is the best, only the newest says
        raise CheckpointError(f"{problems[0]}; goal-analyze train --resume {folder} goes on from that")
    best = checkpoint.progress.best_step
    if best not in (None, checkpoint.progress.step):
        checkpoint = load(folder / on_disk.CHECKPOINTS, best)
    tokenizer = on_disk.read_record(folder / TOKENIZER, "the tokenizer that a run writes", restore_tokenizer)
    expected = "the model that a run writes"
    with within_memory(f"{folder}: its model", "a smaller model.image.dim"):
        model = on_disk.read_record(
            folder / ARCHITECTURE, expected, lambda tables: build_model(tables, shape, tokenizer)
        )
    checkpoint.restore_model(model)
    return TrainedModel(folder, record.experiment, model.eval(), tokenizer, checkpoint.progress.step, shape)


def check_data(folder: Path, data: RetrievalData) -> None:
    """Raise unless these are the data that the run in the folder is trained on."""
    found, expected = data.fingerprint(), on_disk.read_run(folder).data.fingerprint
    if found != expected:
        given = f"{folder}: got data {data.name} with the fingerprint {found}"
        raise RunError(f"{given} but expected {expected}: it has changed since the run began")


def _matched(split: Split, options: TrainingOptions) -> Callable[[Tensor, Tensor], Matches]:
    """What makes the matches of a batch."""
    if not options.teacher:
        return Matches.of_image_ids if split.equal == "negatives" else split.answers.matches
    taught = load_model(Path(options.teacher))
    if not taught.model.embeds:
        raise RunError(f"{taught.folder}: got a teacher that scores pairs but expected one that embeds")
    taught.check_images(split.images)
    images, captions = embeddings(taught.model, split, taught.tokenizer)
    return TaughtMatches(split.answers, images.cpu(), captions.cpu(), options.teacher_margin)


def _check_log(folder: Path, step: int, options: TrainingOptions, pairs: int) -> None:
    """Raise unless the log has the records that were written up to a step."""
    found = Counter(record["kind"] for record in on_disk.read_log(folder) if record["step"] <= step)
    every = {"epoch": steps_of_epoch(options, pairs), "step": options.log_steps, "probe": options.probe_steps}
    for kind, number in every.items():
        expected = step // number if number else 0
        if found[kind] != expected:
            given = f"{folder / on_disk.LOG}: got {found[kind]} records of the kind {kind} up to step {step}"
            raise RunError(f"{given} but expected {expected}")


def _epoch_that_ended(folder: Path, step: int | None) -> dict[str, Any]:
    """The record of the epoch that ended with a step."""
    for record in on_disk.read_log(folder):
        if record["kind"] == "epoch" and record["step"] == step:
            return record
    raise RunError(
        f"{folder / on_disk.LOG}: got no epoch that ended with step {step} but expected the best of this run"
    )


def _record(experiment: Experiment, data: RetrievalData, command: Sequence[str]) -> on_disk.RunRecord:
    revision, versions = "", {"python": platform.python_version()}
    with suppress(OSError, subprocess.SubprocessError):
        words = ["git", "rev-parse", "HEAD"]
        revision = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    for name in PACKAGES:
        with suppress(ImportError):
            versions[name] = version(name)
    of = on_disk.RunData(data.name, data.fingerprint(), data.train.images.shape)
    return on_disk.RunRecord(
        experiment=experiment, data=of, command=tuple(command), versions=versions, revision=revision
    )
