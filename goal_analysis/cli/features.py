"""``goal-analyze features``: features of pictures by a pretrained network, in the layout of VSE++."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from goal_analysis.cli.data import DataArgument, DataSetOption, data_options
from goal_analysis.cli.options import SkipBadOption, counted, interruptible, refuse


def features(
    data: DataArgument,
    model: Annotated[str, typer.Option(help="hf:FOLDER or a name on the hub, timm:NAME, or torchvision:NAME.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder of the features.")],
    regions: Annotated[str | None, typer.Option(metavar="RxC", help="Regions of the last map, such as 3x3.")] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights for timm: and torchvision: in place of theirs.")
    ] = None,
    batch: Annotated[int, counted(help="Pictures that the network is given at once.")] = 64,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps; by default cuda where there is one.")] = None,
    assignments: DataSetOption = None,
    skip_bad: SkipBadOption = False,
) -> None:
    """Make features of the pictures of every split by a network.

    Pictures go through the network's own preprocessing. An interrupted command goes on where it was. The folder has
    features.json, which says how it was made.

    \b
    goal-analyze features data/captions.txt --model hf:openai/clip-vit-base-patch32 -o data/mine_precomp
    goal-analyze features data/dataset_flickr8k.json --model timm:resnet50 --regions 3x3 -o data/regions_precomp
    """
    import torch
    from rich.console import Console
    from rich.progress import Progress

    from goal_analysis.vse.data import load_splits
    from goal_analysis.vse.data.extraction import extract_features
    from goal_analysis.vse.models.encoders.networks import open_network

    sides = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", regions or "1x1", re.ASCII | re.IGNORECASE)
    if sides is None:
        refuse(f"--regions: got {regions!r} but expected rows and columns, such as 3x3")
    splits = {name: get() for name, get in load_splits(data, **data_options(data, assignments, skip_bad)).items()}
    network = open_network(model, weights, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    record = {"model": model, "weights": str(weights or "published"), "regions": regions, **network.record}
    grid = (int(sides[1]), int(sides[2])) if regions else None
    with interruptible(output), Progress(console=Console(stderr=True)) as bar:
        tasks = {name: bar.add_task(name, total=len(split.images)) for name, split in splits.items()}
        extract_features(
            splits, network, output, record, grid, batch, lambda name, done, _: bar.update(tasks[name], completed=done)
        )
    said = ", ".join(f"{len(split.images)} images of {name}" for name, split in splits.items())
    typer.echo(f"{said}: features by {model}; written to {output}/")
