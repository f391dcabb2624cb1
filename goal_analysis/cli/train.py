"""``goal-analyze train``: an experiment trained, from a file or a preset, and gone on with after any end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goal_analysis.cli.choosing import refuse
from goal_analysis.cli.objectives import declaration_of, is_declaration, objective_of
from goal_analysis.cli.training import processes, run
from goal_analysis.declarations import read_file, with_settings

if TYPE_CHECKING:  # torch is loaded when the command runs
    from goal_analysis.recombination.objective import GradientObjective
    from goal_analysis.vse.data.split import RetrievalData, Split
    from goal_analysis.vse.loop.experiment import Experiment

ExperimentArgument = Annotated[
    Path | None, typer.Argument(metavar="[EXPERIMENT.toml]", help="Data, model, objective and training.")
]
PresetOption = Annotated[str | None, typer.Option(help="An experiment that comes with the package.")]
DataOption = Annotated[
    str | None,
    typer.Option(metavar="DIR/NAME", help="Other data: a folder, a file, or the name of a data set."),
]
SkipBadOption = Annotated[
    bool,
    typer.Option(
        "--skip-bad", help="Leave out rows that cannot be used, and count them; every picture is decoded once for that."
    ),
]


def train(
    file: ExperimentArgument = None,
    preset: PresetOption = None,
    data: DataOption = None,
    objective: Annotated[str | None, typer.Option(help="Such as nca/linear@softmax:12.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, batches and dropout.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Such as training.epochs=15; repeatable.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="RUN", help="The folder of the run.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with the run in this folder.")] = None,
    devices: Annotated[
        int | None,
        typer.Option(min=1, help="Processes on this machine, one a device; by default 1, or as torchrun says."),
    ] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Machines; by default 1, or as torchrun says.")] = None,
    accelerator: Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")] = "auto",
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Log to RUN/tensorboard too (needs the package tensorboard).")
    ] = False,
    skip_bad: SkipBadOption = False,
) -> None:
    """Train image-text retrieval with an objective, and write the run's log, checkpoints and result.

    \b
    goal-analyze train experiment.toml -o runs/mine
    goal-analyze train --preset bag_of_words --data data/flickr8k_precomp --objective nca/linear@softmax:12
    goal-analyze train --resume runs/mine
    """
    from goal_analysis.vse.folder.run_folder import read_run
    from goal_analysis.vse.loop.experiment import experiment_from_mapping

    try:
        if resume is not None:
            if file or preset or data or objective or seed is not None or assignments or output or skip_bad:
                refuse("--resume: got settings too but expected the run's own, as its folder has them")
            experiment = experiment_from_mapping(read_run(resume)["experiment"], f"{resume}: experiment")
            folder = resume
        else:
            experiment = chosen_experiment(file, preset, data, objective, seed, assignments or (), skip_bad)
            folder = output or Path("runs") / f"{experiment.name}-{experiment.seed}"
        trained_with, loaded = trained_objective(experiment.objective), loaded_data(experiment)
    except (OSError, ValueError) as problem:
        refuse(problem)
    run(experiment, trained_with, loaded, folder, *processes(devices, nodes), accelerator, tensorboard)


def chosen_experiment(
    file: Path | None,
    preset: str | None,
    data: str | None,
    objective: str | None,
    seed: int | None,
    assignments: list[str] | tuple[str, ...],
    skip_bad: bool,
) -> Experiment:
    """The experiment of a file or a preset, with what else was set.

    Raises:
        ValueError: neither or both of file and preset, or a setting that is not understood.
        OSError: the file cannot be read.
    """
    from goal_analysis.vse.data import carry_options
    from goal_analysis.vse.loop import experiment as experiments

    if (file is None) == (preset is None):
        given = "both" if file else "neither"
        raise ValueError(f"got {given} an experiment's file and a preset but expected one; presets are {_names()}")
    tables: Mapping[str, Any] = read_file(file) if file else experiments.preset(preset or "")
    if data is not None:
        before = tables.get("data", {})
        tables = {**tables, "data": carry_options(before if isinstance(before, dict) else {}, data)}
    tables = with_settings(tables, [*assignments, *(["data.skip_bad=true"] if skip_bad else [])])
    over: dict[str, Any] = {"objective": objective, "seed": seed}
    tables = {**tables, **{name: value for name, value in over.items() if value is not None}}
    return inlined(experiments.experiment_from_mapping(tables, str(file or preset)))


def inlined(experiment: Experiment) -> Experiment:
    """The experiment with its objective's TOML file read, so that a run says by itself what it trained with.

    Raises:
        ValueError: the file is no UTF-8 or too long.
        OSError: it cannot be read.
    """
    if experiment.objective.endswith(".toml"):
        return replace(experiment, objective=declaration_of(experiment.objective))
    return experiment


def trained_objective(text: str) -> GradientObjective:
    """The objective of an experiment, whose weights are averaged over the anchors unless it is declared in TOML.

    Raises:
        ValueError: what was not understood, and what would be accepted.
        OSError: the file cannot be read.
    """
    from goal_analysis.symbolic.objective import Reduction

    return objective_of(text) if is_declaration(text) else objective_of(text, reduction=Reduction.MEAN)


def loaded_data(experiment: Experiment) -> RetrievalData:
    """The data that an experiment names.

    Raises:
        DataError: it cannot be used.
        OSError: it cannot be read.
    """
    from goal_analysis.vse.data import load

    options = dict(experiment.data)
    return load(options.pop("name"), **options)


def chosen_split(experiment: Experiment, data: str | None, split: str, skip_bad: bool = False) -> Split:
    """A split of the experiment's data, or of other data that are read as those are.

    Raises:
        DataError: the data cannot be used, or have no such split.
        OSError: it cannot be read.
    """
    from goal_analysis.vse.data import carry_options, load_split

    given = carry_options(experiment.data, data) if data else dict(experiment.data)
    if skip_bad:
        given["skip_bad"] = True
    return load_split(given.pop("name"), split, **given)


def _names() -> str:
    from goal_analysis.vse.loop.experiment import presets

    return ", ".join(presets())
