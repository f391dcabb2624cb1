"""A training step with an objective against the same step without one, and a whole comparison, on any device.

    python benchmarks/retrieval.py --device cuda [--data DIR/NAME]
    python benchmarks/retrieval.py --device cpu --tiny

Both steps embed a batch and go back through the model and the optimizer; without an objective, the gradient of the
embeddings is a constant. They alternate, so what else the machine does meets both. It prints medians with quartiles in
milliseconds and the ratio, in float32 and in bfloat16, and then the table of ``goal-analyze compare``.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from goal_analysis.api.objectives import objective as trained_objective
from goal_analysis.vse.models.model import build_model
from goal_analysis.vse.models.text import Vocabulary

OBJECTIVES = ("vse_pp", "nca/linear", "info_nce(tau=12)")
LENGTH = 12
"""Words of every caption."""


@dataclass(frozen=True)
class Size:
    """How large a model, and how many steps are timed."""

    batch: int
    regions: int
    features: int
    dim: int
    words: int
    steps: int


FULL = Size(batch=1024, regions=36, features=2048, dim=1024, words=10_000, steps=50)
TINY = Size(batch=8, regions=3, features=12, dim=8, words=20, steps=2)


def step_times(size: Size, device: str, precision: torch.dtype, text: str) -> dict[str, object]:
    """The time of a step of VSE∞ with and without the objective."""
    torch.manual_seed(0)
    words = tuple(f"w{k}" for k in range(size.words))
    vocabulary = Vocabulary(words, (1,) * size.words, 1)
    config = {
        "image": {"name": "regions", "dim": size.dim, "hidden": size.dim},
        "text": {"name": "recurrent"},
    }
    model = build_model(config, (size.regions, size.features), vocabulary).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    objective = trained_objective(text)
    images = torch.randn(size.batch, size.regions, size.features, device=device)
    rng = np.random.default_rng(0)
    tokens = vocabulary([" ".join(rng.choice(words, LENGTH)) for _ in range(size.batch)]).to(device)
    ids = torch.arange(size.batch, device=device)
    mixed = precision is not torch.float32

    def step(trains: bool) -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        begun = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast(device, precision) if mixed else nullcontext():
            x, y = model(images, tokens)
        value = objective(x, y, ids, ids) if trains else (x.sum() + y.sum()) / size.batch
        value.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - begun)

    for trains in (True, False) * 3:
        step(trains)
    times = np.array([(step(True), step(False)) for _ in range(size.steps)])
    with_, without = (np.percentile(times[:, k], [25, 50, 75]).round(2).tolist() for k in (0, 1))
    kind = str(precision).removeprefix("torch.")
    ratio = round(float(np.median(times[:, 0] / times[:, 1])), 3)
    return {"objective": text, "precision": kind, "with_ms": with_, "without_ms": without, "ratio": ratio}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--data", default="scenes", help="of the comparison")
    parser.add_argument(
        "--preset", default=None, help="of the comparison; by default scenes, or bag_of_words with data"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="runs of the comparison at once")
    parser.add_argument("--no-comparison", action="store_true", help="only the steps")
    parser.add_argument("--tiny", action="store_true", help="only to see that it runs")
    given = parser.parse_args()
    torch.set_float32_matmul_precision("highest")
    name = torch.cuda.get_device_name() if given.device == "cuda" else platform.processor() or platform.machine()
    size = TINY if given.tiny else FULL
    print(f"{name}, torch {torch.__version__}, {size}")
    rows = [
        step_times(size, given.device, precision, text)
        for precision in (torch.float32, torch.bfloat16)
        for text in OBJECTIVES
    ]
    print(pd.DataFrame(rows).to_string(index=False))
    if given.no_comparison:
        return

    import typer

    from goal_analysis.cli.studies import compare

    preset = given.preset or ("scenes" if given.data == "scenes" else "bag_of_words")
    small = ["data.train=40", "data.dev=20", "data.test=1", "training.epochs=1", "training.batch_size=20"]
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        try:
            compare(
                presets=[preset],
                objectives=list(OBJECTIVES),
                data=None if given.data == "scenes" else given.data,
                seeds=2 if given.tiny else given.seeds,
                assignments=small if given.tiny else [],
                output=Path(folder),
                jobs=given.jobs,
            )
        except typer.Exit as end:
            if end.exit_code:
                raise SystemExit(end.exit_code) from None
        print(f"compared in {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
