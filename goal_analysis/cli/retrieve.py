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
    import numpy as np

    from goal_analysis.vse.folder.run import load_model
    from goal_analysis.vse.models.text import UNKNOWN, Vocabulary
    from goal_analysis.vse.retrieval.scoring import captions_of_image, images_of_caption

    model = load_model(folder)
    chosen = model.load_split(split, data, skip_bad=skip_bad)
    if text is not None:
        scores = images_of_caption(model.model, model.tokenizer, chosen, text)
        if isinstance(model.tokenizer, Vocabulary) and not (model.tokenizer([text]).ids > UNKNOWN).any():
            typer.echo(f"--text: got {text!r}, of which the model knows no word; the order means little", err=True)
    else:
        scores = captions_of_image(model.model, model.tokenizer, chosen, image or 0)
    among, count = ("image", len(chosen.images)) if text is not None else ("caption", len(chosen.captions))
    of_row = np.arange(count) if text is not None else chosen.image_of
    own = {int(chosen.image_of[c]) for c, caption in enumerate(chosen.captions) if caption == text}
    asked = own if text is not None else {image or 0}
    right = np.isin(of_row, list(asked))
    order = np.lexsort((right, -scores.double().numpy()))  # ties count against the right ones, as in the measures
    records = [
        {
            "place": place,
            "image": int(of_row[row]),
            "score": float(scores[row]),
            "right": bool(right[row]),
            "caption": chosen.captions[row] if text is None else _first_caption(chosen, row),
        }
        for place, row in enumerate(order.tolist(), start=1)
    ]
    first = next((record for record in records if record["right"]), None)
    shown = records[:top] + ([first] if first and first["place"] > top else [])
    if output is not None:
        _save_pictures(chosen, text if text is not None else image or 0, records[:top], output)
    if as_json:
        print_json(shown)
        return
    query = f"the caption {text!r}" if text is not None else f"image {image}, {_first_caption(chosen, image or 0)!r}"
    typer.echo(f"{among.capitalize()}s of {split} for {query}")
    print_table(
        ("place", "image", "score", "right", "caption"),
        [record | {"right": "✓" if record["right"] else ""} for record in shown],
        ("caption",),
    )
    if first:
        typer.echo(f"The first right {among} is at place {first['place']} of {count:,}")
    else:
        typer.echo(f"No {among} of {split} is known to be right: none has this caption")


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
        rows.append((0, r["place"], item, r["right"], r["score"]))
    save(gallery_figure(pd.DataFrame(rows, columns=["query", "place", "item", "right", "score"])), path)
