"""What the report says of runs: the groups, the numbers, the formulas; and that nothing in it can hurt a reader."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sympy as sp

from goal_analysis.cli.options import BASELINES
from goal_analysis.cli.studies import FAMILIES
from goal_analysis.pictures.run_frames import Records, log_frame, over_seeds
from goal_analysis.study.comparison import compare
from goal_analysis.study.gallery import gallery
from goal_analysis.study.report import report
from goal_analysis.study.report.objectives import mathml, objective_sections
from goal_analysis.study.report.runs import Group, gather_runs, read_one
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.language.primitives import s_n, step
from goal_analysis.vse.data.split import RetrievalData, Split
from goal_analysis.vse.folder.run import load_model
from goal_analysis.vse.retrieval.metrics import ranks
from goal_analysis.vse.retrieval.scoring import scores_of
from losses_catalog import catalog, pair_weights, triplet_weights


class Page(HTMLParser):
    """What a browser would make of the page: its elements, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def html(runs: Path, objective_of, picture_data: RetrievalData) -> str:
    return report([runs], objective_of, lambda experiment: picture_data, queries=4, command=["x", "report", "a b"])


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def no_data(experiment) -> RetrievalData:
    raise ValueError("the data have moved")


# --- numbers --------------------------------------------------------------------------------------


def test_the_table_has_the_comparisons_numbers(runs: Path, page: Page) -> None:
    groups, _ = gather_runs([runs])
    rsum = {g.label: {run.experiment.seed: run.best["rsum"] for run in g.runs} for g in groups}
    comparison = compare(rsum, "hinge/constant")
    for statement in comparison.statements():
        assert statement in page.text
    for mean, deviation in comparison.table[["mean", "deviation"]].itertuples(index=False):
        assert f"{mean:.1f} ± {deviation:.1f}" in page.text


def test_curves_are_means_over_the_seeds_that_got_so_far(runs: Path) -> None:
    (group, _), _ = gather_runs([runs])
    one, other = (run.epochs for run in group.runs)

    def at_second_epoch(of: Group) -> pd.Series:
        logs = [Records(of.label, run.experiment.seed, run.epochs) for run in of.runs]
        frame = log_frame(logs, "epoch").query("quantity == 'rsum'")
        return over_seeds(frame, ("objective", "epoch")).set_index(["objective", "epoch"]).loc[(of.label, 2)]

    both = at_second_epoch(group)
    values = [one[1]["rsum"], other[1]["rsum"]]
    assert both["mean"] == pytest.approx(np.mean(values))
    assert np.isnan(both["low"]), "two seeds have no interval"
    shorter = replace(group.runs[1], epochs=other[:1])
    alone = at_second_epoch(Group("x", (group.runs[0], shorter)))
    assert alone["mean"] == one[1]["rsum"]
    assert np.isnan(alone["low"])


def test_the_gallerys_ranks_are_the_measures(runs: Path, picture_data: RetrievalData) -> None:
    run = read_one(runs / "nca(tau=4)_linear" / "seed-0")
    found = gallery(run, lambda experiment: picture_data, 8)
    model, dev = load_model(run.folder), picture_data.dev
    expected = ranks(scores_of(model.model, dev, model.tokenizer), dev.image_of, len(dev.images))
    assert [query.rank for query in found.of_images] == expected.of_captions.tolist()
    assert [query.rank for query in found.of_captions] == expected.of_images.tolist()[::2]
    for query in (*found.of_images, *found.of_captions):
        scores = [one.score for one in query.found]
        assert scores == sorted(scores, reverse=True)
        assert all(one.right == (one.row == query.asked.row) for one in query.found)


def test_a_gallery_on_other_data_is_refused_and_said(runs: Path, objective_of, picture_data: RetrievalData) -> None:
    dev = picture_data.dev
    other = RetrievalData("other", picture_data.train, Split("dev", dev.images, dev.captions[::-1], dev.image_of))
    text = Page(report([runs], objective_of, lambda experiment: other, queries=1)).text
    assert "There is nothing to show:" in text
    assert "has changed since the run began" in text
    assert "There is nothing to show: the data have moved" in Page(report([runs], objective_of, no_data)).text


# --- objectives -----------------------------------------------------------------------------------


def test_objectives_are_told_with_formulas_and_verdicts(html: str, page: Page) -> None:
    assert "What it trains with is the gradient of a loss ." in page.text
    assert "What it trains with is the gradient of no loss ." in page.text
    assert len(page.of("math")) > 10
    assert "\\" not in "".join(re.findall(r"<math.*?</math>", html)), "no command of LaTeX is left"


def test_an_objective_that_is_not_known_is_said(runs: Path) -> None:
    def unknown(text: str):
        raise ValueError(f"got {text!r} but expected <another>")

    text = Page(report([runs], unknown, no_data, queries=0)).text
    assert "its formulas are not known: got 'hinge/constant' but expected <another>" in text


@pytest.mark.parametrize("name", [*FAMILIES["all"], *BASELINES])
def test_every_objective_of_a_family_is_drawn(name: str, objective_of) -> None:
    (one,) = objective_sections([name], objective_of)
    assert one.trouble == ""
    assert one.chart is not None
    live = json.loads(one.chart.content)["live"]
    assert live["names"][:3] == ["w_p", "w_n", "curl"]


def test_every_formula_of_the_catalog_is_typeset() -> None:
    formulas = {formula for t in triplet_weights for formula in (t.expression,)}
    formulas |= {formula for p in pair_weights for formula in (p.positive, p.negative)}
    for loss in catalog:
        field = decompose(loss).field
        formulas |= {field.positive, field.negative}
    for formula in formulas:
        written = mathml(formula)
        assert written.startswith("<math")
        assert "\\" not in written, f"{formula}: a command is left"
        assert set(re.findall('mathvariant="(.*?)"', written)) <= {"normal"}, f"{formula}: browsers know no other"


def test_the_indicator_is_no_digit_of_the_number_before_it() -> None:
    written = mathml(0.5 * step(s_n))
    assert "<mn>𝟏</mn>" in written
    assert "<mn>1</mn>" not in written


@pytest.mark.parametrize("name", ["_", "tau_pair", "λ", "x1", "lam", "long_name_2"])
def test_any_name_is_typeset(name: str) -> None:
    assert "\\" not in mathml(sp.Symbol(name) + 1)


# --- the page -------------------------------------------------------------------------------------


def test_texts_of_users_stay_text(page: Page, html: str) -> None:
    assert "<script>document.title='taken'</script> a dog" in page.text
    assert "{{ 7 * 7 }} & <b>a</b> fish" in page.text
    assert "goal-analyze train -o" in page.text
    assert "'<script>'" in page.text
    assert len(page.of("title")) == 1
    assert "<b>a</b> fish" not in html
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert all((image["src"] or "").startswith("data:image/jpeg;base64,") for image in page.of("img"))
    scripts = [attributes for attributes in page.of("script") if attributes.get("type") != "application/json"]
    assert [script.get("id") for script in scripts] == ["plotly", None], "Plotly, packed, and the page's own"


def test_the_page_names_no_address(page: Page) -> None:
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "poster", "data"):
            address = attributes.get(name) or "#"
            assert address.startswith(("#", "data:")), (tag, address)
    (policy,) = [m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.partition("style-src")[0]


def test_what_is_needed_to_run_it_again_is_there(page: Page, runs: Path) -> None:
    (group, _), _ = gather_runs([runs])
    assert "goal-analyze report 'a b'" in page.text
    for name, version in group.runs[0].record.versions.items():
        assert f"{name} {version}" in page.text
    for words in (group.data.fingerprint, group.data.name, '"batch_size": 8', "git revision"):
        assert words in page.text


def test_every_element_is_named_for_those_who_do_not_see(page: Page) -> None:
    assert page.of("html")[0]["lang"] == "en"
    assert page.of("a")[0] == {"class": "skip", "href": "#main"}
    assert all(th.get("scope") in ("row", "col", "colgroup") for th in page.of("th"))
    assert all("alt" in image for image in page.of("img"))
    identifiers = [a["id"] for _, a in page.elements if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    named = [word for _, a in page.elements for word in (a.get("aria-labelledby") or "").split()]
    named += [(a["href"] or "")[1:] for a in page.of("a")]
    assert set(named) <= set(identifiers)
