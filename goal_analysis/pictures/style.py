"""One palette, one style and one rule from numbers to colours, for every picture and every chart.

The colours are of Okabe and Ito, Color Universal Design (2008), https://jfly.uni-koeln.de/color/.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, SymLogNorm
from matplotlib.font_manager import fontManager
from numpy.typing import ArrayLike

INK, FAINT, CALM = "#222222", "#8c8c8c", "#f2f2f2"  # of text and axes, of what stands back, and of an even ground
PULL, PUSH = "#0072B2", "#D55E00"  # of what concerns positives, and of what concerns negatives
RIGHT, WRONG = "#009E73", "#B3B3B3"  # of a retrieved item that matches, and of one that does not
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#A87A00", "#7A7A7A")
FAMILIES = ("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Micro Hei", "PingFang SC", "Microsoft YaHei")  # for CJK
DASHES = ("-", "--", ":", "-.")  # of lines beside each other, where the colours do not suffice
SEQUENTIAL, DIVERGING = "YlGnBu", "PuOr"  # colour maps of what is never negative, and of what has two signs
LABELS = {"T": "T", "P_p": "P^+", "P_n": "P^-", "w_p": "w^+", "w_n": "w^-"}  # in LaTeX
NAMES = {
    "rsum": "RSUM (of 600)",
    "active_share": r"active anchors, share $\in [0, 1]$",
    "effective_negatives": "effective negatives",
    "push_share": r"push share $\in [0, 1]$",
    "pull_share": r"pull share $\in [0, 1]$",
    **{f"i2t_r{k}": f"R@{k} image → text (%)" for k in (1, 5, 10)},
    **{f"t2i_r{k}": f"R@{k} text → image (%)" for k in (1, 5, 10)},
}  # of columns of the log; others stand at an axis as they are
CONTOURS = 7  # of a linear scale
DECADES = 4  # how many powers of ten a logarithmic scale shows
SEEN = 20.0  # on a linear axis what stays below one part in so many of the largest cannot be told from zero
PEAK = 2.5  # a largest value more than so many times as large as all but a hundredth of the values is clipped
SMALL = 8  # what lies so many powers of ten below the largest weight, or farther, is not told from zero

_SETTINGS: dict[str, Any] = {
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
    **dict.fromkeys(("axes.spines.right", "axes.spines.top", "legend.frameon"), False),
    **dict.fromkeys(("font.size", "legend.fontsize", "xtick.labelsize", "ytick.labelsize"), 8),
    **dict.fromkeys(("axes.labelsize", "axes.titlesize"), 9),
    "font.family": ["DejaVu Sans", *({font.name for font in fontManager.ttflist} & {*FAMILIES})],
    **dict.fromkeys(("figure.dpi", "savefig.dpi"), 150),
    "axes.formatter.useoffset": False,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.titlelocation": "left",
    "figure.titlesize": 10,
    "hatch.color": FAINT,
    "hatch.linewidth": 0.4,
    "lines.linewidth": 1.4,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}


style = partial(mpl.rc_context, _SETTINGS)  # pyright: ignore[reportArgumentType]
"""Draw and save in the style of this project, and restore what was set before."""


def line_of(place: int) -> dict[str, Any]:
    """The colour and the dashes of the line number ``place``, the same in every picture."""
    dash, colour = divmod(place, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": DASHES[dash % len(DASHES)]}


@dataclass(frozen=True, eq=False)
class Scale:
    """A scale of colours."""

    low: float
    high: float
    kind: str = "linear"  # or log, or symlog
    floor: float = 0.0  # the smallest size that a log or symlog scale tells from zero
    levels: tuple[float, ...] = ()  # where contours are drawn, ascending
    extend: str = "neither"  # at which end values are clipped, in matplotlib's words
    note: str = ""  # what the label says of the scale

    @property
    def colours(self) -> str:
        """The name of the colour map."""
        return DIVERGING if self.low < 0 else SEQUENTIAL

    @property
    def norm(self) -> Normalize:
        """The scale as matplotlib takes it."""
        if self.kind == "log":
            return LogNorm(self.low, self.high)
        if self.kind == "symlog":
            return SymLogNorm(linthresh=self.floor, vmin=self.low, vmax=self.high)
        return Normalize(self.low, self.high)

    @property
    def marks(self) -> tuple[float, ...]:
        """The numbers at the bar of a ``symlog`` scale, and of every logarithmic scale on a page."""
        if self.kind != "symlog":
            return self.levels
        powers = [level for level in self.levels if level > 0][1:]  # beside zero there is no room for the first
        return (*(-power for power in reversed(powers)), 0.0, *powers)


def top_of(values: ArrayLike, peak: float = PEAK) -> tuple[float, bool]:
    """The largest size that is shown of these numbers, and whether larger ones are clipped, as near a pole."""
    sizes = np.abs(np.asarray(values, dtype=float).ravel())
    sizes = sizes[np.isfinite(sizes)]
    if not len(sizes):
        return 0.0, False
    top, most = float(sizes.max()), float(np.quantile(sizes, 0.99))
    return (most, True) if top > peak * most > 0 else (top, False)


def scale_of(values: ArrayLike, signed: bool = False) -> Scale:
    """The scale that shows these numbers; what is not finite does not count.

    Numbers whose middle nine tenths span more than `DECADES` get a logarithmic scale of as many decades below the
    largest; those that rise to a peak, as near a pole, are clipped there.
    """
    finite = np.asarray(values, dtype=float).ravel()
    finite = finite[np.isfinite(finite)]
    sizes = np.abs(finite[finite != 0])
    if not len(sizes):
        return Scale(-1.0 if signed else 0.0, 1.0)
    signed = signed or bool((finite < 0).any())
    low, high = np.quantile(sizes, [0.05, 0.95])
    linear = bool(high <= 10**DECADES * low)
    top, clipped = top_of(finite, PEAK if linear else 10**DECADES)
    if linear:
        low = -top if signed else 0.0
        levels = tuple(np.linspace(low, top, CONTOURS + 2)[1:-1].tolist())
        extend = ("both" if signed else "max") if clipped else "neither"
        note = f"clipped {'beyond ±' if signed else 'above '}{top:.2g}" if clipped else ""
        return Scale(low, top, levels=levels, extend=extend, note=note)
    floor = top / 10**DECADES
    powers = 10.0 ** np.arange(np.ceil(np.log10(floor) + 1e-9), np.floor(np.log10(top) - 1e-9) + 1)
    if signed:
        note = f"symlog scale, linear within ±{floor:.2g}" + f", clipped beyond ±{top:.2g}" * clipped
        return Scale(-top, top, "symlog", floor, (*-powers[::-1], *powers), "both" if clipped else "neither", note)
    note = f"log scale, clipped below {floor:.2g}" + f" and above {top:.2g}" * clipped
    return Scale(floor, top, "log", floor, tuple(powers), "both" if clipped else "min", note)


def weight_axis(ax: Axes, values: pd.Series, kinds: pd.Series, label: str) -> None:
    """The axis of weights: linear, or logarithmic where one kind, or half of all, would look like zero else."""
    sizes = values.abs()[kinds.notna() & (values != 0) & np.isfinite(values)]
    small, top = min([*sizes.groupby(kinds).max(), sizes.median()]), sizes.max()
    if top > SEEN * small:
        lowest, highest = (int(np.floor(np.log10(size))) for size in (max(small / SEEN, top / 10**SMALL), top))
        floor, powers = 10.0**lowest, 10.0 ** np.arange(highest, lowest, -max(1, (highest - lowest) // 4))
        ax.set_yscale("symlog", linthresh=floor * (1 + 1e-9))  # whose logarithm is not rounded down a decade
        ax.set_yticks([*(-powers if values.min() < 0 else ()), 0.0, *powers])
        ax.minorticks_off()
        if values.min() >= 0:
            ax.set_ylim(-floor / 2, 2 * values.max())
        label += f"\n(linear within ±{floor:.2g})"
    ax.set_ylabel(label)
