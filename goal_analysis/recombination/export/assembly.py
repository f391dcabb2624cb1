"""Fragments as text: the functions that a file needs, with what is settled decided, and the imports they need."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Set
from functools import cache, lru_cache
from pathlib import Path

FRAGMENTS = Path(__file__).parent / "fragments"

ORDER = (
    "formulas",
    "objective",
    "dense",
    "mining",
    "hardest",
    "streamed",
    "tiles",
    "directions",
    "prescribed",
    "inputs",
    "definition",
    "definition_mining",
    "definition_directions",
    "float_functions",
)
"""The fragments in the order in which a reader wants them."""

IMPORTS = {
    "math": "import math",
    "sys": "import sys",
    "warnings": "import warnings",
    "Iterator": "from collections.abc import Iterator",
    "Any": "from typing import Any",
    "torch": "import torch",
    "Tensor": "from torch import Tensor",
    "nn": "from torch import nn",
    "once_differentiable": "from torch.autograd.function import once_differentiable",
}
"""The import that each name needs; the standard library first."""


@cache
def fragments() -> Mapping[str, str]:
    """The source of every function and class, by name, in the order of `ORDER`."""
    found: dict[str, str] = {}
    for file in ORDER:
        text = (FRAGMENTS / f"{file}.py").read_text(encoding="utf-8")
        lines = text.splitlines()
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                found[node.name] = "\n".join(lines[start - 1 : node.end_lineno])
    return found


def closure(
    roots: Iterable[str], own: Mapping[str, str], flags: Mapping[str, bool], stand_for: Mapping[str, str]
) -> dict[str, str]:
    """The roots and everything that they use, decided and with names replaced, in the order of the fragments.

    Args:
        roots: names of functions and classes.
        own: texts that take the place of fragments.
        flags: what is settled.
        stand_for: the fragment's name for every name that stands for one.
    """
    known = {**fragments(), **own}
    found: dict[str, str] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in known and name not in found:
            text = known[name] if name in own else renamed(decided(known[name], flags), stand_for)
            found[name] = text
            waiting += used_names(text)
    return {name: found[name] for name in known if name in found}


def decided(text: str, flags: Mapping[str, bool]) -> str:
    r"""The text without its ``if FLAG:`` statements: the chosen branch stands in their place.

    >>> print(decided("if MEAN:\n    x = 1\nelse:\n    x = 2", {"MEAN": False}))
    x = 2
    """
    return _decided(text, frozenset(flags.items()))


@lru_cache(maxsize=4096)
def _decided(text: str, settled: frozenset[tuple[str, bool]]) -> str:
    """The text with its branches chosen, remembered: files have most of their functions alike."""
    flags = dict(settled)
    while True:
        found = (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.If) and _is_settled(n.test, flags))
        node = next(found, None)
        if node is None:
            return re.sub(r"\n{3,}", "\n\n", text)
        text = _with_branch(text, node, _truth(node.test, flags))


def renamed(text: str, names: Mapping[str, str]) -> str:
    """The text with whole words replaced."""
    if not names:
        return text
    return re.sub(rf"(?<![\w.])(?:{'|'.join(names)})\b", lambda match: names[match[0]], text)


@lru_cache(maxsize=4096)
def used_names(text: str) -> frozenset[str]:
    """Every name that Python code reads."""
    return frozenset(node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name))


def imports(used: Set[str]) -> str:
    """The import statements that code needs which reads these names."""
    lines = [line for name, line in IMPORTS.items() if name in used]
    if {"Tensor", "nn"} <= used:
        lines = ["from torch import Tensor, nn" if line.endswith("Tensor") else line for line in lines]
        lines.remove("from torch import nn")
    standard = [line for line in lines if "torch" not in line]
    return "\n\n".join("\n".join(group) for group in (standard, [x for x in lines if "torch" in x]) if group)


def _is_settled(test: ast.expr, flags: Mapping[str, bool]) -> bool:
    test = test.operand if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) else test
    return isinstance(test, ast.Name) and test.id in flags


def _truth(test: ast.expr, flags: Mapping[str, bool]) -> bool:
    if isinstance(test, ast.UnaryOp):
        return not _truth(test.operand, flags)
    return isinstance(test, ast.Name) and flags[test.id]


def _with_branch(text: str, node: ast.If, truth: bool) -> str:
    lines = text.splitlines()
    branch = node.body if truth else node.orelse
    chosen: list[str] = []
    if branch:
        chosen = lines[branch[0].lineno - 1 : branch[-1].end_lineno]
        first, indent = chosen[0], " " * node.col_offset
        if first.lstrip().startswith("elif ") and branch[0].col_offset == node.col_offset:
            chosen[0] = first.replace("elif ", "if ", 1)
        else:
            extra = branch[0].col_offset - node.col_offset
            chosen = [indent + line[node.col_offset + extra :] if line.strip() else "" for line in chosen]
    return "\n".join([*lines[: node.lineno - 1], *chosen, *lines[node.end_lineno or 0 :]])
