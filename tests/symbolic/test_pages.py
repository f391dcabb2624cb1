"""Pages carry values; the writers decide how they look, and formulas in data read back."""

import subprocess
import sys

import pytest
import sympy as sp

from goal_analysis.numeric.characteristics import characteristics, characteristics_page
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.analysis.integrability import integrability
from goal_analysis.symbolic.language.primitives import count_n, count_p, s_n, s_p, x_n, x_p, y_n, y_p
from goal_analysis.symbolic.parsing import parse
from goal_analysis.symbolic.typesetting.pages import (
    Page,
    Row,
    integrability_page,
    loss_page,
    to_data,
    to_latex,
    to_markdown,
    to_plain,
    weights_page,
)
from goal_analysis.symbolic.weight import PairWeights, TripletWeight, compose
from losses_catalog import catalog

losses = {loss.name: loss for loss in catalog}


def pages_of(loss):
    decomposition = decompose(loss)
    return [
        loss_page(loss),
        weights_page(decomposition),
        integrability_page(integrability(decomposition)),
        characteristics_page(characteristics(decomposition)),
    ]


@pytest.mark.parametrize("loss", catalog, ids=lambda loss: loss.name)
def test_formulas_in_data_read_back(loss):
    pages = pages_of(loss)
    named = (one.symbol for term in loss.terms for one in term.named)
    symbols = (s_p, s_n, x_p, x_n, y_p, y_n, count_p, count_n, *named, *(h.symbol for h in loss.hyperparameters))
    names = {symbol.name: symbol for symbol in symbols}
    data = to_data(pages)
    for row in (row for page in pages for row in page.rows if isinstance(row.value, sp.Expr)):
        assert sp.expand(parse(data[row.key], names) - row.value) == 0, (loss.name, row.key)


@pytest.mark.parametrize("loss", catalog, ids=lambda loss: loss.name)
def test_keys_are_unique_and_every_writer_writes(loss):
    pages = pages_of(loss)
    keys = [row.key for page in pages for row in page.rows]
    assert len(set(keys)) == len(keys)
    assert all(page.title in to_plain(pages) and f"### {page.title}" in to_markdown(pages) for page in pages)
    latex = to_latex(pages)
    assert latex.count("{") == latex.count("}")
    assert latex.count(r"\left") == latex.count(r"\right")


def test_objects_show_themselves_in_notebooks():
    decomposition = decompose(losses["circle"])
    assert "Circle loss" in losses["circle"]._repr_markdown_()
    assert "P⁺(s_p)" in decomposition._repr_markdown_()
    assert "| integrable | no |" in integrability(decomposition)._repr_markdown_()
    assert "T(s_p, s_n)" in decomposition.field._repr_markdown_()


def test_a_repr_is_one_line_with_the_formula():
    nca = losses["neighbourhood_components"]
    decomposition = decompose(nca)
    weight = compose(TripletWeight(name="t", expression=s_n), PairWeights(name="p", positive=s_p, negative=s_n))
    assert repr(nca) == "Objective(neighbourhood_components: softplus(s_n - s_p))"
    assert repr(decomposition) == "Decomposition(neighbourhood_components: T = sigmoid(s_n - s_p), P⁺ = 1, P⁻ = 1)"
    assert repr(weight) == "WeightField(t × p: T = s_n, P⁺ = s_p, P⁻ = s_n)"
    assert repr(integrability(decomposition)).startswith("Integrability(yes: ")
    assert all("\n" not in repr(value) for loss in catalog for value in (loss, decompose(loss)))


def test_values_show_themselves_when_only_their_own_module_is_imported():
    program = (
        "from goal_analysis.symbolic.weight import PairWeights, WeightField\n"
        "from goal_analysis.symbolic.language.primitives import s_n, s_p\n"
        "print(WeightField(name='w', positive=s_p, negative=s_n)._repr_markdown_())\n"
        "print(PairWeights(name='p', positive=s_p, negative=s_n)._repr_markdown_())"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "| w⁺(s_p, s_n) | $s_p$ |" in shown
    assert shown.endswith("None\n")


def test_a_bar_in_a_cell_does_not_break_the_table():
    assert r"a\|b" in to_markdown([Page("t", (Row("k", "a|b", "c"),))])


def test_what_does_not_separate_says_why():
    text = to_plain([weights_page(decompose(losses["selectively_hard_triplet"]))])
    assert "w⁺/w⁻ is no product" in text
