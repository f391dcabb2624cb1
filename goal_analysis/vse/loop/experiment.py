"""Experiments as values: data, model, objective and training, as TOML files and the records of runs declare them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen, Predicate

from goal_analysis.declarations import (
    Table,
    Words,
    check_fields,
    one_of,
    read_file,
    read_toml,
    read_value,
    with_settings,
)

if TYPE_CHECKING:  # an experiment is read before torch is loaded
    from goal_analysis.vse.data.split import RetrievalData, Split

PRESETS = resources.files("goal_analysis.vse.loop") / "presets"

Count = Annotated[int, Ge(0)]
Whole = Annotated[int, Ge(1)]
Amount = Annotated[float | int, Ge(0), Lt(math.inf)]
Rate = Annotated[float | int, Gt(0), Lt(math.inf)]


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """How the parameters of some names are trained, where that is not as all others are.

    Args:
        match: a pattern of names such as ``text.model.*``, in which ``*`` stands for any characters. A parameter is in
            the first group whose pattern it matches; those of the parts of a name are in
            `goal_analysis.vse.loop.training.parameter_names`.
        learning_rate: the highest; it rises and falls in time as that of all others does.
        weight_decay: of AdamW.
        frozen: whether they stay as they are.

    Raises:
        ValueError: a value of another type or out of its range; says what is accepted.
    """

    match: Annotated[str, MinLen(1), Words("a pattern of names, such as text.model.*")]
    learning_rate: Rate | None = None
    weight_decay: Amount | None = None
    frozen: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How an experiment is trained.

    Args:
        epochs: passes over all (image, caption) pairs of the training split, a million at most.
        batch_size: pairs of a step, over all processes. The last batch of an epoch is left out if it is incomplete.
        captions_per_image: captions of an image, or those left, that are positives of one batch.
        text_text: weight of the objective on the captions of a batch, in which captions of one image are positives.
        image_image: the same for the images, whose copies in a batch differ by dropout and augmentation.
        learning_rate: the highest, of AdamW.
        weight_decay: of AdamW.
        groups: parameters that are trained in another way, by their names, see `ParameterGroup`.
        schedule: of the learning rate after its warm-up: ``cosine`` down to 0, ``step`` or ``constant``.
        warm_up_steps: the learning rate rises linearly from 0 over so many steps.
        step_epochs: with ``step``, the learning rate is multiplied by ``step_factor`` every so many epochs.
        step_factor: see ``step_epochs``.
        teacher: the folder of a run whose model masks false negatives, if any, see
            `goal_analysis.vse.data.answers.TaughtMatches`.
        teacher_margin: pairs that are less than this below the teacher's similarity of a positive are masked too.
        epochs_on_all: all negatives count alike for so many epochs, before those that the objective mines. Softmax
            mining counts all negatives anyway, and starts at once.
        clip: the norm that the gradient of all parameters is clipped to; 0 for none.
        chunk: pairs that a process encodes at once, see `GradientCache`; the objective sees the whole batch, and only
            the numbers that dropout draws differ. 0 encodes all at once.
        accumulate: batches whose gradients are averaged into one step.
        precision: ``32-true``, ``64-true`` or ``bf16-mixed``.
        patience: training stops after so many epochs without a better RSUM on dev; 0 for never.
        checkpoint_steps: a checkpoint is written every so many steps, and at the end of every epoch; 0 for none.
        log_steps: the log gets a record every so many steps.
        probe_steps: statistics of the objective's weights are taken every so many steps; 0 for none.
        workers: processes that read images; 0 reads them in the training process.
        on_trouble: ``stop`` or ``continue`` when numbers are not finite, embeddings collapse or gradients vanish.

    Raises:
        ValueError: a value of another type or out of its range; says what is accepted.
    """

    epochs: Annotated[int, Ge(1), Le(10**6)] = 25
    batch_size: Whole = 128
    captions_per_image: Whole = 1
    text_text: Amount = 0.0
    image_image: Amount = 0.0
    learning_rate: Rate = 5e-4
    weight_decay: Amount = 1e-4
    groups: tuple[ParameterGroup, ...] = ()
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warm_up_steps: Count = 0
    step_epochs: Whole = 15
    step_factor: Amount = 0.1
    teacher: str = ""
    teacher_margin: Amount = 0.0
    epochs_on_all: Count = 0
    clip: Amount = 2.0
    chunk: Count = 0
    accumulate: Whole = 1
    precision: Literal["32-true", "64-true", "bf16-mixed"] = "32-true"
    patience: Count = 0
    checkpoint_steps: Count = 0
    log_steps: Whole = 50
    probe_steps: Count = 0
    workers: Count = 0
    on_trouble: Literal["stop", "continue"] = "stop"

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("text_text", "image_image"):
            if getattr(self, name) and self.captions_per_image < 2:
                given = f"{name}: got {getattr(self, name)} beside captions_per_image = 1"
                raise ValueError(f"{given} but expected 0 there, as a batch has no two captions of an image")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One training run, apart from the machine that it runs on.

    Args:
        name: a printable text.
        data: what `goal_analysis.vse.data.load` takes: ``name`` and its options.
        model: what `goal_analysis.vse.models.model.build_model` takes.
        objective: the line that names it, such as ``nca/linear@softmax:12``, or the name of a TOML file.
        training: how it is trained.
        seed: of the weights at the start, the order of the batches, and dropout.

    Raises:
        ValueError: a value of another type or out of its range; says what is accepted.
    """

    name: Annotated[str, MinLen(1), Predicate(str.isprintable), Words("a printable text")] = "experiment"
    data: Mapping[str, Any]
    model: Mapping[str, Any]
    objective: str
    training: TrainingOptions = TrainingOptions()
    seed: Annotated[int, Ge(0), Le(2**32 - 1)] = 0

    def __post_init__(self) -> None:
        check_fields(self)
        data = Table(self.data, "data")
        data.read("name", Annotated[str, MinLen(1), Words("the name of a data set or a path")])
        data.read("skip_bad", bool, False)
        data.read("equal_captions", Literal["positives", "masked", "negatives"], "negatives")
        if self.training.chunk and not {"scorer", "reranker"}.isdisjoint(self.model):
            given = f"training: chunk: got {self.training.chunk} beside a model that scores pairs of a whole batch"
            raise ValueError(f"{given} but expected 0: only embeddings can be made in chunks")

    @property
    def data_name(self) -> str:
        """The name of the data in tables."""
        return Path(str(self.data["name"])).name

    def mapping(self) -> dict[str, Any]:
        """The tables that `experiment_from_mapping` reads."""
        return asdict(self)

    def load_data(self) -> RetrievalData:
        """The data; what cannot be used is a DataError."""
        from goal_analysis.vse.data import load

        options = dict(self.data)
        return load(options.pop("name"), **options)

    def load_split(self, name: str, data: str | None = None, **more: Any) -> Split:
        """A split of the data, or of other data that are read as those are, with what ``more`` says of ``skip_bad`` and
        ``equal_captions``; a DataError says which splits there are.
        """
        from goal_analysis.vse.data import carry_options, load_split

        options: dict[str, Any] = carry_options(self.data, data) if data else dict(self.data)
        return load_split(options.pop("name"), name, **{**options, **{key: of for key, of in more.items() if of}})


def experiment_from_mapping(given: Mapping[str, Any], where: str = "experiment") -> Experiment:
    """Read the experiment that a TOML file or a run's record declares; a ValueError begins with ``where``."""
    return read_value(Experiment, given, where)


def read_experiment(
    source: str | Path,
    data: str | None = None,
    objective: str | None = None,
    seed: int | None = None,
    assignments: Sequence[str] = (),
) -> Experiment:
    """The experiment of a preset, or of a TOML or JSON file, with what else is set, such as ``training.epochs=15``."""
    own = isinstance(source, Path) or source.endswith((".toml", ".json"))
    tables: dict[str, Any] = read_file(Path(source)) if own else preset(str(source))
    if data is not None:
        from goal_analysis.vse.data import carry_options

        before = tables.get("data")
        tables["data"] = carry_options(before if isinstance(before, dict) else {}, data)
    tables = with_settings(tables, assignments)
    tables |= {k: v for k, v in (("objective", objective), ("seed", seed)) if v is not None}
    return experiment_from_mapping(tables, str(source))


def presets() -> tuple[str, ...]:
    """The names of the experiments that come with the package."""
    return tuple(sorted(f.name.removesuffix(".toml") for f in PRESETS.iterdir() if f.name.endswith(".toml")))


def preset(name: str) -> dict[str, Any]:
    """The tables of an experiment that comes with the package."""
    if name not in presets():
        raise ValueError(f"preset: got {name!r} but expected one of {one_of(presets(), name)}")
    return read_toml((PRESETS / f"{name}.toml").read_text("utf-8"))


def about_preset(name: str) -> str:
    """What the head of a preset's file says of it."""
    lines = (PRESETS / f"{name}.toml").read_text("utf-8").splitlines()
    return " ".join(line.removeprefix("# ") for line in takewhile(lambda line: line.startswith("# "), lines))
