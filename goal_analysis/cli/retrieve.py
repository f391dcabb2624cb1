"""``goal-analyze retrieve``: what a trained model finds for one query."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goal_analysis.cli.options import JsonOption, OtherDataOption, SkipBadOption, expect_one, print_json, print_table

if TYPE_CHECKING:
    from goal_analysis.vse.data.split import Split


def retrieve(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    text: Annotated[str | None, typer.Option(help="Retrieve images for this caption.")] = None,
    image: Annotated[
        int | None, typer.Option(metavar="ROW", help="Retrieve captions for this image, a row of the split.")
    ] = None,
    data: OtherDataOption = None,
    split: Annotated[str, typer.Option(help="dev, test or train.")] = "dev",
    top: Annotated[int, typer.Option(min=1, help="How many answers.")] = 5,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.png", help="Draw query and answers; images have to be pictures."),
    ] = None,
    skip_bad: SkipBadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Retrieve the images of a split for a caption, or its captions for an image, most similar first.

    \b
    goal-analyze retrieve runs/mine --text "a red circle above a blue square" -o found.png
    goal-analyze retrieve runs/mine --image 17 --json
    """
    from goal_analysis.vse.folder.run_folder import read_run

    expect_one({"--text": text, "--image": image})
    read_run(folder)
    import torch

    from goal_analysis.vse.folder.run import load_model
    from goal_analysis.vse.models.text import UNKNOWN, Vocabulary
    from goal_analysis.vse.retrieval.scoring import captions_of_image, images_of_caption

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
        caption = chosen.captions[row] if text is None else _first_caption(chosen, row)
        records.append({"place": place, "image": of, "score": score, "caption": caption})
    if output is not None:
        _save_pictures(chosen, text if text is not None else image or 0, records, output)
    if as_json:
        print_json(records)
    else:
        print_table(("place", "image", "score", "caption"), records, ("caption",))


def _first_caption(split: Split, image: int) -> str:
    return split.captions[int(split.image_of.searchsorted(image))]


def _save_pictures(split: Split, asked: str | int, records: list[dict[str, Any]], path: Path) -> None:
    """Draw the query and what was retrieved for it; images that are features are a ValueError."""
    import numpy as np
    import pandas as pd

    from goal_analysis.pictures.canvas import save
    from goal_analysis.pictures.run_figures import gallery_figure

    if len(split.images.shape) != 4:
        given = f"--output: got images of shape {split.images.shape[1:]}"
        raise ValueError(f"{given} but expected pictures (3, height, width)")

    def picture(row: int) -> np.ndarray:
        return split.images.batch(np.array([row]))[0].permute(1, 2, 0).numpy()

    rows = [(0, 0, asked if isinstance(asked, str) else picture(asked), False, np.nan)]
    for r in records:
        item = picture(r["image"]) if isinstance(asked, str) else r["caption"]
        rows.append((0, r["place"], item, r["image"] == asked, r["score"]))
    save(gallery_figure(pd.DataFrame(rows, columns=["query", "place", "item", "right", "score"])), path)
