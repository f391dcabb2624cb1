"""What every loss of the catalog costs, beside pytorch-metric-learning where it has the loss.

    python benchmarks/catalog.py [--sizes 512 2048 8192] [--dim 1024] [--losses circle info_nce …] [--write]

Time is forward and backward in multiples of one float32 product X·Yᵀ, in CPU seconds of one thread, each call between
two products of its own process; the smallest of the rounds, because a busy machine only adds; past N = 2048 that of
the first call. Memory is the largest resident size above that before the first call, in multiples of an N×D matrix; the
gradients of both sides are 2 of them. Both are those of a fresh process a case. One positive an anchor: row i matches
column i, as text i matches image i, or as class i has proxy i. Ours take the tiled way where they have it; the others
keep the matrix of scores, and are left out where it would not fit.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import multiprocessing
import platform
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pandas as pd
import torch
from objectives import _most_resident
from torch import Tensor, nn

from goal_analysis.files import write_whole
from goal_analysis.numeric.engine.tiled import tileable
from goal_analysis.recombination.objective import GradientObjective
from losses_catalog import catalog

RESULTS = Path(__file__).parent / "results" / "catalog.md"
GIB = 2**30
FEW = 8
MATRICES = 20
"""At most how many matrices of scores a way without tiles keeps."""

LIBRARY: dict[str, tuple[str, dict[str, float]]] = {
    "triplet": ("TripletMarginLoss", {"margin": 0.2}),
    "contrastive_cosine": ("ContrastiveLoss", {"pos_margin": 1, "neg_margin": 0}),
    "margin": ("MarginLoss", {"margin": 0.2, "beta": 1.2}),
    "ranked_list": ("RankedListLoss", {"margin": 0.4, "Tn": 10}),
    "n_pair": ("NPairsLoss", {}),
    "info_nce": ("NTXentLoss", {"temperature": 0.1}),
    "sup_con": ("SupConLoss", {"temperature": 0.1}),
    "neighbourhood_components": ("NCALoss", {}),
    "tuplet_margin": ("TupletMarginLoss", {"margin": 5.73, "scale": 64}),
    "lifted_structure": ("LiftedStructureLoss", {"neg_margin": 1}),
    "generalised_lifted_structure": ("GeneralizedLiftedStructureLoss", {"neg_margin": 1}),
    "multi_similarity": ("MultiSimilarityLoss", {"alpha": 2, "beta": 50, "base": 0.5}),
    "circle": ("CircleLoss", {"m": 0.25, "gamma": 256}),
    "proxy_nca": ("ProxyNCALoss", {}),
    "proxy_anchor": ("ProxyAnchorLoss", {"margin": 0.1, "alpha": 32}),
    "normalised_softmax": ("NormalizedSoftmaxLoss", {"temperature": 0.05}),
    "cos_face": ("CosFaceLoss", {"margin": 0.35, "scale": 64}),
    "arc_face": ("ArcFaceLoss", {"margin": 28.6, "scale": 64}),
}
"""The library's class of a loss, with the settings that the catalog has."""

PROXIES = frozenset(("ProxyNCALoss", "ProxyAnchorLoss", "NormalizedSoftmaxLoss", "CosFaceLoss", "ArcFaceLoss"))

Case = Callable[[Tensor, Tensor], Tensor]


def ours(name: str) -> Case:
    """The loss of this name as an objective."""
    return GradientObjective(next(loss for loss in catalog if loss.name == name))


def theirs(name: str, n: int, dim: int) -> Case:
    """The library's loss; of class proxies, the columns take the place of the library's own."""
    from pytorch_metric_learning import losses

    kind, settings = LIBRARY[name]
    labels = torch.arange(n)
    if kind not in PROXIES:
        loss = getattr(losses, kind)(**settings)
        return lambda x, y: loss(x, labels, ref_emb=y, ref_labels=labels.clone())
    loss = getattr(losses, kind)(num_classes=n, embedding_size=dim, **settings)
    attribute = "proxies" if hasattr(loss, "proxies") else "W"

    def with_proxies(x: Tensor, y: Tensor) -> Tensor:
        delattr(loss, attribute)
        setattr(loss, attribute, y if attribute == "proxies" else y.T)
        return loss(x, labels)

    return with_proxies


def measured(case: Case, n: int, dim: int, rounds: int) -> tuple[float, float]:
    """Time in products and memory in N×D matrices; without rounds both are those of the first call."""
    torch.manual_seed(n)
    x, y = (nn.functional.normalize(torch.randn(n, dim), dim=1).requires_grad_() for _ in range(2))
    plain = [e.detach() for e in (x, y)]
    plain[0][:64] @ plain[1].T
    before = _most_resident(forget=True)
    start = time.thread_time()
    case(x, y).backward()
    first_call = time.thread_time() - start
    most = (_most_resident() - before) / (4 * n * dim)
    found = []
    for _ in range(rounds):
        x.grad = y.grad = None
        times = [time.thread_time()]
        for call in (lambda: plain[0] @ plain[1].T, lambda: case(x, y).backward(), lambda: plain[0] @ plain[1].T):
            call()
            times.append(time.thread_time())
        first, own, last = (b - a for a, b in itertools.pairwise(times))
        found.append(own / ((first + last) / 2))
    if not found:
        start = time.thread_time()
        plain[0] @ plain[1].T
        found.append(first_call / (time.thread_time() - start))
    return min(found), most


def _measure(connection: Connection, name: str, library: bool, n: int, dim: int, rounds: int) -> None:
    torch.set_num_threads(1)
    try:
        case = theirs(name, n, dim) if library else ours(name)
        small = [nn.functional.normalize(torch.randn(FEW, dim), dim=1).requires_grad_() for _ in range(2)]
        (theirs(name, FEW, dim) if library else case)(*small).backward()  # what is loaded once is nobody's memory
        connection.send(measured(case, n, dim, rounds))
    except (RuntimeError, MemoryError, ValueError) as problem:
        connection.send(str(problem)[:80])


def in_a_process(*of) -> tuple[float, float] | str:
    """The same in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([GradientObjective.__module__, "losses_catalog", "pandas"])
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(there, *of))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        return "ended without a number"
    finally:
        process.join()


def main() -> None:
    """Print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 2048, 8192])
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--losses", nargs="+", default=[loss.name for loss in catalog])
    parser.add_argument("--gib", type=float, default=12.0, help="memory that a case may take")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--note", default="", help="what is to be known of the run")
    given = parser.parse_args()
    records = []
    for loss in catalog:
        if loss.name not in given.losses:
            continue
        way = "tiled" if tileable(GradientObjective(loss).functions) else "dense"
        record: dict[str, object] = {"loss": loss.name, "anchors": loss.anchors.name.lower(), "way": way}
        for n in given.sizes:
            rounds = 7 if n <= 512 else 3 if n <= 2048 else 0
            fits = MATRICES * n * n * 4 < given.gib * GIB
            for who, library in (("ours", False), ("library", True)):
                if (library and loss.name not in LIBRARY) or ((library or way == "dense") and not fits):
                    record |= {f"{who} F, {n}": "", f"{who} ND, {n}": ""}
                    continue
                found = in_a_process(loss.name, library, n, given.dim, rounds)
                time_, memory = (found, "") if isinstance(found, str) else (f"{found[0]:.2f}", f"{found[1]:.1f}")
                record |= {f"{who} F, {n}": time_, f"{who} ND, {n}": memory}
        record["library's class"] = LIBRARY.get(loss.name, ("",))[0]
        print(*record.values(), sep=" | ", flush=True)
        records.append(record)
        if given.write:  # the table so far, for a run may be ended
            write(pd.DataFrame(records), given.dim, given.note)


def write(table: pd.DataFrame, dim: int, note: str) -> None:
    """Put the table into the results."""
    rows = (table.columns, ["---"] * len(table.columns), *table.values)
    head = (
        f"# The losses of the catalog (CPU, one thread, torch {torch.__version__}, {platform.machine()}, "
        f"{datetime.date.today()})\n\n"
        f"Times are of forward and backward, as multiples of one product X·Yᵀ (F) with D = {dim}; memory is in "
        f"multiples of an N×D matrix of float32 (ND). The library is pytorch-metric-learning. {note}".rstrip()
        + "\n\n"
    )
    write_whole(RESULTS, head + "".join("| " + " | ".join(map(str, row)) + " |\n" for row in rows))


if __name__ == "__main__":
    main()
