"""The doors of `import goal_analysis` that have no single home: each takes text wherever it takes a value.

An objective is given as a line such as ``circle(gamma=80)`` or ``nca(tau=12)/linear@softmax:12``, as a formula of s_p
and s_n, as a TOML declaration or the name of its file, as ``module:name``, or as a value. Keywords set its fields
(``similarity``, ``direction``, ``reduction``, ``anchors``), its mining, and its hyperparameters by their names.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from goal_analysis.declarations import MOST_BYTES, one_of, read_file, with_settings
from goal_analysis.files import folder_name, write_whole
from goal_analysis.recombination.parts import TWIN, Parts, twin_of, weights_of_loss
from goal_analysis.symbolic.analysis.decomposition import Decomposition
from goal_analysis.symbolic.analysis.decomposition import decompose as decomposed
from goal_analysis.symbolic.analysis.integrability import Integrability
from goal_analysis.symbolic.analysis.integrability import integrability as integrability_of_weights
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.weight import PairWeights, TripletWeight, WeightField
from losses_catalog import catalog, pair_weights, triplet_weights

if TYPE_CHECKING:  # torch, NumPy and matplotlib are loaded by the doors that need them
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import Tensor

    from goal_analysis.numeric.characteristics import Characteristics
    from goal_analysis.numeric.measurement import Measurement
    from goal_analysis.numeric.verification import Verification
    from goal_analysis.recombination.description import Description
    from goal_analysis.recombination.family import Member
    from goal_analysis.recombination.minings import Mining
    from goal_analysis.recombination.objective import GradientObjective
    from goal_analysis.study.comparison import Comparison
    from goal_analysis.study.tuned_comparison import Outcome
    from goal_analysis.vse.data.split import RetrievalData, Split
    from goal_analysis.vse.folder.run import TrainedModel
    from goal_analysis.vse.loop.experiment import Experiment
    from goal_analysis.vse.retrieval.metrics import RetrievalMetrics

    Given = str | Path | Objective | GradientObjective

FIELDS = ("similarity", "direction", "reduction", "anchors")
"""What keywords set besides the mining and the hyperparameters."""

BASELINE = "info_nce(tau=12)"
NEIGHBOURS = 5
"""How many of the nearest losses a measurement names."""


# --- objectives from text -------------------------------------------------------------------------


@lru_cache(maxsize=8)
def parts_with(losses: tuple[Objective, ...] = catalog) -> Parts:
    """What names stand for: the weights of the catalog, and losses."""
    return Parts(triplet_weights, pair_weights, losses)


def is_declaration(text: str) -> bool:
    """Whether text is an objective's declaration in TOML or the name of its file, and no line."""
    return "\n" in text or text.endswith(".toml")


def value_of(given: Given, known: Parts | None = None, /, **keywords: Any) -> Objective:
    """The value of an objective: see the top of this module.

    Args:
        given: text, a path, or a value.
        known: what names stand for; by default the catalog's.
        keywords: fields, ``mining`` and hyperparameters.

    Raises:
        ValueError: what was not understood, and what would be accepted.
        TypeError: what is given is no objective.
        OSError: the file cannot be read.
    """
    known = known or parts_with()
    changes = {name: keywords.pop(name) for name in FIELDS if name in keywords}
    mining = keywords.pop("mining", None)
    text = str(given) if isinstance(given, Path) else given
    read = _reader(text, known)
    found = read(keywords if isinstance(text, str) and re.search(r"\b(s_p|s_n|gap)\b", text) else {})
    names = [h.name for h in found.hyperparameters]
    for name in keywords:
        if name not in names:
            raise ValueError(
                f"{found.owner}: got a value for {name!r} but expected one of "
                f"{one_of((*names, *FIELDS, 'mining'), name)}"
            )
    if keywords:
        found = read(keywords)
    if mining is not None:
        from goal_analysis.recombination.recombine import recombine as recombined

        name = f"{found.name}@{mining}" if isinstance(mining, str) and "@" not in found.name else None
        found = recombined(found, mining=mining, name=name)
    if "direction" in changes and changes["direction"] is not None:
        from goal_analysis.numeric.similarity import Direction
        from goal_analysis.recombination.text import direction_of

        if not isinstance(changes["direction"], str | Direction):
            raise TypeError(
                f"{found.owner}: direction: got {changes['direction']!r} but expected a name or a Direction"
            )
        changes["direction"] = direction_of(changes["direction"])
    return replace(found, **changes) if changes else found


def _reader(given: Any, known: Parts) -> Callable[[Mapping[str, Any]], Objective]:
    """What reads text, or takes a value, with these hyperparameters."""
    if not isinstance(given, str):
        value = getattr(given, "objective", given)
        if not isinstance(value, Objective):
            raise TypeError(
                f"objective: got {given!r:.100} but expected text such as {BASELINE}, a path or an Objective"
            )
        return value.with_settings
    for loss in known.losses:
        if loss.name == given:  # which needs no torch
            return loss.with_settings
    from goal_analysis.recombination.text import from_toml, parse_objective

    if is_declaration(given):
        declared = from_toml(given if "\n" in given else text_of_file(Path(given)), known)
        return declared.with_settings
    return lambda settings: parse_objective(given, known, settings)


def text_of_file(path: Path) -> str:
    """The text of a declaration's file.

    Raises:
        ValueError: the file is no UTF-8, or too long.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path}: got more than {MOST_BYTES:,} bytes but expected a declaration")
    return content.decode("utf-8")


def text_of(given: Given, **keywords: Any) -> str:
    """The line, or the TOML declaration, that `objective` reads as this objective; text stays as it is.

    Raises:
        ValueError: the objective holds something that text cannot say; or as `objective`.
    """
    found = value_of(given, **keywords)
    if isinstance(given, str | Path) and not keywords:
        text = str(given)
        return text if "\n" in text or not is_declaration(text) else text_of_file(Path(text)).rstrip() + "\n"
    from goal_analysis.recombination.text import written

    return written(found, parts_with())


def objective(given: Given, *, refuse_nonfinite: bool = True, **keywords: Any) -> GradientObjective:
    """An objective as a torch module whose gradient is the weight matrix W, whether or not a loss has it.

        W_ap = −T(x_p, x_n)·q_p·P⁺(s_p)        W_an = T(x_p, x_n)·q_n·P⁻(s_n)

    It takes embeddings of shape ``(images, dim)`` and ``(texts, dim)``. By default it is the mean over the anchors.

    Args:
        given: a line, a formula, TOML, the name of its file, ``module:name``, or a value.
        refuse_nonfinite: whether NaN and infinities in the input raise an error instead of passing through.
        keywords: ``similarity``, ``direction``, ``reduction``, ``anchors``, ``mining``, and hyperparameters by name.

    Raises:
        ValueError: what was not understood, and what would be accepted.
        TypeError: what is given is no objective.

    >>> objective("circle", gamma=80, reduction="sum")
    GradientObjective(circle, sum over rows, cosine, gamma=80, m=0.25)
    """
    from goal_analysis.recombination.objective import GradientObjective

    return GradientObjective(value_of(given, **keywords), refuse_nonfinite)


def loss(name: str, **settings: float) -> Objective:
    """A loss of the catalog.

    Args:
        name: as `losses` lists it.
        settings: hyperparameters that differ from their defaults.

    Raises:
        ValueError: another name or hyperparameter, and those that are accepted.

    >>> loss("circle", gamma=80).values()
    {gamma: 80, m: 1/4}
    """
    return value_of(parts_with().loss(name), **settings)


def losses() -> tuple[Objective, ...]:
    """The losses of the catalog, family by family.

    >>> [loss.name for loss in losses()][:3]
    ['triplet', 'triplet_squared_euclidean', 'triplet_soft_margin']
    """
    return catalog


def weights() -> dict[str, tuple[str, ...]]:
    """The names of the triplet weights and of the pair weights that lines such as ``nca/linear`` are made of.

    >>> weights()["triplet"]
    ('constant', 'hinge', 'nca', 'circular')
    """
    return {"triplet": tuple(t.name for t in triplet_weights), "pair": tuple(p.name for p in pair_weights)}


# --- what is known of an objective ----------------------------------------------------------------


def decompose(given: Given, **keywords: Any) -> Decomposition:
    """Take a loss, or another objective, apart at the gradient: w⁺ = T·P⁺ and w⁻ = T·P⁻.

    The arguments are those of `objective`, and so is what is refused.

    >>> decompose("vse_pp").field.factors
    Factors(triplet=step(margin + s_n - s_p), positive=1, negative=1)
    """
    return decomposed(value_of(given, **keywords))


def integrability(given: Given | Decomposition | WeightField, **keywords: Any) -> Integrability:
    """Decide whether what trains is the gradient of a loss: yes with a proof, no with a witness, or open.

    The arguments are those of `objective`, and so is what is refused; weights of one triplet are accepted too.

    >>> integrability("nca/constant").loss
    softplus(tau*(s_n - s_p))/tau
    """
    if isinstance(given, Decomposition | WeightField):
        return integrability_of_weights(given)
    from goal_analysis.recombination.verdict import verdict

    return verdict(value_of(given, **keywords))


def characteristics(given: Given | Decomposition | WeightField, **keywords: Any) -> Characteristics:
    """What the weights of one triplet do: signs, limits, growth with hardness, saturation and scale.

    The arguments are those of `objective`, and so is what is refused; weights of one triplet are accepted too.

    >>> characteristics("nca/linear").negative.negative_somewhere
    True
    """
    from goal_analysis.numeric.characteristics import characteristics as found

    if isinstance(given, Decomposition | WeightField):
        return found(given, keywords)
    return found(decompose(given, **keywords))


def describe(given: Given, **keywords: Any) -> Description:
    """Everything that is known of an objective before it trains: weights, mining, verdict, loss, signs.

    The arguments are those of `objective`, and so is what is refused.

    >>> describe("nca/linear@softmax:12").sign
    'mixed'
    """
    return objective(given, **keywords).describe()


def verify(
    given: Given, *, dtypes: Sequence[str] = ("float64", "float32", "bfloat16"), device: str = "cpu", **keywords: Any
) -> Verification:
    """Compare the derived weights of a loss with autograd on made-up batches, and return the errors.

    Args:
        given: as for `objective`; nothing of it is prescribed.
        dtypes: of embeddings and scores.
        device: where the weights are computed.
        keywords: as for `objective`.

    Raises:
        VerificationError: an error beyond its bound.
        ValueError: prescribed weights, of which autograd knows nothing; or what was not understood.
    """
    import torch

    from goal_analysis.numeric.verification import verify as verified

    found = value_of(given, **keywords)
    if not found.is_loss:
        raise ValueError(f"{found.owner}: got prescribed weights but expected a loss, whose weights autograd knows")
    known = {str(d).removeprefix("torch."): d for d in (torch.float64, torch.float32, torch.bfloat16, torch.float16)}
    for name in dtypes:
        if name not in known:
            raise ValueError(f"dtypes: got {name!r} but expected one of {one_of(known, name)}")
    return verified(decomposed(found), dtypes=[known[name] for name in dtypes], device=device)


def measure(
    loss_fn: str | Callable[..., Any], inputs: str | None = None, *, points: int = 21, dtype: Any = None, **options: Any
) -> Measurement:
    """Measure the weights of any torch loss by autograd alone, and name the nearest losses of the catalog.

    Args:
        loss_fn: a callable or a class, see `goal_analysis.numeric.measurement.Inputs` for what it may take; or text,
            ``module:name``, ``file.py:name`` or an objective.
        inputs: what it takes, such as one_set or triplets; by default read off its arguments' names, and tried.
        points: grid points along each similarity.
        dtype: of the embeddings, or its name; float64 by default, float32 where that is refused.
        options: others of `goal_analysis.numeric.measurement.measure`, such as ``settings`` and ``dim``.

    Raises:
        UnmeasurableLoss: a call fails or returns no scalar, or nowhere a finite one.
        ValueError: another kind of inputs, or no such callable.
    """
    import torch

    from goal_analysis.numeric.measurement import Inputs, nearest
    from goal_analysis.numeric.measurement import measure as measured

    kinds = {kind.name.lower(): kind for kind in Inputs}
    if inputs is not None and not isinstance(inputs, Inputs) and inputs not in kinds:
        raise ValueError(f"inputs: got {inputs!r} but expected one of {one_of(kinds, inputs)}")
    kind = kinds[inputs] if isinstance(inputs, str) else inputs
    dtypes = {"float64": torch.float64, "float32": torch.float32}
    if isinstance(dtype, str) and dtype not in dtypes:
        raise ValueError(f"dtype: got {dtype!r} but expected one of {one_of(dtypes, dtype)}")
    known = options.pop("losses", catalog)
    if isinstance(loss_fn, str):
        options = {"name": loss_fn, **options}
        loss_fn = measurable(loss_fn)
    found = measured(loss_fn, kind, points=points, dtype=dtypes[dtype] if isinstance(dtype, str) else dtype, **options)
    if found.dead_share == 1:
        return found
    options.get("progress", str)("looking for the nearest known loss")
    near = nearest(found, known)
    return replace(found, nearest=(*near[:NEIGHBOURS], *(n for n in near[NEIGHBOURS:] if n.problem)))


def measurable(target: str) -> Callable[..., Any]:
    """The callable, or the class, that ``module:name`` or ``file.py:name`` names, or an objective of embeddings.

    Raises:
        ValueError: there is none.
    """
    module, colon, name = target.partition(":")
    if not colon:
        return _of_embeddings(target)
    path = Path(module)
    sys.path.insert(0, str(path.resolve().parent if path.suffix == ".py" else Path.cwd()))
    try:
        if path.suffix == ".py":
            loader = SourceFileLoader(path.stem, str(path))
            found: Any = ModuleType(path.stem)
            found.__file__ = str(path)
            sys.modules.setdefault(path.stem, found)
            loader.exec_module(found)
        else:
            found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as problem:  # the code that is imported is anybody's
        raise ValueError(f"{target}: {type(problem).__name__}: {problem}") from problem
    finally:
        sys.path.pop(0)
    if not callable(found):
        raise ValueError(f"{target}: got {found!r} but expected a callable")
    return found


def _of_embeddings(target: str) -> Callable[..., Any]:
    """An objective as a function of images and texts: a loss that stops no gradient by its value, others by W."""
    from goal_analysis.numeric.functions import loss_value
    from goal_analysis.numeric.matches import Matches
    from goal_analysis.numeric.similarity import scores

    try:
        found = value_of(target)
    except (ValueError, OSError) as problem:
        raise ValueError(
            f"{target}: got no objective ({problem}) but expected MODULE:NAME, FILE.py:NAME or an objective"
        ) from problem
    if not found.is_loss or found.detaches:
        return objective(found, refuse_nonfinite=False)

    def of_embeddings(images: Tensor, texts: Tensor) -> Tensor:
        return loss_value(found, scores(found.similarity, images, texts), Matches.of_pairs(len(images)))

    return of_embeddings


# --- other objectives -----------------------------------------------------------------------------


def recombine(
    given: Given,
    *,
    triplet: str | TripletWeight | None = None,
    pair: str | PairWeights | None = None,
    mining: str | Mining | None = None,
    name: str | None = None,
    **keywords: Any,
) -> Objective:
    """An objective with parts exchanged; what is exchanged for itself stays as it is.

    Args:
        given: as for `objective`.
        triplet: another T, or its name.
        pair: other P⁺ and P⁻, or their name.
        mining: other aggregators, such as ``hardest`` or ``softmax:12``.
        name: of the result; by default the line that says the same, where there is one.
        keywords: as for `objective`.

    Raises:
        ValueError: what was not understood, or parts that do not go together.

    >>> recombine("circle", pair="linear", mining="hardest").name
    'circle/linear@hardest'
    """
    from goal_analysis.recombination.recombine import recombine as recombined

    found = value_of(given, **keywords)
    line = [found.name.partition("@")[0] if mining else found.name]
    for mark, part in (("/", pair), ("@", mining)):
        if part is not None:
            line.append(mark + (part if isinstance(part, str) else getattr(part, "name", "own")))
    if isinstance(triplet, str):
        triplet = parts_with().triplet(triplet)
    if triplet is not None:
        line.append(f"({triplet.name})")
    if isinstance(pair, str):
        pair = parts_with().pair(pair)
    return recombined(found, triplet=triplet, pair=pair, mining=mining, name=name or "".join(line))


def twin(given: Given, **keywords: Any) -> Objective:
    """The integrable twin of an objective: the same pair weights, and T as a function of their potential.

    The arguments are those of `objective`, and so is what is refused. Weights that do not separate have no twin.

    >>> twin("nca/linear").name, integrability(twin("nca/linear")).integrable
    ('nca_twin/linear', True)
    """
    from goal_analysis.recombination.recombine import recombine as recombined

    found = value_of(given, **keywords)
    head = re.match(r"\w+", found.name)
    name = f"{head[0]}{TWIN}{found.name[head.end() :]}" if head and "/" in found.name else f"({found.name}){TWIN}"
    return recombined(found, triplet=twin_of(*weights_of_loss(found)), name=name)


def family(
    minings: Iterable[str | Mining] = ("hardest",), *, using: str | Iterable[str] = (), **filters: Any
) -> Iterator[Member]:
    """The objectives that the weights of the catalog and of its losses make.

    Args:
        minings: with which minings.
        using: names of weights or losses of which a member has at least one.
        filters: ``integrable`` and ``sign``, as in `goal_analysis.recombination.family.family`.

    Raises:
        ValueError: a name that is not known, and those that are.

    >>> [member.name for member in family(using="circular", integrable=True)][:1]
    ['circular/linear']
    """
    from goal_analysis.recombination.family import family as members
    from goal_analysis.recombination.minings import mining_of

    mined = [mining_of(text) for text in ([minings] if isinstance(minings, str) else minings)]
    return members(parts_with(), mined, using=[using] if isinstance(using, str) else using, **filters)


def export(given: Given, path: str | Path | None = None, *, name: str | None = None, **keywords: Any) -> str:
    """The text of a Python file that trains with an objective and needs torch alone.

    Args:
        given: as for `objective`.
        path: where the file is written, too; by default nowhere.
        name: of the class; by default made of the objective's name.
        keywords: as for `objective`, and ``way``: ``dense``, or ``tiled``, which keeps no matrix of scores.

    Raises:
        ValueError: what was not understood, or what cannot be exported.
        OSError: the file cannot be written.
    """
    from goal_analysis.recombination.export import export as source_of

    options = {"way": keywords.pop("way")} if "way" in keywords else {}
    source = source_of(value_of(given, **keywords), name, **options)
    if path is not None:
        write_whole(Path(path), source)
    return source


def plot(*what: Given | Run, kind: str | None = None, **keywords: Any) -> Figure:
    """A picture of an objective, of several beside each other, or of runs, as a matplotlib figure.

    Args:
        what: objectives, as for `objective`; or runs.
        kind: of an objective ``pair``, ``triplet``, ``field`` (the default) or ``portrait``; of several ``compare``; of
            runs ``retrieval`` (the default), ``ranking``, ``weights`` or ``quantiles``, where they were logged.
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
    from goal_analysis.pictures.weight_figures import KINDS, comparison_figure, figures

    values = [value_of(one, **keywords) for one in given]
    if len(values) == 1:
        kind = kind or "field"
        if kind not in KINDS:
            raise ValueError(f"kind: got {kind!r} but expected one of {one_of(KINDS, kind)}")
        return dict(figures(decomposed(values[0]), values[0].title, [kind]))[kind]
    if not values or kind not in (None, "compare"):
        raise ValueError(f"plot: got {len(values)} objectives and kind {kind!r} but expected one, or kind compare")
    return comparison_figure([(decomposed(value), {}) for value in values])


# --- training -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A training run in its folder.

    Args:
        folder: of the run.

    Raises:
        RunError: the folder holds no run.
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        _ = self.experiment

    @cached_property
    def experiment(self) -> Experiment:
        """Data, model, objective and training."""
        from goal_analysis.vse.folder.run_folder import read_run
        from goal_analysis.vse.loop.experiment import experiment_from_mapping

        return experiment_from_mapping(read_run(self.folder)["experiment"], f"{self.folder}: experiment")

    @cached_property
    def objective(self) -> GradientObjective:
        """What it trained with."""
        return objective(self.experiment.objective)

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
        from goal_analysis.vse.retrieval.evaluation import evaluate_models

        chosen = chosen_split(self.experiment, None if data is None else str(data), split)
        self.model.check_images(chosen.images, self.folder)
        return evaluate_models([(self.model.model, self.model.tokenizer)], chosen)

    def plot(self, kind: str = "retrieval") -> Figure:
        """The run's picture; see `plot`."""
        return plot(self, kind=kind)

    def __repr__(self) -> str:
        history = self.history
        best = f", best dev RSUM {history['rsum'].max():.1f}" if len(history) else ""
        of = self.experiment
        named = of.objective.partition("\n")[0]
        return (
            f"Run({str(self.folder)!r}: {named} on {of.data_name}, {len(history)} of {of.training.epochs} epochs{best})"
        )

    def _repr_markdown_(self) -> str:
        columns = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "rsum")
        rows = [
            f"| {r['epoch']:g} | {' | '.join(f'{r[c]:.1f}' for c in columns)} |"
            for _, r in self.history.reset_index().iterrows()
        ]
        head = [f"| epoch | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        return "\n".join([f"`{self!r}`", "", *head, *rows])


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
        report: is handed every record of the log; by default one line an epoch is written to the standard error.
        accelerator: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        settings: of the training, such as ``epochs`` and ``batch_size``; others with their path, as in
            ``**{"model.image.dim": 256}``.

    Raises:
        ValueError: what was not understood, and what would be accepted.
        RunError: the folder holds another run.
        OSError: something cannot be read or written.
    """
    from lightning_fabric import Fabric

    from goal_analysis.recombination.objective import GradientObjective
    from goal_analysis.vse.folder.run import run_experiment

    experiment = experiment_of(preset, data, objective, seed, _assignments(settings))
    named = folder_name(f"{experiment.data_name} {experiment.objective[:60]} {seed}")
    folder = Path(output) if output is not None else Path("runs") / named
    loaded = loaded_data(experiment)
    precision: Any = experiment.training.precision
    fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    trained = GradientObjective(value_of(experiment.objective))
    run_experiment(experiment, trained, loaded, folder, fabric, ("goal_analysis.train",), report or _say_epoch)
    return Run(folder)


def _say_epoch(record: Mapping[str, Any]) -> None:
    if record["kind"] == "epoch":
        print(f"epoch {record['epoch']}: dev RSUM {record['rsum']:.1f}", file=sys.stderr)
    elif record["kind"] == "trouble":
        print(f"step {record['step']}: {record['trouble']}: {record['cause']}", file=sys.stderr)


def _assignments(settings: Mapping[str, Any]) -> list[str]:
    """Keywords as the assignments that they stand for: of the training where they have no path."""
    from goal_analysis.vse.loop.experiment import TrainingOptions

    known = [f.name for f in fields(TrainingOptions)]
    for name in settings:
        if "." not in name and name not in known:
            raise ValueError(f"train: got {name!r} but expected one of {one_of(known, name)}")
    return [f"{name if '.' in name else f'training.{name}'}={json.dumps(v)}" for name, v in settings.items()]


def experiment_of(
    source: str | Path,
    data: str | Path | None = None,
    objective: Given | None = None,
    seed: int | None = None,
    assignments: Sequence[str] = (),
) -> Experiment:
    """The experiment of a preset, or of a file, with what else was set; its objective says itself what it is.

    Raises:
        ValueError: what was not understood, and what would be accepted.
        OSError: a file cannot be read.
    """
    from goal_analysis.vse.data import carry_options
    from goal_analysis.vse.loop.experiment import experiment_from_mapping, preset

    own = isinstance(source, Path) or str(source).endswith((".toml", ".json"))
    tables: dict[str, Any] = read_file(Path(source)) if own else preset(str(source))
    if data is not None:
        before = tables.get("data", {})
        tables["data"] = carry_options(before if isinstance(before, dict) else {}, str(data))
    tables = with_settings(tables, assignments)
    chosen = tables.get("objective") if objective is None else objective
    if chosen is not None and (objective is not None or isinstance(chosen, str)):
        tables["objective"] = text_of(chosen)
    return experiment_from_mapping(tables | ({} if seed is None else {"seed": seed}), str(source))


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


def load_run(folder: str | Path) -> Run:
    """The run in a folder, whoever trained it.

    Args:
        folder: of the run.

    Raises:
        RunError: the folder holds no run.
    """
    return Run(Path(folder))


def compare(
    objectives: Sequence[Given],
    data: str | Path | None = None,
    *,
    preset: str | Path = "bag_of_words",
    seeds: int = 5,
    output: str | Path = "comparison",
    jobs: int = 1,
    **settings: Any,
) -> Comparison:
    """Train with every objective over seeds, and say what is within noise of the first; what is done is not run again.

    Args:
        objectives: as for `objective`, the baseline first.
        data: as for `train`.
        preset: as for `train`.
        seeds: 0 to ``seeds`` − 1.
        output: the folder of the runs.
        jobs: runs at once, each on one thread.
        settings: as for `train`.

    Raises:
        ValueError: what was not understood; or no run of the baseline came to an end.
    """
    from goal_analysis.study.comparison import compare as compared
    from goal_analysis.study.runs import run_over_seeds

    named = {_name_of(one): experiment_of(preset, data, one, 0, _assignments(settings)) for one in objectives}
    found, failures = run_over_seeds(Path(output), named, seeds, jobs)
    for failure in failures:
        warnings.warn(str(failure), stacklevel=2)
    return compared(found, next(iter(named)))


def tune(
    objectives: Sequence[Given],
    data: str | Path | None = None,
    *,
    preset: str | Path = "bag_of_words",
    budget: int = 8,
    seeds: int = 5,
    output: str | Path = "study",
    jobs: int = 1,
    **settings: Any,
) -> Outcome:
    """Tune objectives with equal budgets, and compare them over fresh seeds; what is done is not run again.

    Args:
        objectives: as for `objective`, the baseline first.
        data: as for `train`.
        preset: as for `train`.
        budget: trials of each objective.
        seeds: of the comparison.
        output: the folder of the study.
        jobs: runs at once, each on one thread.
        settings: as for `train`.

    Raises:
        ValueError: what was not understood; or no run of the baseline came to an end.
    """
    from goal_analysis.study.tuned_comparison import tuned_comparison
    from goal_analysis.study.tuning import candidate

    base = experiment_of(preset, data, objectives[0], 0, _assignments(settings))
    candidates = [candidate(_name_of(one), value_of(one), text_of, base) for one in objectives]
    return tuned_comparison(Path(output), base, candidates, budget, seeds, jobs)


def _name_of(given: Given) -> str:
    return given if isinstance(given, str) and "\n" not in given else value_of(given).name
