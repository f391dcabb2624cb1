"""The error of a formula that is refused: it points at the place."""

from __future__ import annotations

import unicodedata

_WINDOW = 76


class FormulaError(ValueError):
    """A formula that is refused, with the place in it.

    Args:
        text: the formula.
        start: where the offending place begins, in characters.
        end: where it ends.
        problem: what was given and what would be accepted.
        where: whose formula it is, such as ``"loss 'triplet': formula"``.

    >>> print(FormulaError("s_q - s_p", 0, 3, "got the unknown name 's_q' but expected one of s_n, s_p"))
    got the unknown name 's_q' but expected one of s_n, s_p
      s_q - s_p
      ^^^
    """

    def __init__(self, text: str, start: int, end: int, problem: str, where: str = "") -> None:
        super().__init__(text, start, end, problem, where)
        self.text = text
        self.start = min(max(start, 0), max(len(text) - 1, 0))
        self.end = min(max(end, self.start + 1), len(text))
        self.problem = problem
        self.where = where

    def within(self, where: str) -> FormulaError:
        """The same error, naming whose formula it is."""
        return FormulaError(self.text, self.start, self.end, self.problem, where)

    def __str__(self) -> str:
        owner = f"{self.where}: " if self.where else ""
        return f"{owner}{self.problem}\n{_pointed_at(self.text, self.start, self.end)}"


def _pointed_at(text: str, start: int, end: int) -> str:
    """The line of the place, or a window of it, and carets under the place."""
    line_start = max(text.rfind(newline, 0, start) for newline in "\n\r") + 1
    line_end = min((at for newline in "\n\r" if (at := text.find(newline, start)) >= 0), default=len(text))
    end = max(min(end, line_end), start)
    if line_end - line_start > _WINDOW:
        line_start = max(line_start, min(start - _WINDOW // 3, line_end - _WINDOW))
    window_end = min(line_end, line_start + _WINDOW)
    before = "..." if line_start > 0 and text[line_start - 1] not in "\n\r" else ""
    after = "..." if window_end < line_end else ""
    line = text[line_start:window_end]
    offset = len(before) + _columns(line[: start - line_start])
    carets = max(_columns(line[start - line_start : end - line_start]), 1)
    return f"  {before}{''.join(map(_visible, line))}{after}\n  {' ' * offset}{'^' * carets}"


def _visible(character: str) -> str:
    if character == "\t":
        return " "
    return character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)
