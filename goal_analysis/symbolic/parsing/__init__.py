"""Formulas from text: a walk of Python's syntax tree over a white list, which never evaluates anything.

The language is arithmetic (``+ - * / **``), numbers, the names that are handed in, ``pi``, the functions
``hinge step sigmoid softplus logsumexp detach exp log sqrt sin cos max min abs``, and the case distinction
``a if s_n > s_p else b``.
Everything else is refused, with the place.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping

import sympy as sp

from goal_analysis.symbolic.parsing.formula_error import FormulaError
from goal_analysis.symbolic.parsing.syntax_walk import SyntaxWalk

__all__ = ["FormulaError", "parse"]

MAX_CHARACTERS = 1_000
"""Characters of a formula: published losses take some 200, and CPython's parser is safe up to here."""

_TOKEN = re.compile(
    r"""\s+ | (?P<word>[^\W\d]\w*) | (?:\d[\d_]*\.?[\d_]*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])
      | \*\* | [<>]=? | [-+*(),] | /(?!/) | (?P<other>[\w.]+|//|.)""",
    re.VERBOSE | re.DOTALL,
)

_INSTEAD = {
    "//": "; quotients are spelt /",
    "^": "; powers are spelt **",
    "[": "; parentheses are ( and )",
    "{": "; parentheses are ( and )",
    "#": "; comments go beside the formula",
    "=": "; a formula sets nothing, and compares with <, >, <= or >=",
    "−": "; minus is spelt -",
    "·": "; products are spelt *",
    "×": "; products are spelt *",
}


def parse(text: str, symbols: Mapping[str, sp.Expr]) -> sp.Expr:
    """Read a formula.

    Args:
        text: the formula, such as ``"softplus(tau*(s_n - s_p))/tau"``; decimals are read exactly, and line
            breaks count as blanks.
        symbols: what the names stand for.

    Raises:
        FormulaError: the formula holds anything but the language and these names, or goes past its bounds.

    >>> from goal_analysis.symbolic.language.primitives import s_n, s_p
    >>> parse("hinge(s_n - s_p + 0.2)", {"s_n": s_n, "s_p": s_p})
    hinge(s_n - s_p + 1/5)
    >>> parse("s_n if s_n > s_p else 0", {"s_n": s_n, "s_p": s_p})
    s_n*step(s_n - s_p)
    """
    if len(text) > MAX_CHARACTERS:
        problem = f"got a formula of {len(text)} characters but expected up to {MAX_CHARACTERS}"
        raise FormulaError(text, MAX_CHARACTERS, len(text), problem)
    _check_tokens(text)
    start = len(text) - len(text.lstrip())
    line = re.sub(r"\s", " ", text.strip())  # one line, so that a place in the tree is a place in the text
    try:
        return SyntaxWalk(text, line, start, symbols).read(ast.parse(line, mode="eval").body)
    except SyntaxError as error:
        place = start + (error.offset or len(line)) - 1  # without an offset it ends too early
        end = start + (error.end_offset or 0) - 1
        problem = f"got a formula that breaks off here ({error.msg}) but expected one such as 's_n - s_p'"
        raise FormulaError(text, place, end, problem) from None
    except (MemoryError, RecursionError):
        raise FormulaError(text, 0, len(text), "got a formula that is nested too deeply") from None


def _check_tokens(text: str) -> None:
    """Refuse what is no number, name, operator or parenthesis, before Python's parser gets to see it."""
    for token in _TOKEN.finditer(text):
        if token["other"]:
            problem = f"got {token[0]!r} but expected numbers, names, functions, + - * / ** ( ) and if ... else"
            raise FormulaError(text, *token.span(), problem + _INSTEAD.get(token[0], ""))
        if token["word"] and keyword.iskeyword(token[0]) and token[0] not in ("if", "else"):
            problem = f"got {token[0]!r}, a word of Python's own, but expected another name, such as {token[0]}_"
            raise FormulaError(text, *token.span(), problem)
    if not text.strip():
        raise FormulaError(text, 0, len(text), "got an empty formula but expected one such as 's_n - s_p'")
