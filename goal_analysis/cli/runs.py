"""Runs: `train`, `presets`, `evaluate` and `retrieve`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

import goal_analysis as ga
from goal_analysis.cli import options
from goal_analysis.cli.options import File, Files, Number, Text, counted, print_json, print_table, refuse, shown
from goal_analysis.files import write_whole

if TYPE_CHECKING:  # torch is loaded when a command runs
    from goal_analysis.vse.loop.experiment import Experiment
    from goal_analysis.vse.loop.training import Report

PROTOCOLS = {"flickr30k": (1000, None), "coco1k": (5000, 1000), "coco5k": (5000, None)}
"""How many images of the split, and in folds of how many."""

CAPTIONS = 5  # of an image, the first so many count in the protocols: some of COCO's images have more

EQUAL = {"positives": "right for its image too", "masked": "neither right nor wrong", "negatives": "wrong"}

SplitOption = Annotated[str, Option(help="dev, test or train.")]


ExperimentArgument = Annotated[
    File, Argument(metavar="[EXPERIMENT.toml]", help="A file with data, model, objective and training.")
]


def train(
    file: ExperimentArgument = None,
    preset: Annotated[Text, Option(help="An experiment that comes with the package.")] = None,
    data: options.DataOption = None,
    objective: Annotated[Text, Option(help="Such as info_nce:tau=12, circle/linear or nca/linear@softmax:12.")] = None,
    seed: Annotated[Number, Option(help="The seed of weights, batches and dropout.")] = None,
    assignments: options.AssignmentsOption = None,
    output: Annotated[File, options.written_to(metavar="RUN", help="The folder of the run.")] = None,
    resume: Annotated[File, Option(metavar="RUN", help="Go on with the run in this folder.")] = None,
    devices: Annotated[
        Number, counted(help="Devices of this machine, with one process each; by default 1, or what torchrun says.")
    ] = None,
    nodes: Annotated[Number, counted(help="Machines; by default 1, or what torchrun says.")] = None,
    accelerator: Annotated[str, Option(help="cpu, cuda, mps or auto.")] = "auto",
    tensorboard: Annotated[
        bool, Option("--tensorboard", help="Write a log for TensorBoard to RUN/tensorboard too.")
    ] = False,
    skip_bad: options.SkipBadOption = False,
    as_toml: Annotated[
        bool, Option("--as-toml", help="Print the experiment as a file to change and to train, and end.")
    ] = False,
) -> None:
    """Train image-text retrieval with an objective.

    \b
    goal-analyze train experiment.toml -o runs/mine
    goal-analyze train --preset bag_of_words --data data/flickr8k_precomp --objective circle:gamma=80
    goal-analyze train --resume runs/mine
    goal-analyze train --preset vse_infty --as-toml > mine.toml
    """
    from goal_analysis.vse.folder.run_folder import read_run

    if resume is not None:
        if file or preset or data or objective or seed is not None or assignments or output or skip_bad:
            refuse("--resume: got settings too but expected the run's own, as its folder has them")
        experiment, folder = read_run(resume).experiment, resume
    else:
        besides = [*(assignments or ()), *(["data.skip_bad=true"] if skip_bad else [])]
        experiment = chosen_experiment(file, preset, data, objective, seed, besides)
        folder = output or Path("runs") / f"{experiment.name}-{experiment.seed}"
    if as_toml:
        from goal_analysis.recombination.text import toml_text

        typer.echo(toml_text(experiment.mapping()), nl=False)
        return
    with options.interruptible(folder):
        trained_with, loaded = ga.objective(experiment.objective), experiment.load_data()
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    from goal_analysis.vse.folder.run import run_experiment
    from goal_analysis.vse.loop.health import OutOfMemory, TrainingTrouble
    from goal_analysis.vse.loop.processes import RankError, WorkerError, start_fabric
    from goal_analysis.vse.loop.training import tensorboard_log

    fabric = start_fabric(accelerator, experiment.training.precision, *processes(devices, nodes))
    training = experiment.training
    steps = training.epochs * (len(loaded.train) // (training.batch_size * training.accumulate))
    said = ("{task.description}", BarColumn(), "step {task.completed}/{task.total}", "{task.fields[rsum]}")
    terminal = fabric.is_global_zero and sys.stderr.isatty()
    columns = (*said, TimeElapsedColumn(), TimeRemainingColumn())
    shown_on = Progress(*columns, console=Console(stderr=True), disable=not terminal)
    with options.interruptible(folder), shown_on as bar:
        task = bar.add_task(experiment.name, total=steps, rsum="")
        logs: list[Report] = []

        def report(record: Mapping[str, Any]) -> None:
            for log in logs:
                log(record)
            bar.update(task, completed=record["step"])
            if record["kind"] == "epoch":
                reached = f"dev RSUM {record['rsum']:.1f}"
                bar.update(task, rsum=reached)
                if bar.disable:
                    typer.echo(f"epoch {record['epoch']}/{training.epochs}: {reached}")
            elif record["kind"] == "trouble":
                typer.echo(f"step {record['step']}: {record['trouble']}: {record['cause']}", err=True)

        try:
            if tensorboard and fabric.is_global_zero:
                logs.append(tensorboard_log(folder))
            progress = run_experiment(experiment, trained_with, loaded, folder, fabric, sys.argv, report)
        except (TrainingTrouble, OSError, ValueError, OutOfMemory, RankError, WorkerError) as problem:
            what = f"stopped at {problem}" if isinstance(problem, TrainingTrouble) else str(problem)
            typer.echo(what if what.startswith((f"{folder}:", f"{folder}/")) else f"{folder}: {what}", err=True)
            raise typer.Exit(1) from None
    if fabric.is_global_zero:
        why = f" ({progress.stopped})" if progress.stopped else ""
        typer.echo(f"best dev RSUM {progress.best_rsum:.1f} at step {progress.best_step}{why}; written to {folder}/")


def chosen_experiment(
    file: File, preset: Text, data: Text, objective: Text, seed: Number, assignments: Sequence[str]
) -> Experiment:
    """The experiment of a file or a preset, with what else was set."""
    from goal_analysis.vse.loop.experiment import presets

    if (file is None) == (preset is None):
        given = "got both an experiment's file and" if file else "got neither an experiment's file nor"
        refuse(f"{given} a preset but expected one; presets are {', '.join(presets())}")
    options.check_names([preset], [objective] if objective else [])
    from goal_analysis.api.runs import experiment_of

    return experiment_of(file or preset or "", data, objective, seed, assignments)


def processes(devices: int | None, nodes: int | None) -> tuple[int, int]:
    """The processes of a machine, and the machines: as asked for, or as torchrun started them, or 1."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    machines = int(os.environ.get("WORLD_SIZE", local)) // local
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return devices or 1, nodes or 1
    for name, asked, started in (("--devices", devices, local), ("--nodes", nodes, machines)):
        if asked not in (None, started):
            refuse(f"{name}: got {asked} but expected {started}, as torchrun started them, or nothing")
    return local, machines


def presets(as_json: options.JsonOption = False) -> None:
    """List the experiments of the package, for `train --preset NAME`.

    \b
    goal-analyze presets
    goal-analyze train --preset scenes --as-toml
    """
    from goal_analysis.vse.loop import experiment

    records = []
    for name in experiment.presets():
        tables = experiment.preset(name)
        encoders = {f"{side}s": tables["model"].get(side, {}).get("name", "") for side in ("image", "text")}
        about = {"epochs": tables["training"]["epochs"], "about": experiment.about_preset(name)}
        records.append({"preset": name, **encoders, **about})
    if as_json:
        print_json(records)
    else:
        print_table(tuple(records[0]), records, wrapped=("about",))
        typer.echo("goal-analyze train --preset NAME --as-toml prints one as a file")


def evaluate(
    runs: Annotated[list[Path], Argument(metavar="RUN...", help="One run, or several as an ensemble.")],
    data: options.OtherDataOption = None,
    split: SplitOption = "dev",
    protocol: Annotated[Text, Option(help=f"One of {', '.join(PROTOCOLS)}.")] = None,
    ranks_file: Annotated[
        File, Option("--ranks", metavar="FILE.json", help="Write the first 50 answers to every query, in order.")
    ] = None,
    eccv: Annotated[
        bool, Option("--eccv", help="Count the positives of ECCV Caption and CxC too, on COCO's 5,000 test images.")
    ] = False,
    equal_captions: Annotated[
        Text, Option(help="What an equal caption of another image is: positives, masked or negatives.")
    ] = None,
    judged: Annotated[
        Files, Option(metavar="FILE", help="Count pairs that people judged: Flickr8k's ExpertAnnotations.txt, CxC, ….")
    ] = None,
    judged_from: Annotated[
        float | None, Option(metavar="SCORE", help="The least score of a right pair: 3 for experts and CxC, else 0.5.")
    ] = None,
    skip_bad: options.SkipBadOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Measure Recall@1, 5 and 10 both ways, RSUM, and ranks.

    Ties count against the model. Recall from images is the hit rate "any of the image's captions among the first K".
    The 95 % intervals are over images with their captions. They say nothing about other training seeds; `compare` does.
    Several runs are an ensemble: their scores are averaged, and nothing is re-ranked.

    \b
    goal-analyze evaluate runs/mine
    goal-analyze evaluate runs/mine --data data/f30k_precomp --split test --protocol flickr30k
    goal-analyze evaluate runs/a runs/b --json
    """
    from goal_analysis.vse.folder.run_folder import read_run

    options.expect_among("--protocol", protocol, PROTOCOLS)
    for folder in runs:
        read_run(folder)
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
    pairs, same = [(m.model, m.tokenizer) for m in models], chosen.answers.equal_captions
    found = evaluate_models(pairs, chosen, fold)
    measures = found.record()
    record: dict[str, Any] = {"runs": [str(r) for r in runs], "split": split, "images": len(chosen.images)}
    record |= {"equal_captions": chosen.equal, "captions_that_are_equal": same, "judged": said_judged} | measures
    if len(pairs) == 1 and models[0].model.top:
        record["dual_rsum"] = evaluate_models([(models[0].model.dual, models[0].tokenizer)], chosen, fold).rsum
    places = first_places(Ways(pairs, chosen), chosen) if ranks_file or eccv else {}
    if ranks_file is not None:
        write_whole(ranks_file, json.dumps(places) + "\n")
    of_eccv = coco_positives(places) if eccv else {}
    if as_json:
        print_json(record | of_eccv | {"intervals": dict(found.intervals)})
        return

    def said(name: str) -> str:
        return "{:.1f} [{:.1f}, {:.1f}]".format(measures[name], *found.intervals[name])

    rows = [
        {"from": source}
        | {f"R@{k}": said(f"{way}_r{k}") for k in CUTOFFS}
        | {f"{kind} rank": f"{measures[f'{way}_{kind}_rank']:.1f}" for kind in ("median", "mean")}
        for source, way in (("images", "i2t"), ("captions", "t2i"))
    ]
    print_table(tuple(rows[0]), rows)
    lines = [f"RSUM {said('rsum')} on {len(chosen.images)} images of {split}."]
    if same:
        words = f"{same} of {len(chosen)} captions have the words of one of another image"
        lines.append(f"{words}; such a caption counts as {EQUAL[chosen.equal]}.")
    lines += [*said_judged, "The 95 % intervals are over queries: an image with all its captions counts as one."]
    lines += [f"{name} {value:.1f}" for name, value in of_eccv.items()]
    if "dual_rsum" in record:
        lines.append(f"re-ranked; the dual encoder alone has RSUM {record['dual_rsum']:.1f}")
    typer.echo("\n".join(lines))


def retrieve(
    folder: Annotated[Path, Argument(metavar="RUN", help="The folder of a run.")],
    text: Annotated[Text, Option(help="Retrieve images for this caption.")] = None,
    image: Annotated[
        Number, Option(metavar="ROW", help="Retrieve captions for this image, a row of the split.")
    ] = None,
    data: options.OtherDataOption = None,
    split: SplitOption = "dev",
    top: Annotated[int, counted(help="How many answers.")] = 5,
    output: Annotated[
        File, options.written_to(metavar="FILE.png", help="Draw query and answers; images have to be pictures.")
    ] = None,
    skip_bad: options.SkipBadOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Retrieve images for a caption, or captions for an image.

    \b
    goal-analyze retrieve runs/mine --text "a red circle above a blue square" -o found.png
    goal-analyze retrieve runs/mine --image 17 --json
    """
    from goal_analysis.vse.folder.run_folder import read_run

    options.expect_one({"--text": text, "--image": image})
    read_run(folder)
    import numpy as np

    from goal_analysis.study.gallery import Shown as Asked
    from goal_analysis.study.gallery import gallery_frame, query_of, shown_caption, shown_image
    from goal_analysis.vse.folder.run import load_model
    from goal_analysis.vse.models.text import UNKNOWN, Vocabulary
    from goal_analysis.vse.retrieval.scoring import captions_of_image, images_of_caption

    model = load_model(folder)
    chosen = model.load_split(split, data, skip_bad=skip_bad)
    if output is not None and len(chosen.images.shape) != 4:
        given = f"--output: got images of shape {chosen.images.shape[1:]}"
        raise ValueError(f"{given} but expected pictures (3, height, width)")
    if text is not None:
        scores = images_of_caption(model.model, model.tokenizer, chosen, text)
        if isinstance(model.tokenizer, Vocabulary) and not (model.tokenizer([text]).ids > UNKNOWN).any():
            typer.echo(f"--text: got {text!r}, of which the model knows no word; the order means little", err=True)
        own = {int(chosen.image_of[c]) for c, caption in enumerate(chosen.captions) if caption == text}
        right = np.isin(np.arange(len(chosen.images)), list(own))
        found, among = query_of(Asked(text), scores, right, partial(shown_image, chosen), top), "image"
        said = f"the caption {text!r}"
    else:
        scores = captions_of_image(model.model, model.tokenizer, chosen, image or 0)
        asked = shown_image(chosen, image or 0)
        found = query_of(asked, scores, chosen.image_of == asked.row, partial(shown_caption, chosen), top)
        among = "caption"
        said = f"image {image}, {asked.words!r}"
    if output is not None:
        from goal_analysis.pictures.canvas import save
        from goal_analysis.pictures.run_figures import gallery_figure

        save(gallery_figure(gallery_frame(*(((), [found]) if text is not None else ([found], ())), top=top)), output)
    records = [
        {"place": one.place, "image": one.row, "score": one.score, "right": one.right, "caption": one.words}
        for one in found.found
    ]
    if as_json:
        print_json(records)
        return
    typer.echo(shown(f"{among.capitalize()}s of {split} for {said}"))
    rows = [row | {"right": "✓" * row["right"], "score": f"{row['score']:.2f}"} for row in records]
    print_table(tuple(records[0]), rows, ("caption",))
    if found.rank:
        typer.echo(f"The first right {among} is at place {found.rank} of {found.among:,}")
    else:
        typer.echo(f"No {among} of {split} is known to be right: none has this caption")
