"""The demo's objectives: composed, one exported as a file, and trained with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import typer

from goal_analysis.cli.options import objective_of, print_table
from goal_analysis.files import write_json, write_whole

OBJECTIVES = ("vse_pp", "info_nce(scale=12)", "nca/linear", "nca_twin/linear@top_k:5", "circle(gamma=80)/linear")
"""A baseline, InfoNCE, one that is the gradient of no loss, and its twin that is."""

EXPORTED = OBJECTIVES[2]
"""The objective that is exported and trained with."""

STEPS = 100
"""Steps of training."""


def recombined(output: Path) -> bool:
    """Compose objectives, export one, have its file check itself, and train with it.

    Args:
        output: the folder to write to.

    Returns:
        Whether the file passed its own check and training found the pairs.
    """
    from goal_analysis.recombination.export import export

    described = [{"objective": text, **objective_of(text).describe().to_json()} for text in OBJECTIVES]
    rows = [{**record, "loss": record["loss"] or ""} for record in described]
    print_table(("objective", "integrable", "loss"), rows, wrapped=("loss",))
    write_json(output / "objectives.json", described)
    file = output / "objective.py"
    typer.echo(f"  Exporting {EXPORTED} to {file}, which checks itself")
    write_whole(file, export(objective_of(EXPORTED)))
    checked = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=False)
    typer.echo("".join(f"  {line}\n" for line in (checked.stdout + checked.stderr).splitlines()), nl=False)
    typer.echo(f"  Training two linear towers with {EXPORTED} for {STEPS} steps on made-up pairs")
    before, after = trained(EXPORTED)
    typer.echo(f"  Recall@1 of the right text among 128: {before:.2f} before, {after:.2f} after")
    return checked.returncode == 0 and after > 0.5


def trained(text: str) -> tuple[float, float]:
    """Recall@1 before and after training two linear towers on made-up pairs, with the mean over the anchors."""
    import torch
    from torch.nn.functional import normalize

    from goal_analysis.symbolic.objective import Reduction

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
