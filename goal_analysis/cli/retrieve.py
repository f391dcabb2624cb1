"""``goal-analyze retrieve``: what a trained model finds for one query."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from goal_analysis.cli.options import JsonOption, OtherDataOption, SkipBadOption, print_json, print_table, refuse

if TYPE_CHECKING:
    from goal_analysis.vse.data.split import Split


def retrieve(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    text: Annotated[str | None, typer.Option(help="A caption: images are retrieved.")] = None,
    image: Annotated[int | None, typer.Option(metavar="ROW", help="An image of the split: captions are.")] = None,
    data: OtherDataOption = None,
    split: Annotated[str, typer.Option(help="dev, test or train.")] = "dev",
    top: Annotated[int, typer.Option(min=1, help="How many.")] = 5,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.png", help="The images, where they are pictures.")
    ] = None,
    skip_bad: SkipBadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Retrieve the images of a split for a caption, or its captions for an image, most similar first.

    \b
    goal-analyze retrieve runs/mine --text "a red circle above a blue square" -o found.png
    goal-analyze retrieve runs/mine --image 17 --json
    """
    import torch

    from goal_analysis.vse.folder.run import load_model
    from goal_analysis.vse.models.text import UNKNOWN, Vocabulary
    from goal_analysis.vse.retrieval.evaluation import captions_of_image, images_of_caption

    if (text is None) == (image is None):
        refuse(f"got {'neither' if text is None else 'both'} --text and --image but expected one of them")
    model = load_model(folder)
    chosen = model.load_split(split, data, skip_bad)
    if text is not None:
        scores = images_of_caption(model.model, model.tokenizer, chosen, text)
        if isinstance(model.tokenizer, Vocabulary) and not (model.tokenizer([text]).ids > UNKNOWN).any():
            typer.echo(f"--text: got {text!r}, of which the model knows no word; the order means little", err=True)
    else:
        scores = captions_of_image(model.model, model.tokenizer, chosen, image or 0)
    best = torch.topk(scores, min(top, len(scores)))
    records = []
    for place, (score, row) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True), start=1):
        of = row if text is not None else int(chosen.image_of[row])
        caption = chosen.captions[row] if text is None else first_caption(chosen, row)
        records.append({"place": place, "image": of, "score": score, "caption": caption})
    if output is not None:
        save_pictures(chosen, [int(str(r["image"])) for r in records], output)
    if as_json:
        print_json(records)
    else:
        print_table(("place", "image", "score", "caption"), records, ("caption",))


def first_caption(split: Split, image: int) -> str:
    """The first caption of an image, to know it by."""
    return split.captions[int(split.image_of.searchsorted(image))]


def save_pictures(split: Split, rows: list[int], path: Path) -> None:
    """Write these images side by side; images that are features are a ValueError."""
    import numpy as np
    from matplotlib.figure import Figure

    from goal_analysis.pictures.canvas import save

    if len(split.images.shape) != 4:
        raise ValueError(
            f"--output: got images of shape {split.images.shape[1:]} but expected pictures (3, height, width)"
        )
    figure = Figure(figsize=(1.5 * len(rows), 1.7), dpi=150, layout="constrained")
    pictures = split.images.batch(np.asarray(rows)).clamp(0, 1)
    for place, (row, axes) in enumerate(zip(rows, np.atleast_1d(figure.subplots(1, len(rows))), strict=True)):
        axes.imshow(pictures[place].permute(1, 2, 0).numpy())
        axes.set_title(f"{place + 1}: image {row}", fontsize=8)
        axes.set_axis_off()
    save(figure, path)
