"""Which weights win, from what can be measured of a batch: worlds are trained in, and each is predicted by the rest.

    python benchmarks/what_decides.py --data DIR/NAME [--data ...] -o FOLDER --table benchmarks/results/what_decides.md
    python benchmarks/what_decides.py --data DIR/NAME [--data ...] --study STUDY [--study ...] --table TABLE

A world is a data set with a size of the batch and so many captions of an image in it. In every world all objectives
train over the same seeds; or it is a comparison of a study that has run. Of the first objective's runs, the baseline's,
the properties are taken, at the first probe:

    equal captions    the share of a batch's negatives whose caption is the anchor's, word for word
    s_p, median       the similarity of positives
    s_n, 90 %         that of negatives
    negatives         effective negatives over all there are: exp of the entropy of their weights

The rule is a ridge regression of an objective's gain on these, in units of their deviation over the worlds. It is tried
on each data set by the worlds of the others, and by batch where there is but one data set: the objective with the best
predicted gain is taken (the baseline, if all are negative), and its regret is what the best one there reached more.
Beside it stand what one would do without: always the baseline, and always what gained most in the other worlds. The
same command goes on after any end.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

import goal_analysis as ga
from goal_analysis.files import folder_name
from goal_analysis.vse.data import load
from goal_analysis.vse.data.split import Split
from goal_analysis.vse.folder.run_folder import read_log
from goal_analysis.vse.loop.batches import order

OBJECTIVES = (
    "info_nce(tau=12)",
    "dcl(scale=12, anchors=both)",
    "hardness_weighted_info_nce(scale=9, strength=5, anchors=both)",
    "siglip(scale=12, bias=-6)",
    "vse_pp",
    "constant/linear",
)
BASELINE = OBJECTIVES[0]
PROPERTIES = ("equal captions", "s_p, median", "s_n, 90 %", "negatives")
BATCHES, CAPTIONS = (64, 256), (1, 2)
RIDGE = 1.0
FEWEST = 4
"""Worlds, below which nothing is predicted."""


@dataclass(frozen=True)
class World:
    """What came of a world.

    Args:
        data: its name.
        batch: the size of it.
        captions: of an image in it.
        properties: of `PROPERTIES`.
        gains: of every objective, the baseline's 0; shape ``(objectives,)``.
        said: a sentence an objective.
        objectives: the baseline first.
    """

    data: str
    batch: int
    captions: int
    properties: np.ndarray
    gains: np.ndarray
    said: tuple[str, ...]
    objectives: tuple[str, ...] = OBJECTIVES


def equal_captions(split: Split, batch: int, captions: int, batches: int = 20) -> float:
    """The share of negatives that are the anchor's caption, over the first batches of an epoch."""
    pairs = order(split.image_of, 0, 0, captions)
    texts = np.array([" ".join(caption.lower().split()) for caption in split.captions], dtype=object)
    equal = negatives = 0
    for start in range(0, min(len(pairs) - batch + 1, batches * batch), batch):
        rows = pairs[start : start + batch]
        others = split.image_of[rows][:, None] != split.image_of[rows][None]
        equal += int(((texts[rows][:, None] == texts[rows][None]) & others).sum())
        negatives += int(others.sum())
    return equal / max(1, negatives)


def probes(folder: Path) -> Iterator[dict]:
    """The first probe of every run below a folder."""
    for log in sorted(folder.glob("seed-*/log.jsonl")):
        yield next(record for record in read_log(log.parent) if record["kind"] == "probe")


def world(given: argparse.Namespace, data: str, batch: int, captions: int) -> World:
    """Train in a world, and measure it."""
    split = load(data).train
    name = f"{Path(data).name}-{batch}-{captions}"
    found = ga.compare(
        OBJECTIVES,
        data,
        seeds=given.seeds,
        output=given.output / name,
        epochs=given.epochs,
        batch_size=batch,
        captions_per_image=captions,
        probe_steps=max(1, len(split) // batch // 4),
    )
    gains = found.table.set_index("objective")["difference"].reindex(OBJECTIVES).fillna(0.0).to_numpy()
    runs = given.output / name / folder_name(BASELINE)
    measured = properties(split, runs, batch, captions)
    return World(Path(data).name, batch, captions, measured, gains, tuple(found.statements()))


def properties(split: Split, runs: Path, batch: int, captions: int) -> np.ndarray:
    """The `PROPERTIES` of the baseline's runs at their first probe."""
    measured = list(probes(runs))
    means = {key: float(np.mean([one[key] for one in measured])) for key in ("s_p_q50", "s_n_q90")}
    negatives = float(np.mean([one["effective_negatives"] for one in measured])) / (batch - captions)
    return np.array([equal_captions(split, batch, captions), *means.values(), negatives])


def studied(study: Path, data: Sequence[str]) -> Iterator[World]:
    """The worlds of a study: what it compared on these data."""
    table = pd.read_csv(study / "comparison.csv")
    for one in data:
        name = Path(one).name
        rows = table[table["data"] == name].set_index("objective")
        if rows.empty:
            continue
        objectives = (BASELINE, *sorted(set(rows.index) - {BASELINE}))
        gains = rows["difference"].fillna(0.0).reindex(objectives).to_numpy()
        (runs,) = (study / "comparison" / name).glob(folder_name(f"{BASELINE} trial ") + "*")
        training = json.loads((runs / "seed-0" / "run.json").read_text())["experiment"]["training"]
        batch, captions = training["batch_size"], training["captions_per_image"]
        found = properties(load(one).train, runs, batch, captions)
        yield World(name, batch, captions, found, gains, (), objectives)


def predicted(known: Sequence[World], new: World) -> np.ndarray:
    """The gains in a new world by ridge regression on the known ones' properties, standardised by theirs."""
    x, y = np.array([one.properties for one in known]), np.array([one.gains for one in known])
    centre, spread = x.mean(0), x.std(0)
    spread[spread == 0] = 1
    x, z = (x - centre) / spread, (new.properties - centre) / spread
    slopes = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ (y - y.mean(0)))
    return y.mean(0) + z @ slopes


def trials(worlds: Sequence[World]) -> Iterator[tuple[World, list[World]]]:
    """Every world with those that it is predicted by: of other data, or of other batches of the only data set."""
    several = len({one.data for one in worlds}) > 1
    for one in worlds:
        yield one, [w for w in worlds if (w.data != one.data if several else w is not one)]


def text(worlds: Sequence[World], how: str) -> Iterator[str]:
    """The tables."""
    objectives = worlds[0].objectives
    yield from ("# What decides which weights win", "")
    yield f"`python benchmarks/what_decides.py`: {len(worlds)} worlds, {how}. A world is data with a kind of batch."
    yield f"A gain is the mean difference of dev RSUM to `{BASELINE}`. The properties are of its runs, at their first"
    yield "probe."
    yield from ("", f"| data | batch | captions | {' | '.join(PROPERTIES)} | {' | '.join(objectives[1:])} |")
    yield "|" + "---|" * (3 + len(PROPERTIES) + len(objectives) - 1)
    for one in worlds:
        numbers = [f"{x:.3g}" for x in one.properties] + [f"{x:+.1f}" for x in one.gains[1:]]
        yield f"| {one.data} | {one.batch} | {one.captions} | {' | '.join(numbers)} |"
    yield ""
    for one in worlds:
        for said in one.said:
            yield f"- {one.data}, batch {one.batch}, captions {one.captions}: {said}"
    yield from ("", "## The rule, on worlds that it was not fitted to", "")
    tried = [(one, known) for one, known in trials(worlds) if len(known) >= FEWEST]
    if not tried:
        yield f"Too few worlds to say: {len(worlds)}, and each needs {FEWEST} others to be predicted by."
        return
    yield "| data | batch | captions | taken | best | regret | regret of the baseline | regret of the usual best |"
    yield "|---|---|---|---|---|---|---|---|"
    regrets = []
    for one, known in tried:
        chosen = int(np.argmax(predicted(known, one)))
        usual = int(np.argmax(np.mean([w.gains for w in known], axis=0)))
        best = int(np.argmax(one.gains))
        regrets.append([one.gains[best] - one.gains[k] for k in (chosen, 0, usual)])
        names = f"{objectives[chosen]} | {objectives[best]}"
        said = " | ".join(f"{x:.1f}" for x in regrets[-1])
        yield f"| {one.data} | {one.batch} | {one.captions} | {names} | {said} |"
    means = " | ".join(f"{x:.1f}" for x in np.mean(regrets, axis=0))
    yield f"| mean | | | | | {means} |"


def main() -> None:
    """Train, print the tables, and write them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--batch", action="append", type=int, default=None, help="sizes; by default 64 and 256")
    parser.add_argument("--captions", action="append", type=int, default=None, help="by default 1 and 2")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--study", action="append", type=Path, default=[], help="in place of training; repeatable")
    parser.add_argument("-o", "--output", type=Path, help="where the runs go")
    parser.add_argument("--table", type=Path)
    given = parser.parse_args()
    if given.study:
        worlds, how = [one for study in given.study for one in studied(study, given.data)], "by their studies"
    elif given.output is None:
        parser.error("got neither --study nor --output but expected one of them")
    else:
        kinds = product(given.data, given.batch or BATCHES, given.captions or CAPTIONS)
        worlds, how = [world(given, *kind) for kind in kinds], f"{given.epochs} epochs, {given.seeds} seeds"
    if not worlds:
        parser.error(f"got {', '.join(map(str, given.study))} but expected studies that compared on the data")
    found = "\n".join(text(worlds, how)) + "\n"
    print(found)
    if given.table is not None:
        given.table.write_text(found, "utf-8")


if __name__ == "__main__":
    main()
