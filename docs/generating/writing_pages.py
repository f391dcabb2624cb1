"""Every generated page, written where its content has changed, so that Sphinx reads only those anew."""

from __future__ import annotations

from pathlib import Path

from generating.api_pages import api_pages
from generating.catalog_pages import Near, catalog_pages
from generating.catalog_pictures import draw_catalog
from generating.command_line_page import command_line_page
from generating.notebook_pages import notebook_pages
from generating.results_pages import results_pages
from goal_analysis.files import write_whole
from losses_catalog import catalog

ROOT = Path(__file__).parents[2]


def pages(near: Near | None = None) -> dict[str, str]:
    """The text of every generated page, by its path below ``generated/``.

    Args:
        near: what finds the nearest losses of a loss, see `catalog_pages`.
    """
    return {
        **catalog_pages(near=near),
        **api_pages(),
        **notebook_pages(ROOT / "notebooks"),
        **results_pages(ROOT / "benchmarks" / "results"),
        "command-line.md": command_line_page(),
    }


def write_pages(folder: Path) -> None:
    """Write the pages and draw the losses, and remove pages of an earlier build that are there no more."""
    found = pages()
    draw_catalog(folder / "catalog", catalog)
    for name, text in found.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            write_whole(path, text)
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if "executed" not in inside.parts and path.suffix in (".md", ".ipynb") and inside.as_posix() not in found:
            path.unlink()
