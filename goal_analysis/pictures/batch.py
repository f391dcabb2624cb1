"""What an objective does to one batch, in numbers and drawn: its pairs, triplets and anchors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from goal_analysis.numeric.functions import weights_of_scores
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import scores
from goal_analysis.pictures.canvas import fit, panels, wrap
from goal_analysis.pictures.style import INK, PULL, PUSH, SMALL, style, weight_axis
from goal_analysis.pictures.weight_figures import LETTERS, draw_surface, write_in
from goal_analysis.pictures.weight_frames import reach, similarity_label, span_of, surface_frame
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.language.similarity import COSINE, Similarity
from goal_analysis.symbolic.objective import Objective

TRIPLETS = 50_000  # how many triplets are drawn at random where there are more
PAIRS, DIM, NOISE = 256, 32, 1.0  # of a made-up batch; with so much noise a positive has a cosine around 0.7


def pairs_frame(
    scores: Float[torch.Tensor, "anchors candidates"],
    weights: Float[torch.Tensor, "anchors candidates"],
    matches: Matches,
) -> pd.DataFrame:
    """A row a pair: ``anchor``, ``candidate``, ``kind``, ``s``, ``weight`` (w⁺ = −∂L/∂S or w⁻ = ∂L/∂S)."""
    matches.check(scores, "pairs_frame")
    parts = []
    for kind, mask, sign in (("positive", matches.positives, -1.0), ("negative", matches.negatives, 1.0)):
        anchor, candidate = (index.cpu().numpy() for index in mask.nonzero(as_tuple=True))
        s, weight = (x.detach().cpu().double()[anchor, candidate].numpy() for x in (scores, weights))
        columns = {"anchor": anchor, "candidate": candidate, "kind": kind, "s": s, "weight": sign * weight + 0.0}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def made_up_pairs(objective: Objective) -> pd.DataFrame:
    """The `pairs_frame` of `PAIRS` random unit vectors, each with a noisy copy of itself as its positive."""
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, PAIRS, DIM, generator=generator, dtype=torch.float64)
    unit = torch.nn.functional.normalize
    scored = scores(objective.similarity, unit(x), unit(x + NOISE * noise))
    matches = Matches.of_pairs(PAIRS)
    return pairs_frame(scored, weights_of_scores(objective, scored, matches), matches)


def triplets_frame(pairs: pd.DataFrame) -> pd.DataFrame:
    """Each positive of an anchor with each of its negatives, `TRIPLETS` at most: ``anchor``, ``s_p``, ``s_n``."""
    positives, negatives = (pairs.loc[pairs["kind"] == kind, ["anchor", "s"]] for kind in ("positive", "negative"))
    triplets = positives.merge(negatives, on="anchor", suffixes=("_p", "_n"))
    if len(triplets) > TRIPLETS:
        triplets = triplets.sample(TRIPLETS, random_state=0).sort_index()
    return triplets.reset_index(drop=True)


def anchors_frame(pairs: pd.DataFrame) -> pd.DataFrame:
    """A row an anchor: ``pull`` = Σ|w⁺|, ``push`` = Σ|w⁻|, ``push_share`` of both, and ``effective_negatives``, the
    exponential of the entropy of its |w⁻|; NaN where there is no weight.
    """
    sizes = pairs["weight"].abs()
    totals = sizes.groupby([pairs["anchor"], pairs["kind"]]).sum().unstack()
    totals = totals.reindex(columns=["positive", "negative"]).fillna(0.0)
    pull, push = totals["positive"], totals["negative"]
    shares = (sizes / pairs["anchor"].map(push)).where(pairs["kind"] == "negative")
    entropy = -(shares * np.log(shares.mask(shares == 0, 1.0))).groupby(pairs["anchor"]).sum(min_count=1)
    found = {"pull": pull, "push": push, "push_share": push / (pull + push), "effective_negatives": np.exp(entropy)}
    return pd.DataFrame(found).reset_index()


COLOURS = {"positive": PULL, "negative": PUSH}
CELLS = 28  # cells of the joint histogram along each side of the square


@style()
def batch_figure(objective: Objective, pairs: pd.DataFrame, title: str) -> Figure:
    """What an objective does to the pairs of a `pairs_frame`: triplets, weights, and what anchors share."""
    weights, similarity, anchors = decompose(objective), objective.similarity, anchors_frame(pairs)
    weight = "T" if weights.separable else "w_n"
    surface = surface_frame(weights, weight, count=121, span=span_of(similarity, pairs["s"]))
    figure, axes = panels(2, 2, 2.6, 2.6)
    draw_joint(triplets_frame(pairs), surface, axes[0, 0], weight, similarity)
    draw_weight_distribution(pairs, axes[0, 1])
    draw_shares(anchors, axes[1, 0])
    draw_effective_negatives(anchors, axes[1, 1])
    return fit(figure, title)


def draw_joint(
    triplets: pd.DataFrame, surface: pd.DataFrame, ax: Axes, weight: str = "T", similarity: Similarity = COSINE
) -> Axes:
    """The joint histogram of (s_p, s_n) on the surface of a weight; the title says how many triplets lie beyond."""
    draw_surface(surface, ax, weight, similarity)
    low, high = reach(surface)
    colours = sns.light_palette(PUSH, as_cmap=True)
    sns.histplot(triplets, x="s_p", y="s_n", bins=CELLS, binrange=(low, high), cmap=colours, ax=ax, rasterized=True)
    beyond = int((~((triplets >= low) & (triplets <= high))[["s_p", "s_n"]].all(axis=1)).sum())
    ax.set_title(f"{len(triplets):,} triplets{f', {beyond:,} beyond' * bool(beyond)}")
    return ax


def draw_pairs(pairs: pd.DataFrame, ax: Axes, similarity: Similarity = COSINE) -> Axes:
    """What every pair of a `pairs_frame` gets, over its similarity."""
    colours = {f"{(pairs['kind'] == kind).sum():,} {kind}s": colour for kind, colour in COLOURS.items()}
    kinds = pairs["kind"].map(dict(zip(COLOURS, colours, strict=True)))
    for kind, colour in reversed(colours.items()):
        of_kind = pairs[kinds == kind]
        looks = {"s": 4, "linewidth": 0, "alpha": 0.5, "rasterized": True}
        ax.scatter(of_kind["s"], of_kind["weight"], color=colour, label=kind, **looks)
    weight_axis(ax, pairs["weight"], kinds, "weight in a batch")
    ax.set_xlabel(wrap(similarity_label("$s$", similarity, span_of(similarity, pairs["s"])), LETTERS))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), markerscale=3, handletextpad=0.1, reverse=True)
    return ax


def draw_weight_distribution(pairs: pd.DataFrame, ax: Axes) -> Axes:
    """For every weight, the share of pairs that have at least this weight; positives beside negatives, log scales."""
    sizes = pairs["weight"].abs()
    if not (sizes > 0).any():
        return write_in(ax, f"the weights of {len(sizes):,} pairs\nare all 0")
    floor = sizes.max() / 10**SMALL
    for (kind, colour), symbol in zip(COLOURS.items(), ("w^+", "w^-"), strict=True):
        of_kind = sizes[pairs["kind"] == kind]
        left_out = (of_kind <= floor).sum()
        below = "below" if of_kind.between(0, floor, inclusive="right").any() else "of them 0"
        label = f"$|{symbol}|$, {len(of_kind):,} pairs" + (f", {left_out:,} {below}" if left_out else "")
        sns.ecdfplot(x=of_kind, complementary=True, ax=ax, color=colour, label=label)
    shown = np.log10(sizes[sizes > floor])
    ax.set_xlim(10.0 ** (np.ceil(shown.min()) - 1), 10.0 ** (np.floor(shown.max()) + 1))  # none is at an end
    ax.set(
        xscale="log", yscale="log", xlabel="weight (log scale)", ylabel="share of pairs with\nat least it (log scale)"
    )
    ax.set_ylim(10.0 ** min(np.floor(np.log10(ax.get_ylim()[0])), -1), 1.3)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_formatter(NullFormatter())
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1))
    return ax


def draw_shares(anchors: pd.DataFrame, ax: Axes) -> Axes:
    """The anchors by the share of their weight that pushes; at ½ an anchor pulls as much as it pushes."""
    still = anchors["push_share"].isna().sum()
    total = anchors["push"].sum() / max((anchors["push"] + anchors["pull"]).sum(), np.finfo(float).tiny)
    without = f"{still} of {len(anchors)} without weight" if still else None
    _draw_bars(anchors["push_share"], np.linspace(0, 1, 41), ax, total, f"of the whole batch: {total:.2f}", without)
    ax.set(xlim=(0, 1), xlabel=r"push share  $\sum|w^-| / \sum(|w^+| + |w^-|) \in [0, 1]$")
    return ax


def draw_effective_negatives(anchors: pd.DataFrame, ax: Axes) -> Axes:
    """The anchors of an `anchors_frame` by how many negatives share the weight that pushes."""
    found = anchors["effective_negatives"]
    top = float(found.max()) if found.notna().any() else 1.01
    _draw_bars(found, np.geomspace(0.98, 1.02 * top, 31), ax, found.mean(), f"mean {found.mean():.1f}")
    scale, said = ("log", " (log scale)") if top > 20 else ("linear", "")
    ax.set(xscale=scale, xlabel=f"effective negatives\n$\\exp$ of the entropy of $|w^-|${said}")
    return ax


def _draw_bars(values: pd.Series, bins: np.ndarray, ax: Axes, mark: float, said: str, title: str | None = None) -> None:
    if values.isna().all():
        write_in(ax, f"none of {len(values)} anchors\nhas any weight")
        return
    sns.histplot(x=values.dropna(), ax=ax, bins=bins.tolist(), color=PUSH, alpha=1.0, linewidth=0)
    ax.axvline(mark, color=INK, linewidth=0.8, linestyle="--", label=said)
    ax.set(ylabel="anchors")
    ax.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), title=title)
