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

from goal_analysis import declarations
from goal_analysis.declarations import Table, Words

if TYPE_CHECKING:  # an experiment is read before torch is loaded
    from goal_analysis.vse.data.split import RetrievalData, Split

PRESETS = resources.files("goal_analysis.vse.loop") / "presets"

Count = Annotated[int, Ge(0), Le(10**9)]
Whole = Annotated[int, Ge(1), Le(10**9)]
Amount = Annotated[float | int, Ge(0), Lt(math.inf)]
Rate = Annotated[float | int, Gt(0), Lt(math.inf)]


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """How the parameters are trained whose `parameter_names` match, such as ``text.model.*``, first group first."""

    match: Annotated[str, MinLen(1), Words("a pattern of names, such as text.model.*")]
    learning_rate: Rate | None = None  # the highest; it rises and falls as that of all others does
    weight_decay: Amount | None = None
    frozen: bool = False  # whether they stay as they are

    def __post_init__(self) -> None:
        declarations.check_fields(self)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How an experiment is trained; a ValueError says what is accepted."""

    epochs: Annotated[int, Ge(1), Le(10**6)] = 25  # passes over all (image, caption) pairs
    batch_size: Whole = 128  # pairs of a step, over all processes; an incomplete batch at the end is left out
    captions_per_image: Whole = 1  # captions of an image, or those left, that are positives of one batch
    text_text: Amount = 0.0  # weight of the objective on captions alone; those of one image are positives
    image_image: Amount = 0.0  # on images alone, whose copies differ by dropout and augmentation
    learning_rate: Rate = 5e-4  # the highest, of AdamW
    weight_decay: Amount = 1e-4  # of AdamW
    groups: tuple[ParameterGroup, ...] = ()
    schedule: Literal["cosine", "step", "constant"] = "cosine"  # after the warm-up; cosine goes down to 0
    warm_up_steps: Count = 0  # in which the learning rate rises linearly from 0
    step_epochs: Whole = 15  # of the schedule step: epochs after which the learning rate is multiplied
    step_factor: Amount = 0.1  # and by what
    teacher: str = ""  # the folder of a run whose model masks false negatives, see `TaughtMatches`
    teacher_margin: Amount = 0.0  # pairs less than this below the teacher's similarity of a positive are masked too
    epochs_on_all: Count = 0  # in which all negatives count alike, not those that the objective mines by hardness
    clip: Amount = 2.0  # the norm that the gradient of all parameters is clipped to; 0 for none
    chunk: Count = 0  # pairs that a process encodes at once, see `GradientCache`; 0 encodes all
    accumulate: Whole = 1  # batches whose gradients are averaged into one step
    precision: Literal["32-true", "64-true", "bf16-mixed"] = "32-true"
    patience: Count = 0  # epochs without a better RSUM on dev after which training stops; 0 for never
    checkpoint_steps: Count = 0  # between checkpoints, which the end of an epoch has too; 0 for none
    log_steps: Whole = 50  # between records of the log
    probe_steps: Count = 0  # between statistics of the objective's weights; 0 for none
    workers: Annotated[int, Ge(0), Le(1000)] = 0  # processes that read images; 0 reads them in the training process
    on_trouble: Literal["stop", "continue"] = "stop"  # when numbers are not finite, or `health` finds trouble

    def __post_init__(self) -> None:
        declarations.check_fields(self)
        for name in ("text_text", "image_image"):
            if getattr(self, name) and self.captions_per_image < 2:
                given = f"{name}: got {getattr(self, name)} beside captions_per_image = 1"
                raise ValueError(f"{given} but expected 0 there, as a batch has no two captions of an image")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One training run, apart from the machine that it runs on; a ValueError says what is accepted."""

    name: Annotated[str, MinLen(1), Predicate(str.isprintable), Words("a printable text")] = "experiment"
    data: Mapping[str, Any]  # what `goal_analysis.vse.data.load` takes: ``name`` and its options
    model: Mapping[str, Any]  # what `build_model` takes
    objective: str  # the line that names it, such as ``nca/linear@softmax:12``, or the name of a TOML file
    training: TrainingOptions = TrainingOptions()
    seed: Annotated[int, Ge(0), Le(2**32 - 1)] = 0  # of first weights, the order of batches, and dropout

    def __post_init__(self) -> None:
        declarations.check_fields(self)
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
        """A split of the data, or of other data read as those are; ``more`` may set the options for bad rows."""
        from goal_analysis.vse.data import carry_options, load_split

        options: dict[str, Any] = carry_options(self.data, data) if data else dict(self.data)
        return load_split(options.pop("name"), name, **{**options, **{key: of for key, of in more.items() if of}})


def experiment_from_mapping(given: Mapping[str, Any], where: str = "experiment") -> Experiment:
    """Read the experiment that a TOML file or a run's record declares; a ValueError begins with ``where``."""
    return declarations.read_value(Experiment, given, where)


def read_experiment(
    source: str | Path,
    data: str | None = None,
    objective: str | None = None,
    seed: int | None = None,
    assignments: Sequence[str] = (),
) -> Experiment:
    """The experiment of a preset, or of a TOML or JSON file, with settings such as ``training.epochs=15``."""
    own = isinstance(source, Path) or source.endswith((".toml", ".json"))
    tables: dict[str, Any] = declarations.read_file(Path(source)) if own else preset(str(source))
    if data is not None:
        from goal_analysis.vse.data import carry_options

        before = tables.get("data")
        tables["data"] = carry_options(before if isinstance(before, dict) else {}, data)
    tables = declarations.with_settings(tables, assignments)
    tables |= {k: v for k, v in (("objective", objective), ("seed", seed)) if v is not None}
    return experiment_from_mapping(tables, str(source))


def presets() -> tuple[str, ...]:
    """The names of the experiments that come with the package."""
    return tuple(sorted(f.name.removesuffix(".toml") for f in PRESETS.iterdir() if f.name.endswith(".toml")))


def preset(name: str) -> dict[str, Any]:
    """The tables of an experiment that comes with the package."""
    declarations.expect_among("preset", name, presets())
    return declarations.read_toml((PRESETS / f"{name}.toml").read_text("utf-8"))


def about_preset(name: str) -> str:
    """The comment at the head of a preset's file."""
    lines = (PRESETS / f"{name}.toml").read_text("utf-8").splitlines()
    return " ".join(line.removeprefix("# ") for line in takewhile(lambda line: line.startswith("# "), lines))
