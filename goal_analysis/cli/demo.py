"""``goal-analyze demo``: the main job on what the package embeds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from goal_analysis.cli.compare import compare
from goal_analysis.cli.list import print_summary, summaries
from goal_analysis.cli.objectives import objective_of
from goal_analysis.cli.tables import print_table
from goal_analysis.cli.verify import DTYPES, made_up_batches, print_verifications, verifications
from goal_analysis.writing import write_whole
from losses_catalog import catalog

OBJECTIVES = ("hinge/constant", "nca(tau=12)/constant@softmax:12", "nca/linear", "nca_twin/linear@top_k:5")
"""A baseline, InfoNCE, one that is the gradient of no loss, and its twin that is."""

EXPORTED = OBJECTIVES[2]
"""The objective that is exported and trained with."""

STEPS = 100
"""Steps of training."""

RETRIEVING = (
    "hinge/constant",
    "nca(tau=12)/constant@softmax:12",
    "nca(tau=12)/linear@softmax:12",
    "nca(tau=12)/sigmoid@softmax:12",
)
"""VSE++'s loss as the baseline, InfoNCE, and InfoNCE's weights with other pair weights."""

SMALL = (
    "data.train=1000",
    "data.dev=200",
    "data.test=1",
    "model.image.width=16",
    "training.epochs=8",
    "training.epochs_on_all=3",
    "training.batch_size=100",
)
"""Settings over the preset `scenes`, for half a minute a run; every run counts by its best epoch."""


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write.")] = Path("demo"),
    processes: Annotated[int, typer.Option("--jobs", min=1, help="Runs at once, each on one thread.")] = 2,
) -> None:
    """Derive and verify the weights of the catalog; compose objectives, export one, train with it, and compare four.

    What was trained is not trained again, so the same command goes on after any end.

    \b
    goal-analyze demo -o demo
    """
    start = time.perf_counter()
    typer.echo("Deriving the weights of the catalog")
    derived = list(summaries(catalog))
    print_summary(derived)
    _write(output / "catalog.json", derived)
    typer.echo("Verifying them against autograd")
    verified = []
    for record in verifications(catalog, made_up_batches(), DTYPES[:3]):
        verified.append(record)
        typer.echo(f"  {len(verified)}/{len(catalog)} {record['loss']}")
    print_verifications(verified)
    _write(output / "verification.json", verified)
    sound = recombine(output) & retrieve_scenes(output / "retrieval", processes)
    typer.echo(f"Done in {time.perf_counter() - start:.0f} s; written to {output}/")
    raise typer.Exit(0 if sound and all(record["verified"] for record in verified) else 1)


def recombine(output: Path) -> bool:
    """Compose objectives, export one, have its file check itself, and train with it.

    Args:
        output: the folder to write to.

    Returns:
        Whether the file passed its own check and training found the pairs.
    """
    from goal_analysis.recombination.export import export

    typer.echo("Composing objectives")
    described = [{"objective": text, **objective_of(text).describe().to_json()} for text in OBJECTIVES]
    rows = [{**record, "loss": record["loss"] or ""} for record in described]
    print_table(("objective", "integrable", "loss"), rows, wrapped=("loss",))
    _write(output / "objectives.json", described)
    file = output / "objective.py"
    typer.echo(f"Exporting {EXPORTED} to {file}, which checks itself")
    write_whole(file, export(objective_of(EXPORTED)))
    checked = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=False)
    typer.echo("".join(f"  {line}\n" for line in (checked.stdout + checked.stderr).splitlines()), nl=False)
    typer.echo(f"Training two linear towers with {EXPORTED} for {STEPS} steps on made-up pairs")
    before, after = trained(EXPORTED)
    typer.echo(f"  Recall@1 of the right text among 128: {before:.2f} before, {after:.2f} after")
    return checked.returncode == 0 and after > 0.5


def retrieve_scenes(
    output: Path,
    processes: int,
    seeds: int = 3,
    settings: Sequence[str] = SMALL,
    objectives: Sequence[str] = RETRIEVING,
) -> bool:
    """Train objectives from the pixels of the embedded scenes over seeds, and print how well each retrieves.

    Args:
        output: the folder of the runs; those that are done there are not run again.
        processes: runs at once.
        seeds: 0 to so many, of every objective.
        settings: over those of the preset.
        objectives: the first is the baseline.

    Returns:
        Whether all runs ended well.
    """
    typer.echo(f"Training {len(objectives)} objectives from pixels over {seeds} seeds")
    try:
        compare(
            presets=["scenes"],
            objectives=list(objectives),
            seeds=seeds,
            assignments=list(settings),
            output=output,
            processes=processes,
        )
    except typer.Exit as end:
        return end.exit_code == 0
    return True


def trained(text: str) -> tuple[float, float]:
    """Recall@1 before and after training two linear towers on made-up pairs, with the mean over the anchors."""
    import torch
    from torch.nn.functional import normalize

    from goal_analysis.symbolic.loss import Reduction

    source = torch.Generator().manual_seed(0)
    images = torch.randn(128, 16, generator=source)
    texts = images @ torch.randn(16, 24, generator=source) + 0.1 * torch.randn(128, 24, generator=source)
    towers = [(0.1 * torch.randn(dim, 8, generator=source)).requires_grad_() for dim in (16, 24)]
    objective = objective_of(text, reduction=Reduction.MEAN)
    optimizer = torch.optim.Adam(towers, 0.02)

    def embedded() -> tuple[torch.Tensor, torch.Tensor]:
        return normalize(images @ towers[0], dim=1), normalize(texts @ towers[1], dim=1)

    def recall() -> float:
        x, y = embedded()
        return float(((x @ y.T).argmax(1) == torch.arange(len(x))).float().mean())

    before = recall()
    for _ in range(STEPS):
        optimizer.zero_grad()
        objective(*embedded()).backward()
        optimizer.step()
    return before, recall()


def _write(path: Path, records: Sequence[Mapping[str, object]]) -> None:
    write_whole(path, json.dumps(records, ensure_ascii=False, indent=2) + "\n")
