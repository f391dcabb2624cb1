"""How numbers become colours: linear where that shows them, logarithmic or clipped where not, and said in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import LogNorm, Normalize, SymLogNorm
from numpy.typing import ArrayLike

from goal_analysis.pictures.style import DIVERGING, SEQUENTIAL

DECADES = 4
"""How many are shown of a scale of many."""

PEAK = 3.0
"""How many times as large as all but a hundredth the largest value may be before it is clipped."""


@dataclass(frozen=True, eq=False)
class Scale:
    """A scale of colours.

    Args:
        norm: from numbers to shares of the colour map.
        colours: the colour map's name.
        levels: where contours are drawn, ascending.
        extend: at which end of the scale values are clipped; a word of matplotlib's colour bars.
        ticks: what the scale's bar is marked with; by default what matplotlib chooses.
        note: what the label has to say of it; empty of a linear scale that clips nothing.
    """

    norm: Normalize
    colours: str
    levels: tuple[float, ...]
    extend: str
    note: str
    ticks: tuple[float, ...] = ()


def scale_of(values: ArrayLike, contours: int = 7, signed: bool = False) -> Scale:
    """The scale that shows these numbers; what is not finite does not count.

    Numbers whose middle nine tenths span more than `DECADES` are shown on a logarithmic scale of as many decades below
    the largest. Those that rise to a peak, as near a pole, are clipped there.

    Args:
        values: of any shape.
        contours: about how many.
        signed: both signs have to have their colours, even if there is one of them alone.

    >>> scale_of([0.0, 0.5, 1.0]).note
    ''
    >>> scale_of([1e-9, 1e-6, 1e-3, 1.0]).note
    'log scale, clipped below 0.0001'
    """
    finite = np.asarray(values, dtype=float).ravel()
    finite = finite[np.isfinite(finite)]
    sizes = np.abs(finite[finite != 0])
    if not len(sizes):
        return Scale(Normalize(-1.0 if signed else 0.0, 1.0), DIVERGING if signed else SEQUENTIAL, (), "neither", "")
    signed = signed or bool((finite < 0).any())
    top, most = float(sizes.max()), float(np.quantile(np.abs(finite), 0.99))
    low, high = np.quantile(sizes, [0.05, 0.95])
    many = high > 10**DECADES * low
    if many:
        return _logarithmic(top, signed)
    clipped = top > PEAK * most > 0
    top = most if clipped else top
    low = -top if signed else 0.0
    levels = tuple(np.linspace(low, top, contours + 2)[1:-1].tolist())
    extend = ("both" if signed else "max") if clipped else "neither"
    note = f"clipped {'beyond ±' if signed else 'above '}{top:.2g}" if clipped else ""
    return Scale(Normalize(low, top), DIVERGING if signed else SEQUENTIAL, levels, extend, note)


def _logarithmic(top: float, signed: bool) -> Scale:
    floor = top / 10**DECADES
    powers = 10.0 ** np.arange(np.ceil(np.log10(floor) + 1e-9), np.floor(np.log10(top) - 1e-9) + 1)
    if signed:
        norm = SymLogNorm(linthresh=floor, vmin=-top, vmax=top)
        note = f"symlog scale, linear within ±{floor:.2g}"
        # Beside zero there is no room for the first of them.
        marks = (*-powers[:0:-1], 0.0, *powers[1:])
        return Scale(norm, DIVERGING, (*-powers[::-1], *powers), "neither", note, marks)
    return Scale(LogNorm(floor, top), SEQUENTIAL, tuple(powers), "min", f"log scale, clipped below {floor:.2g}")
