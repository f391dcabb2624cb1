"""Formulas from text: one walk of Python's syntax tree over a white list, which never evaluates anything.

The language is arithmetic (``+ - * / **``), numbers, the names that are handed in, ``pi``, the functions
``hinge relu step sign sigmoid tanh softplus logsigmoid logsumexp detach exp log log1p sqrt sin cos acos atan erf max
min clamp abs``, and the case distinction ``a if s_n > s_p else b``, whose condition may be a chain such as
``0 < s_n < s_p`` and hold ``and``, ``or`` and ``not``. Everything else is refused, with the place.
"""

from __future__ import annotations

import ast
import keyword
import re
import unicodedata
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial, reduce
from typing import Any

import sympy as sp

from goal_analysis.declarations import expect_kind, one_of
from goal_analysis.symbolic.language.aggregators import AGGREGATORS
from goal_analysis.symbolic.language.primitives import (
    PRIMITIVES,
    hinge,
    logsumexp,
    maximum,
    minimum,
    sigmoid,
    softplus,
    step,
)
from goal_analysis.symbolic.parsing.arithmetic import MAX_BITS, Arithmetic, Refused

MAX_CHARACTERS = 1_000
"""Characters of a formula: published losses take some 200, and CPython's parser is safe up to here."""

MAX_NODES = 500  # nodes of a formula's syntax tree: SymPy, quadratic at worst, stays below a second
MAX_DEPTH = 40  # nested operations, far below Python's recursion limit; a sum or product of many counts as one
MAX_DIGITS = 17  # of a decimal: as many as a float64 has
WINDOW = 76  # characters of a long line that an error shows

_TOKEN = re.compile(
    r"""\s+ | (?P<word>[^\W\d]\w*) | (?:\d[\d_]*\.?[\d_]*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])
      | \*\* | [<>]=? | [-+*(),] | /(?!/) | (?P<other>[\w.]+|//|.)""",
    re.VERBOSE | re.DOTALL,
)

_KEYWORDS = frozenset(("if", "else", "and", "or", "not"))

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


class FormulaError(ValueError):
    """A formula ``text`` is refused: from which character to which, why, and whose formula it is.

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


def parse(text: str, symbols: Mapping[str, sp.Expr]) -> sp.Expr:
    """Read a formula; decimals are read exactly, line breaks as blanks.

    Anything but the language and the names of ``symbols``, or past its bounds, is a `FormulaError`.

    >>> from goal_analysis.symbolic.language.primitives import s_n, s_p
    >>> parse("hinge(s_n - s_p + 0.2)", {"s_n": s_n, "s_p": s_p})
    hinge(s_n - s_p + 1/5)
    """
    if len(text) > MAX_CHARACTERS:
        problem = f"got a formula of {len(text)} characters but expected up to {MAX_CHARACTERS}"
        raise FormulaError(text, MAX_CHARACTERS, len(text), problem)
    _check_tokens(text)
    start = len(text) - len(text.lstrip())
    line = re.sub(r"\s", " ", text.strip())  # one line, so that a place in the tree is a place in the text
    try:
        return _Walk(text, line, start, symbols).read(ast.parse(line, mode="eval").body)
    except SyntaxError as error:
        place = start + (error.offset or len(line)) - 1  # without an offset it ends too early
        end = start + (error.end_offset or 0) - 1
        problem = f"got a formula that breaks off here ({error.msg}) but expected one such as 's_n - s_p'"
        raise FormulaError(text, place, end, problem) from None
    except (MemoryError, RecursionError):
        raise FormulaError(text, 0, len(text), "got a formula that is nested too deeply") from None


def _check_tokens(text: str) -> None:
    for token in _TOKEN.finditer(text):
        if token["other"]:
            problem = f"got {token[0]!r} but expected numbers, names, functions, + - * / ** ( ) and if ... else"
            raise FormulaError(text, *token.span(), problem + _INSTEAD.get(token[0], ""))
        if token["word"] and keyword.iskeyword(token[0]) and token[0] not in _KEYWORDS:
            problem = f"got {token[0]!r}, a word of Python's own, but expected another name, such as {token[0]}_"
            raise FormulaError(text, *token.span(), problem)
    if not text.strip():
        raise FormulaError(text, 0, len(text), "got an empty formula but expected one such as 's_n - s_p'")


class _Walk(ast.NodeVisitor):
    """One pass over the tree of a line, which begins at a place of the text; one object for one formula."""

    def __init__(self, text: str, line: str, start: int, symbols: Mapping[str, sp.Expr]) -> None:
        for name, x in symbols.items():
            expect_kind(f"symbols: {name}", x, sp.Expr, "a SymPy expression")
        self._text, self._start, self._bytes = text, start, line.encode()
        self._names = {unicodedata.normalize("NFKC", name): x for name, x in symbols.items()}
        self._names.setdefault("pi", sp.pi)
        self._arithmetic = Arithmetic()
        self._nodes = 0
        self._depth = 0

    def read(self, node: ast.expr) -> sp.Expr:
        """The expression of a node; raises a FormulaError if the node is not in the language or past a bound."""
        self._count(node)
        if self._depth >= MAX_DEPTH:
            raise self._error(node, f"got operations nested more than {MAX_DEPTH} deep but expected fewer")
        self._depth += 1
        result = self.visit(node)
        self._depth -= 1
        return result

    def _count(self, node: ast.expr) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._error(node, f"got more than {MAX_NODES} numbers, names and operations but expected fewer")

    def _apply(self, node: ast.expr, operation: Callable[..., sp.Expr], *xs: sp.Expr) -> sp.Expr:
        try:
            return self._arithmetic.checked(operation(*xs))
        except Refused as reason:
            raise self._error(node, str(reason)) from None

    def _error(self, node: ast.expr, problem: str) -> FormulaError:
        offsets = (node.col_offset, node.end_col_offset)
        start, end = (self._start + len(self._bytes[:offset].decode(errors="ignore")) for offset in offsets)
        return FormulaError(self._text, start, end, problem)

    def generic_visit(self, node: Any) -> sp.Expr:
        expected = "numbers, names, functions, + - * / ** and a if s_n > s_p else b"
        raise self._error(node, f"got {_WORDS.get(type(node), 'this')} but expected {expected}")

    def visit_Constant(self, node: ast.Constant) -> sp.Expr:
        if type(node.value) is int:
            if node.value.bit_length() > MAX_BITS:
                raise self._error(node, f"got a number of more than {MAX_BITS} bits but expected a smaller one")
            return sp.Integer(node.value)
        if type(node.value) is not float:
            return self.generic_visit(node)
        written = self._bytes[node.col_offset : node.end_col_offset].decode()
        digits = re.sub(r"[eE].*|[._]", "", written).lstrip("0")
        if not digits:
            return sp.S.Zero
        if len(digits) > MAX_DIGITS:
            raise self._error(node, f"got a decimal of {len(digits)} digits but expected up to {MAX_DIGITS}")
        if not 2.0**-MAX_BITS < node.value < 2.0**MAX_BITS:
            raise self._error(node, f"got {written} but expected 2**-{MAX_BITS} to 2**{MAX_BITS}")
        exact = Fraction(written)
        return self._apply(node, sp.Rational, exact.numerator, exact.denominator)

    def visit_Name(self, node: ast.Name) -> sp.Expr:
        if node.id in self._names:
            return self._apply(node, lambda: self._names[node.id])
        if node.id in _FUNCTIONS:
            raise self._error(node, f"got the function {node.id} but expected a call, as in {node.id}(...)")
        known = one_of(self._names, node.id)
        raise self._error(node, f"got the unknown name {node.id!r} but expected one of {known}")

    def visit_UnaryOp(self, node: ast.UnaryOp) -> sp.Expr:
        if type(node.op) not in (ast.UAdd, ast.USub):
            return self.generic_visit(node)
        x = self.read(node.operand)
        return self._apply(node, lambda: -x if type(node.op) is ast.USub else x)

    def visit_BinOp(self, node: ast.expr) -> sp.Expr:
        """A chain such as a + b - c, from its left end; Python nests it once for every operation."""
        chain: list[ast.BinOp] = []
        while isinstance(node, ast.BinOp):
            chain.append(node)
            node = node.left
        result = self.read(node)
        for operation in reversed(chain):
            if type(operation.op) not in _OPERATORS:
                return self.generic_visit(operation)
            self._count(operation)
            operate = partial(_OPERATORS[type(operation.op)], self._arithmetic)
            result = self._apply(operation, operate, result, self.read(operation.right))
        return result

    def visit_Call(self, node: ast.Call) -> sp.Expr:
        if not isinstance(node.func, ast.Name):
            raise self._error(node.func, "got a call of this but expected one of a function; products are spelt *")
        name = node.func.id
        hint = f"; over an anchor's pairs it is positives or negatives = {name!r} beside the formula"
        hint *= any(name == aggregator.name for aggregator in AGGREGATORS)
        if name not in _FUNCTIONS:
            product = "; products are spelt *" if name in self._names else ""
            expected = f"one of {one_of(_FUNCTIONS, name)}{product}{hint}"
            raise self._error(node.func, f"got the function {name!r} but expected {expected}")
        operate, arity = _FUNCTIONS[name]
        expected = _USAGE[arity].format(name)
        stars = [x for x in node.args if isinstance(x, ast.Starred)]
        if node.keywords or stars or (len(node.args) < 2 if arity == 2 else len(node.args) != arity):
            given = "named or starred arguments" if node.keywords or stars else f"{len(node.args)} arguments"
            raise self._error(node, f"got {name} of {given} but expected {expected}{hint}")
        return self._apply(node, partial(operate, self._arithmetic), *map(self.read, node.args))

    def visit_IfExp(self, node: ast.IfExp) -> sp.Expr:
        holds, body, otherwise = self._condition(node.test), self.read(node.body), self.read(node.orelse)
        return self._apply(node, lambda: otherwise + holds * (body - otherwise))

    def _condition(self, test: ast.expr) -> sp.Expr:
        self._count(test)
        if isinstance(test, ast.BoolOp):
            parts = [self._condition(part) for part in test.values]
            if isinstance(test.op, ast.And):
                return self._apply(test, lambda: sp.Mul(*parts))
            return self._apply(test, lambda: 1 - sp.Mul(*(1 - part for part in parts)))
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            return 1 - self._condition(test.operand)
        if not isinstance(test, ast.Compare) or any(type(op) not in _SIGNS for op in test.ops):
            raise self._error(test, "got this condition but expected comparisons with <, >, <= or >=")
        sides = [self.read(side) for side in (test.left, *test.comparators)]
        signs = [_SIGNS[type(op)] for op in test.ops]
        compared = list(zip(signs, sides, sides[1:], strict=False))
        return self._apply(test, lambda: sp.Mul(*(step(sign * (left - right)) for sign, left, right in compared)))


_WORDS = {
    ast.Compare: "a comparison without if ... else",
    ast.BoolOp: "'and' or 'or' outside of a condition",
    ast.UnaryOp: "'not' outside of a condition",
    ast.BinOp: "a shift of bits",
    ast.Tuple: "a list",
    ast.Starred: "a star",
}
_OPERATORS: dict[type, Callable[[Arithmetic, sp.Expr, sp.Expr], sp.Expr]] = {
    ast.Add: lambda _, a, b: a + b,
    ast.Sub: lambda _, a, b: a - b,
    ast.Mult: lambda _, a, b: a * b,
    ast.Div: Arithmetic.divide,
    ast.Pow: Arithmetic.power,
}
_SIGNS = {ast.Gt: 1, ast.GtE: 1, ast.Lt: -1, ast.LtE: -1}
"""Of left − right where the condition holds; at equality each case counts one half."""
_FUNCTIONS: dict[str, tuple[Callable[..., sp.Expr], int]] = {
    **{f.__name__: (lambda _, *xs, f=f: f(*xs), 1 + (f is logsumexp)) for f in (*PRIMITIVES, sp.sin, sp.cos)},
    "relu": (lambda _, x: hinge(x), 1),
    "logsigmoid": (lambda _, x: -softplus(-x), 1),
    "log1p": (lambda arithmetic, x: arithmetic.log(arithmetic.checked(1 + x)), 1),
    "exp": (Arithmetic.exp, 1),
    "log": (Arithmetic.log, 1),
    "sqrt": (lambda arithmetic, x: arithmetic.power(x, sp.S.Half), 1),
    "acos": (Arithmetic.acos, 1),
    "atan": (lambda _, x: sp.atan(x), 1),
    "erf": (lambda _, x: sp.erf(x), 1),
    "tanh": (lambda _, x: 2 * sigmoid(2 * x) - 1, 1),
    "sign": (lambda _, x: 2 * step(x) - 1, 1),
    "clamp": (lambda _, x, low, high: minimum(maximum(x, low), high), 3),
    "abs": (lambda _, x: hinge(x) + hinge(-x), 1),
    "max": (lambda _, *xs: reduce(maximum, xs), 2),
    # Folded from the right, because `minimum` writes its first argument out twice.
    "min": (lambda _, *xs: reduce(lambda rest, x: minimum(x, rest), reversed(xs)), 2),
}
"""What a call does, with the number of its arguments; 2 stands for two or more."""
_USAGE = {1: "{}(x)", 2: "{}(x, y) or more", 3: "{}(x, low, high)"}


def _pointed_at(text: str, start: int, end: int) -> str:
    line_start = max(text.rfind(newline, 0, start) for newline in "\n\r") + 1
    line_end = min((at for newline in "\n\r" if (at := text.find(newline, start)) >= 0), default=len(text))
    end = max(min(end, line_end), start)
    if line_end - line_start > WINDOW:
        line_start = max(line_start, min(start - WINDOW // 3, line_end - WINDOW))
    window_end = min(line_end, line_start + WINDOW)
    before = "..." if line_start > 0 and text[line_start - 1] not in "\n\r" else ""
    after = "..." if window_end < line_end else ""
    shown = (
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[line_start:window_end].replace("\t", " ")
    )
    line = "".join(shown)
    offset = len(before) + _columns(line[: start - line_start])
    carets = max(_columns(line[start - line_start : end - line_start]), 1)
    return f"  {before}{line}{after}\n  {' ' * offset}{'^' * carets}"


def _columns(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)
