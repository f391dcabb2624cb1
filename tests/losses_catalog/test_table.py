"""The README shows the values as they are, and is rewritten in one piece or not at all."""

import dataclasses
from pathlib import Path

import pytest

from goal_analysis.symbolic.language.primitives import s_n, x_n
from goal_analysis.symbolic.objective import Objective, Term
from losses_catalog import catalog
from losses_catalog.lifted_structure import lifted_structure_loss
from losses_catalog.lmnn import lmnn_loss
from losses_catalog.ranked_list import ranked_list_loss
from losses_catalog.table import (
    BEGIN,
    END,
    README,
    catalog_table,
    formula,
    rewrite,
    weights_tables,
    with_tables,
)
from losses_catalog.triplet import triplet_loss

MADE_UP = f"# Losses\n\n{BEGIN}\nold\n{END}\n\nThe end.\n"


@pytest.fixture(scope="module")
def tables() -> str:
    return f"{catalog_table()}\n\n{weights_tables()}"


def test_the_readme_shows_the_values_as_they_are(tables: str) -> None:
    readme = README.read_text(encoding="utf-8")
    assert readme == with_tables(readme, tables), "python -m losses_catalog.table rewrites the tables"


def test_an_altered_table_is_found(tables: str) -> None:
    readme = README.read_text(encoding="utf-8")
    altered = readme.replace("| `s_n*step(m + s_n)` |", "| `s_n` |")
    assert altered != readme
    assert altered != with_tables(altered, tables)


def test_an_altered_value_is_found() -> None:
    readme = README.read_text(encoding="utf-8")
    altered = dataclasses.replace(triplet_loss, reference=("wu2017sampling",))
    table = catalog_table(altered if loss is triplet_loss else loss for loss in catalog[:3])
    assert table not in readme
    assert catalog_table(catalog[:3]) in readme


def test_the_table_has_a_row_for_every_loss(tables: str) -> None:
    rows = [line for line in tables.splitlines() if line.startswith("| [")]
    assert len(rows) == len(catalog)
    assert len({row.count(" | ") for row in rows}) == 1


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (triplet_loss, "hinge(margin + each(s_n) - each(s_p))"),
        (lmnn_loss, "each(-s_p)*(1 - mu) + mu*hinge(each(s_n) - each(s_p) + 1)"),
        (lifted_structure_loss, "0.5*hinge(logsumexp[both ends](margin + s_n) - each_mean(s_p))**2"),
        (
            ranked_list_loss,
            "mean_active(margin - alpha - s_p) + lam*softmax_active[temperature](alpha + s_n)",
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_formula_reads_as_the_loss(loss: Objective, text: str) -> None:
    assert formula(loss) == text


def test_a_loss_that_does_not_separate_says_so() -> None:
    (row,) = (line for line in catalog_table((lmnn_loss,)).splitlines() if "lmnn" in line)
    assert "| does not separate |  |  | no | yes |" in row


def test_the_text_around_the_tables_stays() -> None:
    assert with_tables(MADE_UP, "new") == f"# Losses\n\n{BEGIN}\n\nnew\n\n{END}\n\nThe end.\n"


@pytest.mark.parametrize("broken", ["", BEGIN, END, f"{END}{BEGIN}", MADE_UP * 2])
def test_a_readme_without_its_markers_is_refused(broken: str) -> None:
    with pytest.raises(ValueError, match="README: expected '<!-- tables: begin -->' and after it"):
        with_tables(broken, "new")


def test_rewriting_gives_the_readme_of_the_catalog(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(MADE_UP, encoding="utf-8")
    rewrite(path)
    assert "| [`circle`](circle.py) |" in path.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [path]


def test_an_aggregator_without_positives_is_shown_alone() -> None:
    from goal_analysis.symbolic.language.aggregators import MAX

    loss = Objective(name="push", title="Push", terms=(Term(outer=x_n, negatives=MAX(s_n)),))
    assert formula(loss) == "max(s_n)"
