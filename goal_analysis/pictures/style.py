"""One restrained style for every picture: legible in print and to the colour-blind, text that stays text.

The colours are those of Okabe and Ito, Color Universal Design (2008), https://jfly.uni-koeln.de/color/.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from cycler import cycler

INK, FAINT = "#222222", "#8c8c8c"
"""Of text and axes, and of what stands back."""

PULL, PUSH = "#0072B2", "#D55E00"
"""Of what concerns positives, which are pulled, and of what concerns negatives, which are pushed."""

RIGHT, WRONG = "#009E73", "#B3B3B3"
"""Of a retrieved item that matches, and of one that does not."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#222222")
"""Of lines beside each other; where these do not suffice, dashes tell them apart."""

DASHES = ("-", "--", ":", "-.")

SEQUENTIAL, DIVERGING = "YlGnBu", "PuOr"
"""Colour maps of what is never negative, and of what has two signs."""

_SETTINGS: dict[str, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "figure.dpi": 150,
    "figure.titlesize": 10,
    "font.size": 8,
    "hatch.color": FAINT,
    "hatch.linewidth": 0.4,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "pdf.fonttype": 42,
    "savefig.dpi": 150,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.color": INK,
    "ytick.labelsize": 8,
    "ytick.major.width": 0.6,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw and save in the style of this project; what was set before is set again afterwards.

    >>> with style():
    ...     mpl.rcParams["svg.fonttype"]
    'none'
    """
    with mpl.rc_context(_SETTINGS):  # pyright: ignore[reportArgumentType]
        yield


def line_of(place: int) -> dict[str, Any]:
    """Colour and dashes of the line at this place in a row of lines, the same wherever it is drawn.

    >>> line_of(0)["color"] == line_of(7)["color"], line_of(0)["linestyle"] == line_of(7)["linestyle"]
    (True, False)
    """
    dash, colour = divmod(place, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": DASHES[dash % len(DASHES)]}
