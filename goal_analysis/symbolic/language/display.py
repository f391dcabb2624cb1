"""How values show themselves. `goal_analysis.symbolic.typesetting`, which stands above all of them, registers how."""

from __future__ import annotations

from functools import singledispatch


@singledispatch
def line(value: object) -> str:
    """A value in one line."""
    return object.__repr__(value)


@singledispatch
def markdown(value: object) -> str | None:
    """A value as a table in Markdown, or None where no table is registered for its type."""
    return None


class Displayed:
    """A value that shows itself in one line and, in a notebook, as a table."""

    def __repr__(self) -> str:
        return line(self)

    def _repr_markdown_(self) -> str | None:
        return markdown(self)
