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


def run_notebooks(folder: Path, kept: Path, timeout: int) -> None:
    """Run the notebooks that have changed, as many at once as there are cores, each at most ``timeout`` seconds.

    Sphinx takes what they print from the folder ``kept``. One that fails is run by Sphinx again, which says why.
    """
    from jupyter_cache import get_cache  # which the tests of the pages do without
    from jupyter_cache.executors import load_executor

    cache = get_cache(kept)
    for path in sorted(folder.glob("*.ipynb")):
        cache.add_nb_to_project(str(path))
    load_executor("local-parallel", cache).run_and_cache(timeout=timeout)
