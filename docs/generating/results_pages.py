"""The tables that the benchmarks wrote, as pages."""

from __future__ import annotations

from pathlib import Path

EXPECTED = {
    "coverage.md": ("Losses of libraries, and what they are here", "python benchmarks/coverage.py --write"),
    "retrieval.md": ("Retrieval", "goal-analyze study --data DIR/NAME"),
}
"""Tables that pages link to, with a title and what writes them, for a checkout where they are not."""


def results_pages(folder: Path) -> dict[str, str]:
    """The pages by their paths.

    Args:
        folder: with the committed tables.
    """
    found = {f"results/{path.name}": path.read_text("utf-8") for path in sorted(folder.glob("*.md"))}
    for name, (title, command) in EXPECTED.items():
        missing = f"# {title}\n\nThis table is not in this checkout; `{command}` writes it.\n"
        found.setdefault(f"results/{name}", missing)
    names = "\n".join(Path(path).stem for path in sorted(found))
    found["results/index.md"] = f"# Measured tables\n\n```{{toctree}}\n:maxdepth: 1\n\n{names}\n```\n"
    return found
