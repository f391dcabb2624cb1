"""Source code cut out of modules: some definitions with all that they use, in an order in which they can stand in one
file.

Modules of the package, and those of a user's own selections and directions, are followed; of everything else the import
is kept. So what an exported file says is said once, where it is used.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

ENGINE = "goal_analysis.numeric.engine"

VALUES = ("Functions", "Term", "Side", "Aggregator")
"""The engine's values that a file states; everything else is constructed by the engine itself."""

FOLLOWED = "goal_analysis"
"""Modules of this package are cut; those that are needed of others are imported, but for a user's own."""

ALONE = frozenset(("torch", *sys.stdlib_module_names))
"""What an exported file may import."""


@dataclass
class Cutting:
    """Definitions that were cut so far.

    Args:
        own: modules that are followed besides those of the package.
        known: what expressions of the engine always are, such as ``side.selection``; ``...`` is anything but None.
            Branches that never run are left out.
    """

    own: frozenset[str] = frozenset()
    known: Mapping[str, Any] = field(default_factory=dict)
    _pieces: dict[tuple[str, str], str] = field(default_factory=dict)
    _imports: dict[str, None] = field(default_factory=dict)

    def take(self, module: str, name: str) -> None:
        """Cut a definition and all that it uses.

        Raises:
            ValueError: it uses what an exported file cannot have, or its source cannot be read.
        """
        if (module, name) in self._pieces:
            return
        names = _names_of(module)
        if name not in names:
            raise ValueError(f"export: got {name!r}, which {module} does not define in a statement of its own")
        node, text = names[name]
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._take_import(module, node, name)
            return
        for other, _ in self._pieces:
            if _ == name and other != module:
                raise ValueError(f"export: got {name!r} of {other} and of {module} but expected one of that name")
        self._pieces[module, name] = ""  # it may use itself
        text = _shortened(node, text)
        if module.startswith(ENGINE):
            text = _decided(text, self.known)
        for used in _used(ast.parse(text).body[0]):
            if used in names:
                self.take(module, used)
            elif not hasattr(builtins, used):
                raise ValueError(f"export: {name}: got {used!r}, which {module} does not define")
        del self._pieces[module, name]
        self._pieces[module, name] = text

    def _take_import(self, module: str, node: ast.Import | ast.ImportFrom, name: str) -> None:
        alias = next(a for a in node.names if (a.asname or a.name).split(".")[0] == name)
        source = node.module if isinstance(node, ast.ImportFrom) else alias.name
        if isinstance(node, ast.ImportFrom) and source and (source.split(".")[0] == FOLLOWED or source in self.own):
            if alias.asname and alias.asname != alias.name:
                raise ValueError(f"export: {module} imports {alias.name} as {name} but expected its own name")
            self.take(source, alias.name)
            return
        if (source or ".").split(".")[0] not in ALONE:
            raise ValueError(
                f"export: got the import of {source} in {module} but expected torch and Python's own alone"
            )
        as_name = f" as {alias.asname}" if alias.asname else ""
        head = f"from {source} import" if isinstance(node, ast.ImportFrom) else "import"
        self._imports[f"{head} {alias.name}{as_name}"] = None

    def unread(self, besides: str) -> frozenset[str]:
        """The fields of the engine's values that neither the definitions read nor this code; they are left out."""
        fields = {
            key: re.findall(r"^    (\w+): .*", text, re.M)
            for key, text in self._pieces.items()
            if key[0].startswith(ENGINE) and key[1] in VALUES
        }
        code = "\n".join([besides, *self._pieces.values()])
        read = {n.attr for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Attribute)}
        for key, names in fields.items():
            for name in set(names) - read:
                self._pieces[key] = re.sub(rf"^    {name}: .*\n?", "", self._pieces[key], flags=re.M).rstrip()
        return frozenset(name for names in fields.values() for name in names) - read

    def text(self) -> tuple[str, str]:
        """The imports, and the definitions."""
        grouped: dict[str, list[str]] = {}
        plain = []
        for line in self._imports:
            if line.startswith("from "):
                head, _, names = line.partition(" import ")
                grouped.setdefault(head, []).append(names)
            else:
                plain.append(line)
        imports = sorted(plain) + sorted(f"{head} import {', '.join(sorted(n))}" for head, n in grouped.items())
        return "\n".join(imports), "\n\n".join(self._pieces.values())


_PARSED: dict[str, dict[str, tuple[ast.stmt, str]]] = {}


def _names_of(module: str) -> dict[str, tuple[ast.stmt, str]]:
    """What every name at a module's top level stands for, and its source."""
    if module in _PARSED:
        return _PARSED[module]
    loaded: ModuleType | None = sys.modules.get(module)
    try:
        path = Path(str(getattr(loaded, "__file__", None)))
        source = path.read_text("utf-8")
    except OSError as problem:
        raise ValueError(f"export: got no source of {module} but expected a module whose file can be read") from problem
    lines = source.splitlines()
    found: dict[str, tuple[ast.stmt, str]] = {}
    for node in ast.parse(source).body:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        text = "\n".join(lines[first - 1 : node.end_lineno])
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node, text
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    found[target.id] = node, text
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                found[(alias.asname or alias.name).split(".")[0]] = node, text
    _PARSED[module] = found
    return found


def _used(node: ast.stmt) -> list[str]:
    """The names that a definition reads, in order, but for those that it binds itself; shapes are no names."""
    bound = {a.arg for n in ast.walk(node) if isinstance(n, ast.arguments) for a in _arguments(n)}
    stored = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    stored |= {n.name for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    shapes = {"Float", "Int", "Bool"}
    names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]
    return [name for name in dict.fromkeys(names) if name not in bound | stored | shapes]


def _arguments(node: ast.arguments) -> list[ast.arg]:
    extra = [a for a in (node.vararg, node.kwarg) if a is not None]
    return [*node.posonlyargs, *node.args, *node.kwonlyargs, *extra]


def _shortened(node: ast.stmt, text: str) -> str:
    """The source with the first sentence of every docstring, and plain tensors for annotated shapes."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.ClassDef) and (doc := ast.get_docstring(inner, clean=False)):
            first = doc.strip().split("\n\n")[0]
            text = text.replace(f'"""{doc}"""', f'"""{first}"""', 1)
            if (
                inner.name in ("forward", "setup_context", "backward") and len(inner.body) > 1
            ):  # torch says what they are for
                text = re.sub(rf'\n *"""{re.escape(first)}"""', "", text, count=1)
    text = re.sub(r'\b(?:Float|Int|Bool)\[Tensor, "[^"]*"\]', "Tensor", text).replace('"""\n\n', '"""\n')
    return re.sub(r"  # pyright: .*", "", text)


def _decided(text: str, known: Mapping[str, Any]) -> str:
    """The source of a definition without the branches that never run, and without names that are always empty."""
    while True:
        nodes = list(ast.walk(ast.parse(text)))
        names = [n.id for n in nodes if isinstance(n, ast.Name)]
        stored = [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        empty = {
            n.targets[0].id: n
            for n in nodes
            if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name) and ast.unparse(n.value) == "()"
        }
        empty = {name: n for name, n in empty.items() if stored.count(name) == 1}
        unread = next((n for name, n in empty.items() if names.count(name) == 1), None)
        facts = {**known, **dict.fromkeys(empty, False)}
        lines = text.splitlines()
        chained = [n for n in nodes if isinstance(n, ast.If) and lines[n.lineno - 1].lstrip().startswith("elif")]
        chained += [n for n in nodes if isinstance(n, ast.If) and n.orelse[:1] and n.orelse[0] in chained]
        branches = (n for n in nodes if isinstance(n, ast.If | ast.IfExp) and n not in chained)
        decided = next((n for n in branches if _truth(n.test, facts) is not None), None)
        if decided is not None:
            text = _with_one_branch(text, decided, bool(_truth(decided.test, facts)))
        elif unread is not None:
            text = _with_lines(text, unread, [])
        else:
            return text


def _truth(test: ast.expr, known: Mapping[str, Any]) -> bool | None:
    """Whether a condition always holds or never; None where that is not known."""
    if isinstance(test, ast.BoolOp):
        parts, decisive = [_truth(part, known) for part in test.values], isinstance(test.op, ast.Or)
        return decisive if decisive in parts else None if None in parts else not decisive
    if isinstance(test, ast.Compare) and isinstance(test.comparators[0], ast.Constant) and len(test.ops) == 1:
        left, right = known.get(ast.unparse(test.left), _UNKNOWN), test.comparators[0].value
        if left is _UNKNOWN or (left is ... and right is not None):
            return None
        return (left == right) == isinstance(test.ops[0], ast.Is | ast.Eq)
    found = known.get(ast.unparse(test), _UNKNOWN)
    return None if found is _UNKNOWN or found is ... else bool(found)


_UNKNOWN = object()


def _with_one_branch(text: str, node: ast.If | ast.IfExp, first: bool) -> str:
    if isinstance(node, ast.IfExp):
        whole, kept = (ast.get_source_segment(text, n) or "" for n in (node, node.body if first else node.orelse))
        return text.replace(whole, kept, 1)
    lines = text.splitlines()
    kept = node.body if first else node.orelse
    inside = lines[kept[0].lineno - 1 : kept[-1].end_lineno] if kept else []
    return _with_lines(text, node, [line.removeprefix("    ") for line in inside])


def _with_lines(text: str, node: ast.stmt, lines: list[str]) -> str:
    before = text.splitlines()
    return "\n".join([*before[: node.lineno - 1], *lines, *before[node.end_lineno :]])
