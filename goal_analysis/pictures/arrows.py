"""Arrows whose lengths show weights that differ by orders of magnitude."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from goal_analysis.pictures.scales import PEAK
from goal_analysis.pictures.style import FAINT, INK


def draw_arrows(at: pd.DataFrame, across: pd.Series, up: pd.Series, ax: Axes) -> Axes:
    """Arrows of the length √(|v|/largest), the longest as long as they are apart; a dot where nothing moves.

    Args:
        at: ``s_p`` and ``s_n`` of every arrow, on a grid.
        across: the component along s_p.
        up: the component along s_n.
        ax: where.
    """
    u, v = across.to_numpy(), up.to_numpy()
    size = np.hypot(u, v)
    moves = np.isfinite(size) & (size > 0)
    if moves.any():
        share = np.sqrt(np.minimum(size[moves] / _largest(size[moves]), 1.0)) / size[moves]
        apart = float(np.diff(np.sort(at["s_p"].unique())).mean())
        x, y = at["s_p"].to_numpy()[moves], at["s_n"].to_numpy()[moves]
        ax.quiver(
            x, y, u[moves] * share, v[moves] * share, color=INK, angles="xy", pivot="middle", scale_units="x",
            scale=1 / (0.95 * apart), width=0.004, headwidth=4, headlength=4, headaxislength=3.5, minlength=0.6,
        )  # fmt: skip
    still = np.isfinite(size) & ~moves
    ax.plot(at["s_p"].to_numpy()[still], at["s_n"].to_numpy()[still], ".", color=FAINT, markersize=1.5)
    return ax


def _largest(sizes: np.ndarray) -> float:
    """The largest, or what all but a hundredth stay below where that is far less, as near a pole."""
    most = float(np.quantile(sizes, 0.99))
    return most if sizes.max() > PEAK * most else float(sizes.max())
