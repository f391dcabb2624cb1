"""Functions of training: one run, several compared or tuned, and pictures of runs and objectives."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goal_analysis.api import objectives as doors
from goal_analysis.api.objectives import text_of, value_of
from goal_analysis.declarations import as_json, check_counts, expect_among, expect_kind, one_of
from goal_analysis.files import folder_name
from goal_analysis.study import TUNED
from goal_analysis.symbolic.analysis.decomposition import Decomposition, decompose
from goal_analysis.symbolic.weight import PairWeights, TripletWeight, WeightField, compose

if TYPE_CHECKING:  # torch, pandas and matplotlib are loaded by the doors that need them
    import pandas as pd
    from matplotlib.figure import Figure

    from goal_analysis.api.objectives import Given
    from goal_analysis.recombination.objective import GradientObjective
    from goal_analysis.study.comparison import Comparison
    from goal_analysis.study.tuning import Outcome
    from goal_analysis.vse.folder.run import TrainedModel
    from goal_analysis.vse.loop.experiment import Experiment
    from goal_analysis.vse.retrieval.metrics import RetrievalMetrics

BASELINE = "info_nce(tau=12)"


@dataclass(frozen=True)
class Run:
    """A training run in its folder; a folder without a run is a RunError."""

    folder: Path

    def __post_init__(self) -> None:
        expect_kind("folder", self.folder, str | Path, "text or a path")
        object.__setattr__(self, "folder", Path(self.folder))
        _ = self.experiment

    @cached_property
    def experiment(self) -> Experiment:
        """Data, model, objective and training."""
        from goal_analysis.vse.folder.run_folder import read_run

        return read_run(self.folder).experiment

    @cached_property
    def objective(self) -> GradientObjective:
        """The objective that the run trained with."""
        return doors.objective(self.experiment.objective)

    @cached_property
    def model(self) -> TrainedModel:
        """The model with the weights that were best on dev, and its tokenizer."""
        from goal_analysis.vse.folder.run import load_model

        return load_model(self.folder)

    @property
    def history(self) -> pd.DataFrame:
        """A row an epoch: Recall@1, 5 and 10 both ways on dev, RSUM and ranks."""
        import pandas as pd

        rows = [{k: v for k, v in r.items() if k != "kind"} for r in self.records.records if r["kind"] == "epoch"]
        return pd.DataFrame(rows).set_index("epoch") if rows else pd.DataFrame()

    @property
    def records(self) -> Any:
        """The log, as pictures take it."""
        from goal_analysis.pictures.run_frames import Records
        from goal_analysis.vse.folder.run_folder import read_log

        return Records(self.experiment.objective, self.experiment.seed, read_log(self.folder))

    def evaluate(self, split: str = "test", data: str | Path | None = None) -> RetrievalMetrics:
        """Recall@1, 5 and 10 both ways, RSUM and ranks of the best model; ties count against it.

        Args:
            split: train, dev or test.
            data: other data than the run was trained on.

        Raises:
            DataError: the data cannot be used, or have no such split.
        """
        from goal_analysis.vse.retrieval.scoring import evaluate_models

        chosen = self.model.load_split(split, None if data is None else str(data))
        return evaluate_models([(self.model.model, self.model.tokenizer)], chosen)

    def plot(self, kind: str = "retrieval") -> Figure:
        """The run's picture; see `plot`."""
        return plot(self, kind=kind)

    def __repr__(self) -> str:
        history, of = self.history, self.experiment
        best = f", best dev RSUM {history['rsum'].max():.1f}" if len(history) else ""
        trained = f"{of.objective.partition(chr(10))[0]} on {of.data_name}"
        return f"Run({str(self.folder)!r}: {trained}, {len(history)} of {of.training.epochs} epochs{best})"

    def _repr_markdown_(self) -> str:
        columns = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "rsum")
        rows = [(f"{epoch:g}", *(f"{row[c]:.1f}" for c in columns)) for epoch, row in self.history.iterrows()]
        table = [("epoch", *columns), ("---",) * (len(columns) + 1), *rows]
        return "\n".join([f"`{self!r}`", "", *(f"| {' | '.join(row)} |" for row in table)])


def load_run(folder: str | Path) -> Run:
    """The run in a folder, whoever trained it.

    Args:
        folder: of the run.

    Raises:
        RunError: the folder holds no run.
    """
    return Run(Path(folder))


def train(
    data: str | Path | None = None,
    objective: Given = BASELINE,
    *,
    preset: str | Path = "bag_of_words",
    seed: int = 0,
    output: str | Path | None = None,
    report: Callable[[Mapping[str, Any]], None] | None = None,
    accelerator: str = "auto",
    **settings: Any,
) -> Run:
    """Train image-text retrieval with an objective; the same call goes on with a run that was interrupted.

    Args:
        data: a folder of features, a file of captions, or ``scenes``; by default the preset's.
        objective: as for `objective`.
        preset: an experiment of the package, or the TOML file of one.
        seed: of weights, batches and dropout.
        output: the folder of the run; by default named after data, objective and seed, in ``runs``.
        report: called with every record of the log; by default one line an epoch goes to the standard error.
        accelerator: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        settings: of the training, such as ``epochs`` and ``batch_size``; others with their path, as in
            ``**{"model.image.dim": 256}``.

    Raises:
        ValueError: what was not understood, and what would be accepted.
        RunError: the folder holds another run.
        OSError: a file cannot be read or written.
    """
    from goal_analysis.vse.folder.run import run_experiment
    from goal_analysis.vse.loop.processes import start_fabric

    experiment = experiment_of(preset, data, objective, seed, _assignments(settings))
    named = folder_name(f"{experiment.data_name} {experiment.objective[:60]} {seed}")
    folder = Path(output) if output is not None else Path("runs") / named
    loaded = experiment.load_data()
    fabric = start_fabric(accelerator, experiment.training.precision)
    trained = doors.objective(experiment.objective)
    run_experiment(experiment, trained, loaded, folder, fabric, ("goal_analysis.train",), report or _say_epoch)
    return Run(folder)


def _say_epoch(record: Mapping[str, Any]) -> None:
    if record["kind"] == "epoch":
        print(f"epoch {record['epoch']}: dev RSUM {record['rsum']:.1f}", file=sys.stderr)
    elif record["kind"] == "trouble":
        print(f"step {record['step']}: {record['trouble']}: {record['cause']}", file=sys.stderr)


def _assignments(settings: Mapping[str, Any]) -> list[str]:
    said = {name if "." in name else f"training.{name}": value for name, value in settings.items()}
    return [f"{name}={json.dumps(value, default=as_json)}" for name, value in said.items()]


def experiment_of(
    source: str | Path,
    data: str | Path | None = None,
    objective: Given | None = None,
    seed: int | None = None,
    assignments: Sequence[str] = (),
) -> Experiment:
    """The experiment of a preset, or of a file, with what else was set; its objective trains, and says what it is."""
    from goal_analysis.vse.loop.experiment import read_experiment

    said = None if objective is None else text_of(objective)
    found = read_experiment(source, None if data is None else str(data), said, seed, assignments)
    doors.objective(found.objective)  # refused where it cannot train
    return replace(found, objective=text_of(found.objective))


def compare(
    objectives: Sequence[Given],
    data: str | Path | None = None,
    *,
    preset: str | Path = "bag_of_words",
    seeds: int = 5,
    split: str = "dev",
    output: str | Path = "comparison",
    jobs: int = 1,
    **settings: Any,
) -> Comparison:
    """Train every objective over seeds, and say what is within noise of the first; finished runs are not run again.

    Args:
        objectives: as for `objective`, the baseline first.
        data: as for `train`.
        preset: as for `train`.
        seeds: 0 to ``seeds`` − 1.
        split: where the best models of the runs are compared: dev, test or train. The best are those on dev.
        output: the folder of the runs.
        jobs: runs at once, each on one thread.
        settings: as for `train`.

    Raises:
        ValueError: what was not understood; or no run of the baseline came to an end.
    """
    from goal_analysis.study.comparison import compare as compared
    from goal_analysis.study.driver import Driver, by_seed, seed_jobs

    check_counts(seeds=seeds, jobs=jobs)
    assignments = _assignments(settings)
    named = {name: experiment_of(preset, data, one, 0, assignments) for name, one in _by_name(objectives).items()}
    measured = measured_on(split, next(iter(named.values())))
    with Driver(Path(output), at_once=jobs) as driver:
        jobs_of = seed_jobs(Path(output), named, seeds)
        driver.expect(len(jobs_of), baseline=next(iter(jobs_of.values())).folder.parent.name)
        failures = driver.run(jobs_of.values())
    for failure in failures:
        warnings.warn(str(failure), stacklevel=2)
    return compared(by_seed(jobs_of, measured), next(iter(named)))


def measured_on(split: str, experiment: Experiment) -> Callable[[Path], float]:
    """What measures the best model of a run in its folder by its RSUM on a split; a DataError where there is none."""
    from goal_analysis.study.driver import best_rsum

    experiment.load_split(split)
    return best_rsum if split == "dev" else lambda folder: load_run(folder).evaluate(split).rsum


def tune(
    objectives: Sequence[Given],
    data: str | Path | None = None,
    *,
    preset: str | Path = "bag_of_words",
    budget: int = 8,
    seeds: int = 5,
    tuned: Sequence[str] = TUNED,
    output: str | Path = "study",
    jobs: int = 1,
    **settings: Any,
) -> Outcome:
    """Tune objectives with equal budgets, and compare them over fresh seeds; finished runs are not run again.

    Args:
        objectives: as for `objective`, the baseline first.
        data: as for `train`.
        preset: as for `train`.
        budget: trials of each objective.
        seeds: of the comparison.
        tuned: what is tuned, among ``objective`` (its own scales), ``learning_rate``, ``weight_decay``,
            ``captions_per_image``, ``text_text``, ``image_image`` and ``epochs``.
        output: the folder of the study.
        jobs: runs at once, each on one thread.
        settings: as for `train`.

    Raises:
        ValueError: what was not understood; or no run of the baseline came to an end.
    """
    from goal_analysis.study.driver import Driver
    from goal_analysis.study.scales import scales_of
    from goal_analysis.study.search import Setting, storage
    from goal_analysis.study.tuning import run_study, tuning_of

    check_counts(budget=budget, seeds=seeds, jobs=jobs)
    values = {name: value_of(one) for name, one in _by_name(objectives).items()}
    base = experiment_of(preset, data, next(iter(values.values())), 0, _assignments(settings))
    for value in values.values():
        scales_of(value, base.training, tuned)  # refused before a folder is made
    base.load_data()
    with Driver(Path(output), at_once=jobs) as driver:
        setting = Setting(Path(output), storage(driver), base, {base.data_name: base.data}, text_of, value_of)
        searches = [tuning_of(name, value, setting, budget, tuned) for name, value in values.items()]
        return run_study(driver, searches, seeds)


def _by_name(objectives: Sequence[Given]) -> dict[str, Given]:
    if not isinstance(objectives, Sequence) or isinstance(objectives, str) or not objectives:
        raise ValueError(f"objectives: got {objectives!r:.100} but expected a list of them, the baseline first")
    names = [one if isinstance(one, str) and "\n" not in one else value_of(one).name for one in objectives]
    if len(set(names)) < len(names):
        raise ValueError(f"objectives: got {', '.join(names)} but expected every one once")
    return dict(zip(names, objectives, strict=True))


def plot(*what: Given | Run, kind: str | None = None, **keywords: Any) -> Figure:
    """A picture of an objective, of several beside each other, or of runs, as a matplotlib figure.

    Args:
        what: objectives, as for `objective`, their decompositions, or weights; or runs.
        kind: of an objective ``pair``, ``triplet``, ``field`` (the default), ``flow`` or ``portrait``; of several
            ``compare``, and of two ``difference``; of runs ``retrieval`` (the default), ``ranking``, ``weights`` or
            ``quantiles``, where they were logged.
        keywords: as for `objective`.

    Raises:
        ValueError: what was not understood, and what would be accepted.
    """
    runs = [one for one in what if isinstance(one, Run)]
    given = [one for one in what if not isinstance(one, Run)]
    if runs:
        from goal_analysis.pictures.run_figures import figures_of_logs

        if given or keywords:
            raise ValueError(f"plot: got {[*given, *keywords]} beside runs but expected runs alone, and a kind")
        drawn = figures_of_logs([run.records for run in runs])
        kind = kind or "retrieval"
        if kind not in drawn:
            raise ValueError(f"kind: got {kind!r} but expected what was logged: {one_of(drawn, kind)}")
        return drawn[kind]
    from goal_analysis.pictures import KINDS, SEVERAL
    from goal_analysis.pictures.objective_figures import comparison_figure, difference_figure, figures

    values = [_drawable(one, keywords) for one in given]
    if len(values) == 1:
        kind = kind or "field"
        expect_among("kind", kind, KINDS)
        (one,) = values
        return dict(figures(one, one.loss.title if isinstance(one, Decomposition) else one.name, [kind]))[kind]
    if not values or kind not in (None, *SEVERAL) or (kind == "difference" and len(values) > 2):
        expected = "one, several with kind compare, or two with kind difference"
        raise ValueError(f"plot: got {len(values)} objectives and kind {kind!r} but expected {expected}")
    return difference_figure(*values) if kind == "difference" else comparison_figure(values)


def _drawable(given: Any, keywords: Mapping[str, Any]) -> Decomposition | WeightField:
    """A weight alone is drawn beside constant ones."""
    constant = doors.parts_with().resolved("constant", "constant")
    if isinstance(given, TripletWeight):
        given = compose(given, constant[1])
    elif isinstance(given, PairWeights):
        given = compose(constant[0], given)
    if isinstance(given, Decomposition | WeightField) and not keywords:
        return given
    of: Any = given.loss if isinstance(given, Decomposition) else given
    return decompose(value_of(of, **keywords))
