"""The ranks of `test_processes.py`: each trains one step in every way and writes the parameters' gradients.

python process_worker.py RANKS FOLDER SECONDS

All ranks are children of this one process. When one of them fails, or all have not ended in these seconds, the others
are ended too: no rank waits for one that is gone. What each was doing is in its log.
"""

import faulthandler
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import wait
from pathlib import Path

import torch
from torch import Tensor, distributed, nn

try:
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor
except ImportError:  # before torch 2.6, where it needs a GPU
    fully_shard = DTensor = None
from torch.nn.parallel import DistributedDataParallel

from goal_analysis.numeric.caching import GradientCache
from goal_analysis.numeric.engine.selections import DistanceWeighted
from goal_analysis.recombination.adapters.sentence_transformers import SentenceObjective
from goal_analysis.recombination.minings import Mining
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.parts import Parts
from goal_analysis.recombination.processes import AcrossProcesses
from goal_analysis.recombination.recombine import composed
from goal_analysis.recombination.text import parse_objective
from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.objective import Objective, Reduction
from losses_catalog import catalog, pair_weights, triplet_weights
from losses_catalog.weights import linear_pair, nca_triplet

PARTS = Parts(triplet_weights, pair_weights, catalog)
ROWS = 12
GRACE = 5.0
"""Seconds for what a rank says of itself, before it is ended."""


@dataclass(frozen=True)
class Case:
    """An objective, and how many of the rows every rank of a world of this size has; so many times as many rows."""

    shares: Callable[[int], list[int]]
    made: str | Callable[[], Objective] = "nca/linear"
    reduction: Reduction = Reduction.MEAN
    with_ids: bool = False
    dtype: torch.dtype = torch.float64
    autocast: bool = False
    times: int = 1

    def shared(self, ranks: int) -> list[int]:
        """How many of the rows every rank has."""
        return [self.times * share for share in self.shares(ranks)]

    def objective(self) -> GradientObjective:
        made = parse_objective(self.made, PARTS) if isinstance(self.made, str) else self.made()
        return GradientObjective(replace(made, reduction=self.reduction))

    @property
    def tolerance(self) -> float:
        if self.autocast:
            return 2e-2
        return 1e-12 if self.dtype == torch.float64 else 1e-5


def drawn_alike() -> Objective:
    """Negatives drawn from a generator that every rank seeds alike."""
    selection = DistanceWeighted(4, generator=torch.Generator().manual_seed(3))
    return composed(nca_triplet, linear_pair, Mining(EACH, EACH, selection))


def even(ranks: int) -> list[int]:
    return [ROWS // ranks] * ranks


def uneven(ranks: int) -> list[int]:
    return {1: [12], 2: [9, 3], 3: [2, 9, 1]}[ranks]


def with_an_empty_one(ranks: int) -> list[int]:
    return {1: [12], 2: [12, 0], 3: [5, 0, 7]}[ranks]


CASES = {
    "hardest": Case(even),
    "hardest, uneven": Case(uneven),
    "hardest, one rank without rows": Case(with_an_empty_one),
    "hardest, no rank with rows": Case(lambda ranks: [0] * ranks),
    "sum over the anchors, uneven": Case(uneven, reduction=Reduction.SUM),
    "a loss, uneven": Case(uneven, "circle"),
    "several texts of an image": Case(uneven, with_ids=True),
    "softmax-mined": Case(even, "nca/linear@softmax:10,12"),
    "top k, one rank without rows": Case(with_an_empty_one, "nca/linear@top_k:3"),
    "drawn alike": Case(uneven, lambda: drawn_alike()),
    "relative similarities, uneven": Case(uneven, "nca/relative_linear"),
    "float32": Case(uneven, dtype=torch.float32),
    "hardest, shared work": Case(uneven, times=44),
    "softmax-mined, shared work": Case(uneven, "nca/linear@softmax:10,12", with_ids=True, times=44),
    "a loss, shared work": Case(uneven, "circle", times=44),
    "autocast": Case(uneven, dtype=torch.float32, autocast=True),
}


class TwoTowers(nn.Module):
    """The smallest model of images and texts."""

    def __init__(self) -> None:
        super().__init__()
        self.images, self.texts = nn.Linear(5, 4), nn.Linear(6, 4)

    def forward(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        x, y = torch.tanh(self.images(images)), torch.tanh(self.texts(texts))
        return nn.functional.normalize(x, dim=1), nn.functional.normalize(y, dim=1)


class FromFeatures(nn.Module):
    """A model whose features have the embeddings already."""

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return features


def everything(dtype: torch.dtype = torch.float64, times: int = 1) -> tuple[TwoTowers, Tensor, Tensor, Tensor]:
    """Model, images, texts and ids, the same in every process."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    rows = times * ROWS
    model, images, texts = TwoTowers(), torch.randn(rows, 5), torch.randn(rows, 6)
    return model.to(dtype), images.to(dtype), texts.to(dtype), torch.arange(rows) % (5 * times)


def step(case: Case, objective: nn.Module, model: nn.Module, images: Tensor, texts: Tensor, ids: Tensor) -> Tensor:
    """Forward and backward; the value."""
    with torch.autocast("cpu", torch.bfloat16, enabled=case.autocast):
        value = objective(*model(images, texts), *((ids, ids) if case.with_ids else ()))
    value.backward()
    return value.detach()


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def sentences(objective: nn.Module, own: slice, labels: Tensor | None, columns: int = 3) -> tuple[Tensor, list[Tensor]]:
    """Value and gradients of the adapter's own rows: anchors, positives, further negatives."""
    generator = torch.Generator().manual_seed(1)
    given = [torch.randn(ROWS, 4, generator=generator)[own].requires_grad_() for _ in range(columns)]
    found = SentenceObjective(FromFeatures(), objective)(
        [{"sentence_embedding": e} for e in given], None if labels is None else labels[own]
    )
    return found.detach(), list(torch.autograd.grad(found, given))


def refused(objective: nn.Module, *given: Tensor | None) -> str:
    try:
        objective(*given)
    except ValueError as error:
        return str(error)
    return ""


def refusals(rank: int, ranks: int) -> dict[str, str]:
    """What this rank is told where the last one, or all but the first, are given something else."""
    x, ids = torch.eye(3), torch.arange(3)
    across = AcrossProcesses(CASES["hardest"].objective())
    last = rank == ranks - 1
    spoilt = x.clone()
    spoilt[1, 2] = torch.nan
    return {
        "not as many": refused(across, x, x[: 3 - rank]),
        "ids of some": refused(across, x, x, ids if rank == 0 else None),
        "other dims": refused(across, x[:, : 3 - rank], x[:, : 3 - rank]),
        "too few ids": refused(across, x, x, ids[: 3 - rank]),
        "not finite": refused(across, x, spoilt if last else x),
        "one axis": refused(across, x[0] if last else x, x),
        "another dtype": refused(across, x.float() if last else x, x),
        "whole numbers": refused(across, x.long() if last else x, x),
        "ids that are no numbers": refused(across, x, x, ids.double() if last else ids),
        "nothing": refused(across, x, x),
    }


def of_rank(rank: int, ranks: int) -> dict:
    """What this rank finds in every case."""
    found: dict = {}
    for name, case in CASES.items():
        print(name, flush=True)
        model, images, texts, ids = everything(case.dtype, case.times)
        shares = case.shared(ranks)
        own = slice(sum(shares[:rank]), sum(shares[: rank + 1]))
        objective = case.objective()
        wrapped = DistributedDataParallel(model)
        share = (images[own], texts[own], ids[own])
        found[name, "value"] = step(case, AcrossProcesses(objective), wrapped, *share)
        found[name, "ddp"] = gradients(model)

        model.zero_grad()
        step(case, AcrossProcesses(case.objective()), model, *share)
        for parameter in model.parameters():
            distributed.all_reduce(parameter.grad)
            parameter.grad /= ranks
        found[name, "averaged"] = gradients(model)

        model.zero_grad()
        step(case, case.objective(), wrapped, *share)
        found[name, "local negatives"] = gradients(model)
    for way, number in WAYS.items():
        print(way, flush=True)
        found[way] = in_chunks(way, slice(rank * ROWS // ranks, (rank + 1) * ROWS // ranks), number)
    shares = uneven(ranks)
    own = slice(sum(shares[:rank]), sum(shares[: rank + 1]))
    across = AcrossProcesses(CASES["hardest"].objective())
    for name, (labels, columns) in SENTENCES.items():
        print(name, flush=True)
        found[name] = (own.start, own.stop, *sentences(across, own, labels, columns))
    print("refusals", flush=True)
    found["refused"] = refusals(rank, ranks)
    return found


WAYS = {"ddp around the cache": 1, "cache around ddp": 1, "ddp, accumulated": 2}
if fully_shard is not None:
    WAYS |= {"fsdp": 1, "fsdp, accumulated": 2}
"""How parallel training and a gradient cache go together, and how many batches make a step."""


def in_chunks(way: str, own: slice, number: int) -> list[Tensor]:
    """The parameters' gradients of a step in chunks of two rows, this rank's share of every batch."""
    model, images, texts, _ = everything()
    wrapped: nn.Module = GradientCache(DistributedDataParallel(model) if way == "cache around ddp" else model, 2)
    if way.startswith("ddp"):
        wrapped = DistributedDataParallel(wrapped)
    elif way.startswith("fsdp"):
        assert fully_shard is not None
        fully_shard(model.images)
        fully_shard(model)
    across = AcrossProcesses(CASES["hardest"].objective())
    for last in range(number - 1, -1, -1):
        if way.startswith("fsdp"):
            model.set_requires_gradient_sync(last == 0)
        with wrapped.no_sync() if way.startswith("ddp") and last else nullcontext():
            across(*wrapped(images[own], texts[own])).backward()
    return [g.full_tensor() if DTensor and isinstance(g, DTensor) else g for g in gradients(model)]


SENTENCES = {
    "pairs of sentences": (None, 2),
    "further negatives": (None, 3),
    "labels and further negatives": (torch.arange(ROWS) % 5, 3),
}


def main(rank: int, ranks: int, folder: Path, seconds: float) -> None:
    log = (folder / f"{rank}.log").open("w")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    faulthandler.dump_traceback_later(seconds, exit=True, file=log)
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=ranks,
        timeout=timedelta(seconds=2 * seconds),  # by then the traceback is in the log
    )
    distributed.barrier()
    torch.save(of_rank(rank, ranks), folder / f"{rank}.pt")
    distributed.barrier()  # none leaves while others still talk
    distributed.destroy_process_group()


def start(ranks: int, folder: Path, seconds: float) -> int:
    """How many ranks failed."""
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")  # a fork imports nothing
    running = [context.Process(target=main, args=(rank, ranks, folder, seconds)) for rank in range(ranks)]
    for process in running:
        process.start()
    end = time.monotonic() + seconds + GRACE
    waiting = list(running)
    while waiting and time.monotonic() < end and not any(process.exitcode for process in running):
        wait([process.sentinel for process in waiting], timeout=max(0.0, end - time.monotonic()))
        waiting = [process for process in waiting if process.exitcode is None]
    for process in waiting:
        process.kill()
    for process in running:
        process.join()
    return sum(process.exitcode != 0 for process in running)


if __name__ == "__main__":
    sys.exit(start(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
