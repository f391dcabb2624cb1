"""What the tests of the pages share."""

import sys
from pathlib import Path

import pytest

from goal_analysis.vse.data import DATASETS
from goal_analysis.vse.models.encoders import IMAGE_ENCODERS, TEXT_ENCODERS
from goal_analysis.vse.models.scorers import SCORERS

sys.path.append(str(Path(__file__).parents[2] / "docs"))  # where the code that generates pages lies


@pytest.fixture(scope="session")
def generated() -> dict[str, str]:
    """The generated pages, by their paths below ``docs/generated``, without what takes minutes: the nearest losses."""
    from generating.writing_pages import pages

    return pages(near=lambda loss, losses: [])


@pytest.fixture(autouse=True)
def tables_as_they_were():
    """What a page's code adds to the package is taken out after the test."""
    tables = (DATASETS, IMAGE_ENCODERS, TEXT_ENCODERS, SCORERS)
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)
