"""``goal-analyze evaluate``: the retrieval of trained models on a split, by the protocols of the literature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from goal_analysis.api import chosen_split
from goal_analysis.cli.options import JsonOption, SkipBadOption, print_table, refuse

PROTOCOLS = {"flickr30k": (1000, None), "coco1k": (5000, 1000), "coco5k": (5000, None)}
"""How many images of the split, and in folds of how many."""

CAPTIONS = 5
"""Of an image, the first so many count in the protocols: some of COCO's images have more."""


def evaluate(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="One run, or several as an ensemble.")],
    data: Annotated[
        str | None, typer.Option(metavar="DIR/NAME", help="Other data than the run was trained on.")
    ] = None,
    split: Annotated[str, typer.Option(help="dev, test or train.")] = "dev",
    protocol: Annotated[str | None, typer.Option(help=f"One of {', '.join(PROTOCOLS)}.")] = None,
    ranks_file: Annotated[
        Path | None, typer.Option("--ranks", metavar="FILE.json", help="Write the 50 first of every query, in order.")
    ] = None,
    eccv: Annotated[
        bool, typer.Option("--eccv", help="On COCO's 5,000 test images: the positives of ECCV Caption and CxC, too.")
    ] = False,
    skip_bad: SkipBadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure Recall@1, 5 and 10 both ways, RSUM, and median and mean rank; ties count against the model.

    Several runs are an ensemble: their scores are averaged, and nothing is re-ranked. Recall from images is the hit
    rate "any of the image's captions among the first K".

    \b
    goal-analyze evaluate runs/mine
    goal-analyze evaluate runs/mine --data data/f30k_precomp --split test --protocol flickr30k
    goal-analyze evaluate runs/a runs/b --json
    """
    from goal_analysis.files import write_whole
    from goal_analysis.vse.folder.run import load_model
    from goal_analysis.vse.loop.health import OutOfMemory
    from goal_analysis.vse.retrieval.evaluation import evaluate_models, first_places
    from goal_analysis.vse.retrieval.metrics import coco_positives
    from goal_analysis.vse.retrieval.scoring import ways_of

    if protocol is not None and protocol not in PROTOCOLS:
        refuse(f"--protocol: got {protocol!r} but expected one of {', '.join(PROTOCOLS)}")
    try:
        models = [load_model(folder) for folder in runs]
        measured_split, size = chosen_split(models[0].experiment, data, split, skip_bad), None
        for folder, model in zip(runs, models, strict=True):
            model.check_images(measured_split.images, folder)
        if protocol:
            images, size = PROTOCOLS[protocol]
            if len(measured_split.images) < images:
                refuse(f"--protocol {protocol}: got {len(measured_split.images)} images but expected {images}")
            measured_split = measured_split.subset(range(images), CAPTIONS)
        elif eccv:
            measured_split = measured_split.subset(range(len(measured_split.images)), CAPTIONS)
        pairs = [(m.model, m.tokenizer) for m in models]
        found = evaluate_models(pairs, measured_split, size)
        alone = {}
        if len(pairs) == 1 and models[0].model.top:
            alone["dual_rsum"] = evaluate_models(
                [(models[0].model.dual, models[0].tokenizer)], measured_split, size
            ).rsum
        places = first_places(ways_of(pairs, measured_split), measured_split) if ranks_file or eccv else {}
        if ranks_file is not None:
            write_whole(ranks_file, json.dumps(places) + "\n")
        of_eccv = coco_positives(places) if eccv else {}
    except (OSError, ValueError, OutOfMemory) as problem:
        refuse(problem)
    record = {"runs": [str(r) for r in runs], "split": split, "images": len(measured_split.images)}
    record |= found.record() | alone | of_eccv
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    rows = [
        {
            "from": way,
            "R@1": r[0],
            "R@5": r[1],
            "R@10": r[2],
            "median rank": found.median_ranks[i],
            "mean rank": found.mean_ranks[i],
        }
        for i, (way, r) in enumerate((("images", found.i2t), ("captions", found.t2i)))
    ]
    shown = [{k: v if isinstance(v, str) else f"{v:.1f}" for k, v in row.items()} for row in rows]
    print_table(("from", "R@1", "R@5", "R@10", "median rank", "mean rank"), shown)
    typer.echo(f"RSUM {found.rsum:.1f} on {len(measured_split.images)} images of {split}")
    for name, value in of_eccv.items():
        typer.echo(f"{name} {value:.1f}")
    for rsum in alone.values():
        typer.echo(f"re-ranked; the dual encoder alone has RSUM {rsum:.1f}")
