"""The pages of the catalog: every loss has one with all of its parts, and no page says what the API does not say."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

import goal_analysis as ga
from goal_analysis.numeric.characteristics import characteristics_page
from losses_catalog import catalog, libraries
from losses_catalog.table import BIBLIOGRAPHY

pytest.importorskip("latex2mathml", reason="the pages are made with the docs extra")

from generating import shipped
from generating.catalog_formulas import block, to_latex
from generating.catalog_index import COLUMNS
from generating.catalog_pages import bibtex, dead, entry_of, line_of, loss_text, troubles
from generating.catalog_pictures import draw_catalog, kinds_of
from generating.neighbours import NEGATIVES, POSITIVES, cosines, nearest_in, neighbours
from generating.shipped import comparisons
from latex2mathml.converter import convert

PARTS = (
    "What each part does",
    "Is it the gradient of a loss?",
    "Where it goes wrong",
    "What is nearest",
    "As libraries ship it",
    "Train with it",
    "As it is declared",
    "Cite it",
)
NAMES = [loss.name for loss in catalog]


def page_of(generated: dict[str, str], name: str) -> str:
    return generated[f"catalog/{name}.md"]


def parts(page: str) -> list[str]:
    return re.findall(r"^## (.*)$", page, re.MULTILINE)


def loss(name: str) -> ga.Objective:
    return catalog[NAMES.index(name)]


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_has_its_page_with_every_part(name: str, generated: dict[str, str]) -> None:
    page, one = page_of(generated, name), loss(name)
    assert page.startswith(f"# {one.title}\n\n`{name}` · ")
    assert tuple(parts(page)) == PARTS
    assert re.findall(rf"\]\({name}-(\w+)\.png\)", page) == [kind for kind in kinds_of(one) if kind != "small"]
    assert all(bibtex()[key] in page for key in one.reference)
    assert all(f"`{of}`" in page for known in libraries.values() for of, ours in known.items() if ours == name)
    assert page.count("$$\n") >= 4
    assert not re.search(r"(?<![<{])https?://(?![^ ]*\})", page), "an address that is no link"


def test_a_page_without_a_part_is_noticed(generated: dict[str, str]) -> None:
    page = page_of(generated, "circle").replace("## What is nearest\n", "")
    assert tuple(parts(page)) != PARTS


def test_every_loss_is_in_the_gallery_and_in_the_table(generated: dict[str, str]) -> None:
    gallery, table = generated["catalog/index.md"], generated["catalog/table.md"]
    rows = re.findall(r"^\| \[.*$", table, re.MULTILINE)
    assert len(rows) == len(catalog)
    for one, row in zip(catalog, rows, strict=True):
        assert f"[{one.title}]({one.name}.md)" in row
        assert row.count("|") == len(COLUMNS) + 1
        assert f"]({one.name}-small.png)]({one.name}.md)" in gallery
        assert f"\n{one.name}\n" in gallery


# --- what a page says, the API says ---------------------------------------------------------------


def says(page: str, texts: Sequence[str]) -> list[str]:
    """Which texts a page does not have exactly once, in any case of the first letter."""
    return [text for text in texts if len(re.findall(re.escape(text)[1:], page)) != 1]


@pytest.mark.parametrize("name", ["circle", "arc_face", "info_nce", "lmnn", "ranked_list", "dpo"])
def test_verdict_and_characteristics_are_those_of_the_api(name: str, generated: dict[str, str]) -> None:
    page, verdict = page_of(generated, name), ga.integrability(name)
    word = {True: "Yes", False: "No", None: "Open"}[verdict.integrable]
    assert f"**{word}**: {verdict.reason}.\n" in page
    found = ga.characteristics(name)
    rows = {row.key: str(row.value) for row in characteristics_page(found).rows}
    said = [text for key in ("triplet", "positive", "negative") for text in rows.get(key, "").split("; ") if text]
    assert [text for text in said if text[1:] not in page] == []
    assert says(page, [rows["pull"], rows["push"]]) == []
    assert says(page, ["attracts the positive where s_p > 3"]) == ["attracts the positive where s_p > 3"]


def test_troubles_are_where_they_are() -> None:
    of_triplet = troubles(entry_of(loss("triplet")))
    share, edge = re.search(r"on (\d+)% of the plane, about where s_n − s_p < (\S+)$", of_triplet["is dead"]).groups()
    assert int(share) == pytest.approx(100 * (2 - 0.2) ** 2 / 8, abs=1)  # of a square of side 2, the part below a line
    assert float(edge) == pytest.approx(-0.2, abs=0.02)
    assert of_triplet["pulls or pushes the wrong way"] == "nowhere"
    assert dead(ga.decompose("siglip")) == "nowhere"
    assert (
        "repels the positive where s_p < -0.8776"
        in troubles(entry_of(loss("arc_face")))["pulls or pushes the wrong way"]
    )
    assert "pole" in troubles(entry_of(loss("arc_face")))["explodes"]
    assert troubles(entry_of(loss("smooth_ap")))["saturates"].count("T is within") == 1, "both ends are nearly zero"
    assert "T is within 1% of 10 on" in troubles(entry_of(loss("info_nce")))["saturates"]
    assert "T is" not in troubles(entry_of(loss("contrastive")))["saturates"]


def weights(line: str) -> np.ndarray:
    """The weights of the pairs that losses are compared on, by the engine."""
    pairs = POSITIVES + NEGATIVES
    positive = torch.arange(pairs)[None] < POSITIVES
    matches = ga.Matches(positive, ~positive)
    objective = ga.objective(line, anchors="rows")
    return torch.cat([objective.weight_matrix(row[None], matches) for row in torch.tensor(cosines())]).numpy()


def distance(one: str, other: str) -> float:
    """min_k ‖w − k·ŵ‖/‖w‖."""
    w, v = weights(one).ravel(), weights(other).ravel()
    return float(np.linalg.norm(w - (w @ v) / (v @ v) * v) / np.linalg.norm(w))


@pytest.mark.parametrize("name", ["unified", "poly_1", "hardness_weighted_info_nce"])
def test_the_nearest_losses_are_as_far_as_the_engine_says(name: str) -> None:
    some = [loss(one) for one in ("cos_face", "unified", "poly_1", "dcl", "info_nce", "hardness_weighted_info_nce")]
    found = nearest_in(loss(name), some)
    distances = [near.distance for near in found]
    assert distances == pytest.approx(sorted(distances), abs=1e-6)
    assert found
    assert all(near.loss.name != name for near in found)
    for near in found[:2]:
        line = f"{near.loss.name}({', '.join(f'{knob}={value!r}' for knob, value in near.settings.items())})"
        assert distance(name, line) == pytest.approx(near.distance, rel=1e-3, abs=1e-6)
    assert distance(name, "dcl(scale=1)") > found[0].distance + 0.01


def test_the_nearest_losses_are_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOAL_ANALYSIS_CACHE", "off")
    (near,) = neighbours(loss("unified"), [loss("cos_face")])
    assert near["name"] == "cos_face"
    assert near["distance"] == 0
    assert f"| [`cos_face`](cos_face.md) | {near['text']} | 0 |" in loss_text(entry_of(loss("unified")), [near])
    assert "could be fitted" in loss_text(entry_of(loss("unified")), [])


@pytest.mark.parametrize("name", NAMES)
def test_the_lines_that_train_a_loss_train_it(name: str, generated: dict[str, str]) -> None:
    page = page_of(generated, name).split("## Train with it")[1]
    assert len([line for line in page.split("```python\n")[1].split("```")[0].splitlines() if line]) <= 7
    names: dict = {}
    exec(page.split("```python\n")[1].split("```")[0], names)
    moved = [value.grad for value in names.values() if isinstance(value, torch.Tensor) and value.requires_grad]
    assert moved
    assert all(grad.isfinite().all() for grad in moved)
    assert any(grad.any() for grad in moved) or "nowhere" not in page_of(generated, name)
    of_scores = "not of embeddings" in loss(name).note
    assert ("goal-analyze train --data" in page) != (of_scores or loss(name).reads_carried)
    assert ga.objective(line_of(loss(name))).objective == loss(name)


def test_libraries_are_said_where_they_were_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = tmp_path / "coverage.md"
    rows = "| `CircleLoss` | `circle(m=0.4, gamma=80)` | one set | 8e-16 |  |\n| `OddLoss` |  |  |  | odd |\n"
    table.write_text(f"## pytorch-metric-learning 2.9\n\n| class | declared as |\n|---|---|\n{rows}")
    monkeypatch.setattr(shipped, "COMPARED", table)
    shipped.compared.cache_clear()
    same, measured = comparisons(loss("circle"))
    assert same == (
        "- `CircleLoss` of pytorch-metric-learning 2.9, on one set, is `circle(m=0.4, gamma=80)`: the gradients of the "
        "embeddings agree to 8e-16."
    )
    assert "losses-as-shipped.md#circleloss) of pytorch-metric-learning" in measured
    assert comparisons(loss("circle_undetached")) == ["No library that was compared ships it."]
    assert comparisons(loss("tuplet_margin")) == ["Not compared: `TupletMarginLoss` of pytorch-metric-learning."]
    shipped.compared.cache_clear()


def test_the_committed_table_of_libraries_is_read_whole() -> None:
    text = shipped.COMPARED.read_text("utf-8") if shipped.COMPARED.exists() else ""
    declared = [line for line in text.splitlines() if re.match(r"\| `\w+` \| `", line)]
    assert len(shipped.compared()) == len(declared)
    assert {re.match(r"\w*", row.line)[0] for row in shipped.compared()} <= set(NAMES)
    assert len(shipped.measured()) == shipped.MEASURED.read_text("utf-8").count("\n### ")


# --- formulas, references and pictures ------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_published_formula_is_set(name: str, generated: dict[str, str]) -> None:
    latex = page_of(generated, name).split("$$\n")[1]
    assert latex.startswith(("L ", r"\begin{aligned} L "))
    assert convert(latex).count("<mo>&#x0003D;</mo>") >= 1
    assert "_" not in re.sub(r"_\{", "", latex).replace(r"\_", "")


def test_signs_of_formulas_are_understood_or_refused() -> None:
    assert to_latex("L = mean_p ½·d_pn′² where s_n > s_p", []) == (
        r"L = \operatorname{mean}_{p} \tfrac{1}{2}\cdot d_{pn'}^{2} \text{ where }s_{n} > s_{p}"
    )
    assert to_latex("L = pos_margin·tau", ["pos_margin", "tau"]) == r"L = \mathrm{pos\_margin}\cdot \tau"
    assert to_latex("L = a\n    + b", []) == r"\begin{aligned} L &= a \\ & \quad + b \end{aligned}"
    wide = to_latex(f"L = a{' + b' * 20},  b = c", [])
    assert wide.endswith(r" + b, \\ b &= c \end{aligned}")
    with pytest.raises(ValueError, match=r"got the sign '☃' but expected one of − ·"):
        to_latex("L = ☃")
    assert block("A loss.\n\nOf nothing.") == ""


def test_every_reference_is_read_whole() -> None:
    text = BIBLIOGRAPHY.read_text("utf-8")
    assert len(bibtex()) == text.count("\n@") + 1
    assert all(entry.startswith(f"@{entry[1:].partition('{')[0]}{{{key},") for key, entry in bibtex().items())
    assert all(entry.count("{") == entry.count("}") for entry in bibtex().values())


def test_a_loss_is_drawn_once(tmp_path: Path) -> None:
    draw_catalog(tmp_path, [loss("lmnn")])
    drawn = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(drawn) == {f"lmnn-{kind}.png" for kind in kinds_of(loss("lmnn"))}
    assert all(picture.startswith(b"\x89PNG") for picture in drawn.values())
    assert "flow" in kinds_of(loss("lmnn"))
    assert "flow" not in kinds_of(loss("dpo")), "log-ratios are no cosines of embeddings that move"
    (tmp_path / "lmnn-pair.png").write_bytes(b"kept")
    draw_catalog(tmp_path, [loss("lmnn")])
    assert (tmp_path / "lmnn-pair.png").read_bytes() == b"kept"
