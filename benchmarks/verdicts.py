"""The law of verdicts: random objectives, each verdict against the work of the weights along closed paths.

    python benchmarks/verdicts.py [--count 11000] [--seed 0] [--kind mask …] [--jobs 2] [--log FILE] [--write]
                                  [--show open slow]

An objective (`verdict_cases`) is handed to `goal_analysis.integrability`, and as text to an oracle (`verdict_weights`,
`verdict_paths`) that knows neither SymPy nor the engine. Weights that do work along a closed path, clearly more than
the rule's error, are the gradient of nothing: a yes is then wrong. Paths are rectangles and polygons, large ones, and
small ones around places where weights jump. A no is wrong where no path shows it, not those around the verdict's own
witness either. What is by its construction the gradient of a loss, or none, is known besides. Open is right for
selections alone that do not say how they depend on the scores, or not where their threshold lies.

The control is two saboteurs, of which one always says yes and one always no.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import random
import re
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from verdict_cases import KINDS, Case, case
from verdict_paths import Field, Work, confirmed, jumps, on_embeddings, on_scores, rectangles, work
from verdict_weights import Array

import goal_analysis as ga
from goal_analysis.files import write_whole

RESULT = Path(__file__).parent / "results" / "verdicts.md"
SLOW = 3.0
"""Seconds of CPU time beyond which a verdict is slow."""

GIVEN_UP = 12
"""Seconds of CPU time after which a verdict is not waited for."""

DIM = 4
PATHS = 14
SMALL = 16
COLUMNS = ("wrong yes", "wrong no", "open", "slow", "error")
TRIES = 3


@dataclass
class Judged:
    """What became of a case.

    Args:
        text: the case.
        said: True, False or None.
        outcome: ``yes``, ``no``, one of `COLUMNS`, or ``open, rightly``.
        why: what contradicts, and what the verdict said.
        seconds: of CPU time that the verdict took.
        doubts: what is amiss with a right verdict: no witness, one that does not hold, other hyperparameters.
        sabotaged: whether the saboteur that says the contrary was caught; None where nothing is known for sure.
    """

    kind: str
    place: int
    text: str
    said: bool | None
    outcome: str
    why: str
    seconds: float
    doubts: tuple[str, ...] = ()
    sabotaged: bool | None = None


# --- what is true ---------------------------------------------------------------------------------


@dataclass
class Truth:
    """What the oracle knows of a case: the paths that it tried, and one along which work is done."""

    case: Case
    rng: np.random.Generator
    path: str | None = None
    share: float = 0.0
    fields: list[tuple[Field, int, int]] = field(default_factory=list)

    def search(self, paths: int = PATHS) -> None:
        """Look for work along random paths, and around the places where weights jump."""
        formulas = self.case.formulas
        if formulas is None:
            return
        for counts in self.case.counts:
            if self.path is not None:
                return
            if formulas.direction is not None:
                of, corners = self._on_spheres(counts, paths)
            else:
                of, corners = self._on_scores(counts, paths)
            found = self.look(of, corners, f"{counts[0]}+{counts[1]} pairs")
            if self.path is None:
                places = np.concatenate([found.closed_in, jumps(of, corners[: paths // 2, :2], self.rng)])
                chosen = self.rng.permutation(len(places))[:SMALL]
                if len(chosen):
                    self.look(of, self._around(places[chosen]), f"{counts[0]}+{counts[1]} pairs, at a jump")

    def look(self, of: Field, corners: Array, where: str) -> Work:
        """Integrate, and keep the path along which the largest share is work."""
        found = work(of, corners)
        proof = confirmed(of, corners, found)
        if proof is not None:
            self.share = abs(proof.done) / proof.size
            points = np.array2string(corners[proof.path].T, precision=4, max_line_width=10_000)
            self.path = f"{where}: work {proof.done:.3g} ± {proof.error:.1g} of {proof.size:.3g} on {points}"
        return found

    def _on_scores(self, counts: tuple[int, int, int], paths: int) -> tuple[Field, Array]:
        formulas = self.case.formulas
        assert formulas is not None
        size = (counts[0] + counts[1]) * counts[2]
        corners = np.repeat(self._drawn((paths, 1, size)), 4, 1)
        for path in corners:
            (i, j), ends = self.rng.permutation(size)[:2], self._drawn((2, 2))
            path[:, i], path[:, j] = ends[0, [0, 1, 1, 0]], ends[1, [0, 0, 1, 1]]
        polygons = self._drawn((paths // 3, 4, size))
        return on_scores(formulas, *counts), np.concatenate([corners, polygons])

    def _drawn(self, shape: tuple[int, ...]) -> Array:
        """Scores, of which some are close to an end of their range."""
        formulas = self.case.formulas
        assert formulas is not None
        share = self.rng.uniform(size=shape)
        close = 10 ** self.rng.uniform(-4, -1, shape)
        where = self.rng.uniform(size=shape)
        share = np.where(where < 0.1, close, np.where(where > 0.9, 1 - close, share))
        return formulas.low + (formulas.high - formulas.low) * share

    def _on_spheres(self, counts: tuple[int, int, int], paths: int) -> tuple[Field, Array]:
        formulas = self.case.formulas
        assert formulas is not None
        of = on_embeddings(formulas, counts[0], counts[1], DIM)
        start = self.rng.normal(size=(paths, 1, (1 + counts[0] + counts[1]) * DIM))
        return of, start + 0.7 * self.rng.normal(size=(paths, 3, start.shape[2]))

    def _around(self, points: Array) -> Array:
        """Small rectangles around places, in planes of two coordinates; those of scores stay inside of their range."""
        formulas, size = self.case.formulas, points.shape[1]
        assert formulas is not None
        planes = [tuple(self.rng.permutation(size)[:2]) for _ in points]
        halves = 10 ** self.rng.uniform(-3, -1, (len(points), 2))
        shifted = points + halves.mean(1, keepdims=True) * self.rng.uniform(-0.5, 0.5, points.shape)
        corners = rectangles(shifted, halves, planes)
        edge = 1e-6 * (formulas.high - formulas.low)
        return corners if formulas.direction else corners.clip(formulas.low + edge, formulas.high - edge)

    def reproduces(self, found: Any) -> bool:
        """Whether work is done around the witness of a verdict, or along the rectangle that it names."""
        formulas = self.case.formulas
        if formulas is None:  # a random draw, which no path runs through
            return True
        if formulas.direction is not None:  # its witnesses are in another batch of embeddings than the paths
            return self.path is not None
        before, point = self.path, dict(found.witness.point)
        if any(re.fullmatch(r"s_\d\d", name) for name in point):
            self._along_rectangle(point, found.reason)
        else:
            self._around_point({name: value for name, value in point.items() if re.fullmatch(r"s_[pn]\d*", name)})
        return self.path != before

    def _along_rectangle(self, point: dict[str, float], reason: str) -> None:
        """Scores s_ij of anchor i, whose positive is column i, of which two move one after the other."""
        formulas = self.case.formulas
        moves = re.search(r"moves (s_\d\d) by (\S+) and (s_\d\d) by (\S+)", reason)
        assert formulas is not None
        if moves is None:
            return
        places = [name for name in point if name.startswith("s_")]
        rows = max(int(name[2]) for name in places)
        columns = max(int(name[3]) for name in places)
        order = [
            f"s_{i}{j}"
            for i in range(1, rows + 1)
            for j in sorted(range(1, columns + 1), key=lambda j, i=i: (j != i, j))
        ]
        start = np.array([point[name] for name in order])
        corners = np.repeat(start[None], 4, 0)
        for which, (name, by) in enumerate(((moves[1], moves[2]), (moves[3], moves[4]))):
            corners[1 + which : 3 + which, order.index(name)] += float(by.rstrip(",.:;"))
        self.look(on_scores(formulas, 1, columns - 1, rows), corners[None], "along the witness")

    def _around_point(self, named: dict[str, float]) -> None:
        """Of similarities that the witness leaves out the place is looked for."""
        formulas, least = self.case.formulas, self.case.counts[0]
        assert formulas is not None
        places = {name: int(name[3:] or 1) - 1 for name in named}
        positives = max([least[0], *(places[n] + 1 for n in named if n.startswith("s_p"))])
        negatives = max([least[1], *(places[n] + 1 for n in named if n.startswith("s_n"))])
        of = on_scores(formulas, positives, negatives)
        points = self.rng.uniform(formulas.low, formulas.high, (8, positives + negatives))
        given = []
        for name, value in named.items():
            given.append(places[name] + (positives if name.startswith("s_n") else 0))
            points[:, given[-1]] = value
        for index in set(range(points.shape[1])) - set(given):
            ends = np.repeat(points[:16, None], 2, 1)
            margins = (formulas.high - formulas.low) * self.rng.uniform(1e-4, 0.03, (2, len(ends)))  # no round numbers
            ends[:, 0, index], ends[:, 1, index] = formulas.low + margins[0], formulas.high - margins[1]
            found = jumps(of, ends, self.rng)
            points = np.concatenate([points, found[self.rng.permutation(len(found))[:16]]])
        if len(given) == points.shape[1]:
            points = points[:1]
        shifts = self.rng.uniform(-0.5, 0.5, points.shape)  # a kink through the very middle would have no sides
        planes = list(combinations(range(points.shape[1]), 2))
        corners = [
            rectangles(points + half * shifts, np.full((len(points), 2), half), [plane] * len(points))
            for half in (1e-2, 1e-3, 1e-4)
            for plane in planes
        ]
        self.look(of, np.concatenate(corners)[:600], "at the witness")


# --- what is said ---------------------------------------------------------------------------------


class _TooLong(BaseException):
    """Not caught by what catches every error."""


def _give_up(*_: Any) -> None:
    raise _TooLong


def verdict_of(given: Case) -> Any:
    """What the package says."""
    return ga.integrability(given.given, **{k: v for k, v in given.keywords.items() if k != "_"})


def judge(kind: str, seed: int, place: int, decide: Callable[[Case], Any] = verdict_of) -> Judged:
    """Make a case, ask for its verdict, and hold it against the oracle."""
    made = case(kind, seed, place)
    signal.signal(signal.SIGPROF, _give_up)
    signal.setitimer(signal.ITIMER_PROF, GIVEN_UP)
    before = time.process_time()
    found, trouble = None, ""
    try:
        found = decide(made)
    except _TooLong:
        trouble = f"given up after {GIVEN_UP} s"
    except Exception as error:
        trouble = f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    seconds = time.process_time() - before
    rng = np.random.default_rng(abs(hash((seed, place, len(made.kind)))) % 2**32)
    truth = Truth(made, rng)
    truth.search()
    judged = Judged(kind, place, str(made), None, "error", trouble, seconds)
    if found is None:
        if trouble.startswith("given up"):
            judged.outcome = "open"
        return judged
    judged.said = found.integrable
    _compare(judged, made, truth, found)
    return judged


def _compare(judged: Judged, made: Case, truth: Truth, found: Any) -> None:
    judged.why = str(found.reason)
    if found.integrable is None:
        judged.outcome = "open" if made.declared else "open, rightly"
        judged.why += f" | {truth.path or 'no path was found against it'}"
        return
    if found.integrable:
        judged.outcome = "yes"
        if truth.path is not None or made.known is False:
            judged.outcome, judged.why = "wrong yes", f"{truth.path or 'known to be no gradient'} | {judged.why}"
        judged.sabotaged = judged.outcome == "yes" and truth.path is None  # a no would find no path
        return
    doubts = []
    settings = {} if made.formulas is None else made.formulas.settings
    if found.witness is None:
        doubts.append("no witness")
    else:
        for name, value in found.witness.point:
            if name in settings and abs(settings[name] - value) > 1e-9 * max(1, abs(value)):
                doubts.append("witness at other hyperparameters")
        if not truth.reproduces(found):
            doubts.append("witness not reproduced")
    for _ in range(TRIES):
        if truth.path is None and made.known is None:
            truth.search(8 * PATHS)
    judged.doubts = tuple(doubts)
    judged.outcome = "no"
    judged.sabotaged = truth.path is not None
    if made.known is True or (truth.path is None and made.known is not False):
        judged.outcome = "wrong no"
        judged.why = f"{'continuous by construction' if made.known else 'no path shows it'} | {judged.why} {doubts}"


# --- all of them ----------------------------------------------------------------------------------


def _job(given: tuple[str, int, int]) -> Judged:
    warnings.simplefilter("ignore")
    return judge(*given)


def _as_child() -> None:
    """What ends the run is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def judge_all(kinds: Sequence[str], seed: int, count: int, jobs: int, known: Iterable[Judged] = ()) -> Iterable[Judged]:
    """The cases of all kinds in turn, as many of each, but for those that are known."""
    judged = {(j.kind, j.place) for j in known}
    drawn = [(kind, seed, place) for place in range(-(-count // len(kinds))) for kind in kinds]
    drawn = [(kind, seed, place) for kind, seed, place in drawn if (kind, place) not in judged]
    if jobs == 1:
        yield from map(_job, drawn)
        return
    with multiprocessing.get_context("fork").Pool(jobs, _as_child, maxtasksperchild=400) as pool:
        yield from pool.imap_unordered(_job, drawn, chunksize=8)


def table(all_of_them: Sequence[Judged]) -> str:
    """A row a kind."""
    head = (
        "kind",
        "objectives",
        "yes",
        "no",
        "wrong yes",
        "wrong no",
        "open",
        "open, rightly",
        "over 3 s",
        "slowest, s",
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    kinds = list(dict.fromkeys(j.kind for j in all_of_them))
    for kind in (*kinds, "**all**"):
        of = [j for j in all_of_them if kind in (j.kind, "**all**")]
        outcomes = Counter(j.outcome for j in of)
        slow = sum(j.seconds > SLOW for j in of)
        cells = [kind, len(of), *(outcomes[name] for name in ("yes", "no", "wrong yes", "wrong no", "open"))]
        cells += [outcomes["open, rightly"], slow, f"{max(j.seconds for j in of):.1f}"]
        lines.append(f"| {' | '.join(f'{c:,}' if isinstance(c, int) else str(c) for c in cells)} |")
    return "\n".join(lines)


def summary(all_of_them: Sequence[Judged], seed: int) -> str:
    """The page."""
    n = len(all_of_them)
    of = Counter(j.outcome for j in all_of_them)
    doubts = Counter(doubt for j in all_of_them for doubt in set(j.doubts))
    yes, no = ([j.sabotaged for j in all_of_them if j.outcome == said] for said in ("yes", "no"))
    slow = sum(j.seconds > SLOW for j in all_of_them)
    right_no = of["no"]
    lines = [
        f"{n:,} random objectives of {len({j.kind for j in all_of_them})} kinds, seed {seed}: wrong "
        f"{of['wrong yes'] + of['wrong no']}, open {100 * of['open'] / n:.2f} %, slower than {SLOW:g} s "
        f"{100 * slow / n:.2f} %, errors {of['error']}; CPU time of a verdict in the mean "
        f"{sum(j.seconds for j in all_of_them) / n:.2f} s.",
        "",
        table(all_of_them),
        "",
        f"Of {right_no:,} right verdicts of no, {doubts['no witness']:,} have no witness, "
        f"{doubts['witness not reproduced']:,} one around which the oracle finds no work, and "
        f"{doubts['witness at other hyperparameters']:,} one at other hyperparameters than those that were set.",
        "",
        f"Control: a saboteur that says yes to all of these is caught at {sum(map(bool, no)):,} of {len(no):,}, and "
        f"one that says no at {sum(map(bool, yes)):,} of {len(yes):,}.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge, print the table, and say by the exit code whether a verdict is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=11_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--place", type=int, help="one case of the kind alone")
    parser.add_argument(
        "--show", nargs="*", default=["wrong yes", "wrong no", "error"], help="outcomes printed case by case, or slow"
    )
    parser.add_argument("--log", type=Path, help="a line a case; a run that is started again goes on behind them")
    parser.add_argument("--write", action="store_true", help=f"put the table into {RESULT.name}")
    given = parser.parse_args(arguments)
    found = []
    if given.log is not None and given.log.is_file():
        found = [Judged(**json.loads(line)) for line in given.log.read_text().splitlines()]
    if given.place is not None:
        drawn: Iterable[Judged] = (judge(kind, given.seed, given.place) for kind in given.kind)
    else:
        drawn = judge_all(given.kind, given.seed, given.count, given.jobs, found)
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        for judged in drawn:
            found.append(judged)
            if given.log is not None:
                with given.log.open("a") as log:
                    log.write(json.dumps(asdict(judged)) + "\n")
            if sys.stderr.isatty():
                print(f"{len(found):,} of {given.count:,}", end="\r", file=sys.stderr)
            kinds = {judged.outcome, *judged.doubts, *(["slow"] if judged.seconds > SLOW else [])}
            if given.place is not None or kinds & set(given.show):
                print(
                    f"{judged.outcome}: {judged.kind} {judged.place}, {judged.seconds:.2f} s: {judged.text}", flush=True
                )
                print(f"    said {judged.said}: {judged.why[:900]} {list(judged.doubts)}", flush=True)
    except KeyboardInterrupt:
        print(f"interrupted after {len(found):,}", file=sys.stderr)
    order = list(KINDS)
    found.sort(key=lambda j: (order.index(j.kind), j.place))
    page = summary(found, given.seed)
    print(page)
    if given.write and found:
        source = f"python benchmarks/verdicts.py --count {given.count} --seed {given.seed}"
        about = f"`{source}`, Python {platform.python_version()}."
        write_whole(RESULT, f"# Verdicts against closed paths\n\n{page}\n\n{about}\n")
    return int(any(j.outcome in ("wrong yes", "wrong no", "error") for j in found))


if __name__ == "__main__":
    random.seed(0)
    sys.exit(main())
