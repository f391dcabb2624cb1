"""Docstrings as they are written here, made into what Sphinx reads: an indented formula is set as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable

SECTIONS = ("Args:", "Returns:", "Yields:", "Raises:", "Attributes:")


def with_literal_blocks(lines: Iterable[str]) -> list[str]:
    r"""The lines, with ``::`` before every indented paragraph that belongs to no section, and before a table.

    Elsewhere a bar means an absolute value and no substitution, and a letter may follow a `name`s end.

    >>> with_literal_blocks(["The loss.", "", "    L = |s|", "", "Args:", "    x: |s| of it."])
    ['The loss.', '', '::', '', '    L = |s|', '', 'Args:', '    x: \\|s\\| of it.']
    """
    found: list[str] = []
    in_section = in_block = in_table = False
    for line in lines:
        indented = line.startswith("    ")
        if line.strip() and not indented:
            in_section, in_block = line.strip() in SECTIONS, False
        elif indented and not in_section and not in_block:
            in_block = True
            if not found or not found[-1].strip():
                found += ["::", ""]
        if line.startswith("|") and not in_table:
            found += ["::", ""]
        in_table = line.startswith("|")
        found.append(f"    {line}" if in_table else line if in_block or ">>>" in line else _inline(line))
    return found


def _inline(line: str) -> str:
    parts = line.split("``")
    parts[::2] = [re.sub(r"(`[^`]+`)(?=\w)", r"\1\\ ", part.replace("|", r"\|")) for part in parts[::2]]
    return "``".join(parts)


def setup(app) -> None:
    """Run before napoleon, which listens at 500."""
    app.connect("autodoc-process-docstring", _process, priority=400)


def _process(app, what, name, obj, options, lines: list[str]) -> None:
    lines[:] = with_literal_blocks(lines)
