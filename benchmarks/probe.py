"""What a gradient probe costs: its share of the time of a training, in each way that it is called.

    python benchmarks/probe.py [--steps 60] [--batch 256]

The step is that of a small image-text model on one thread: an MLP over pooled image features, a mean of word
embeddings with an MLP over them (4.2 million parameters), InfoNCE over the batch, AdamW. The clock runs within every
call of the probe and of its callback, what they log included, and counts the seconds of the processor, so that a busy
machine touches both sides of the ratio. The callbacks log to TensorBoard; Lightning's is called as Lightning does.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.utils.tensorboard import SummaryWriter

from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.probe import GradientProbe
from goal_analysis.recombination.adapters import lightning
from goal_analysis.recombination.objective import GradientObjective
from losses_catalog.info_nce import info_nce_loss

FEATURES, WORDS, WIDTH, VOCABULARY, LENGTH = 1280, 300, 1024, 4000, 12


class Clock:
    """The processor's seconds within calls; a call within a call counts once."""

    def __init__(self) -> None:
        self.seconds, self.inside = 0.0, False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of the block."""
        if self.inside:
            yield
            return
        self.inside, start = True, time.process_time()
        try:
            yield
        finally:
            self.inside, self.seconds = False, self.seconds + time.process_time() - start

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A call whose time counts, and that of what it returns to be called."""

        def inner(*given: Any, **named: Any) -> Any:
            with self.running():
                found = call(*given, **named)
            return self.timed(found) if callable(found) and not isinstance(found, nn.Module | GradientProbe) else found

        return inner


class Towers(nn.Module):
    """An image side, a text side and an objective; or scores that a probe watches."""

    def __init__(self, probe: GradientProbe | None = None) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 512))
        self.words = nn.EmbeddingBag(VOCABULARY, WORDS, mode="mean")
        self.text = nn.Sequential(nn.Linear(WORDS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 512))
        self.objective, self.probe = GradientObjective(info_nce_loss.with_settings({"tau": 12})), probe

    def forward(self, images: Tensor, texts: Tensor) -> dict[str, Tensor]:
        """The surrogate of a batch, as the trainer of transformers takes it."""
        x, y = normalize(self.image(images), dim=1), normalize(self.text(self.words(texts)), dim=1)
        if self.probe is None:
            return {"loss": self.objective(x, y)}
        s, target = x @ y.T, torch.arange(len(x))
        self.probe.watch(s, Matches.of_pairs(len(x)))
        return {"loss": cross_entropy(12 * s, target) + cross_entropy(12 * s.T, target)}


def share(way: str, steps: int, batch: int, every: int | None) -> float:
    """The share of a training's time that the probe takes."""
    clock, probe = Clock(), GradientProbe() if every is None else GradientProbe(every=every)
    for name in ("watch", "take", "_look", "_recorder"):
        setattr(probe, name, clock.timed(getattr(probe, name)))
    model = Towers(probe if way == "watch" else None)
    if way != "watch":
        probe.follow(model.objective)
    rows = [{"images": torch.randn(FEATURES), "texts": torch.randint(VOCABULARY, (LENGTH,))} for _ in range(4 * batch)]
    start = time.process_time()
    if way == "transformers":
        with_transformers(model, probe, clock, rows, steps, batch)
    else:
        in_a_loop(model, probe, clock, rows, steps, batch, called=way == "Lightning")
    return clock.seconds / (time.process_time() - start - clock.seconds)


def in_a_loop(
    model: Towers, probe: GradientProbe, clock: Clock, rows: list[dict], steps: int, batch: int, called: bool
) -> None:
    """A loop of one's own, or one that calls the callback as Lightning does."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    with SummaryWriter(tempfile.mkdtemp()) as writer:

        def log(found: dict[str, float], step: int) -> None:
            for name, value in found.items():
                writer.add_scalar(name, value, step)

        trainer = SimpleNamespace(global_step=0, loggers=[SimpleNamespace(log_metrics=log)])
        callback = lightning.ProbeCallback(probe)
        for step in range(steps):
            given = rows[step % 4 * batch : (step % 4 + 1) * batch]
            images, texts = (torch.stack([row[name] for row in given]) for name in ("images", "texts"))
            if called:
                clock.timed(callback.on_train_batch_start)(trainer, model, None, step)
            optimiser.zero_grad()
            model(images, texts)["loss"].backward()
            optimiser.step()
            trainer.global_step += 1
            with clock.running():
                if called:
                    callback.on_train_batch_end(trainer, model, None, None, step)
                else:
                    log(probe.take(), step)


def with_transformers(
    model: Towers, probe: GradientProbe, clock: Clock, rows: list[dict], steps: int, batch: int
) -> None:
    """The trainer of transformers."""
    from transformers import Trainer, TrainingArguments

    from goal_analysis.recombination.adapters.transformers import ProbeCallback

    arguments = TrainingArguments(
        tempfile.mkdtemp(),
        max_steps=steps,
        per_device_train_batch_size=batch,
        use_cpu=True,
        save_strategy="no",
        report_to=["tensorboard"],
        disable_tqdm=True,
    )
    trainer = Trainer(model, arguments, train_dataset=rows)
    callback = ProbeCallback(probe, trainer.log)
    for name in ("on_step_begin", "on_step_end"):
        setattr(callback, name, clock.timed(getattr(callback, name)))
    trainer.add_callback(callback)
    with redirect_stdout(StringIO()):
        trainer.train()


def main() -> None:
    """Print one row for each way, at the default interval and at every step."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, default=60, help="of each training")
    options.add_argument("--batch", type=int, default=256)
    given = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{'':>12} {'by default':>12} {'every step':>12}")
    for way in ("watch", "follow", "transformers", "Lightning"):
        share(way, 3, given.batch, 1)
        found = (share(way, given.steps, given.batch, every) for every in (None, 1))
        print(f"{way:>12} " + " ".join(f"{one:12.1%}" for one in found))


if __name__ == "__main__":
    main()
