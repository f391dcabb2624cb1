"""The API: a page for every room of the house, with every public module of it in order."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import goal_analysis

PACKAGE = Path(goal_analysis.__file__).parent
HIDDEN = ("cli", "recombination/export/fragments", "vse/loop/presets")
"""The command line has a page of its own; fragments are pieces of exported files."""
FLOORS = {
    "symbolic": "Losses, weights and verdicts as expressions",
    "numeric": "On tensors: scores, mining, verification, measurement",
    "recombination": "Objectives from parts",
    "vse": "Image-text retrieval",
    "pictures": "Pictures",
    "study": "Many runs",
    "api": "Doors to objectives and to training",
}


MOST_USED = (
    *("decompose", "integrability", "characteristics", "measure", "verify"),
    *("objective", "describe", "recombine", "twin", "export", "plot"),
    *("train", "compare", "tune", "load_run"),
    *("GradientObjective", "GradientCache", "Matches", "Objective", "Term", "Hyperparameter"),
)
"""The names that most users need, in the order of a day."""


def api_pages() -> dict[str, str]:
    """The page of every room, and the page that lists them, by their paths."""
    found = {}
    for folder in rooms():
        name = ".".join(("goal_analysis", *folder.relative_to(PACKAGE).parts))
        found[f"api/{name}.md"] = room_text(name, folder)
    names = "\n".join(Path(path).stem for path in sorted(found))
    floors = "\n".join(
        f"- [`goal_analysis.{floor}`](goal_analysis.{floor}.md): {said.lower()}"
        for floor, said in FLOORS.items()
        if f"api/goal_analysis.{floor}.md" in found
    )
    found["api/index.md"] = (
        "# API\n\nThe names of `import goal_analysis as ga` are public: [all of them](goal_analysis.md), and\n"
        f"[how they are used](../../python.md).\n\n## Most used\n\n{most_used()}\n\n## Packages\n\n"
        "Every package of [the architecture](../../architecture.md) has a page. From the lowest floor up:\n\n"
        f"{floors}\n\n```{{toctree}}\n:maxdepth: 1\n:hidden:\n\n{names}\n```\n"
    )
    return found


def most_used() -> str:
    """A table of the names that most users need, each with the first sentence of its docstring."""
    lines = ["| name | what it does |", "| --- | --- |"]
    for name in MOST_USED:
        sentence = " ".join((inspect.getdoc(getattr(goal_analysis, name)) or "").partition("\n\n")[0].split())
        lines.append(f"| {{py:obj}}`ga.{name} <{goal_analysis._HOMES[name]}.{name}>` | {sentence} |")
    return "\n".join(lines)


def rooms() -> list[Path]:
    """The folders that hold public modules, the package's own first."""
    folders = sorted({path.parent for path in PACKAGE.rglob("*.py")})
    return [folder for folder in folders if not _hidden(folder)]


def room_text(name: str, folder: Path) -> str:
    """The page of one room.

    Args:
        name: of the package.
        folder: its own.
    """
    modules = [path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")]
    title = f"`{name}`"
    parts = [f"# {title}", *_of_package(name, folder / "__init__.py")]
    for path in modules:
        parts.append(f"## `{path.stem}`\n\n{_automodule(f'{name}.{path.stem}', members=True)}")
    return "\n\n".join(parts) + "\n"


def _of_package(name: str, init: Path) -> Iterator[str]:
    """What the package itself says: its docstring, what is defined there, and which names it hands on."""
    tree = ast.parse(init.read_text("utf-8"))
    handed = {
        alias.name: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module and node.module.startswith("goal_analysis")
    }
    if name == goal_analysis.__name__:
        handed, listed = goal_analysis._HOMES, goal_analysis.__all__
    else:
        listed = next((ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and _is_all(n)), [])
    defines = name != goal_analysis.__name__ and any(
        isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AnnAssign) for node in tree.body
    )
    yield _automodule(name, members=defines)
    names = [n for n in listed if n in handed]
    if names:
        rows = [f"| {{py:obj}}`{n} <{handed[n]}.{n}>` | `{handed[n]}` |" for n in names]
        yield "\n".join(["| name | defined in |", "| --- | --- |", *rows])


def _is_all(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)


def _automodule(name: str, members: bool) -> str:
    options = "   :members:\n   :ignore-module-all:\n" if members else ""
    return f"```{{eval-rst}}\n.. automodule:: {name}\n{options}```"


def _hidden(folder: Path) -> bool:
    inside = folder.relative_to(PACKAGE).as_posix()
    return any(inside == hidden or inside.startswith(f"{hidden}/") for hidden in HIDDEN) or "__pycache__" in inside
