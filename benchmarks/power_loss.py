"""A disk that loses its power: what a program does to files is recorded, and every state that may be left is made.

The disk is that of "All File Systems Are Not Created Equal" (Pillai et al., OSDI 2014,
https://www.usenix.org/conference/osdi14/technical-sessions/presentation/pillai). What a file holds stays from its
fsync on, and a name from the fsync of its folder on. Of what came after, any part may have reached the disk, in any
order; one rename is there whole or not at all.

    python benchmarks/power_loss.py [--share 1] [--write]

Each work of `power_loss_works` is done while it is recorded, and begun again from every state that may be left of it,
or from one in so many. It has to end as if nothing had happened; else this ends with exit code 1 and says which state
it was. ``--write`` puts the table into ``benchmarks/results/power-loss.md``.
"""

from __future__ import annotations

import argparse
import itertools
import os
import pickle
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from goal_analysis.files import UNFINISHED, write_whole

RESULT = Path(__file__).parent / "results" / "power-loss.md"

CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
"""Python's audit events before which the files are looked at; what was written in between is seen then."""

MOST = 64
"""Where more states than these may be left at one moment, so many are drawn, the outermost among them."""

State = dict[str, bytes | None]
"""What a file holds by its path; None for a folder."""


@dataclass
class Recorder:
    """Keeps what becomes of the files below a folder, as ``events``: (names, folder, changes by name), (content, file,
    bytes), (sync, file or folder) and, once, (begin, 0). Files and folders are numbers, the folder itself is 0.
    """

    root: Path
    events: list[tuple] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)  # by the inode, which stays taken while it is held open
    names: dict[int, dict[str, int]] = field(default_factory=lambda: {0: {}})
    content: dict[int, bytes] = field(default_factory=dict)
    looking: bool = False

    def begin(self) -> None:
        """Look at every change from now on, until the process ends; what is there now, stays."""
        self.look()
        self.events += [("sync", number) for number in self.numbers.values()] + [("begin", 0)]
        sync = os.fsync

        def watched(descriptor: int) -> None:
            sync(descriptor)
            self.look()
            number = self.numbers.get(os.fstat(descriptor).st_ino)
            if number is not None:
                self.events.append(("sync", number))

        os.fsync = watched
        sys.addaudithook(lambda event, arguments: self.look() if event in CHANGES else None)

    def look(self) -> None:
        """Note what has changed since the last look."""
        if not self.looking:
            self.looking = True
            self._visit(self.root, self._number(self.root))
            self.looking = False

    def _visit(self, folder: Path, number: int) -> None:
        found = {entry.name: entry for entry in os.scandir(folder)}
        now = {name: self._number(Path(entry)) for name, entry in found.items()}
        before = self.names.setdefault(number, {})
        changes = {name: now.get(name) for name in {**before, **now} if before.get(name) != now.get(name)}
        if changes:
            self.names[number] = now
            self.events.append(("names", number, changes))
        for name, entry in found.items():
            if entry.is_dir():
                self._visit(Path(entry), now[name])
            elif (content := Path(entry).read_bytes()) != self.content.get(now[name], b""):
                self.content[now[name]] = content
                self.events.append(("content", now[name], content))

    def _number(self, path: Path) -> int:
        inode = path.stat().st_ino
        if inode not in self.numbers:
            os.open(path, os.O_RDONLY)
            self.numbers[inode] = len(self.numbers)
            if path.is_dir():
                self.names.setdefault(self.numbers[inode], {})
                self.events.append(("names", self.numbers[inode], {}))
        return self.numbers[inode]


@dataclass
class _Disk:
    """What is there for good, and what may not be: names that changed, and what files held, in their order."""

    names: dict[int, dict[str, int]] = field(default_factory=lambda: {0: {}})
    content: dict[int, bytes] = field(default_factory=dict)
    renamed: list[tuple[int, dict[str, int | None]]] = field(default_factory=list)
    written: dict[int, list[bytes]] = field(default_factory=dict)

    def apply(self, event: tuple) -> None:
        kind, number, *what = event
        if kind == "names":
            self.names.setdefault(number, {})
            self.renamed += [(number, what[0])] if what[0] else []
        elif kind == "content":
            self.written.setdefault(number, []).append(what[0])
        elif kind == "sync":
            if number in self.written:
                self.content[number] = self.written.pop(number)[-1]
            for folder, changes in [one for one in self.renamed if one[0] == number]:
                _rename(self.names[folder], changes)
            self.renamed = [one for one in self.renamed if one[0] != number]

    def states(self, rng: random.Random) -> Iterator[State]:
        """What may be left now, most of it lost first."""
        for kept in _choices([2] * len(self.renamed), rng):
            names = {number: dict(inner) for number, inner in self.names.items()}
            for (folder, changes), is_kept in zip(self.renamed, kept, strict=True):
                if is_kept:
                    _rename(names[folder], changes)
            tree = dict(_walk(names, 0, ""))
            unsure = sorted({number for number in tree.values() if number in self.written})
            options = {number: self._contents(number) for number in unsure}
            for choice in _choices([len(options[number]) for number in unsure], rng):
                holds = {number: options[number][at] for number, at in zip(unsure, choice, strict=True)}
                yield {p: None if n in names else holds.get(n, self.content.get(n, b"")) for p, n in tree.items()}

    def _contents(self, number: int) -> list[bytes]:
        """What a file may hold: what was synchronised, all that it held since, and the last of it in parts."""
        old, versions = self.content.get(number, b""), self.written[number]
        new = versions[-1]
        same = next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
        rest, half = new[same:], (len(new) - same) // 2
        torn = (rest[:half], bytes(len(rest)), bytes(half) + rest[half:])  # cut off, and blocks that were not written
        return list(dict.fromkeys([old, *(new[:same] + part for part in torn), *versions]))


def _rename(names: dict[str, int], changes: dict[str, int | None]) -> None:
    for name, number in changes.items():
        names.pop(name, None)
        if number is not None:
            names[name] = number


def _walk(names: dict[int, dict[str, int]], folder: int, place: str) -> Iterator[tuple[str, int]]:
    for name, number in names[folder].items():
        yield place + name, number
        if number in names:
            yield from _walk(names, number, f"{place}{name}/")


def _choices(options: list[int], rng: random.Random) -> Iterator[tuple[int, ...]]:
    """Every choice of one of so many options each, or of very many some: the outermost, and others at random."""
    count = 1
    for one in options:
        count *= one
    if count <= MOST:
        yield from itertools.product(*map(range, options))
        return
    last = tuple(one - 1 for one in options)
    yield from ((0,) * len(options), last)
    for at in range(len(options)):  # one lost alone, one kept alone
        yield (*last[:at], 0, *last[at + 1 :])
        yield (*(0,) * at, last[at], *(0,) * (len(options) - at - 1))
    for _ in range(MOST):
        yield tuple(rng.randrange(one) for one in options)


def states_left(events: list[tuple], at_end: bool = False) -> list[State]:
    """The different states that a loss of power may leave at any moment, or after the last event, without what was
    unfinished.
    """
    disk, rng, begun = _Disk(), random.Random(0), False
    found: dict[tuple, State] = {}
    for number, event in enumerate(events, 1):
        disk.apply(event)
        begun = begun or event[0] == "begin"
        for state in disk.states(rng) if begun and (number == len(events) or not at_end) else ():
            kept = {p: v for p, v in state.items() if not any(fnmatch(n, f".*{UNFINISHED}") for n in p.split("/"))}
            found.setdefault(tuple(sorted(kept.items(), key=lambda one: one[0])), kept)
    return list(found.values())


def put(state: State, folder: Path) -> Path:
    """Make a state in a new folder."""
    folder.mkdir(parents=True)
    for path, content in state.items():  # a folder comes before what is in it
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
    return folder


def state_of(folder: Path) -> State:
    """What is in a folder."""
    return {str(p.relative_to(folder)): None if p.is_dir() else p.read_bytes() for p in sorted(folder.rglob("*"))}


def recorded(root: Path, work: Callable[[Path], object]) -> list[tuple]:
    """The events below a folder while a child does some work there."""
    with tempfile.TemporaryFile() as kept:
        child = os.fork()
        if not child:
            code = 1
            try:
                recorder = Recorder(root)
                recorder.begin()
                work(root)
                recorder.look()
                recorder.looking = True
                pickle.dump(recorder.events, kept)
                kept.flush()
                code = 0
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code:
            raise RuntimeError(f"got the exit code {code} of the recorded work but expected 0")
        kept.seek(0)
        return pickle.load(kept)


@dataclass(frozen=True)
class Work:
    """Something to do with files in a folder.

    Args:
        name: how the table calls it.
        do: does it, or goes on with it.
        before: what is in the folder before.
        volatile: patterns of names whose content is another one each time.
    """

    name: str
    do: Callable[[Path], object]
    before: Callable[[Path], object] = lambda folder: None
    volatile: tuple[str, ...] = ()


@dataclass
class Tally:
    """What became of a work: its ``events``, the ``states`` that may be left, those ``tried``, and what is wrong."""

    events: int
    states: int
    tried: int = 0
    defects: list[str] = field(default_factory=list)


def lose_power(work: Work, place: Path, share: int = 1) -> Tally:
    """Do a work again from one in so many of the states that may be left of it, in new folders at a place."""
    disk = put({}, place / "disk")
    work.before(disk)
    events = recorded(disk, work.do)

    def lasting(folder: Path) -> State:
        return {p: v for p, v in state_of(folder).items() if not any(fnmatch(p, f"*{one}") for one in work.volatile)}

    expected, found = lasting(disk), states_left(events)
    tally = Tally(len(events), len(found))
    for number in range(0, len(found), share):
        folder = put(found[number], place / str(number))
        tally.tried += 1
        try:
            work.do(folder)
            left = lasting(folder)
            wrong = [path for path, content in expected.items() if left.get(path, "none") != content]
        except Exception as problem:
            wrong = [f"{type(problem).__name__}: {problem}"]
        tally.defects += [f"{work.name}, state {number}: {', '.join(wrong)}"] if wrong else []
    return tally


def main() -> None:
    """Do every work, print the table, and end with 1 if anything was wrong."""
    from power_loss_works import WORKS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    rows, defects = [], []
    for work in WORKS:
        with tempfile.TemporaryDirectory() as place:
            tally = lose_power(work, Path(place), given.share)
        rows.append(f"| {work.name} | {tally.events:,} | {tally.states:,} | {tally.tried:,} |")
        print(rows[-1], flush=True)
        defects += tally.defects
    text = (
        "# Loss of power\n\nEach work was recorded, and begun again from the states that a loss of power may leave, "
        "by `python benchmarks/power_loss.py`: it ended with the same files, byte for byte.\n\n"
        "| work | changes and synchronisations | states that may be left | begun again from |\n|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )
    for defect in defects[:100]:
        print(defect)
    if given.write and not defects:
        write_whole(RESULT, text)
        print(f"written to {RESULT}")
    sys.exit(1 if defects else 0)


if __name__ == "__main__":
    main()
