"""How values show themselves. `goal_analysis.symbolic.typesetting`, which stands above all of them, says how."""

from collections.abc import Callable
from typing import Any, cast

LINES: dict[type, Callable[[Any], str]] = {}
MARKDOWN: dict[type, Callable[[Any], str]] = {}
"""By type: a value in one line, and as a table in Markdown."""


class Displayed:
    """A value that shows itself in one line and, in a notebook, as a table."""

    def __repr__(self) -> str:
        return LINES.get(type(self), object.__repr__)(self)

    def _repr_markdown_(self) -> str | None:
        write = MARKDOWN.get(type(self))
        return write and write(self)

    def plot(self, kind: str | None = None, **keywords: Any) -> Any:
        """Its picture, a matplotlib figure; see `goal_analysis.plot`."""
        import goal_analysis

        return goal_analysis.plot(cast("Any", self), kind=kind, **keywords)
