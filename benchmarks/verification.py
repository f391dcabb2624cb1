"""The weight matrix and the embeddings' gradients on large batches, on any device, against autograd in float64.

    python benchmarks/verification.py --device cuda --sizes 1024 4096 16384 --write

For every loss of the catalog, N images with one text each, and every dtype, the table has the largest relative error
of W = ∂L/∂S (by the chain rule on the derived pieces) and of W·Y against float64 autograd of the loss at the same,
rounded scores, on the same device. ``--write`` puts it into benchmarks/results/ with the device's and torch's names.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize

from goal_analysis.files import write_whole
from goal_analysis.numeric.functions import loss_value, weights_of_scores
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import scores
from goal_analysis.symbolic.objective import Objective
from losses_catalog import catalog

RESULTS = Path(__file__).parent / "results"
DTYPES = (torch.float64, torch.float32, torch.bfloat16)


def rows(sizes: list[int], dim: int, device: str) -> Iterator[dict[str, object]]:
    """One record a size and loss, with an error for every dtype."""
    for n in sizes:
        x, y = (normalize(torch.randn(n, dim, dtype=torch.float64, device=device), dim=1) for _ in range(2))
        y = normalize(x + 2 * y, dim=1)  # matching pairs are more alike than others
        matches = Matches.of_pairs(n)
        matches = Matches(matches.positives.to(device), matches.negatives.to(device))
        for loss in catalog:
            start = time.perf_counter()
            record: dict[str, object] = {"N": n, "loss": loss.name}
            for dtype in DTYPES:
                name = str(dtype).removeprefix("torch.")
                try:
                    of_w, of_x = errors(loss, x.to(dtype), y.to(dtype), matches)
                    record |= {f"W {name}": of_w, f"W·Y {name}": of_x}
                except torch.OutOfMemoryError:
                    record |= {f"W {name}": float("nan"), f"W·Y {name}": float("nan")}
            record["seconds"] = time.perf_counter() - start
            print(*record.values(), file=sys.stderr, flush=True)
            yield record


def errors(loss: Objective, x: Tensor, y: Tensor, matches: Matches) -> tuple[float, float]:
    """The relative errors of W and of W·Y."""
    similarities = scores(loss.similarity, x, y).to(x.dtype)
    w = weights_of_scores(loss, similarities, matches)
    exact = similarities.double().requires_grad_()
    (reference,) = torch.autograd.grad(loss_value(loss, exact, matches), exact)
    of_w = relative(w.double(), reference)
    return of_w, relative(w.to(x.dtype).double() @ y.double(), reference @ y.double())


def relative(computed: Tensor, reference: Tensor) -> float:
    """The largest error over the largest magnitude."""
    return ((computed - reference).abs().max() / reference.abs().max().clamp(min=1e-300)).item()


def device_name(device: str) -> str:
    """What the device calls itself."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine() + " CPU"


def main() -> None:
    """Print the table, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 4096, 16384])
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("highest")
    frame = pd.DataFrame(rows(arguments.sizes, arguments.dim, arguments.device))
    heading = f"{device_name(arguments.device)}, torch {torch.__version__}, D = {arguments.dim}"
    cells = frame.map(lambda value: f"{value:.2g}" if isinstance(value, float) else str(value))
    lines = [
        "| " + " | ".join(row) + " |"
        for row in [list(cells.columns), ["---"] * len(cells.columns), *cells.values.tolist()]
    ]
    table = "\n".join([f"# Weights on large batches: {heading}", "", "Largest relative errors.", "", *lines]) + "\n"
    print(table)
    if arguments.write:
        kind = "cuda" if arguments.device.startswith("cuda") else "cpu"
        write_whole(RESULTS / f"verification-{kind}.md", table)


if __name__ == "__main__":
    main()
