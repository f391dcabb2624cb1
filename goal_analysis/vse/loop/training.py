"""The training loop. What is random in a step follows from seed, step and process; a checkpoint holds none of it."""

import math
import re
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from goal_analysis.declarations import one_of
from goal_analysis.extras import import_extra
from goal_analysis.numeric.caching import GradientCache
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.probe import statistics
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.processes import AcrossProcesses
from goal_analysis.symbolic.language.aggregators import EACH_MEAN, MAX, MIN, Side
from goal_analysis.symbolic.objective import Term
from goal_analysis.vse.data.split import RetrievalData
from goal_analysis.vse.folder.checkpoint import Checkpoint, Progress, resume, save, steps
from goal_analysis.vse.folder.run_folder import CHECKPOINTS, Log
from goal_analysis.vse.loop.batches import epoch_batches, pictures_by_workers
from goal_analysis.vse.loop.experiment import Experiment, TrainingOptions
from goal_analysis.vse.loop.health import VANISHED, TrainingTrouble, collapse, gradient_trouble, within_memory
from goal_analysis.vse.models.dual_encoder import Mined, RetrievalModel
from goal_analysis.vse.models.text import Tokenizer, Tokens
from goal_analysis.vse.retrieval.scoring import record_of

Report = Callable[[Mapping[str, Any]], None]  # what is handed every record of a run's log
_PREFIX = re.compile(r"^(?:scorer\.)?(image|text)\.(?:local\.)?")
TENSORBOARD = "tensorboard"  # the folder in a run's folder; `tensorboard --logdir RUN` shows it


def train(
    experiment: Experiment,
    objective: GradientObjective,
    model: RetrievalModel,
    optimizer: Any,
    match: Callable[[Tensor, Tensor], Matches],
    tokenizer: Tokenizer,
    data: RetrievalData,
    folder: Path,
    fabric: Fabric,
    report: Report = lambda record: None,
    asked: Callable[[], bool] = lambda: False,
) -> Progress:
    """Train on ``data.train``, chosen by the RSUM on ``data.dev``, from the newest checkpoint in the folder on. Where
    it is ``asked`` to end, it writes a checkpoint and raises a KeyboardInterrupt. It raises TrainingTrouble where
    ``on_trouble`` is ``stop``, OutOfMemory, and CheckpointError where no checkpoint is intact.
    """
    options = experiment.training
    learned = objective.learned or nn.Module()
    if objective.learned is not None:  # scalars, which no weight decay draws to zero
        optimizer.add_param_group({"params": learned.parameters(), "share": 1.0, "weight_decay": 0.0})
    called = _OnTensors(model, learned)
    wrapped, optimizer = fabric.setup(GradientCache(called, options.chunk) if options.chunk else called, optimizer)
    progress, problems = resume(folder / CHECKPOINTS, model, optimizer, learned)
    for problem in problems if fabric.is_global_zero else ():
        cause = f"{problem}; it is passed over, and the run goes on from step {progress.step}"
        report({"kind": "trouble", "step": progress.step, "trouble": "damaged checkpoint", "cause": cause})
    log = Log(folder, progress.step if progress.step else None) if fabric.is_global_zero else None
    captions, dev = tokenizer(data.train.captions), pictures_by_workers(data.dev, options.workers)
    epoch_steps = steps_of_epoch(options, len(data.train))
    rank, ranks = fabric.global_rank, fabric.world_size
    fewer = f"training.batch_size={max(1, options.batch_size // 2)} with training.accumulate={2 * options.accumulate}"
    if model.embeds and model.dual is model:
        fewer += f", or training.chunk={max(1, (options.chunk or options.batch_size) // 2)}"
    one_kind = (float(options.image_image), float(options.text_text))
    start, saved = time.perf_counter(), progress.step

    def write(kind: str, **record: Any) -> None:
        if log is not None:
            record = {"kind": kind, "step": progress.step, **record}
            log.add(record, time.perf_counter() - start)
            report(record)

    def checkpoint() -> None:
        nonlocal saved
        saved = progress.step
        if fabric.is_global_zero:
            progress.learned = {name: float(value) for name, value in learned.state_dict().items()}
            save(folder / CHECKPOINTS, Checkpoint.of(model, optimizer, progress))
        fabric.barrier()

    for epoch in range(progress.step // epoch_steps, options.epochs):
        if progress.stopped:
            break
        trained = on_all_negatives(objective) if epoch < options.epochs_on_all else objective
        trained = trained.replaced(refuse_nonfinite=False, match=match)  # what is not finite is found in the gradient
        joined = AcrossProcesses(trained)
        done = progress.step - epoch * epoch_steps  # steps of this epoch
        first = done * options.accumulate
        batches = epoch_batches(data.train, captions, options, experiment.seed, epoch, first, rank, ranks)
        while done < epoch_steps:
            if fabric.strategy.reduce_boolean_decision(asked(), all=False):
                if progress.step != saved:
                    checkpoint()
                raise KeyboardInterrupt
            rate = learning_rate(options, progress.step, epoch_steps)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["share"]
            _seed(experiment.seed, progress.step, rank, fabric.device)
            optimizer.zero_grad()
            outputs = ids = texts = torch.empty(0)
            for last in range(options.accumulate - 1, -1, -1):
                images, tokens, lengths, ids, texts = fabric.to_device(next(batches))
                silent = fabric.no_backward_sync(wrapped, enabled=last > 0) if ranks > 1 else nullcontext()
                with silent, within_memory(f"step {progress.step + 1}: {options.batch_size} pairs a batch", fewer):
                    outputs = wrapped(images, tokens, lengths, ids)
                    fabric.backward(surrogate(joined, outputs, ids, one_kind, texts) / options.accumulate)
            norm = float(nn.utils.clip_grad_norm_(model.parameters(), options.clip or math.inf))
            progress.step, done = progress.step + 1, done + 1
            progress.zero_steps = progress.zero_steps + 1 if norm < VANISHED else 0
            due = progress.step % options.log_steps == 0
            trouble = gradient_trouble(norm, progress.step, progress.zero_steps, options.epochs * epoch_steps)
            if trouble is None and (due or progress.step == 1):
                trouble = collapse(outputs, ids, progress.step)
            if trouble is not None:
                write("trouble", trouble=trouble.kind, cause=trouble.cause)
                if options.on_trouble == "stop":
                    raise TrainingTrouble(str(trouble))
            if trouble is None or trouble.kind != "not finite":
                optimizer.step()
            if due:
                write("step", learning_rate=rate, gradient_norm=norm, **learned_of(trained))
            if options.probe_steps and progress.step % options.probe_steps == 0:
                write("probe", **probe_weights(trained, outputs, ids, texts))
            if options.checkpoint_steps and done % options.checkpoint_steps == 0 and done < epoch_steps:
                checkpoint()
        batches.close()
        found = record_of(model, dev, tokenizer)
        progress = progress.after_epoch(found["rsum"], options.patience)
        write("epoch", epoch=epoch + 1, **found, **learned_of(objective))
        checkpoint()
    return progress


def parameter_names(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters by the names that `ParameterGroup` matches, of encoders from ``image`` or ``text`` on."""
    return {_PREFIX.sub(r"\1.", name): parameter for name, parameter in model.named_parameters()}


def make_optimizer(model: nn.Module, options: TrainingOptions) -> torch.optim.AdamW:
    """AdamW of what is trained; a group's ``share`` is its learning rate over that of all others. A pattern that
    matches nothing, or nothing that an earlier one leaves, is a ValueError with the names that there are.
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
    """The learning rate of a step, counted from 0: it rises linearly over the warm-up; then it is constant, falls by a
    factor every few epochs, or follows ½(1 + cos(π·t)) with t from 0 after the warm-up to 1 after the last step.
    """
    if step < options.warm_up_steps:
        return options.learning_rate * (step + 1) / options.warm_up_steps
    if options.schedule == "constant":
        return float(options.learning_rate)
    if options.schedule == "step":
        return options.learning_rate * options.step_factor ** (step // epoch_steps // options.step_epochs)
    after, last = step - options.warm_up_steps, options.epochs * epoch_steps - options.warm_up_steps
    return options.learning_rate * (1 + math.cos(math.pi * after / max(last, 1))) / 2


def steps_of_epoch(options: TrainingOptions, pairs: int) -> int:
    """The number of steps in an epoch of so many pairs, one at least; what is left of the pairs makes none."""
    size = options.batch_size * options.accumulate
    if pairs < size:
        given = f"training: got {pairs} pairs for steps of {size}"
        raise ValueError(f"{given} but expected one step an epoch at least: lower training.batch_size")
    return pairs // size


def on_all_negatives(objective: GradientObjective) -> GradientObjective:
    """The objective on the mean over all negatives; one whose aggregators count every negative stays as it is. Not a
    sum, for Adam's second moments would remember it for thousands of steps; relative similarities are 0.
    """

    def chooses(side: Side | None) -> bool:
        return side is not None and (side.selection is not None or side.aggregator in (MAX, MIN))

    value = objective.objective
    if not any(chooses(term.negatives) for term in value.terms):
        return objective
    alone = {r.symbol: 0 for r in value.relative}

    def unrelated(side: Side | None) -> Side | None:
        return side if side is None or side.weight is None else replace(side, weight=side.weight.subs(alone))

    def of_all(term: Term) -> Term:
        positives, negatives = unrelated(term.positives), unrelated(term.negatives)
        if negatives is not None and chooses(negatives):
            negatives = replace(negatives, aggregator=EACH_MEAN, selection=None)
        return replace(term, positives=positives, negatives=negatives)

    found = value.of_terms([of_all(term) for term in value.terms], relative=())
    return objective.replaced(
        **{name: getattr(found, name) for name in ("terms", "hyperparameters", "relative", "learned")}
    )


def surrogate(
    objective: GradientObjective | AcrossProcesses,
    outputs: Any,
    ids: Tensor,
    within: tuple[float, float] = (0.0, 0.0),
    texts: Tensor | None = None,
) -> Tensor:
    """The objective on embeddings of images and texts, or on scores of shape ``(images, texts)``.

            objective(X, Y) + within[0]·objective(X, X) + within[1]·objective(Y, Y)

    ``ids`` is the image of every pair, ``texts`` what the objective matches with it. Among embeddings of one kind, none
    is compared with itself. On `Mined` the objective acts on the embeddings, and on the scores of the chosen pairs.
    Scores, and the terms within one kind, are those of a process's own share of the batch.
    """
    own: GradientObjective = objective.objective if isinstance(objective, AcrossProcesses) else objective
    texts = ids if texts is None else texts
    if isinstance(outputs, Tensor):
        if any(within):
            raise ValueError(f"image_image, text_text: got {within} but expected 0, for the model gives no embeddings")
        return own.from_scores(outputs, own.match(ids, texts))
    total = objective(outputs[0], outputs[1], ids, texts)
    if isinstance(outputs, Mined):
        matches = own.match(ids, texts)
        total = total + own.from_scores(outputs.scores, Matches(matches.positives, matches.negatives & outputs.chosen))
    for factor, e in zip(within, outputs[:2], strict=True):
        if factor:
            total = total + factor * own.from_scores(e @ e.T, own.match(ids, texts).within)
    return total


def learned_of(objective: GradientObjective) -> dict[str, float]:
    """What the objective learns as it is now, by the names of a log's columns."""
    values = {} if objective.learned is None else objective.learned.values
    return {f"learned_{name}": value for name, value in values.items()}


def probe_weights(
    objective: GradientObjective, outputs: Any, ids: Tensor, texts: Tensor | None = None
) -> dict[str, float]:
    """The objective's weights on this batch, by the names of the probe's columns; of `Mined`, on the embeddings."""
    with torch.no_grad():
        scores = (outputs if isinstance(outputs, Tensor) else outputs[0] @ outputs[1].T).float()
    matches = objective.match(ids, ids if texts is None else texts)
    return statistics(scores, objective.weight_matrix(scores, matches), matches)


class _OnTensors(nn.Module):
    """A model whose texts come as tensors, which is what moves between processes; with what the objective learns."""

    def __init__(self, model: RetrievalModel, learned: nn.Module) -> None:
        super().__init__()
        self.model, self.learned = model, learned

    def forward(self, images: Tensor, tokens: Tensor, lengths: Tensor, ids: Tensor) -> Any:
        return self.model(images, Tokens(tokens, lengths), ids)


def _seed(seed: int, step: int, rank: int, device: torch.device) -> None:
    """As `torch.manual_seed`, which takes a millisecond to format the call stack where there is no GPU."""
    number = int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0]) >> 1
    torch.default_generator.manual_seed(number)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(number)


def tensorboard_log(folder: Path) -> Report:
    """What writes a run's numbers for TensorBoard, as ``epoch/rsum``, anew after the newest checkpoint."""
    newest_step = max(steps(folder / CHECKPOINTS), default=-1)
    package = import_extra("torch.utils.tensorboard", "tensorboard")
    writer = package.SummaryWriter(str(folder / TENSORBOARD), purge_step=newest_step + 1)

    def report(record: Mapping[str, Any]) -> None:
        for name, value in record.items():
            if name != "step" and isinstance(value, int | float):
                writer.add_scalar(f"{record['kind']}/{name}", value, record["step"])
        writer.flush()

    return report
