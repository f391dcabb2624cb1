"""Functions of objectives: what follows from one, and which others can be made of it.

An objective is given as a line such as ``circle(gamma=80)`` or ``nca(tau=12)/linear@softmax:12``, as a formula of s_p
and s_n, as a TOML declaration or the name of its file, as ``module:name``, or as a value. Keywords set its fields
(``similarity``, ``direction``, ``reduction``, ``anchors``, ``learned``), its mining, and its hyperparameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goal_analysis.declarations import expect_among, expect_kind, named, naming, one_of, text_of_file
from goal_analysis.files import write_whole
from goal_analysis.recombination.names import FIELDS, TWIN
from goal_analysis.recombination.parts import Parts, twin_of, weights_of_loss
from goal_analysis.symbolic.analysis.continuity import is_continuous_loss
from goal_analysis.symbolic.analysis.decomposition import Decomposition
from goal_analysis.symbolic.analysis.decomposition import decompose as decomposed
from goal_analysis.symbolic.analysis.integrability import Integrability
from goal_analysis.symbolic.analysis.integrability import integrability as integrability_of_weights
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.weight import PairWeights, TripletWeight, WeightField
from losses_catalog import catalog, pair_weights, triplet_weights
from losses_catalog.lookup import classes

if TYPE_CHECKING:  # torch and NumPy are loaded by the doors that need them
    from torch import Tensor

    from goal_analysis.numeric.characteristics import Characteristics
    from goal_analysis.numeric.measurement import Inputs, Measurement
    from goal_analysis.numeric.verification import Verification
    from goal_analysis.recombination.description import Description
    from goal_analysis.recombination.minings import Mining
    from goal_analysis.recombination.objective import GradientObjective

    Given = str | Path | Objective | GradientObjective

NEIGHBOURS = 5
"""How many of the nearest losses a measurement names."""


@lru_cache(maxsize=8)
def parts_with(losses: tuple[Objective, ...] = catalog) -> Parts:
    """The weights of the catalog and the losses, by their names."""
    titles = [(loss.title, loss.name) for loss in losses]
    return Parts(triplet_weights, pair_weights, losses, (*classes, *titles))


def value_of(given: Given, known: Parts | None = None, /, **keywords: Any) -> Objective:
    """The value of what is given, as the top of this module has it; ``known`` is what names stand for."""
    fields = {name: keywords.pop(name) for name in FIELDS if name in keywords}
    mining = keywords.pop("mining", None)
    read = _reader(str(given) if isinstance(given, Path) else given, known or parts_with())
    is_formula = isinstance(given, str) and re.search(r"\b(s_p|s_n|gap)\b", given)
    found = read(keywords if is_formula else {})
    names = [h.name for h in found.hyperparameters]
    for name in keywords:
        if name not in names:
            expected = one_of((*names, *FIELDS, "mining"), name)
            raise ValueError(f"{found.owner}: got a value for {name!r} but expected one of {expected}")
    found = read(keywords) if keywords else found
    if mining is not None:
        from goal_analysis.recombination.recombine import recombine

        name = f"{found.name}@{mining}" if isinstance(mining, str) and "@" not in found.name else None
        found = recombine(found, mining=mining, name=name)
    if fields.get("direction") is not None:
        from goal_analysis.recombination.text import direction_of

        fields["direction"] = direction_of(fields["direction"])
    return replace(found, **fields) if fields else found


def _reader(given: Any, known: Parts) -> Callable[[Mapping[str, Any]], Objective]:
    if not isinstance(given, str):
        value = getattr(given, "objective", given)
        expect_kind("objective", value, Objective, "text such as info_nce(tau=12), a path or an Objective")
        return value.with_settings
    for loss in known.losses:
        if loss.name == given:  # which needs no torch
            return loss.with_settings
    from goal_analysis.recombination.text import from_toml, parse_objective

    if "\n" in given and re.search(r"(?<![<>])=|^\s*\[", given):  # lines and formulas may be broken too
        return from_toml(given, known).with_settings
    if given.endswith(".toml"):
        text = text_of_file(Path(given))
        with naming(given):
            return from_toml(text, known).with_settings
    return lambda settings: parse_objective(given, known, settings)


def text_of(given: Given) -> str:
    """The line, or the TOML declaration, that `objective` reads as this objective; text stays as it is."""
    found = value_of(given)
    if isinstance(given, str | Path):
        text = str(given)
        return text_of_file(Path(text)).rstrip() + "\n" if text.endswith(".toml") and "\n" not in text else text
    from goal_analysis.recombination.text import line_of, to_toml

    return line_of(found, parts_with()) or to_toml(found, parts_with())


def objective(given: Given, *, refuse_nonfinite: bool = True, **keywords: Any) -> GradientObjective:
    """An objective as a torch module whose gradient is the weight matrix W, whether or not a loss has it.

        W_ap = −T(x_p, x_n)·q_p·P⁺(s_p)        W_an = T(x_p, x_n)·q_n·P⁻(s_n)

    It takes embeddings of shape ``(images, dim)`` and ``(texts, dim)``, and is the mean over the anchors by default.
    ``anchors`` says which are the queries: rows (images), columns (texts) or both.

    Args:
        given: a line, a formula, TOML, the name of its file, ``module:name``, or a value.
        refuse_nonfinite: whether NaN and infinities in the input raise an error instead of passing through.
        keywords: ``similarity``, ``direction``, ``reduction``, ``anchors``, ``learned``, ``mining``, and
            hyperparameters by name.

    Raises:
        ValueError: something is not understood; the message says what would be accepted.
        TypeError: ``given`` is no objective.

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
        ValueError: no such name or hyperparameter; the message says which there are.

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
    if isinstance(given, Decomposition | WeightField) and not keywords:
        return integrability_of_weights(given)
    from goal_analysis.recombination.verdict import verdict

    own: Any = given.loss if isinstance(given, Decomposition) else given
    return verdict(value_of(own, **keywords))


def characteristics(given: Given | Decomposition | WeightField, **keywords: Any) -> Characteristics:
    """What the weights of one triplet do: signs over the plane, limits, growth with hardness, extremes and poles.

    The arguments are those of `objective`, and so is what is refused; weights of one triplet are accepted too.

    >>> characteristics("nca/linear").push.where
    's_n < 0'
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
        given: a loss, as for `objective`.
        dtypes: of embeddings and scores.
        device: where the weights are computed.
        keywords: as for `objective`.

    Raises:
        VerificationError: an error beyond its bound.
        ValueError: weights are prescribed, so that autograd has no loss; or something is not understood.
    """
    from goal_analysis.numeric.verification import verify as verified

    found = value_of(given, **keywords)
    if not found.is_loss:
        raise ValueError(f"{found.owner}: got prescribed weights but expected a loss, whose weights autograd knows")
    several = [dtypes] if isinstance(dtypes, str) else dtypes
    return verified(decomposed(found), dtypes=[_dtype(d, "bfloat16", "float16") for d in several], device=device)


def _dtype(given: Any, *narrow: str) -> Any:
    import torch

    name = str(given).removeprefix("torch.")
    accepted = ("float64", "float32", *narrow)
    expect_among("dtypes" if narrow else "dtype", name, accepted)
    return getattr(torch, name)


def measure(
    loss_fn: str | Callable[..., Any],
    inputs: str | Inputs | None = None,
    *,
    points: int = 21,
    dtype: Any = None,
    losses: Sequence[Objective] | None = None,
    **options: Any,
) -> Measurement:
    """Measure the weights of any torch loss by autograd alone, and name the nearest known losses.

    Args:
        loss_fn: a callable or a class, or text: ``module:name``, ``file.py:name`` or an objective.
        inputs: the kind of its inputs, such as one_set or triplets, see `goal_analysis.numeric.measurement.Inputs`; by
            default read off the names of its arguments, and tried.
        points: grid points along each similarity.
        dtype: of the embeddings, or its name; float64 by default, float32 where that is refused.
        losses: the known losses; by default the catalog.
        options: those of `goal_analysis.numeric.measurement.measure`, such as ``settings`` and ``dim``.

    Raises:
        UnmeasurableLoss: a call fails, or returns no scalar, or no finite one anywhere.
        ValueError: no such kind of inputs, or no such callable.
    """
    from goal_analysis.numeric.measurement import Inputs, nearest
    from goal_analysis.numeric.measurement import measure as measured

    kinds: dict[Any, Inputs] = {kind.name.lower(): kind for kind in Inputs}
    kind = inputs if isinstance(inputs, Inputs | None) else named("inputs", inputs, kinds)
    dtype = dtype if dtype is None else _dtype(dtype)
    declared = None
    if isinstance(loss_fn, str):
        options = {"name": loss_fn, **options}
        loss_fn, declared = _measurable(loss_fn)
    found = measured(loss_fn, kind, points=points, dtype=dtype, **options)
    # Of a loss, its declaration proves what a trace cannot follow, such as the mask of vectors of zeros.
    if declared is not None and declared.is_loss and declared.direction is None and is_continuous_loss(declared):
        found = replace(found, stopped_by="")
    if found.dead_share == 1:
        return found
    options.get("progress", str)("looking for the nearest known loss")
    near = nearest(found, catalog if losses is None else losses)
    return replace(found, nearest=(*near[:NEIGHBOURS], *(n for n in near[NEIGHBOURS:] if n.problem)))


def _measurable(target: str) -> tuple[Callable[..., Any], Objective | None]:
    """What a text names: a callable, or an objective as a function, and itself: the value of a loss, or ⟨W, S⟩.

    Of what pairs carry, a positive carries 1 and a negative 0.
    """
    from goal_analysis.numeric.functions import loss_value, weights_of_scores
    from goal_analysis.numeric.matches import Matches
    from goal_analysis.numeric.similarity import scores
    from goal_analysis.recombination.text import imported

    module, colon, name = target.rpartition(":")
    if colon and not re.search(r"[@(=]", target):
        found = imported(target) if module and name else None
        if not callable(found):
            given = f"{found!r}" if module and name else "no name on both sides of the colon"
            raise ValueError(f"{target}: got {given} but expected a callable, as MODULE:NAME or FILE.py:NAME")
        return found, None
    try:
        value = value_of(target)
    except (ValueError, OSError) as problem:
        dotted = re.sub(r"^([A-Za-z_][\w.]*)\.([A-Za-z_]\w*)$", r"\1:\2", target)
        expected = f"{dotted if ':' in dotted else 'MODULE:NAME'}, FILE.py:NAME or an objective"
        raise ValueError(f"{target}: got no objective ({problem}) but expected {expected}") from problem
    if value.direction is not None:
        return objective(value, refuse_nonfinite=False), value

    def of_embeddings(images: Tensor, texts: Tensor) -> Tensor:
        s, matches = scores(value.similarity, images, texts), Matches.of_pairs(len(images))
        if value.reads_carried:
            matches = replace(matches, carried=matches.positives.to(s.dtype))
        if value.is_loss:
            return loss_value(value, s, matches)
        return (weights_of_scores(value, s.detach(), matches) * s).sum()

    return of_embeddings, value


def recombine(
    given: Given,
    *,
    triplet: str | TripletWeight | None = None,
    pair: str | PairWeights | None = None,
    mining: str | Mining | None = None,
    name: str | None = None,
    **keywords: Any,
) -> Objective:
    """An objective with some parts exchanged. With its own parts it is the same value.

    Args:
        given: as for `objective`.
        triplet: another T, or its name.
        pair: other P⁺ and P⁻, or their name.
        mining: other aggregators, such as ``hardest`` or ``softmax:12``.
        name: the name of the result; by default its line of text, where there is one.
        keywords: as for `objective`.

    Raises:
        ValueError: something is not understood, or the parts do not go together.

    >>> recombine("circle", pair="linear", mining="hardest").name
    'circle/linear@hardest'
    """
    from goal_analysis.recombination.recombine import recombine as recombined

    found = value_of(given, **keywords)
    line = found.name.partition("@")[0] if mining else found.name
    for mark, part in (("/", pair), ("@", mining)):
        if part is not None:
            line += mark + (part if isinstance(part, str) else getattr(part, "name", "own"))
    expect_kind("triplet", triplet, TripletWeight | str | None, "a name or a TripletWeight")
    expect_kind("pair", pair, PairWeights | str | None, "a name or PairWeights")
    t = parts_with().triplet(triplet) if isinstance(triplet, str) else triplet
    p = parts_with().pair(pair) if isinstance(pair, str) else pair
    return recombined(found, triplet=t, pair=p, mining=mining, name=name or line + (f"({t.name})" if t else ""))


def twin(given: Given, **keywords: Any) -> Objective:
    """The integrable twin of an objective: the same pair weights, and T as a function of their potential.

    The arguments are those of `objective`, and so is what is refused. Weights that do not separate have no twin.

    >>> twin("nca/linear").name, integrability(twin("nca/linear")).integrable
    ('nca_twin/linear', True)
    """
    from goal_analysis.recombination.recombine import recombine as recombined

    found = value_of(given, **keywords)
    of_parts = re.match(r"\w+.*/", found.name)
    name = re.sub(r"^\w+", rf"\g<0>{TWIN}", found.name) if of_parts else f"({found.name}){TWIN}"
    triplet, pair = weights_of_loss(found)
    prescribed = any(side.weight is not None for term in found.terms for side in term.sides)
    return recombined(found, triplet=twin_of(triplet, pair), pair=None if prescribed else pair, name=name)


def family(
    minings: Iterable[str | Mining] = ("hardest",),
    *,
    using: str | Iterable[str] = (),
    integrable: bool | None = None,
    sign: str | None = None,
) -> Iterator[Description]:
    """The recombinations of the catalog's weights and of the weights of its losses.

    Args:
        minings: the minings of the family.
        using: names of weights or losses; a member has at least one of them.
        integrable: whether a member is the gradient of a loss; by default either.
        sign: what its weights do, such as ``pulls and pushes``; by default anything.

    Raises:
        ValueError: a name that is not known, and those that are.

    >>> [member.name for member in family(using="vse_pp", integrable=True)]
    ['vse_pp/constant@hardest']
    """
    from goal_analysis.recombination.family import family as members
    from goal_analysis.recombination.minings import mining_of

    mined = [mining_of(text) for text in ([minings] if isinstance(minings, str) else minings)]
    wanted = [using] if isinstance(using, str) else using
    return members(parts_with(), mined, using=wanted, integrable=integrable, sign=sign)


def export(given: Given, path: str | Path | None = None, *, name: str | None = None, **keywords: Any) -> str:
    """The text of a Python file that trains with an objective and needs torch alone.

    Args:
        given: as for `objective`.
        path: the file to write as well; by default none.
        name: the name of the class; by default made of the objective's name.
        keywords: as for `objective`, and ``way``: ``dense``, or ``tiled``, which keeps no matrix of scores.

    Raises:
        ValueError: something is not understood, or cannot be exported.
        OSError: the file cannot be written.
    """
    from goal_analysis.recombination.export import export as source_of

    way = keywords.pop("way", "dense")
    source = source_of(value_of(given, **keywords), name, way)
    if path is not None:
        write_whole(Path(path), source)
    return source
