"""Source code cut out of modules: definitions with all that they use, in order; other packages are imported."""

import ast
import builtins
import sys
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from goal_analysis.recombination.export.module import STATED, Exported

ENGINE, TEMPLATE = "goal_analysis.numeric.engine", Exported.__module__

VALUES = ("Functions", "Term", "Side", "Aggregator")
"""The engine's values that a file states by the names of their fields; the engine itself constructs everything else."""

ALONE = frozenset(("torch", *sys.stdlib_module_names))
"""What an exported file may import."""

SHAPES = frozenset(("Float", "Int", "Bool"))


@dataclass(frozen=True)
class Piece:
    """A definition that was cut: its text, the names that it uses, and the fields that it reads."""

    text: str
    used: tuple[str, ...]
    fields: frozenset[str]


@dataclass
class Cutting:
    """Definitions that were cut so far, without branches that what is ``known`` decides (``...`` is anything but None),
    and without the fields that are not ``read``; ``own`` are modules followed besides the package's.
    """

    known: Mapping[str, Any]
    read: frozenset[str]
    own: set[str] = field(default_factory=set)
    imports: dict[str, set[str]] = field(default_factory=dict)
    _pieces: dict[str, tuple[str, Piece]] = field(default_factory=dict)

    def take(self, module: str, name: str) -> None:
        """Cut a definition and all that it uses; a ValueError of what an exported file cannot have."""
        names = _names_of(module)
        if name not in names:
            raise ValueError(f"export: got {name!r}, which {module} does not define in a statement of its own")
        node, other = names[name], self._pieces.get(name, (module,))[0]
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._take_import(module, node, name)
            return
        if other != module:
            raise ValueError(f"export: got {name!r} of {other} and of {module} but expected one of that name")
        if name in self._pieces or (module == TEMPLATE and name in STATED):
            return
        engine = module.startswith(ENGINE)
        known = None
        if engine or module == TEMPLATE:
            known = frozenset((said, of) for said, of in self.known.items() if said in _said_in(module, name))
        piece = _cut(module, name, known, self.read if engine and name in VALUES else None)
        self._pieces[name] = module, piece  # it may use itself
        for used in piece.used:
            if used in names:
                self.take(module, used)
            elif not hasattr(builtins, used):
                raise ValueError(f"export: {name}: got {used!r}, which {module} does not define")
        self._pieces[name] = self._pieces.pop(name)  # behind what it uses

    def _take_import(self, module: str, node: ast.Import | ast.ImportFrom, name: str) -> None:
        alias = next(a for a in node.names if (a.asname or a.name).split(".")[0] == name)
        source = (node.module or ".") if isinstance(node, ast.ImportFrom) else alias.name
        if isinstance(node, ast.ImportFrom) and (source.split(".")[0] == "goal_analysis" or source in self.own):
            if alias.asname and alias.asname != alias.name:
                raise ValueError(f"export: {module} imports {alias.name} as {name} but expected its own name")
            self.take(source, alias.name)
            return
        if source.split(".")[0] not in ALONE:
            raise ValueError(f"export: got the import of {source} in {module} but expected torch and Python's own")
        said = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
        self.imports.setdefault(source if isinstance(node, ast.ImportFrom) else "", set()).add(said)

    @property
    def fields(self) -> frozenset[str]:
        """The fields that the definitions read."""
        return frozenset().union(*(piece.fields for _, piece in self._pieces.values()))

    def text(self) -> tuple[str, str, str]:
        """The imports, the definitions of the engine, and those of the file's own module."""
        imports = [f"import {name}" for name in sorted(self.imports.pop("", ()))]
        imports += [
            f"from {source} import {', '.join(sorted(names))}" for source, names in sorted(self.imports.items())
        ]
        own, engine = (
            "\n\n".join(piece.text for module, piece in self._pieces.values() if (module == TEMPLATE) is of)
            for of in (True, False)
        )
        return "\n".join(imports), engine, own


class _Shortened(ast.NodeTransformer):
    """The first sentence of every docstring, plain tensors for annotated shapes, and fields that are read alone."""

    def __init__(self, read: frozenset[str] | None) -> None:
        self.read = read

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        if self.read is not None and node.name in VALUES:
            fields = (n for n in node.body if isinstance(n, ast.AnnAssign))
            unread = [n for n in fields if ast.unparse(n.target) not in self.read]
            node.body = [n for n in node.body if n not in unread]
        return self.visit_FunctionDef(node)

    def visit_FunctionDef(self, node: Any) -> ast.AST:
        doc = ast.get_docstring(node)
        if doc is not None and node.name in ("forward", "setup_context", "backward") and len(node.body) > 1:
            del node.body[0]  # torch says what they are for
        elif doc is not None:
            node.body[0] = ast.Expr(ast.Constant(" ".join(doc.split("\n\n")[0].split())))
        return self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        is_shape = isinstance(node.value, ast.Name) and node.value.id in SHAPES
        return ast.Name("Tensor", ast.Load()) if is_shape else self.generic_visit(node)


class _Decided(ast.NodeTransformer):
    """What is left where some expressions always are what is known of them, without assignments that nothing reads."""

    def __init__(self, known: Mapping[str, Any], unread: set[str]) -> None:
        self.known, self.unread, self.changed = known, unread, False

    def truth(self, test: ast.expr) -> bool | None:
        """Whether a condition always holds or never; None where that is not known."""
        if isinstance(test, ast.BoolOp):
            parts, decisive = [self.truth(part) for part in test.values], isinstance(test.op, ast.Or)
            return decisive if decisive in parts else None if None in parts else not decisive
        if isinstance(test, ast.Compare) and isinstance(test.comparators[0], ast.Constant):
            left, right = ast.unparse(test.left), test.comparators[0].value
            if left not in self.known or (self.known[left] is ... and right is not None):
                return None
            return (self.known[left] == right) == isinstance(test.ops[0], ast.Is | ast.Eq)
        found = self.known.get(ast.unparse(test), ...)
        return None if found is ... else bool(found)

    def visit_If(self, node: ast.If | ast.IfExp) -> Any:
        found = self.truth(node.test)
        if found is None:
            return self.generic_visit(node)
        self.changed = True
        return node.body if found else node.orelse

    visit_IfExp = visit_If

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        open_ = [value for value in node.values if self.truth(value) is not isinstance(node.op, ast.And)]
        self.changed |= len(open_) < len(node.values)
        node.values = open_ or node.values[-1:]
        return self.generic_visit(node) if len(node.values) > 1 else node.values[0]

    def visit_keyword(self, node: ast.keyword) -> Any:
        if isinstance(node.value, ast.Name) and node.value.id.isupper() and node.value.id in self.known:
            node.value = ast.Constant(self.known[node.value.id])
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> Any:
        unread = ast.unparse(node.targets[0]) in (*self.unread, ast.unparse(node.value))
        self.changed |= unread
        return None if unread else self.generic_visit(node)


@lru_cache(maxsize=4096)
def _cut(module: str, name: str, known: frozenset[tuple[str, Any]] | None, read: frozenset[str] | None) -> Piece:
    """A definition without the branches that never run, and without names of what is always known."""
    node: Any = _Shortened(read).visit(deepcopy(_names_of(module)[name]))
    changed = known is not None
    while changed:
        names = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
        uses = Counter(n.id for n in names)
        stored = Counter(n.id for n in names if isinstance(n.ctx, ast.Store))
        facts = {"()": False, "None": None, **dict(known or ())}
        assigned = [n for n in ast.walk(node) if isinstance(n, ast.Assign) and ast.unparse(n.value) in facts]
        own = {ast.unparse(n.targets[0]): facts[ast.unparse(n.value)] for n in assigned}
        facts |= {name: fact for name, fact in own.items() if stored[name] == 1}
        plain = [n for n in ast.walk(node) if isinstance(n, ast.Assign) and isinstance(n.value, ast.Attribute)]
        unread = {name for name in (*own, *(ast.unparse(n.targets[0]) for n in plain)) if uses[name] == 1}
        decided = _Decided(facts, unread)
        node, changed = decided.visit(node), decided.changed
    fields = frozenset(n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute))
    return Piece(ast.unparse(node), tuple(_used(node)), fields)


@cache
def _said_in(module: str, name: str) -> frozenset[str]:
    nodes = ast.walk(_names_of(module)[name])
    return frozenset(ast.unparse(node) for node in nodes if isinstance(node, ast.Name | ast.Attribute))


@cache
def _names_of(module: str) -> dict[str, ast.stmt]:
    try:
        source = Path(str(getattr(sys.modules.get(module), "__file__", None))).read_text("utf-8")
    except OSError as problem:
        raise ValueError(f"export: got no source of {module} but expected a module whose file can be read") from problem
    found: dict[str, ast.stmt] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: node for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0]: node for alias in node.names}
    return found


def _used(node: ast.stmt) -> list[str]:
    bound = {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
    bound |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    bound |= {n.name for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    read = (n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
    return [name for name in dict.fromkeys(read) if name not in bound]
