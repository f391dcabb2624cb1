"""What a rank computes of a batch that several share: CPU seconds of its step over those of one process alone.

    python benchmarks/processes.py [--rows 4096] [--dim 1024] [--ranks 2 4] [--repeats 5]

Every rank is a process with one thread, and they talk through gloo. In turn each makes a step of its rows, forward and
backward, and a step of all rows by itself; the number is the median ratio of the slowest rank, times the ranks: 1 is
work that is shared without loss.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch import distributed as dist
from torch import multiprocessing as mp
from torch.nn.functional import normalize

import goal_analysis as ga
from goal_analysis.recombination.processes import AcrossProcesses

OBJECTIVES = ("vse_pp", "nca/linear", "info_nce", "nca/linear@softmax:10", "sup_con", "multi_similarity", "circle")


def seconds(objective: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    """CPU seconds of one step."""
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    start = time.process_time()
    objective(x, y).backward()
    return time.process_time() - start


def of_rank(rank: int, given: argparse.Namespace, ranks: int, folder: str) -> None:
    """Write the ratios of one rank."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    generator = torch.Generator().manual_seed(0)
    x, y = (normalize(torch.randn(given.rows, given.dim, generator=generator), dim=1) for _ in range(2))
    own = slice(rank * given.rows // ranks, (rank + 1) * given.rows // ranks)
    found: dict[str, float] = {}
    for name in OBJECTIVES:
        alone = ga.objective(name)
        across = AcrossProcesses(alone)
        ratios = []
        for _ in range(given.repeats + 1):
            dist.barrier()
            ratios.append(seconds(across, x[own], y[own]) / seconds(alone, x, y))
        found[name] = statistics.median(ratios[1:])
    pd.Series(found).to_json(Path(folder, f"{rank}.json"))
    dist.barrier()
    dist.destroy_process_group()


def main() -> None:
    """Print one row for each objective."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", type=int, default=4096)
    options.add_argument("--dim", type=int, default=1024)
    options.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    options.add_argument("--repeats", type=int, default=5)
    given = options.parse_args()
    columns = {}
    for ranks in given.ranks:
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(of_rank, (given, ranks, folder), nprocs=ranks)
            of_ranks = [pd.read_json(path, typ="series") for path in sorted(Path(folder).glob("*.json"))]
        columns[f"{ranks} ranks"] = ranks * pd.concat(of_ranks, axis=1).max(axis=1)
    print(f"N = {given.rows}, D = {given.dim}, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    print(pd.DataFrame(columns).round(2).to_string())


if __name__ == "__main__":
    main()
