"""The notebooks, where Sphinx finds them."""

from __future__ import annotations

from pathlib import Path


def notebook_pages(folder: Path) -> dict[str, str]:
    """The notebooks as they stand, and a page that lists them.

    Args:
        folder: with the notebooks, numbered in reading order.
    """
    notebooks = sorted(folder.glob("*.ipynb"))
    found = {f"notebooks/{path.name}": path.read_text("utf-8") for path in notebooks}
    names = "\n".join(path.stem for path in notebooks)
    found["notebooks/index.md"] = (
        "# Notebooks\n\n`make notebooks` opens them; here they are as they ran when these pages were built.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{names}\n```\n"
    )
    return found
