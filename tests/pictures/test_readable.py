"""Every picture can be read: no text is cut or lies on another, no panel is empty or says what another says."""

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

from goal_analysis.pictures import KINDS
from goal_analysis.pictures.batch import (
    anchors_frame,
    batch_figure,
    draw_effective_negatives,
    draw_shares,
    draw_weight_distribution,
)
from goal_analysis.pictures.canvas import fit, panels
from goal_analysis.pictures.objective_figures import comparison_figure, difference_figure, figures
from goal_analysis.pictures.run_figures import draw_recall, figures_of_logs, gallery_figure
from goal_analysis.pictures.run_frames import Records
from goal_analysis.pictures.style import FAMILIES, style
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.parsing.declaration import loss_from_mapping

LONG = "circular(tau=12)/relative_sigmoid(alpha=2, beta=10)@positives=max,negatives=logsumexp(scale=12)"
ALLOWED = 2  # pixels by which texts may reach into each other or beyond the page: antialiasing


def shown_texts(figure):
    """The texts that are drawn; ticks beyond the ends of an axis have labels that are not."""
    beyond = set()
    bars = [bar for ax in figure.axes for bar in ax.child_axes]
    for ax in [*figure.axes, *bars]:
        for axis, view in ((ax.xaxis, ax.viewLim.intervalx), (ax.yaxis, ax.viewLim.intervaly)):
            reach = 1e-9 * abs(view[1] - view[0])
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not min(view) - reach <= tick.get_loc() <= max(view) + reach:
                    beyond |= {tick.label1, tick.label2}
    hidden = {text for ax in figure.axes if not ax.get_visible() for text in ax.findobj(Text)}
    found = figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_visible())
    return [text for text in found if text.get_text().strip() and text not in beyond | hidden]


def what_is_drawn(ax):
    """The numbers in a panel."""
    numbers = [line.get_ydata() for line in ax.lines] + [mesh.get_array() for mesh in ax.collections]
    numbers += [mesh.get_offsets() for mesh in ax.collections] + [bar.get_height() for bar in ax.patches]
    numbers += [image.get_array() for image in ax.images]
    return [np.ma.filled(np.ma.asarray(x, dtype=float), 7.0) for x in numbers if x is not None and np.size(x)]


def is_seen(ax, numbers):
    """Whether something in a panel lies within it: numbers that are some, not beyond its ends nor all at a side."""
    places = [line.get_xydata() for line in ax.lines if np.size(line.get_xydata())]
    if not places or ax.collections or ax.patches or ax.images:
        return bool(numbers)
    with np.errstate(all="ignore"):
        x, y = ax.transLimits.transform(ax.transScale.transform(np.concatenate(places))).T
    within = x[(x >= -0.01) & (x <= 1.01) & (y >= -0.01) & (y <= 1.01)]
    return bool(((within > 0.01) & (within < 0.99)).any() or (len(within) and np.ptp(within) > 0.01))


def faults(figure):
    """What a reader would complain of."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = {text: text.get_window_extent(canvas.get_renderer()) for text in shown_texts(figure)}
    page, found = figure.bbox, []
    for text, box in texts.items():
        inside = np.array([box.x0, box.y0, page.x1 - box.x1, page.y1 - box.y1])
        if (inside < -ALLOWED).any():
            found.append(f"cut: {text.get_text()}")
    for (one, first), (other, second) in combinations(texts.items(), 2):
        wide = min(first.x1, second.x1) - max(first.x0, second.x0)
        high = min(first.y1, second.y1) - max(first.y0, second.y0)
        if wide > ALLOWED and high > ALLOWED:
            found.append(f"overlap: {one.get_text()} and {other.get_text()}")
    axes = [ax for ax in figure.axes if ax.get_visible() and ax.axison]
    drawn = [what_is_drawn(ax) for ax in axes]
    for ax, numbers in zip(axes, drawn, strict=True):
        if not ax.texts and not is_seen(ax, numbers):
            found.append("empty panel")
    legends = [legend for ax in axes if (legend := ax.get_legend())]
    boxes = {legend: (legend.get_window_extent(), legend.findobj(Text)) for legend in legends}
    for text, box in texts.items():
        if "nan" in text.get_text().lower().split():
            found.append(f"no number: {text.get_text()}")
        for legend, own in boxes.values():
            if text not in own and box.shrunk(0.9, 0.7).overlaps(legend):
                found.append(f"overlap: {text.get_text()} and a legend")
    for ax in axes:
        named = [line for line in ax.lines if not str(line.get_label()).startswith("_") and np.size(line.get_xdata())]
        for one, other in combinations(named, 2):
            a, b = (np.asarray(line.get_xydata(), dtype=float) for line in (one, other))
            if (
                one.get_color() == other.get_color()
                and a.shape == b.shape
                and np.allclose(a, b, atol=1e-3 * np.nanmax(np.abs(a)))
            ):
                found.append(f"one line twice: {one.get_label()} and {other.get_label()}")
    for ax in axes:
        for tick in ax.get_xticks() if ax.get_xlabel() in ("step", "epoch") else ():
            if tick % 1:
                found.append(f"a fraction of a count: {tick}")
    for text in texts:
        for line, following in pairwise(text.get_text().splitlines()):
            if line[-1:].isalnum() and f"{line.split()[-1]}{following.split()[0]}" in LONG:
                found.append(f"broken in a word: {text.get_text()}")
    lines = [ax for ax in axes if ax.lines and not ax.collections]
    flat = [ax for ax in lines if all(np.ptp(line.get_ydata()) < 1e-9 for line in ax.lines)]
    if len(flat) > 1:
        found.append(f"{len(flat)} panels of flat lines")
    for one, other in combinations([numbers for numbers in drawn if numbers], 2):
        if len(one) == len(other) and all(
            np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True)
        ):
            found.append("two panels with the same numbers")
    return found


@pytest.fixture(scope="module")
def extremes(taken_apart, composed):
    """Weights of one number, of proxies; no separation; poles; no range; weights that read other pairs; a scale of a
    hundred; weights that are zero; that explode; and a pole in the middle.
    """
    of_losses = {name: taken_apart(name) for name in ("proxy_nca", "lmnn", "arc_face", "dpo", "circle")}
    formulas = {"zero": "hinge(s_n - s_p - 5)", "exploding": "exp(100*(s_n - s_p))", "pole": "1/(s_n - s_p)**2"}
    declared = {
        name: decompose(loss_from_mapping(name, {"formula": formula, "hyperparameters": {}, "title": name}))
        for name, formula in formulas.items()
    }
    sharp = decompose(taken_apart("multi_similarity").loss.with_settings({"alpha": 0.001, "beta": 200}))
    long = decompose(replace(taken_apart("multi_similarity").loss, name=LONG))
    return of_losses | declared | {"relative": composed("nca/relative_sigmoid"), "sharp": sharp, "long": long}


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_an_objective(kind, extremes):
    few = {"flow": ("lmnn", "relative"), "portrait": ("relative", "sharp", "exploding", "zero")}
    for name in few.get(kind, extremes):
        title = f"A title that is longer than the picture is wide: {LONG}"
        ((_, figure),) = figures(extremes[name], title, [kind])
        assert faults(figure) == [], name


@pytest.mark.parametrize("count", [1, 2, 6, 11])
def test_objectives_beside_each_other(count, extremes):
    assert faults(comparison_figure(list(extremes.values())[:count])) == []


@pytest.mark.parametrize("names", [("proxy_nca", "dpo"), ("circle", "arc_face"), ("long", "circle")])
def test_two_objectives_and_their_difference(names, extremes):
    assert faults(difference_figure(*(extremes[name] for name in names))) == []


def logs(objectives, seeds, epochs):
    """Runs whose pulls are a thousand times as heavy as their pushes, and all of whose anchors are active."""
    found = []
    for place in range(objectives):
        for seed in range(seeds):
            records = []
            for epoch in range(1, epochs + 1):
                values = {
                    "rsum": 30.0 * epoch + place + seed,
                    "i2t_r1": 5.0 * epoch + place,
                    "t2i_r1": 4.0 * epoch + place,
                }
                records.append({"kind": "epoch", "step": epoch, "epoch": epoch, **values})
                of = {f"s_{side}_q{level}": level / 200 for side in "pn" for level in (10, 50, 90)}
                of |= {f"w_p_q{level}": level / 100 for level in (10, 50, 90)}
                of |= {f"w_n_q{level}": level / 1e5 for level in (10, 50, 90)}
                of |= {"active_share": 1.0, "push_share": 0.5, "effective_negatives": 90.0 + place - epoch}
                records.append({"kind": "probe", "step": epoch, **of})
            found.append(Records(f"{LONG[: 30 + 3 * place]}{place}", seed, records))
    return found


@pytest.mark.parametrize(("objectives", "seeds", "epochs"), [(1, 1, 1), (3, 4, 5), (9, 2, 3)])
def test_pictures_of_runs(objectives, seeds, epochs):
    drawn = figures_of_logs(logs(objectives, seeds, epochs))
    assert list(drawn) == ["retrieval", "ranking", "weights", "quantiles"]
    # Records made up alike for every objective have quantiles that are alike.
    assert {name: [f for f in faults(figure) if "same numbers" not in f] for name, figure in drawn.items()} == {
        name: [] for name in drawn
    }


def test_pictures_of_a_model(pairs, taken_apart):
    with style():
        figure, axes = panels(1, 4)
        draw_weight_distribution(pairs, axes[0, 0])
        draw_shares(anchors_frame(pairs), axes[0, 1])
        draw_effective_negatives(anchors_frame(pairs), axes[0, 2])
        draw_recall(pd.DataFrame({"name": "one", "rank": np.arange(1, 90)}), axes[0, 3])
    assert faults(fit(figure, LONG)) == []
    silent = batch_figure(taken_apart("circle").loss, pairs.assign(weight=0.0), LONG)
    assert faults(silent) == []
    alike = batch_figure(taken_apart("circle").loss, pairs.assign(weight=np.sign(pairs["weight"])), LONG)
    assert faults(alike) == [], "weights of 1"
    rows = [(0, 0, "word " * 30, False, np.nan), (0, 1, np.zeros((4, 4, 3)), True, 0.9)]
    gallery = gallery_figure(pd.DataFrame(rows, columns=["query", "place", "item", "right", "score"]))
    assert faults(gallery) == []


@pytest.mark.filterwarnings("error:Glyph")
def test_captions_in_chinese_are_drawn_where_a_font_has_them():
    if not {font.name for font in fontManager.ttflist} & {*FAMILIES}:
        pytest.skip("no such font is installed")
    rows = [(0, 0, "一只狗在雪地里", False, np.nan), (0, 1, "犬が走っている", True, 0.9)]
    frame = pd.DataFrame(rows, columns=["query", "place", "item", "right", "score"])
    assert faults(gallery_figure(frame)) == []
    with pytest.raises(UserWarning, match="Glyph"):  # the negative control: a glyph that no font has
        faults(gallery_figure(frame.assign(item="\U0010fffd")))


def test_what_is_right_at_once_is_drawn_to_the_end():
    with style():
        ax = panels()[1][0, 0]
        draw_recall(pd.DataFrame({"name": "one", "rank": np.ones(20)}), ax, 10)
    assert ax.lines[0].get_xydata().tolist() == [[k, 100.0] for k in range(1, 11)]


def test_powers_of_ten_stand_in_the_label():
    with style():
        figure, [[ax, other]] = panels(1, 2)
        ax.plot([0, 1], [1e9, 3e9])
        other.plot([0, 1], [1234.5671, 1234.5672])
    fit(figure)
    FigureCanvasAgg(figure).draw()
    assert ax.get_ylabel() == r" $\times\,10^{9}$"
    assert {"1.0", "3.0"} <= {label.get_text() for label in ax.get_yticklabels()}
    assert not ax.yaxis.get_offset_text().get_visible()
    assert not other.yaxis.get_offset_text().get_text(), "a number is written as it is, not as a sum"


def test_weights_of_two_sizes_are_both_seen():
    quantiles = figures_of_logs(logs(1, 1, 3))["quantiles"].axes[1]
    low, high = quantiles.get_ylim()
    heights = [quantiles.transAxes.inverted().transform(line.get_transform().transform((1, line.get_ydata()[0])))[1]
               for line in quantiles.lines]  # fmt: skip
    assert low < high
    assert all(height > 0.1 for height in heights), "a thousandth is not at the bottom"
    assert "linear within" in quantiles.get_ylabel()


def broken(how):
    with style():
        figure, axes = panels(1, 2)
        for ax in axes[0]:
            ax.plot([1, 2] if ax is axes[0, 0] else [2, 1])
        fit(figure)
        if how == "cut":
            axes[0, 0].set_ylabel("a label that is longer than its panel is high, by far")
        elif how == "overlap":
            axes[0, 0].text(1, 1.5, "one text")
            axes[0, 0].text(1, 1.5, "another")
        elif how == "empty":
            axes[0, 1].clear()
        elif how == "same":
            axes[0, 1].lines[0].set_ydata([1, 2])
        elif how == "no number":
            axes[0, 0].set_title("mean nan")
        elif how == "unseen":
            axes[0, 1].lines[0].set_ydata([np.nan, np.nan])
        elif how == "at a side":
            axes[0, 1].lines[0].set_xdata([0, 0])
            axes[0, 1].set_xlim(0, 1)
        elif how == "legend":
            axes[0, 0].plot([1, 2], [1e9, 2e9], label="a line")
            axes[0, 0].legend(loc="lower left", bbox_to_anchor=(0, 1))
        elif how == "twice":
            axes[0, 0].plot([1, 2], label="one", color="black")
            axes[0, 0].plot([1, 2.0001], label="another", color="black", linestyle="--")
        elif how == "broken":
            axes[0, 0].set_title(f"{LONG[:8]}\n{LONG[8:30]}")
        elif how == "fraction":
            axes[0, 0].set(xlabel="step", xlim=(0.95, 1.05))
        elif how == "flat":
            axes[0, 0].lines[0].set_ydata([1, 1])
            axes[0, 1].lines[0].set_ydata([0, 0])
        return figure


@pytest.mark.parametrize(
    "how",
    [
        "cut",
        "overlap",
        "empty",
        "same",
        "flat",
        "no number",
        "unseen",
        "legend",
        "twice",
        "broken",
        "fraction",
        "at a side",
    ],
)
def test_what_cannot_be_read_is_found(how):
    said = "empty" if how in ("unseen", "at a side") else how
    assert any(said in fault for fault in faults(broken(how)))
    assert faults(broken("")) == []
