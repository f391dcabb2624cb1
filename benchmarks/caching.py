"""What gradient caching costs and saves: memory and time of a training step, by the size of the batch.

    python benchmarks/caching.py [--chunk 32] [--most 1024]

The encoder is a transformer of four layers, 256 wide, on 32 tokens with dropout (3.2 million parameters), the objective
InfoNCE between two passes through it. Every figure is that of a process of its own: the most memory beyond what it had
before the step, and the median seconds of three steps on one thread.
"""

from __future__ import annotations

import argparse
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


def measure(batch: int, chunk: int) -> None:
    """Print MiB and seconds of a step; without a cache where the chunk is 0."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Encoder()
    encode = GradientCache(model, chunk) if chunk else model
    tokens = torch.randint(1000, (2, batch, TOKENS))

    def step() -> float:
        start = time.perf_counter()
        scores = 20 * encode(tokens[0]) @ encode(tokens[1]).T
        cross_entropy(scores, torch.arange(batch)).backward()
        return time.perf_counter() - start

    Encoder()(tokens[0, :2]).sum().backward()  # what every process loads
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = statistics.median(step() for _ in range(3))
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, seconds)


def main() -> None:
    """Print one row for each size of the batch."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--chunk", type=int, default=32)
    options.add_argument("--most", type=int, default=1024, help="the largest batch")
    options.add_argument("--one", type=int, nargs=2, metavar=("BATCH", "CHUNK"), help="one figure, in this process")
    given = options.parse_args()
    if given.one:
        measure(*given.one)
        return
    print(f"{'batch':>6} {'MiB':>7} {'MiB cached':>11} {'s':>6} {'s cached':>9}")
    batch = 2 * given.chunk
    while batch <= given.most:
        found = []
        for chunk in (0, given.chunk):
            command = [sys.executable, __file__, "--one", str(batch), str(chunk)]
            found.append([float(word) for word in subprocess.check_output(command, text=True).split()])
        (alone, slow), (cached, twice) = found
        print(f"{batch:>6} {alone:>7.0f} {cached:>11.0f} {slow:>6.2f} {twice:>9.2f}", flush=True)
        batch *= 2


if __name__ == "__main__":
    main()
