"""What the tests of the pages share."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "docs"))  # where the code that generates pages lies


@pytest.fixture(scope="session")
def generated() -> dict[str, str]:
    """The generated pages, by their paths below ``docs/generated``."""
    from generating.writing_pages import pages

    return pages()
