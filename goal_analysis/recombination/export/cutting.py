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
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

FOLLOWED = "goal_analysis"
"""Modules of this package are cut; those that are needed of others are imported, but for a user's own."""

ALONE = frozenset(("torch", *sys.stdlib_module_names))
"""What an exported file may import."""


@dataclass
class Cutting:
    """Definitions that were cut so far.

    Args:
        own: modules that are followed besides those of the package.
    """

    own: frozenset[str] = frozenset()
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
        for used in _used(node):
            if used in names:
                self.take(module, used)
            elif not hasattr(builtins, used):
                raise ValueError(f"export: {name}: got {used!r}, which {module} does not define")
        del self._pieces[module, name]
        self._pieces[module, name] = _shortened(node, text)

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
    text = re.sub(r'\b(?:Float|Int|Bool)\[Tensor, "[^"]*"\]', "Tensor", text)
    return re.sub(r"  # pyright: .*", "", text)
