"""Data: `data`, what is in a data set and which of its rows cannot be used, and `features` of its pictures."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from goal_analysis.cli import options

if TYPE_CHECKING:
    from goal_analysis.vse.data.split import Split

SHOWN = 10  # unusable rows that are printed, of each split; with --json all are

DataArgument = Annotated[str, Argument(metavar="DATA", help="A file, a folder, or a name such as scenes.")]
DataSetOption = Annotated[
    list[str] | None,
    Option("--set", metavar="KEY=VALUE", help="An option of the data, such as split.dev=0.1; repeatable."),
]
MEASURES = ("images", "captions", "captions_an_image", "words", "characters", "equal_captions")


def data(
    source: DataArgument,
    assignments: DataSetOption = None,
    decode: Annotated[bool, Option("--decode", help="Decode every picture, to find those that are broken.")] = False,
    page: Annotated[Path | None, Option(metavar="FILE.html", help="Write a page of examples, in one file.")] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Print what a data set holds, and which rows are unusable.

    \b
    goal-analyze data data/f30k_precomp
    goal-analyze data data/captions.txt --set split.dev=0.1 --page examples.html
    goal-analyze data data/captions_train2017.json --set dev=data/captions_val2017.json --json
    """
    from goal_analysis.vse.data import load_splits
    from goal_analysis.vse.data.split import DataError, DataWarning

    splits: dict[str, Split] = {}
    unusable: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        for name, get in load_splits(source, **data_options(source, assignments, True, decode)).items():
            try:
                splits[name] = get()
            except DataError as problem:
                unusable.append(str(problem))
    for warning in caught:
        unusable += [str(fault) for fault in getattr(warning.message, "faults", ())] or [str(warning.message)]
    records = [_record(split) for split in splits.values()]
    shared = _shared(splits)
    if page is not None:
        from goal_analysis.files import write_whole
        from goal_analysis.study.report import data_page

        write_whole(page, data_page(source, list(splits.values()), unusable))
    if as_json:
        options.print_json({"data": source, "splits": records, "captions_of_train_too": shared, "unusable": unusable})
        return
    for said in dict.fromkeys(f"{record['layout']}; images of {record['shape']}" for record in records):
        typer.echo(f"{source}: {said}")
    rows = [{"": of.replace("_", " ")} | {one["split"]: _shown(one, of) for one in records} for of in MEASURES]
    if records:
        options.print_table(list(rows[0]), rows, list(splits))
    for name, count in shared.items():
        typer.echo(f"{count} captions of {name} have the words of captions of train.")
    if any(record["equal_captions"] for record in records):
        said = "Equal captions have the words of one of another image"
        typer.echo(f"{said}; data.equal_captions says what they count as.")
    typer.echo(f"{len(unusable)} rows cannot be used" + (":" if unusable else "."))
    for fault in unusable[:SHOWN]:
        typer.echo(f"  {fault}")
    if len(unusable) > SHOWN:
        typer.echo(f"  … and {len(unusable) - SHOWN} more; --json has all")


def data_options(source: str, assignments: list[str] | None, skip_bad: bool, decode: bool = True) -> dict[str, Any]:
    """The options of the table ``[data]`` that are set on the command line."""
    from goal_analysis.declarations import with_settings
    from goal_analysis.vse.data import DATASETS, kind_of

    given = with_settings({"skip_bad": skip_bad}, assignments or ())
    known = DATASETS.get(str(given.get("kind") or kind_of(source)))
    return given if decode or known is None or "decode" not in known.options else {"decode": False, **given}


def _shown(record: dict[str, Any], measure: str) -> Any:
    value = record[measure]
    if measure == "captions_an_image":
        each = [f"{count} of {images}" for count, images in value.items()]
        return ", ".join(each) if len(each) > 1 else f"{next(iter(value))} each"
    return "{least} to {most}, median {median:g}".format(**value) if isinstance(value, dict) else value


def _record(split: Split) -> dict[str, Any]:
    each = Counter(Counter(split.image_of.tolist()).values())
    lengths = {"words": [len(c.split()) for c in split.captions], "characters": [len(c) for c in split.captions]}
    return {
        "split": split.name,
        "layout": split.layout or "made by the program",
        "images": len(split.images),
        "shape": " × ".join(map(str, split.images.shape[1:])),
        "captions": len(split),
        "captions_an_image": dict(sorted(each.items())),
        "equal_captions": split.answers.equal_captions,
        **{of: {"least": min(n), "median": median(n), "most": max(n)} for of, n in lengths.items()},
    }


def _shared(splits: dict[str, Split]) -> dict[str, int]:
    """How many captions of a split have the words of captions of train."""
    words = {name: [" ".join(c.casefold().split()) for c in split.captions] for name, split in splits.items()}
    known = set(words.get("train", ()))
    counts = {name: sum(c in known for c in of) for name, of in words.items() if name != "train"}
    return {name: count for name, count in counts.items() if count}


def features(
    data: DataArgument,
    model: Annotated[str, Option(help="hf:FOLDER or a name on the hub, timm:NAME, or torchvision:NAME.")],
    output: Annotated[Path, Option("--output", "-o", metavar="DIR", help="The folder of the features.")],
    regions: Annotated[str | None, Option(metavar="RxC", help="Regions of the last map, such as 3x3.")] = None,
    weights: Annotated[
        Path | None, Option(metavar="FILE", help="Weights for timm: and torchvision: in place of theirs.")
    ] = None,
    batch: Annotated[int, options.counted(help="Pictures that the network is given at once.")] = 64,
    device: Annotated[str | None, Option(help="cpu, cuda or mps; by default cuda where there is one.")] = None,
    assignments: DataSetOption = None,
    skip_bad: options.SkipBadOption = False,
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
        options.refuse(f"--regions: got {regions!r} but expected rows and columns, such as 3x3")
    splits = {name: get() for name, get in load_splits(data, **data_options(data, assignments, skip_bad)).items()}
    network = open_network(model, weights, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    record = {"model": model, "weights": str(weights or "published"), "regions": regions, **network.record}
    grid = (int(sides[1]), int(sides[2])) if regions else None
    with options.interruptible(output), Progress(console=Console(stderr=True)) as bar:
        tasks = {name: bar.add_task(name, total=len(split.images)) for name, split in splits.items()}
        extract_features(
            splits, network, output, record, grid, batch, lambda name, done, _: bar.update(tasks[name], completed=done)
        )
    said = ", ".join(f"{len(split.images)} images of {name}" for name, split in splits.items())
    typer.echo(f"{said}: features by {model}; written to {output}/")
