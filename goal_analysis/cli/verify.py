"""``goal-analyze verify``: the derived weights against autograd, on made-up batches and on real features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import goal_analysis as ga
from goal_analysis.cli import options

if TYPE_CHECKING:  # torch is loaded when the command runs, so that the other commands start at once
    from goal_analysis.numeric.batches import Batch

DTYPES = ("float64", "float32", "bfloat16", "float16")


def verify_losses(
    names: Annotated[list[str] | None, typer.Argument(metavar="[LOSS]...", help="Names that `list` prints.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Verify every loss of the catalog.")] = False,
    device: Annotated[str, typer.Option(help="The device that computes, such as cuda.")] = "cpu",
    dtypes: Annotated[
        list[str] | None, typer.Option("--dtype", help=f"One of {', '.join(DTYPES)}; may be repeated.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Verify on real features too: a folder with SPLIT_ims.npy.")
    ] = None,
    split: Annotated[str, typer.Option(help="The features SPLIT_ims.npy of that folder.")] = "dev",
    own: options.CatalogOption = None,
    assignments: options.SetOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Compare the derived weights with autograd, and print the largest relative error of every dtype.

    The exit code is 1 where an error exceeds its bound, or where a number is not finite but the exact one is. The bound
    is 1e-10 in float64 and 1e-3 in narrower dtypes; for gradients of embeddings in half precision it is 0.5.

    \b
    goal-analyze verify circle multi_similarity
    goal-analyze verify circle --set gamma=80 --dtype float64
    goal-analyze verify --all --device cuda --json
    goal-analyze verify --all --features data/flickr8k_precomp --split dev
    """
    options.expect_one({"losses": names or None, "--all": every or None})
    kinds = dtypes or DTYPES[:3]
    if wrong := [name for name in kinds if name not in DTYPES]:
        options.refuse(f"--dtype: got {wrong[0]!r} but expected one of {', '.join(DTYPES)}")
    chosen = options.losses(own) if every else [options.objective_of(name, own) for name in names or ()]
    if len(chosen) > 1 and assignments:
        options.refuse("got --set for several losses but expected one loss: hyperparameters are a loss's own")
    chosen = [loss.with_settings(options.settings_of(assignments)) for loss in chosen]
    import torch

    from goal_analysis.numeric.verification import check_device

    check_device(device, [getattr(torch, name) for name in kinds])
    found = verifications(chosen, batches(features, split), kinds, device)
    records = list(options.with_progress(found, "verifying", len(chosen)))
    if as_json:
        options.print_json(records)
    else:
        print_verifications(records)
    raise typer.Exit(0 if all(record["verified"] for record in records) else 1)


def verifications(
    chosen: Iterable[ga.Objective], batches: Sequence[Batch], dtypes: Sequence[str], device: str = "cpu"
) -> Iterator[dict[str, object]]:
    """One record a loss: whether it is verified, its problems line by line, and the largest relative error by dtype."""
    import torch

    from goal_analysis.numeric.verification import VerificationError, verify

    for loss in chosen:
        found: dict[str, object] = dict.fromkeys(dtypes, float("nan"))
        problems: list[str] = []
        for name in dtypes:
            try:
                errors = verify(ga.decompose(loss), batches, [getattr(torch, name)], device).frame["relative"]
                found[name] = float(errors.max())
            # What cannot be computed is as little verified as what is wrong.
            except (VerificationError, ValueError) as problem:
                said = str(problem)
                problems.append(said if said.startswith("loss ") else f"loss {loss.name!r}: {said}")
        record: dict[str, object] = {"loss": loss.name, "verified": not problems, "device": device}
        yield record | {"problem": "\n".join(dict.fromkeys(problems))} | found


def print_verifications(records: Sequence[Mapping[str, object]]) -> None:
    """Print the records as a table, and the problems below."""
    errors = [name for name in DTYPES if name in records[0]]
    options.print_table(("loss", "verified", *errors), records)
    for record in records:
        if record["problem"]:
            typer.echo(record["problem"])
    count = sum(bool(record["verified"]) for record in records)
    typer.echo(f"{count} of {len(records)} losses verified; the errors are the largest relative ones")


def batches(features: Path | None = None, split: str = "dev") -> list[Batch]:
    """The batches that verification always runs on, and those of features."""
    from goal_analysis.numeric.batches import BATCHES, features_batches

    return [*BATCHES, *(features_batches(features, split) if features is not None else ())]
