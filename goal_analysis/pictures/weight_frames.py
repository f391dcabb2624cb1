"""The weights of one triplet in numbers. Relative similarities are 0, as without other pairs.

Samples are off the middle of their cells, s_p and s_n differently, so that none lies on a kink such as s_n = s_p.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import sympy as sp
from jaxtyping import Float64

from goal_analysis.declarations import expect_among
from goal_analysis.numeric.compilation import compiled
from goal_analysis.numeric.extremes import last_where
from goal_analysis.numeric.lowering import NUMPY
from goal_analysis.pictures.style import LABELS, top_of
from goal_analysis.symbolic.analysis.decomposition import Decomposition
from goal_analysis.symbolic.analysis.integrability import Integrability, integrability, smooth_curl
from goal_analysis.symbolic.analysis.kinks import curl_jumps, in_steps_alone, kinks_of, vanishes_on_kink
from goal_analysis.symbolic.language.primitives import s_n, s_p, x_n, x_p
from goal_analysis.symbolic.language.similarity import Similarity
from goal_analysis.symbolic.weight import WeightField

Objective = Decomposition | WeightField

CURVE, SURFACE, ARROWS = 401, 161, 15  # samples along a curve, along a side of a surface, and arrows along a side
SLICES = (0.25, 0.5, 0.75)  # where on its range the other similarity is held, for weights that read both
NOT_FINITE = [np.inf, -np.inf]
OFF = (1e-7, 3e-7)  # by which shares of the range samples of s_p and of s_n are moved


# --- expressions of s_p and s_n -------------------------------------------------------------------


def field_of(objective: Objective) -> WeightField:
    """The weights of one triplet."""
    return objective.field if isinstance(objective, Decomposition) else objective


def weights_of(objective: Objective) -> dict[str, sp.Expr]:
    """``w_p`` and ``w_n``, with ``T``, ``P_p`` and ``P_n`` where they exist, as expressions of s_p and s_n alone."""
    field = field_of(objective)
    found = {"w_p": field.positive, "w_n": field.negative}
    if field.factors is not None:
        found |= {"T": field.factors.triplet, "P_p": field.factors.positive, "P_n": field.factors.negative}
    return {name: numeric(weight, field, field.values()) for name, weight in found.items()}


def numeric(expression: sp.Expr, field: WeightField, values: Mapping[sp.Symbol, sp.Expr]) -> sp.Expr:
    """An expression at these values, where relative similarities are 0, or in the limit, as of log(1 + R·x)/R."""
    for relative in field.relative:
        at_zero = expression.subs(relative.symbol, 0)
        lost = at_zero.has(sp.nan, sp.zoo, sp.oo, -sp.oo)
        expression = sp.limit(expression, relative.symbol, 0) if lost else at_zero
    return expression.subs(values)


def kink_columns(expressions: Sequence[sp.Expr]) -> dict[str, sp.Expr]:
    """Columns ``kink_0``, ``kink_1`` …, each of which changes its sign along one kink or jump of the expressions."""
    kinks = kinks_of([in_steps_alone(e) for e in expressions], (s_p, s_n))
    return {f"kink_{i}": kink for i, kink in enumerate(kinks)}


# --- grids ----------------------------------------------------------------------------------------


def is_bounded(similarity: Similarity) -> bool:
    """Whether the range of a similarity has two ends."""
    return bool(similarity.opposite.is_finite and similarity.identical.is_finite)


def span_of(similarity: Similarity, values: Sequence[float] | pd.Series | None = None) -> tuple[float, float]:
    """The ends of what is drawn: of the range, or where it has none of the values, and without these of the window."""
    low, high = map(float, similarity.window)
    reached = np.asarray([] if values is None else values, dtype=float)
    reached = reached[np.isfinite(reached)]
    if not len(reached) or reached.min() == reached.max():
        return low, high
    low = low if similarity.opposite.is_finite else float(reached.min())
    return low, high if similarity.identical.is_finite else float(reached.max())


def similarity_label(symbol: str, similarity: Similarity, span: tuple[float, float] | None = None) -> str:
    """A similarity's symbol and name with its range, for an axis; where there is none, with what is drawn of it."""
    bounded = is_bounded(similarity)
    low, high = (f"{end:.3g}".replace("-", "−") for end in (not bounded and span) or span_of(similarity))
    reach = f" in [{low}, {high}]" if bounded else f", drawn from\u00a0{low}\u00a0to\u00a0{high}"
    return f"{symbol}, {similarity.name.replace('_', ' ')}{reach}"


def centres(span: tuple[float, float], count: int, off: float = 0.0) -> Float64[np.ndarray, " count"]:
    """The middles of ``count`` equal cells, moved by a share ``off`` of the span."""
    low, high = span
    return low + (high - low) * ((np.arange(count) + 0.5) / count + off)


def grid(span: tuple[float, float], count: int) -> pd.DataFrame:
    """``s_p`` and ``s_n`` at the middles of ``count`` × ``count`` cells, s_p running first."""
    of_p, of_n = np.meshgrid(centres(span, count, OFF[0]), centres(span, count, OFF[1]))
    return pd.DataFrame({"s_p": of_p.ravel(), "s_n": of_n.ravel()})


def reach(frame: pd.DataFrame) -> tuple[float, float]:
    """The outer edges of the cells of a `grid` along s_p."""
    s = np.sort(frame["s_p"].unique())
    half = (s[1] - s[0]) / 2
    return float(f"{s[0] - half:.6g}"), float(f"{s[-1] + half:.6g}")


def matrix(frame: pd.DataFrame, column: str) -> Float64[np.ndarray, "s_n s_p"]:
    """A column of a `grid` as a matrix, a row an s_n."""
    return frame[column].to_numpy(dtype=float).reshape(frame["s_n"].nunique(), frame["s_p"].nunique())


def regions(frame: pd.DataFrame) -> Float64[np.ndarray, "s_n s_p"]:
    """A number for every side of the kinks of a `grid`, so that what is drawn of one does not reach another."""
    names = [str(name) for name in frame if str(name).startswith("kink_")]
    total = np.zeros((frame["s_n"].nunique(), frame["s_p"].nunique()))
    return sum((2.0**i * (matrix(frame, name) > 0) for i, name in enumerate(names)), total)


def thin_grid(frame: pd.DataFrame, every: int) -> pd.DataFrame:
    """Every ``every``-th sample of a `grid` along both similarities, none at its edge."""
    place = frame[["s_p", "s_n"]].rank(method="dense").astype(int)
    return frame[((place - 1 - every // 2) % every == 0).all(axis=1)].reset_index(drop=True)


def with_columns(at: pd.DataFrame, columns: Mapping[str, sp.Expr]) -> pd.DataFrame:
    """The frame with these expressions of its ``s_p`` and ``s_n``; NaN where they are no finite real numbers."""
    function = compiled(list(columns.values()), (s_p, s_n), NUMPY)
    found = function(at["s_p"].to_numpy(), at["s_n"].to_numpy())
    return at.assign(**dict(zip(columns, found, strict=True))).replace(NOT_FINITE, np.nan)


# --- frames ---------------------------------------------------------------------------------------


def pair_frame(objective: Objective, weights: Sequence[str] = (), count: int = CURVE) -> pd.DataFrame:
    """P⁺ over s_p and P⁻ over s_n; or w⁺ and w⁻, where there are none or both are constant: ``weight``, ``s``, ``held``
    (the other similarity, NaN where it is not read), ``piece`` (how many kinks lie below s), ``value``.
    """
    found, span = weights_of(objective), span_of(field_of(objective).similarity)
    low, high = span
    slices, parts = [low + share * (high - low) for share in SLICES], []
    of_pairs = [name for name in ("P_p", "P_n") if name in found]
    for name in weights or (of_pairs if any(found[n].free_symbols for n in of_pairs) else ("w_p", "w_n")):
        s, other = (s_p, s_n) if name.endswith("p") else (s_n, s_p)
        for held in slices if found[name].has(other) else [np.nan]:
            weight = found[name].subs(other, sp.Float(held))
            at, beside = centres(span, count, OFF[0]), 1e-9 * (high - low)
            roots = np.sort([root for kink in kink_columns([weight]).values() for root in _roots(kink, s, at)])
            at = np.unique(np.concatenate([at, roots - beside, roots + beside]))
            (value,), piece = compiled([weight], [s], NUMPY)(at), np.searchsorted(roots, at)
            parts.append(pd.DataFrame({"weight": name, "s": at, "held": held, "piece": piece, "value": value}))
    return pd.concat(parts, ignore_index=True).replace(NOT_FINITE, np.nan)


def once(
    frames: Mapping[str, pd.DataFrame], column: str = "value", apart: float = 1e-6
) -> dict[tuple[str, ...], pd.DataFrame]:
    """The frames that differ in a column by that share of its largest, each with the names of all that equal it."""
    found: dict[tuple[str, ...], pd.DataFrame] = {}
    for name, frame in frames.items():
        size = apart * frame[column].abs().max()
        alike = {n: f[column] for n, f in found.items() if len(f) == len(frame)}
        same = (n for n, f in alike.items() if np.allclose(f, frame[column], rtol=0, atol=size, equal_nan=True))
        before = next(same, ())
        found[(*before, name)] = found.pop(before, frame)
    return found


def _roots(kink: sp.Expr, s: sp.Symbol, at: np.ndarray) -> np.ndarray:
    function = compiled([kink], [s], NUMPY)
    signs = np.sign(function(at)[0])
    before = np.flatnonzero(signs[:-1] * signs[1:] < 0)
    return last_where(lambda x: np.sign(function(x)[0]) == signs[before], at[before], at[before + 1])


def surface_frame(
    objective: Objective, weight: str = "T", count: int = SURFACE, span: tuple[float, float] | None = None
) -> pd.DataFrame:
    """A weight over (s_p, s_n): ``s_p``, ``s_n``, ``value`` (NaN where it is not finite), and ``kink_0`` …, which
    change signs there. One that the objective does not have is a ValueError.
    """
    field, found = field_of(objective), weights_of(objective)
    expect_among("weight", weight, LABELS)
    if weight not in found:
        given = f"{field.name}: got weights that do not separate, which have no {weight},"
        raise ValueError(f"{given} but expected one of {', '.join(found)}")
    at = grid(span or span_of(field.similarity), count)
    return with_columns(at, {"value": found[weight]} | kink_columns([found[weight]]))


def field_frame(objective: Objective, count: int = ARROWS) -> pd.DataFrame:
    """The weight field (w⁺, −w⁻), along which descent takes a triplet: ``s_p``, ``s_n``, ``w_p`` and ``w_n``."""
    weights = weights_of(objective)
    at = grid(span_of(field_of(objective).similarity), count)
    return with_columns(at, {name: weights[name] for name in ("w_p", "w_n")})


def arrow_frame(at: pd.DataFrame, across: pd.Series, up: pd.Series) -> pd.DataFrame:
    """Arrows of length √(|v|/largest), poles cut: ``s_p``, ``s_n`` (the middle), ``across``, ``up`` (0 at rest)."""
    v = np.stack([across.to_numpy(), up.to_numpy()])
    size = np.hypot(*v)
    moves = np.isfinite(size) & (size > 0)
    longest, _ = top_of(size[moves])
    apart = 0.95 * float(np.diff(np.sort(at["s_p"].unique())).mean())
    share = apart * np.sqrt(np.minimum(size / (longest or 1.0), 1.0))
    drawn = v * np.divide(share, size, out=np.zeros_like(size), where=moves)
    return at[["s_p", "s_n"]].assign(across=drawn[0], up=drawn[1])[np.isfinite(size)].reset_index(drop=True)


def curl_frame(objective: Objective, verdict: Integrability | None = None, count: int = SURFACE) -> pd.DataFrame:
    """The curl ∂w⁺/∂s_n + ∂w⁻/∂s_p: ``s_p``, ``s_n``, ``curl`` between the kinks, ``kink_0`` …; ``potential`` U =
    ∫P⁻ds_n − ∫P⁺ds_p, or the loss of weights that do not separate; for every kink with a concentrated curl ``jump_0``
    …, which changes its sign there, and the coefficient ``concentrated_0`` ….
    """
    verdict, field = verdict or integrability(objective), field_of(objective)
    formulas = _curl_and_potential(objective, verdict)
    jumps = () if verdict.integrable else curl_jumps({s_p: -field.positive, s_n: field.negative})
    concentrated = (jump for jump in jumps if not vanishes_on_kink(jump.kink, jump.coefficient, field.region))
    for i, jump in enumerate(concentrated):
        formulas |= {f"jump_{i}": jump.kink, f"concentrated_{i}": jump.coefficient}
    columns = {name: numeric(formula, field, field.values()) for name, formula in formulas.items()}
    return with_columns(grid(span_of(field.similarity), count), columns | kink_columns([columns["curl"]]))


def _curl_and_potential(objective: Objective, verdict: Integrability) -> dict[str, sp.Expr]:
    """The curl, and the potential, or else the loss of one triplet, where there is one."""
    curl = smooth_curl(field_of(objective)) if verdict.curl is None else verdict.curl
    contoured = verdict.loss if verdict.potential is None else verdict.potential
    of_a_triplet = contoured is not None and not contoured.has(x_p, x_n)
    return {"curl": curl} | ({"potential": contoured} if of_a_triplet else {})


def weights_and_curl(objective: Objective) -> dict[str, sp.Expr]:
    """``w_p``, ``w_n``, ``curl``, and ``potential`` where there is one, of s_p, s_n and the hyperparameters."""
    field = field_of(objective)
    formulas = {"w_p": field.positive, "w_n": field.negative} | _curl_and_potential(objective, integrability(objective))
    return {name: numeric(formula, field, {}) for name, formula in formulas.items()}
