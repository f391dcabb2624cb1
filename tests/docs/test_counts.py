"""Pages that say how many losses the catalog has say how many it has."""

import re
from pathlib import Path

import pytest

import goal_analysis as ga
from losses_catalog import catalog

ROOT = Path(__file__).parents[2]
COUNTED = re.compile(r"(\d+) (?:published )?losses|[Oo]f the (\d+) losses")
PAGES = ("README.md", "docs/index.md", "docs/findings.md", "CHANGELOG.md")


def counts(text: str) -> set[int]:
    return {int(one or other) for one, other in COUNTED.findall(text)}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_how_many_losses_there_are(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert counts(text) == {len(catalog)}
    assert counts(text.replace(str(len(catalog)), "12")) == {12}


def test_the_findings_name_every_loss_that_is_no_gradient() -> None:
    text = (ROOT / "docs" / "findings.md").read_text("utf-8").partition("are no gradient.")[2].partition("\n\n")[0]
    no_gradient = {loss.name for loss in catalog if ga.integrability(loss).integrable is False}
    assert set(re.findall(r"`(\w+)`", text)) | {"circle"} == no_gradient
