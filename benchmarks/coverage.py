"""Which losses of libraries are declared, and whether they are what the libraries compute.

    python benchmarks/coverage.py [--write]

Every class is called with the library's defaults, except where the table says otherwise. A declared loss is compared on
one batch: its embeddings' gradients by autograd of the library's value, with those by the weights that are derived from
the declaration. The agreement is the largest difference of two gradients, relative to the largest gradient. A class of
a library that is not installed is compared with its formula, written out. A loss that is not declared is measured as a
black box if it is a function of embeddings. Where torchvision is missing, lightly and open_clip are imported with a
stand-in for it, which their losses do not use.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import sys
from contextlib import suppress
from importlib.machinery import ModuleSpec
from unittest.mock import MagicMock

from coverage_rows import SHIPPED
from coverage_shipped import MODULES, RESULTS, Shipped

import goal_analysis as ga
from goal_analysis.files import write_whole


def cells(row: Shipped) -> tuple[str, ...]:
    """The class, what it is here, on what both are compared, how far they agree, and what differs."""
    if row.value is None:
        return row.name, "", "", _measured(row) if row.measured else "", row.why
    compared = ", ".join(filter(None, (row.batch.words, row.given)))
    return row.name, f"`{row.line or row.loss}`", compared, f"{row.differences()[1]:.0e}", row.why


def table() -> str:
    """The table of every library, as Markdown."""
    lines = ["# Losses of libraries, and what they are here", "", (__doc__ or "").split("\n\n", 2)[2].strip(), ""]
    for library in MODULES:
        rows = [row for row in SHIPPED if row.library == library]
        declared = {row.name for row in rows if row.value}
        lines += [f"## {library} {_version(library)}", ""]
        lines += [f"{len(declared)} of {len({row.name for row in rows})} classes are declared.", ""]
        lines += ["| class | declared as | compared on | agreement | difference |", "|---|---|---|---|---|"]
        lines += [f"| `{name}` | {' | '.join(rest)} |" for name, *rest in map(cells, rows)]
        lines.append("")
    return "\n".join(lines)


def _measured(row: Shipped) -> str:
    """What measuring the class as a black box says."""
    try:
        module, _, name = f"{MODULES[row.library]}.{row.name}".rpartition(".")
        found = ga.measure(f"{module}:{name}", points=11)
    except ValueError as problem:
        return f"not measured: {problem}"
    verdict = {True: "yes", False: "no", None: "open"}[found.integrable]
    near = found.nearest[0]
    return f"measured: integrable {verdict}; nearest {near.loss.name}, distance {near.best:.2g}"


def _version(library: str) -> str:
    try:
        return importlib.metadata.version({"open_clip": "open_clip_torch"}.get(library, library))
    except importlib.metadata.PackageNotFoundError:
        return "(not installed: formulas written out)"


STAND_INS = (
    "torchvision",
    "torchvision.transforms",
    "torchvision.transforms.functional",
    "torchvision.ops",
    "torchvision.ops.misc",
    "ftfy",
)
"""What lightly and open_clip import beside their losses."""


def stand_in() -> None:
    """Let libraries be imported whose other parts need what is not installed, after those that look for it."""
    for module in MODULES.values():
        with suppress(ImportError):
            importlib.import_module(module)
    for name in [name for name in STAND_INS if importlib.util.find_spec(name.partition(".")[0]) is None]:
        sys.modules[name] = MagicMock(__spec__=ModuleSpec(name, None), __version__="0.0")


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    write = parser.parse_args().write
    stand_in()
    written = table()
    print(written)
    if write:
        write_whole(RESULTS, written)


if __name__ == "__main__":
    main()
