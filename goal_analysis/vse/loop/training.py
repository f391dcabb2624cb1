"""The training loop: it reads from top to bottom, and a run that was killed ends as if it had not been.

All randomness of a step is a function of the seed, the step and the process, so a checkpoint holds no random state. Of
several processes every one has its share of every batch, and the objective sees the batch whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from goal_analysis.numeric.mining import All, Softmax, TopK
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.processes import AcrossProcesses
from goal_analysis.vse.data.reading import pictures_by_workers
from goal_analysis.vse.data.split import RetrievalData
from goal_analysis.vse.folder.checkpoint import Checkpoint, Progress, resume, save
from goal_analysis.vse.folder.run_folder import CHECKPOINTS, Log
from goal_analysis.vse.loop.batches import Share, epoch_batches
from goal_analysis.vse.loop.experiment import Experiment
from goal_analysis.vse.loop.health import (
    TrainingTrouble,
    Trouble,
    collapse,
    collapse_of_scores,
    gradient_trouble,
    without_gradient,
)
from goal_analysis.vse.loop.memory import within_memory
from goal_analysis.vse.loop.schedule import learning_rate
from goal_analysis.vse.loop.surrogate import probed, surrogate
from goal_analysis.vse.loop.training_options import TrainingOptions
from goal_analysis.vse.models.dual_encoder import Reranking
from goal_analysis.vse.models.text import Tokenizer, Tokens
from goal_analysis.vse.retrieval.evaluation import record_of

Report = Callable[[Mapping[str, Any]], None]


def train(
    experiment: Experiment,
    objective: GradientObjective,
    model: nn.Module,
    tokenizer: Tokenizer,
    data: RetrievalData,
    folder: Path,
    fabric: Fabric,
    report: Report = lambda record: None,
) -> Progress:
    """Train, from the newest checkpoint in the folder on, or from the start where there is none.

    Args:
        experiment: batch size, schedule and the rest.
        objective: what trains.
        model: as it is before the first step.
        tokenizer: of the captions.
        data: trained on ``train``, chosen by the RSUM on ``dev``.
        folder: of the run; log and checkpoints are written there.
        fabric: launched; the processes and their devices.
        report: is handed every record of the log.

    Raises:
        TrainingTrouble: numbers are not finite, embeddings have collapsed or the gradient stays zero (see
            `goal_analysis.vse.loop.health`), and ``on_trouble`` is ``stop``.
        CheckpointError: there are checkpoints, but none is what was written.
        OutOfMemory: a batch or the evaluation does not fit; says what to try.
        OSError: the folder cannot be written; the last checkpoint is intact.
    """
    options = experiment.training
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=float(options.learning_rate), weight_decay=float(options.weight_decay), fused=True
    )
    wrapped, optimizer = fabric.setup(_OnTensors(model), optimizer)

    def pass_over(step: int, problem: str) -> None:
        if fabric.is_global_zero:
            cause = f"{problem}; it is passed over, and the run goes on from step {step}"
            report({"kind": "trouble", "step": step, "trouble": "damaged checkpoint", "cause": cause})

    progress = resume(folder / CHECKPOINTS, model, optimizer, pass_over)
    log = Log(folder, progress.step if progress.step else None) if fabric.is_global_zero else None
    tokens, dev = tokenizer(data.train.captions), pictures_by_workers(data.dev, options.workers)
    epoch_steps = steps_of_epoch(options, len(data.train))
    share = Share(fabric.global_rank, fabric.world_size)
    fewer = f"training.batch_size={max(1, options.batch_size // 2)} with training.accumulate={2 * options.accumulate}"
    one_kind = (float(options.image_image), float(options.text_text))
    start = time.perf_counter()

    def write(record: Mapping[str, Any]) -> None:
        if log is not None:
            log.add(record)
            log.add_seconds({"step": record["step"], "seconds": round(time.perf_counter() - start, 3)})
            report(record)

    def checkpoint() -> None:
        if fabric.is_global_zero:
            save(folder / CHECKPOINTS, Checkpoint.of(model, optimizer, progress))
        fabric.barrier()

    for epoch in range(progress.step // epoch_steps, options.epochs):
        if progress.stopped:
            break
        begins = epoch < options.epochs_on_all
        mined = on_all_negatives(objective, options.batch_size) if begins else objective
        mined = mined.replaced(refuse_nonfinite=False)  # what is not finite is found in the gradient
        joined = AcrossProcesses(mined)
        first = (progress.step - epoch * epoch_steps) * options.accumulate
        batches = epoch_batches(
            data.train,
            tokens,
            options.batch_size,
            experiment.seed,
            epoch,
            first,
            share,
            options.workers,
            options.captions_per_image,
        )
        for _ in range(progress.step - epoch * epoch_steps, epoch_steps):
            rate = learning_rate(options, progress.step, epoch_steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            _seed(_number(experiment.seed, progress.step, share.rank), fabric.device)
            optimizer.zero_grad()
            outputs, ids = None, torch.empty(0)
            for last in range(options.accumulate - 1, -1, -1):
                batch = fabric.to_device(next(batches))
                silent = fabric.no_backward_sync(wrapped, enabled=last > 0) if share.ranks > 1 else nullcontext()
                with silent, within_memory(f"step {progress.step + 1}: {options.batch_size} pairs a batch", fewer):
                    outputs, ids = wrapped(batch.images, batch.tokens, batch.lengths, batch.ids), batch.ids
                    fabric.backward(surrogate(joined, outputs, ids, one_kind) / options.accumulate)
            norm = _clipped(model, float(options.clip))
            progress.step += 1
            progress.zero_steps = without_gradient(norm, progress.zero_steps)
            trouble = gradient_trouble(norm, progress.step, progress.zero_steps, options.epochs * epoch_steps)
            due = progress.step % options.log_steps == 0
            if trouble is None and due:
                trouble = _collapse(outputs, ids, progress.step)
            if trouble is not None:
                _meet(trouble, options.on_trouble, write)
            if trouble is None or trouble.kind != "not finite":
                optimizer.step()
            if due:
                write({"kind": "step", "step": progress.step, "learning_rate": rate, "gradient_norm": norm})
            if options.probe_steps and progress.step % options.probe_steps == 0:
                write({"kind": "probe", "step": progress.step} | probed(mined, outputs, ids))
            done = progress.step - epoch * epoch_steps
            if options.checkpoint_steps and done % options.checkpoint_steps == 0 and done < epoch_steps:
                checkpoint()
        batches.close()
        found = record_of(model, dev, tokenizer)
        progress = progress.after_epoch(found["rsum"], options.patience)
        write({"kind": "epoch", "step": progress.step, "epoch": epoch + 1} | found)
        checkpoint()
    return progress


def steps_of_epoch(options: TrainingOptions, pairs: int) -> int:
    """How many steps an epoch of so many pairs has; what is left of them makes none.

    Raises:
        ValueError: not even one.
    """
    size = options.batch_size * options.accumulate
    if pairs < size:
        raise ValueError(
            f"training: got {pairs} pairs for steps of {size} but expected one step an epoch at least: lower "
            "training.batch_size"
        )
    return pairs // size


class _OnTensors(nn.Module):
    """A model of images and texts whose texts come as tensors, which is what moves between processes and devices."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, tokens: Tensor, lengths: Tensor, ids: Tensor) -> Any:
        mined_by = (ids,) if isinstance(self.model, Reranking) else ()
        return self.model(images, Tokens(tokens, lengths), *mined_by)


def on_all_negatives(objective: GradientObjective, negatives: int) -> GradientObjective:
    """The objective on the mean over all negatives; softmax mining, which counts them all, stays as it is.

    It is their mean and not their sum, for Adam's second moments would remember a sum for thousands of steps. Relative
    similarities, which compare hardest triplets with each other, are 0.

    Args:
        objective: which.
        negatives: as many as an anchor may have.
    """
    if isinstance(objective.mining, Softmax | All):
        return objective
    return objective.replaced(mining=TopK(negatives), pair_weights=objective.pair_weights.without_relative)


def _number(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def _seed(number: int, device: torch.device) -> None:
    """As `torch.manual_seed`, which where there is no GPU formats the call stack at every step, for a millisecond."""
    torch.default_generator.manual_seed(number)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(number)


def _clipped(model: nn.Module, clip: float) -> float:
    """The norm of the gradient, which is clipped if it is finite."""
    norm = nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    if clip and norm.isfinite():
        nn.utils.clip_grads_with_norm_(model.parameters(), clip, norm)
    return float(norm)


def _collapse(outputs: Any, ids: Tensor, step: int) -> Trouble | None:
    if len(ids.unique()) < 2:  # what a model gives of one image may well be alike
        return None
    if isinstance(outputs, Tensor):
        return collapse_of_scores(outputs, step)
    return collapse(outputs[0], "image", step) or collapse(outputs[1], "text", step)


def _meet(trouble: Trouble, on_trouble: str, write: Report) -> None:
    write({"kind": "trouble", "step": trouble.step, "trouble": trouble.kind, "cause": trouble.cause})
    if on_trouble == "stop":
        raise TrainingTrouble(str(trouble))
