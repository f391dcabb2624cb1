"""``goal-analyze demo``: all steps on data that the package brings along."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import goal_analysis as ga
from goal_analysis.cli.kept import kept
from goal_analysis.cli.losses import print_measurement, print_summary, print_verifications, summaries, verification
from goal_analysis.cli.options import INTERRUPTED, interruptible, objective_of, print_table, written_to
from goal_analysis.cli.pictures import draw_beside, plot_runs, report
from goal_analysis.cli.studies import JobsOption, compare
from goal_analysis.files import write_json

if TYPE_CHECKING:  # torch is loaded when there is something to compute
    from torch import Tensor

RETRIEVAL = "retrieval"  # the folder of the training runs
MARGIN, SCALE = 0.2, 20.0  # of the loss that is measured

OBJECTIVES = ("vse_pp", "info_nce(tau=12)", "nca/linear", "nca_twin/linear@top_k:5", "circle(gamma=80)/linear")
"""Two losses, one objective that is the gradient of no loss, its twin that is, and a loss with other pair weights."""

EXPORTED = "nca/linear"
RETRIEVING = (
    "vse_pp",
    "info_nce(tau=12)",
    "constant/constant@softmax:12",
    "circular(tau=12)/constant@softmax:12",
    "circle(gamma=32)",
)
"""What trains on the scenes: the baseline is on hardest negatives. All learn from pixels within `SMALL`."""

SEEDS = 4  # of every objective, as many as a comparison needs
SMALL = (
    "data.train=800",
    "data.dev=200",
    "data.test=1",
    "model.image.width=16",
    "training.epochs=5",
    "training.epochs_on_all=3",
    "training.batch_size=100",
    "training.probe_steps=10",
)
"""Settings over the preset `scenes`, for half a minute a run on one thread; every run counts by its best epoch."""


def demo(
    output: Annotated[Path, written_to(metavar="DIR", help="The folder of what is written.")] = Path("demo"),
    processes: JobsOption = 2,
) -> None:
    """Run one example of nearly every command, and write a report.

    It takes minutes on two cores. After an interruption, by Ctrl-C too, the same command goes on from there.

    \b
    goal-analyze demo -o demo
    """
    start = time.perf_counter()
    import_module("goal_analysis.study.report")  # where an extra is missing, nothing is begun
    with ending_a_demo(output):
        typer.echo("1/6 Deriving the weights of the catalog")
        print_summary(records := summaries(ga.losses()))
        write_json(output / "catalog.json", records)
        typer.echo("2/6 Verifying them against autograd")
        sound = verify_losses_by_autograd(output / "verification.json", ga.losses())
        typer.echo("3/6 Measuring a loss that nobody declared, by autograd alone")
        measure_margin_softmax(output / "measurement.json")
        typer.echo("4/6 Composing objectives")
        sound &= recombine(output)
        typer.echo("5/6 Training from pixels")
        sound &= compare_on_scenes(output / RETRIEVAL, processes)
        typer.echo("6/6 Drawing and reporting")
        folders = sorted(result.parent for result in (output / RETRIEVAL).rglob("result.json"))
        if folders:
            pictures, named = output / "pictures", [replace(objective_of(text), name=text) for text in RETRIEVING]
            written = draw_beside(named, pictures, "png") + plot_runs(folders, None, pictures, "png")
            typer.echo(f"  {len(written)} pictures in {pictures}/")
        _write_report(output)
    typer.echo(f"Done in {time.perf_counter() - start:.0f} s; open {output / 'report.html'}")
    raise typer.Exit(0 if sound else 1)


@contextmanager
def ending_a_demo(output: Path) -> Iterator[None]:
    """After Ctrl-C, report what is done, and say that the same command goes on."""
    with interruptible(output):
        try:
            yield
        except (KeyboardInterrupt, typer.Exit) as end:  # a comparison has said what Ctrl-C left
            if getattr(end, "exit_code", INTERRUPTED) == INTERRUPTED and any((output / RETRIEVAL).rglob("result.json")):
                _write_report(output, queries=0)
            raise


def _write_report(output: Path, queries: int = 6) -> None:
    try:
        report([output], output / "report.html", RETRIEVING[0], queries)
    except (OSError, ValueError) as problem:
        typer.echo(f"  no report: {problem}", err=True)


def verify_losses_by_autograd(file: Path, chosen: Sequence[ga.Objective]) -> bool:
    """Compare the losses' weights with autograd, print and write it; return whether all agree."""
    from goal_analysis.numeric.batches import BATCHES

    found = []
    for loss in chosen:
        found.append(kept(lambda loss=loss: verification(loss, BATCHES), "verify", loss.name))
        typer.echo(f"  {len(found)}/{len(chosen)} {loss.name}")
    write_json(file, found)
    print_verifications(found)
    return all(bool(record["verified"]) for record in found)


def margin_softmax(scores: Tensor) -> Tensor:
    """Torch's cross-entropy over scores of shape ``(images, texts)`` with a margin, as in many a training script."""
    import torch

    pairs = torch.eye(len(scores), dtype=scores.dtype)
    return torch.nn.functional.cross_entropy(SCALE * (scores - MARGIN * pairs), torch.arange(len(scores)))


def measure_margin_softmax(file: Path) -> dict[str, Any]:
    """Measure `margin_softmax`, print and write what it is."""

    def said() -> dict[str, Any]:
        measurement = ga.measure(margin_softmax, name="margin_softmax, written in torch")
        return {"said": measurement.summary(), **measurement.record()}

    found = kept(said, "margin_softmax", MARGIN, SCALE)
    write_json(file, found)
    print_measurement(found)
    return found


def recombine(output: Path) -> bool:
    """Compose objectives, export one, and run its check; return whether that went well."""
    described = [{"objective": text, **ga.describe(text).to_json()} for text in OBJECTIVES]
    rows = [{**record, "loss": record["loss"] or ""} for record in described]
    print_table(("objective", "integrable", "loss"), rows, wrapped=("loss",))
    write_json(output / "objectives.json", described)
    file = output / "objective.py"
    typer.echo(f"  Exporting {EXPORTED} to {file}, which checks itself")
    ga.export(EXPORTED, file)
    checked = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=False)
    typer.echo("".join(f"  {line}\n" for line in (checked.stdout + checked.stderr).splitlines()), nl=False)
    return checked.returncode == 0


def compare_on_scenes(
    output: Path,
    processes: int | None,
    seeds: int = SEEDS,
    settings: Sequence[str] = SMALL,
    objectives: Sequence[str] = RETRIEVING,
) -> bool:
    """Train objectives on the scenes over seeds, and print how well each retrieves; False where a run failed."""
    typer.echo(f"  {len(objectives)} objectives over {seeds} seeds; {objectives[0]} is the baseline")
    given = {"presets": ["scenes"], "objectives": list(objectives), "assignments": list(settings)}
    try:
        compare(**given, seeds=seeds, output=output, jobs=processes)
    except typer.Exit as end:
        if end.exit_code == INTERRUPTED:
            raise
        return end.exit_code == 0
    return True
