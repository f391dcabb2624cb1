"""What a gradient probe costs: training steps with and without it, alternating, as ratios with quartiles.

    python benchmarks/probe.py [--steps 60] [--batch 256]

The step is that of a small image-text model on one thread: an MLP over pooled image features, a mean of word
embeddings with an MLP over them (4.2 million parameters), InfoNCE over the batch, AdamW. Each ratio is that
of two neighbouring steps on the same batch, in alternating order, so that a busy machine touches both.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.probe import GradientProbe
from goal_analysis.recombination.objective import GradientObjective
from losses_catalog.info_nce import info_nce_loss

FEATURES, WORDS, WIDTH, VOCABULARY, LENGTH = 1280, 300, 1024, 4000, 12


def encoders() -> nn.ModuleDict:
    """An image side and a text side."""
    return nn.ModuleDict(
        {
            "image": nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 512)),
            "words": nn.EmbeddingBag(VOCABULARY, WORDS, mode="mean"),
            "text": nn.Sequential(nn.Linear(WORDS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 512)),
        }
    )


def training_step(batch: int, follows: bool) -> Callable[[GradientProbe | None], float]:
    """A function that makes one step and returns its CPU seconds; the probe follows an objective, or watches scores."""
    model = encoders()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    images = torch.randn(batch, FEATURES)
    texts = torch.randint(VOCABULARY, (batch, LENGTH))
    matches, target = Matches.of_pairs(batch), torch.arange(batch)
    objectives = [GradientObjective(info_nce_loss.with_settings({"tau": 12})) for _ in range(2)]
    followed: list[GradientProbe] = []

    def loss(probe: GradientProbe | None) -> Tensor:
        x, y = normalize(model["image"](images), dim=1), normalize(model["text"](model["words"](texts)), dim=1)
        if follows:
            return objectives[probe is not None](x, y)
        s = x @ y.T
        if probe is not None:
            probe.watch(s, matches)
        return cross_entropy(12 * s, target) + cross_entropy(12 * s.T, target)

    def step(probe: GradientProbe | None) -> float:
        if follows and probe is not None and not followed:
            probe.follow(objectives[1])
            followed.append(probe)
        start = time.process_time()
        optimiser.zero_grad()
        loss(probe).backward()
        optimiser.step()
        return time.process_time() - start

    return step


def ratios(batch: int, steps: int, every: int, anchors: int | None, follows: bool) -> pd.Series:
    """Seconds with the probe over seconds without, one ratio per `every` pairs of steps."""
    step, found = training_step(batch, follows), []
    with GradientProbe(every=every, anchors=anchors) as probe:
        for _ in range(3):
            step(None)
            step(probe)
        for turn in range(max(3, steps // every)):
            seconds = {True: 0.0, False: 0.0}
            for inner in range(every):
                for watched in (True, False) if (turn + inner) % 2 else (False, True):
                    seconds[watched] += step(probe if watched else None)
            found.append(seconds[True] / seconds[False])
    return pd.Series(found)


def main() -> None:
    """Print one row for each way to sample."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, default=60, help="pairs of steps for each row")
    options.add_argument("--batch", type=int, default=256)
    given = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    step = training_step(given.batch, follows=False)
    alone = pd.Series([step(None) for _ in range(12)][2:]).median()
    print(f"batch {given.batch}, {1000 * alone:.0f} ms a step without a probe")
    print(f"{'':>7} {'every':>6} {'anchors':>8} {'25 %':>7} {'median':>7} {'75 %':>7}")
    for follows, every, anchors in itertools.product((False, True), (1, 10), (64, None)):
        q = ratios(given.batch, given.steps, every, anchors, follows).quantile([0.25, 0.5, 0.75])
        print(
            f"{'follow' if follows else 'watch':>7} {every:>6} {anchors or 'all':>8} "
            + " ".join(f"{v:7.3f}" for v in q)
        )


if __name__ == "__main__":
    main()
