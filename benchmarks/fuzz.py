"""Hostile input, seeded: nothing is executed, nothing hangs, no half file stays, and every refusal is a documented one.

    python benchmarks/fuzz.py [--cases 100000] [--seed 0] [--write]

Every case is a valid input with a few changes (`fuzz_mutations`) at one of the places where input comes in
(`fuzz_surfaces`). It ends well, or with the documented error and a message; in any other case this ends with exit code
1 and says which case it was. ``--write`` puts the table into ``benchmarks/results/fuzz.md``.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from sysconfig import get_path

from fuzz_surfaces import SURFACES, Surface

from goal_analysis.files import write_whole

RESULT = Path(__file__).parent / "results" / "fuzz.md"
SECONDS = 5.0
"""CPU time that one case may take."""

FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess", "socket", "pickle.find_class", "shutil")
ANNOTATIONS = (
    *(spec.origin for name in ("annotationlib", "dataclasses", "inspect", "typing") if (spec := find_spec(name))),
    *(str(Path(get_path("purelib")) / name) for name in ("jaxtyping", "beartype")),
)
"""Who compiles the program's own signatures: annotationlib from Python 3.14 on, and the last two where the tests have
shapes checked.
"""

LIBRARY = (sys.prefix, sys.base_prefix, "<frozen", str(Path(__file__).parents[1] / "goal_analysis"))

_seen: list[str] | None = None
_allowed = ""


@dataclass
class Tally:
    """What became of the cases of a surface.

    Args:
        accepted: that ended well.
        refused: with the documented error.
        slowest: seconds of CPU time.
        defects: what is wrong, with the case.
    """

    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0
    defects: list[str] | None = None


def _audit(event: str, arguments: tuple) -> None:
    """Python's own record of what a program does; it cannot be taken off again, so it looks at `_seen`."""
    if _seen is None:
        return
    what = arguments[0] if arguments else None
    if event == "compile":  # ast.parse and ast.literal_eval compile to a tree, without a name
        wrong = arguments[1] not in ("<unknown>", None) and not str(arguments[1]).startswith(LIBRARY)
    elif event == "exec":
        wrong = not str(getattr(what, "co_filename", "")).startswith(LIBRARY)
    elif event == "open":
        mode, flags = arguments[1:3]
        writes = any(c in str(mode or "") for c in "wax+") or (
            mode is None and (flags or 0) & (os.O_WRONLY | os.O_RDWR)
        )
        wrong = bool(writes) and not str(what).startswith((_allowed, "/dev/null"))
    else:
        wrong = event.startswith(FORBIDDEN)
    if wrong:
        annotation = event in ("compile", "exec") and sys._getframe(1).f_code.co_filename.startswith(ANNOTATIONS)
        if not annotation:
            _seen.append(f"{event} {what!r}"[:200])


sys.addaudithook(_audit)


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """What was run, started, or opened for writing outside of the folder meanwhile."""
    global _seen, _allowed
    _allowed = str(folder)
    _seen = events = []
    try:
        yield events
    finally:
        _seen = None


def fuzz(surface: Surface, cases: int, seed: int, folder: Path) -> Tally:
    """Put so many cases to a surface.

    Args:
        surface: which.
        cases: how many.
        seed: with the name and the number of a case, decides what it is.
        folder: empty; where the files of the cases lie.
    """
    tally = Tally(defects=[])
    assert tally.defects is not None
    surface.valid(folder)  # what is valid is accepted, and what is imported late is imported now
    for number in range(cases):
        read = surface.case(random.Random(f"{seed} {surface.name} {number}"), folder)
        before, wrong = _files(folder), ""
        begin = time.process_time()
        with watched(folder) as events, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read()
                tally.accepted += 1
            except surface.documented as refusal:
                tally.refused += 1
                wrong = "" if str(refusal).strip() else f"{type(refusal).__name__} without a message"
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                wrong = f"{type(error).__name__}: {str(error)[:200]} at {Path(where.filename).name}:{where.lineno}"
        seconds = time.process_time() - begin
        tally.slowest = max(tally.slowest, seconds)
        wrong = wrong or (f"made Python do {events[0]}" if events else "")
        wrong = wrong or (f"took {seconds:.1f} s" if seconds > SECONDS else "")
        wrong = wrong or (f"left {_files(folder) ^ before}" if _files(folder) != before else "")
        if wrong:
            tally.defects.append(f"{surface.name}, seed {seed}, case {number}: {wrong}")
    if Path("canary").exists() or list(folder.rglob("canary")):
        tally.defects.append(f"{surface.name}: the canary was made")
    return tally


def _files(folder: Path) -> frozenset[str]:
    return frozenset(os.path.join(top, name) for top, _, names in os.walk(folder) for name in names)


def run(cases: int, seed: int, surfaces: Sequence[Surface] = SURFACES) -> dict[str, Tally]:
    """All surfaces, each with its share of the cases, in folders of their own."""
    whole = sum(surface.share for surface in surfaces)
    found, home = {}, Path.cwd()
    for surface in surfaces:
        print(surface.name, file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place).resolve() / "cases"
            folder.mkdir()
            os.chdir(place)
            try:
                found[surface.name] = fuzz(surface, -(-cases * surface.share // whole), seed, folder)
            finally:
                os.chdir(home)
    return found


def table_of(found: dict[str, Tally], seed: int) -> str:
    """The table in Markdown."""
    rows = ["| surface | cases | accepted | refused | slowest, s |", "|---|---|---|---|---|"]
    for name, t in found.items():
        rows.append(f"| {name} | {t.accepted + t.refused:,} | {t.accepted:,} | {t.refused:,} | {t.slowest:.2f} |")
    accepted, refused = (sum(getattr(t, kind) for t in found.values()) for kind in ("accepted", "refused"))
    slowest = max(t.slowest for t in found.values())
    rows.append(f"| **all** | {accepted + refused:,} | {accepted:,} | {refused:,} | {slowest:.2f} |")
    return (
        f"# Hostile input\n\nValid inputs with a few changes, by `python benchmarks/fuzz.py --seed {seed}`: nothing "
        "was executed, no file was left or opened for writing elsewhere, no case took "
        f"{SECONDS:g} s of CPU time, and every refusal was the documented error with a message.\n\n"
        + "\n".join(rows)
        + "\n"
    )


def main() -> None:
    """Run the cases, print the table, and end with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--surface", help="Only those with this in their name.")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    chosen = [s for s in SURFACES if given.surface is None or given.surface in s.name]
    begin = time.process_time()
    found = run(given.cases, given.seed, chosen)
    text = table_of(found, given.seed)
    print(f"{text}\n{time.process_time() - begin:.0f} s of CPU time")
    defects = [defect for tally in found.values() for defect in tally.defects or ()]
    for defect in defects[:100]:
        print(defect)
    if given.write and not defects and given.surface is None:
        write_whole(RESULT, text)
        print(f"written to {RESULT}")
    sys.exit(1 if defects else 0)


if __name__ == "__main__":
    main()
