"""What gradient caching costs and saves: memory and time of a training step, by the size of the batch.

    python benchmarks/caching.py [--chunk 32] [--most 1024]

The encoder is a transformer of four layers, 256 wide, on 32 tokens with dropout (3.2 million parameters), the objective
InfoNCE between two passes through it. Memory is that of a process of its own for each figure, beyond what it had before
the step; time is the median ratio of neighbouring steps on one thread.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from goal_analysis.numeric.caching import GradientCache

WIDTH, TOKENS, DIM = 256, 32, 128
EXACT = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""What is freed goes back to the system, so that the most memory is what was asked for."""


class Encoder(nn.Module):
    """Unit vectors of texts."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, batch_first=True)
        self.words, self.layers = nn.Embedding(1000, WIDTH), nn.TransformerEncoder(layer, 4)
        self.last = nn.Linear(WIDTH, DIM)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Shape ``(texts, dim)``."""
        return normalize(self.last(self.layers(self.words(tokens)).mean(1)), dim=1)


def step(batch: int, chunk: int, model: Encoder) -> float:
    """A forward and a backward pass, without a cache where the chunk is 0; their seconds."""
    encode = GradientCache(model, chunk) if chunk else model
    tokens = torch.randint(1000, (2, batch, TOKENS))
    start = time.perf_counter()
    scores = 20 * encode(tokens[0]) @ encode(tokens[1]).T
    cross_entropy(scores, torch.arange(batch)).backward()
    return time.perf_counter() - start


def most_memory(batch: int, chunk: int) -> float:
    """MiB that a step takes beyond what the process had before it."""
    model = Encoder()
    step(2, 1, model)  # what every process loads
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step(batch, chunk, model)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    """Print one row for each size of the batch, and what a cached step takes beside one that is not."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--chunk", type=int, default=32)
    options.add_argument("--most", type=int, default=1024, help="the largest batch")
    options.add_argument("--one", type=int, nargs=2, metavar=("BATCH", "CHUNK"), help="one figure, in this process")
    given = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if given.one:
        print(most_memory(*given.one))
        return
    print(f"{'batch':>6} {'MiB':>7} {f'MiB in chunks of {given.chunk}':>20}")
    batch = 2 * given.chunk
    while batch <= given.most:
        found = [
            float(subprocess.check_output([sys.executable, __file__, "--one", str(batch), str(chunk)], env=EXACT))
            for chunk in (0, given.chunk)
        ]
        print(f"{batch:>6} {found[0]:>7.0f} {found[1]:>20.0f}", flush=True)
        batch *= 2
    model, batch = Encoder(), 2 * given.chunk
    ratios = []
    for turn in range(12):
        seconds = {chunk: step(batch, chunk, model) for chunk in ((0, given.chunk), (given.chunk, 0))[turn % 2]}
        ratios.append(seconds[given.chunk] / seconds[0])
    print(f"batch {batch}: {statistics.median(ratios[2:]):.2f} times the time")


if __name__ == "__main__":
    main()
