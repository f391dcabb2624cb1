"""One rank of `test_processes.py`: trains one step in every way and writes the parameters' gradients.

python process_worker.py RANK RANKS FOLDER
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from goal_analysis.numeric.mining import Miner, Soft
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.processes import AcrossProcesses
from goal_analysis.symbolic.loss import Reduction
from losses_catalog.weights import linear_pair, nca_triplet, relative_linear_pair

ROWS = 12


@dataclass(frozen=True)
class Case:
    """An objective, and how many of the rows every rank of a world of this size has."""

    shares: Callable[[int], list[int]]
    mining: Miner | None = None
    reduction: Reduction = Reduction.SUM
    relative: bool = False
    with_ids: bool = False

    def objective(self) -> GradientObjective:
        pairs = relative_linear_pair if self.relative else linear_pair
        return GradientObjective(nca_triplet, pairs, self.mining, reduction=self.reduction)


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
    "mean over the anchors, uneven": Case(uneven, reduction=Reduction.MEAN),
    "several texts of an image": Case(uneven, with_ids=True),
    "softmax-mined": Case(even, Soft(10.0, 12.0)),
    "relative similarities, uneven": Case(uneven, relative=True),
}


class TwoTowers(nn.Module):
    """The smallest model of images and texts."""

    def __init__(self) -> None:
        super().__init__()
        self.images, self.texts = nn.Linear(5, 4), nn.Linear(6, 4)

    def forward(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        x, y = torch.tanh(self.images(images)), torch.tanh(self.texts(texts))
        return nn.functional.normalize(x, dim=1), nn.functional.normalize(y, dim=1)


def everything() -> tuple[TwoTowers, Tensor, Tensor, Tensor]:
    """Model, images, texts and ids, the same in every process."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    model = TwoTowers()
    return model, torch.randn(ROWS, 5), torch.randn(ROWS, 6), torch.arange(ROWS) % 5


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def refused(objective: AcrossProcesses, images: Tensor, texts: Tensor, ids: Tensor | None) -> str:
    try:
        objective(images, texts, ids)
    except ValueError as error:
        return str(error)
    return ""


def main(rank: int, ranks: int, folder: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    found: dict = {}
    for name, case in CASES.items():
        model, images, texts, ids = everything()
        shares = case.shares(ranks)
        own = slice(sum(shares[:rank]), sum(shares[: rank + 1]))
        objective = case.objective()
        across = AcrossProcesses(objective)
        known = (ids[own], ids[own]) if case.with_ids else (None, None)

        wrapped = DistributedDataParallel(model)
        value = across(*wrapped(images[own], texts[own]), *known)
        value.backward()
        found[name, "value"] = value.detach()
        found[name, "ddp"] = gradients(model)

        model.zero_grad()
        across(*model(images[own], texts[own]), *known).backward()
        for parameter in model.parameters():
            distributed.all_reduce(parameter.grad)
            parameter.grad /= ranks
        found[name, "averaged"] = gradients(model)

        model.zero_grad()
        objective(*wrapped(images[own], texts[own]), *known).backward()
        found[name, "local negatives"] = gradients(model)

    x = torch.eye(3)
    found["refused"] = [
        refused(across, x, x[: 3 - rank], None),
        refused(across, x, x, torch.arange(3) if rank == 0 else None),
        refused(across, x[:, : 3 - rank], x[:, : 3 - rank], None),
        refused(across, x, x, torch.arange(3 - rank)),
    ]
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
