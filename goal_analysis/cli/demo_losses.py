"""The demo's losses: the catalog taken apart and verified, and one that is not of the catalog measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from goal_analysis.cli.list import print_summary, summaries
from goal_analysis.cli.options import print_table
from goal_analysis.cli.verify import DTYPES, made_up_batches, print_verifications, verifications
from goal_analysis.files import write_json
from goal_analysis.symbolic.objective import Objective
from losses_catalog import catalog

if TYPE_CHECKING:  # torch is loaded when there is something to compute
    from torch import Tensor

MARGIN, SCALE = 0.2, 20.0
"""Of the loss that is measured."""

NEIGHBOURS = 3
"""How many of the nearest losses are shown."""


def derived(file: Path) -> list[dict[str, object]]:
    """The catalog taken apart, printed and written.

    Args:
        file: a list of records.

    Returns:
        A record a loss.
    """
    records = list(summaries(catalog))
    print_summary(records)
    write_json(file, records)
    return records


def verified(file: Path, records: Sequence[object], chosen: Sequence[Objective] = catalog) -> bool:
    """Whether the catalog's weights agree with autograd's; what the file says of the same package is not done again.

    Args:
        file: written after every loss.
        records: what was derived.
        chosen: the losses.
    """
    state = _state(records)
    kept = _kept(file, state) or []
    done = {str(record["loss"]): record for record in kept}
    if done:
        typer.echo(f"  {len(done)} of {len(chosen)} were verified before")
    for record in verifications((loss for loss in chosen if loss.name not in done), made_up_batches(), DTYPES[:3]):
        done[str(record["loss"])] = record
        typer.echo(f"  {len(done)}/{len(chosen)} {record['loss']}")
        write_json(file, {"of": state, "found": list(done.values())})
    found = [done[loss.name] for loss in chosen]
    print_verifications(found)
    return all(bool(record["verified"]) for record in found)


def margin_softmax(scores: Tensor) -> Tensor:
    """Torch's cross-entropy over a score matrix with a margin, as it stands in many a training script.

    Args:
        scores: shape ``(images, texts)``, the diagonal matching; the mean over the images, which are the queries.
    """
    import torch

    pairs = torch.eye(len(scores), dtype=scores.dtype)
    return torch.nn.functional.cross_entropy(SCALE * (scores - MARGIN * pairs), torch.arange(len(scores)))


def measured(file: Path) -> dict[str, Any]:
    """What `margin_softmax` is found to be, from its gradients alone, printed and written.

    Args:
        file: what it says of the same package is not measured again.
    """
    from goal_analysis.numeric.measurement import measure, nearest

    state = _state(())
    found = _kept(file, state)
    if found is None:
        measurement = measure(margin_softmax, name="margin_softmax, written in torch")
        near = nearest(measurement, catalog)[:NEIGHBOURS]
        rows = [
            {
                "nearest": n.loss.name,
                "distance": n.distance,
                "factor": n.factor,
                "settings": ", ".join(f"{name}={value:.5g}" for name, value in n.settings.items()),
            }
            for n in near
        ]
        found = {"said": measurement.summary(), **measurement.findings(), "nearest": rows}
        write_json(file, {"of": state, "found": found})
    typer.echo(found["said"])
    print_table(tuple(found["nearest"][0]), found["nearest"])
    return found


def _state(records: Sequence[object]) -> str:
    """A fingerprint of what findings come from: these records, the sources of the package, and what they stand on."""
    state = hashlib.sha256(json.dumps([version("torch"), version("sympy"), *records], default=str).encode())
    for package in ("goal_analysis.symbolic", "goal_analysis.numeric", "losses_catalog"):
        for source in sorted(Path(str(resources.files(package))).rglob("*.py")):
            state.update(source.read_bytes())
    return state.hexdigest()[:16]


def _kept(file: Path, state: str) -> Any:
    """What was found and written in this state before; None where there is no such thing."""
    try:
        before = json.loads(file.read_text("utf-8"))
        return before["found"] if before["of"] == state else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
