"""``goal-analyze evaluate``: the retrieval of trained models on a split, by the protocols of the literature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from goal_analysis.cli.options import JsonOption, OtherDataOption, SkipBadOption, print_json, print_table, refuse

PROTOCOLS = {"flickr30k": (1000, None), "coco1k": (5000, 1000), "coco5k": (5000, None)}
"""How many images of the split, and in folds of how many."""

CAPTIONS = 5
"""Of an image, the first so many count in the protocols: some of COCO's images have more."""


def evaluate(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="One run, or several as an ensemble.")],
    data: OtherDataOption = None,
    split: Annotated[str, typer.Option(help="dev, test or train.")] = "dev",
    protocol: Annotated[str | None, typer.Option(help=f"One of {', '.join(PROTOCOLS)}.")] = None,
    ranks_file: Annotated[
        Path | None,
        typer.Option("--ranks", metavar="FILE.json", help="Write the first 50 answers to every query, in order."),
    ] = None,
    eccv: Annotated[
        bool,
        typer.Option("--eccv", help="Count the positives of ECCV Caption and CxC too, on COCO's 5,000 test images."),
    ] = False,
    equal_captions: Annotated[
        str | None,
        typer.Option(help="What an equal caption of another image is: positives, masked or negatives; as in training."),
    ] = None,
    judged: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Count pairs that people judged: Flickr8k's ExpertAnnotations.txt, CxC, …."),
    ] = None,
    judged_from: Annotated[
        float | None, typer.Option(metavar="SCORE", help="The least score of a right pair; 3 of experts and CxC, 0.5.")
    ] = None,
    skip_bad: SkipBadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure Recall@1, 5 and 10 both ways, RSUM, and median and mean rank; ties count against the model.

    Several runs are an ensemble: their scores are averaged, and nothing is re-ranked. Recall from images is the hit
    rate "any of the image's captions among the first K". The 95 % intervals are over images with their captions. They
    say nothing of other training seeds; `compare` does.

    \b
    goal-analyze evaluate runs/mine
    goal-analyze evaluate runs/mine --data data/f30k_precomp --split test --protocol flickr30k
    goal-analyze evaluate runs/a runs/b --json
    """
    from goal_analysis.vse.folder.run_folder import read_run

    if protocol is not None and protocol not in PROTOCOLS:
        refuse(f"--protocol: got {protocol!r} but expected one of {', '.join(PROTOCOLS)}")
    for folder in runs:
        read_run(folder)
    from goal_analysis.files import write_whole
    from goal_analysis.vse.folder.run import load_model
    from goal_analysis.vse.retrieval.judgements import read_judgements
    from goal_analysis.vse.retrieval.metrics import CUTOFFS, coco_positives
    from goal_analysis.vse.retrieval.scoring import Ways, evaluate_models, first_places

    models = [load_model(folder) for folder in runs]
    chosen = models[0].load_split(split, data, skip_bad=skip_bad, equal_captions=equal_captions)
    for model in models[1:]:
        model.check_images(chosen.images)
    images, fold = PROTOCOLS.get(protocol or "", (len(chosen.images), None))
    if len(chosen.images) < images:
        refuse(f"--protocol {protocol}: got {len(chosen.images)} images but expected {images}")
    if protocol or eccv:
        chosen = chosen.subset(range(images), CAPTIONS)
    said_judged = []
    for file in judged or ():
        chosen, words = read_judgements(file).applied(chosen, judged_from)
        said_judged.append(words)
    pairs = [(m.model, m.tokenizer) for m in models]
    found = evaluate_models(pairs, chosen, fold)
    equal = {"equal_captions": chosen.equal, "captions_that_are_equal": chosen.answers.equal_captions}
    record = {"runs": [str(r) for r in runs], "split": split, "images": len(chosen.images), **equal}
    record |= {"judged": said_judged} | found.record()
    if len(pairs) == 1 and models[0].model.top:
        dual = (models[0].model.dual, models[0].tokenizer)
        record["dual_rsum"] = evaluate_models([dual], chosen, fold).rsum
    places = first_places(Ways(pairs, chosen), chosen) if ranks_file or eccv else {}
    if ranks_file is not None:
        write_whole(ranks_file, json.dumps(places) + "\n")
    of_eccv = coco_positives(places) if eccv else {}
    if as_json:
        print_json(record | of_eccv | {"intervals": dict(found.intervals)})
        return
    named = found.record()

    def said(name: str) -> str:
        low, high = found.intervals[name]
        return f"{named[name]:.1f} [{low:.1f}, {high:.1f}]"

    rows = [
        {"from": source}
        | {f"R@{k}": said(f"{way}_r{k}") for k in CUTOFFS}
        | {f"{kind} rank": f"{named[f'{way}_{kind}_rank']:.1f}" for kind in ("median", "mean")}
        for source, way in (("images", "i2t"), ("captions", "t2i"))
    ]
    print_table(tuple(rows[0]), rows)
    typer.echo(f"RSUM {said('rsum')} on {len(chosen.images)} images of {split}.")
    if chosen.answers.equal_captions:
        counted = {"positives": "right for its image too", "masked": "neither right nor wrong", "negatives": "wrong"}
        words = f"{chosen.answers.equal_captions} of {len(chosen)} captions have the words of one of another image"
        typer.echo(f"{words}; such a caption counts as {counted[chosen.equal]}.")
    for words in said_judged:
        typer.echo(words)
    typer.echo("The 95 % intervals are over queries: an image with all its captions counts as one.")
    for name, value in of_eccv.items():
        typer.echo(f"{name} {value:.1f}")
    if "dual_rsum" in record:
        typer.echo(f"re-ranked; the dual encoder alone has RSUM {record['dual_rsum']:.1f}")
