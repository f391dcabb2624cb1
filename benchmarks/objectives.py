"""What objectives cost: forward and backward as multiples of one matmul X·Yᵀ, with quartiles, memory and exactness.

    python benchmarks/objectives.py [--sizes 32 128 512 2048] [--dims 1024] [--cases …] [--rounds 15] [--write]
    python benchmarks/objectives.py --device cuda --dtypes bfloat16 float32 --sizes 2048 8192 16384 32768 65536 --write

All cases of a size run in turn in one process, on one thread, with the same unit embeddings; a ratio is that of a call
to the mean of the matmuls before and after the turn, so that a busy machine touches both. A case that has had its
seconds sits the later turns out, so the slowest of the largest size may have one; the table says how many each had. A
case whose matrices would not fit into the memory that is allowed is left out, and the table says so. Below the table of
a CPU stands which goals its rows miss.

Extra memory is that of a fresh process per case: the largest resident size above that before the call, in multiples of
an N×D and of an N×N matrix; the gradients of both sides are 2 ND of it. The error is ‖g − g₆₄‖/‖g₆₄‖, where g₆₄ are the
gradients of both sides through the whole matrix of scores in float64; it is looked at up to N = 2048. The second line
is for a GPU: it prints the same table, with the allocator's peak as memory, which needs no fresh process.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import multiprocessing
import platform
import resource
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pandas as pd
import torch
from objective_goals import missed
from opponents import SCALE, info_nce, max_violation, metric_learning, open_clip
from torch import Tensor

from goal_analysis.files import write_whole
from goal_analysis.numeric.matches import Matches
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.recombine import composed
from losses_catalog.weights import constant_pair, constant_triplet, linear_pair, nca_triplet

EXACT_UP_TO = 2048
GIB = 2**30
MEASURED = ("matmul ms", "25 %", "median", "75 %", "extra / ND", "extra / N²", "error", "rounds")
RESULTS = Path(__file__).parent / "results"

Case = Callable[[Tensor, Tensor], Tensor]


def ours(triplet, pairs, mining: str, settings: dict[str, float], ids: bool = False) -> tuple[Case, Case]:
    """Our objective, and the same through the whole matrix of scores; with ids five captions an image."""
    objective = GradientObjective(composed(triplet, pairs, mining).with_settings(settings))

    def through_scores(x: Tensor, y: Tensor) -> Tensor:
        matches = Matches.of_image_ids(captions(x)) if ids else Matches.of_pairs(len(x), x.device)
        return objective.from_scores(x @ y.T, matches)

    return (lambda x, y: objective(x, y, captions(x) if ids else None)), through_scores


def captions(x: Tensor) -> Tensor:
    """Five captions an image."""
    return torch.arange(len(x), device=x.device) // 5


def opponent(of: Callable[..., Tensor], ids: bool = False) -> tuple[Case, Case]:
    """A loss by autograd, which is its own oracle in float64."""
    case = (lambda x, y: of(x, y, captions(x))) if ids else of
    return case, case


SOFT = f"softmax:{SCALE:g}"
TAU = {"tau": SCALE}
CASES: dict[str, tuple[Case, Case]] = {
    "hardest constant × linear": ours(constant_triplet, linear_pair, "hardest", {}),
    "hardest nca × linear": ours(nca_triplet, linear_pair, "hardest", TAU),
    "hardest constant × linear, 5 captions": ours(constant_triplet, linear_pair, "hardest", {}, ids=True),
    "soft nca × constant": ours(nca_triplet, constant_pair, SOFT, TAU),
    "soft nca × linear": ours(nca_triplet, linear_pair, SOFT, TAU),
    "soft nca × linear, 5 captions": ours(nca_triplet, linear_pair, SOFT, TAU, ids=True),
    "VSE++ in ten lines": opponent(max_violation),
    "VSE++ in ten lines, 5 captions": opponent(max_violation, ids=True),
    "InfoNCE in ten lines": opponent(info_nce),
    "InfoNCE in ten lines, 5 captions": opponent(info_nce, ids=True),
    "open_clip cross-entropy": opponent(open_clip),
    "PML triplet + batch-hard": opponent(metric_learning),
}

SQUARES = {"VSE++": 8, "PML": 17, "open_clip": 6, "InfoNCE": 6}
"""At most how many N×N matrices of numbers those take that keep such ones, by the first word."""


def embeddings(n: int, dim: int, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Unit vectors, text i close to image i; made without much memory of their own."""
    x, noise = (torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    noise.mul_(5).add_(x)
    sides = (e.div_(torch.linalg.vector_norm(e, dim=1, keepdim=True)) for e in (x, noise))
    first, second = (e.to(device, dtype).requires_grad_() for e in sides)
    return first, second


def seconds(case: Case | None, x: Tensor, y: Tensor) -> float:
    """Of one call, forward and backward; of the bare matmul without a case."""
    x.grad = y.grad = None
    _wait(x)
    clock = time.perf_counter if x.is_cuda else time.thread_time  # other programs may have the cores, too
    start = clock()
    if case is None:
        with torch.no_grad():
            x @ y.T
    else:
        case(x, y).backward()
    _wait(x)
    return clock() - start


def ratios(names: list[str], x: Tensor, y: Tensor, rounds: int, budget: float) -> tuple[dict[str, pd.Series], float]:
    """Multiples of the matmul for every case, one a turn while it has seconds left; and the median matmul's seconds."""
    warm = [CASES[name][0] for name in names] if len(x) <= EXACT_UP_TO or x.is_cuda else []
    for case in [None, *warm]:
        seconds(case, x, y)
    found: dict[str, list[float]] = {name: [] for name in names}
    spent = dict.fromkeys(names, 0.0)
    alone = []
    for turn in range(10 * rounds if len(x) <= 256 else rounds):
        playing = [name for name in names if spent[name] < budget]
        if not playing:
            break
        before = seconds(None, x, y)
        taken = {name: seconds(CASES[name][0], x, y) for name in (playing if turn % 2 else playing[::-1])}
        after = seconds(None, x, y)
        alone += [before, after]
        for name, of_case in taken.items():
            found[name].append(2 * of_case / (before + after))
            spent[name] += of_case
    return {name: pd.Series(numbers) for name, numbers in found.items()}, float(pd.Series(alone).median())


def gradient_error(name: str, x: Tensor, y: Tensor) -> float:
    """Of both gradients together, relative; NaN where float64 would take too long."""
    if len(x) > EXACT_UP_TO:
        return float("nan")
    case, through_scores = CASES[name]
    sides = [e.detach().double().requires_grad_() for e in (x, y)]
    exact = torch.cat(torch.autograd.grad(through_scores(*sides), sides))
    got = torch.cat(torch.autograd.grad(case(x, y), (x, y)))
    return float(torch.linalg.vector_norm(got - exact) / torch.linalg.vector_norm(exact))


def peak_of_gpu(name: str, x: Tensor, y: Tensor) -> float:
    """Bytes that the allocator gave at most, above those before the call."""
    x.grad = y.grad = None
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    seconds(CASES[name][0], x, y)
    return torch.cuda.max_memory_allocated() - before


def peak(name: str, n: int, dim: int, dtype: torch.dtype) -> float:
    """Bytes above those before the call, of this process."""
    seconds(CASES[name][0], *embeddings(200, 8, "cpu", dtype))
    x, y = embeddings(n, dim, "cpu", dtype)
    before = _most_resident(forget=True)
    seconds(CASES[name][0], x, y)
    return _most_resident() - before


def peak_of_fresh_process(name: str, n: int, dim: int, dtype: torch.dtype) -> float:
    """The same in a process of its own, forked from one that has imported what it needs and done nothing else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([GradientObjective.__module__, "losses_catalog.weights", "pandas"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_tell_peak, args=(theirs, name, n, dim, dtype))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:  # it ran out of memory
        return float("nan")
    finally:
        process.join()


def _tell_peak(connection: Connection, name: str, n: int, dim: int, dtype: torch.dtype) -> None:
    prepare()
    connection.send(peak(name, n, dim, dtype))


def prepare() -> None:
    """One thread, and products in full precision."""
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")


def too_large(name: str, n: int, itemsize: int, given: argparse.Namespace) -> bool:
    """Whether a case that keeps N×N matrices would not fit."""
    return SQUARES.get(name.split()[0], 0) * n * n * itemsize > given.memory * GIB


def table(given: argparse.Namespace) -> pd.DataFrame:
    """A row for every dtype, size, dim and case."""
    rows = []
    for dtype, dim, n in itertools.product(given.dtypes, given.dims, given.sizes):
        x, y = embeddings(n, dim, given.device, getattr(torch, dtype))
        cases = [name for name in given.cases if not too_large(name, n, x.element_size(), given)]
        found, alone = ratios(cases, x, y, given.rounds, given.seconds)
        print(f"{dtype} N={n} D={dim}: the matmul takes {1000 * alone:.3g} ms", flush=True)
        for name in given.cases:
            row: dict[str, object] = {"dtype": dtype, "N": n, "D": dim, "case": name}
            if name not in cases:
                rows.append({**row, **dict.fromkeys(MEASURED, "–"), "median": f"left out: over {given.memory:g} GiB"})
            else:
                extra = float("nan")
                if not given.no_memory:
                    extra = peak_of_gpu(name, x, y) if x.is_cuda else peak_of_fresh_process(name, n, dim, x.dtype)
                low, middle, high = found[name].quantile([0.25, 0.5, 0.75])
                of_nd, of_nn = (extra / (n * other * x.element_size()) for other in (dim, n))
                numbers = (low, middle, high, of_nd, of_nn)
                error = f"{gradient_error(name, x, y):.1e}".replace("nan", "–")
                told = [f"{1000 * alone:.3g}", *(f"{number:.2f}" for number in numbers), error, len(found[name])]
                rows.append({**row, **dict(zip(MEASURED, told, strict=True))})
            print(" | ".join(str(value) for value in rows[-1].values()), flush=True)
    return pd.DataFrame(rows)


def main() -> None:
    """Print, and on demand write, the table."""
    known = [name for name in CASES if "PML" not in name or importlib.util.find_spec("pytorch_metric_learning")]
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 128, 256, 512, 2048, 8192, 16384])
    options.add_argument("--dims", type=int, nargs="+", default=[256, 1024])
    options.add_argument("--cases", nargs="+", choices=known, default=known)
    options.add_argument("--rounds", type=int, default=9, help="ten times as many up to N = 256")
    options.add_argument("--seconds", type=float, default=10, help="for a case at one size, after which it sits out")
    options.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options.add_argument("--dtypes", nargs="+", default=["float32"], choices=["float32", "bfloat16", "float64"])
    options.add_argument("--memory", type=float, help="GiB for one case; by default 8, or four fifths of the GPU's")
    options.add_argument("--no-memory", action="store_true", help="leave the fresh processes out")
    options.add_argument("--write", action="store_true", help="into benchmarks/results")
    options.add_argument("--note", default="", help="what is to be known of the run, below the table")
    given = options.parse_args()
    if given.memory is None:
        of_gpu = torch.cuda.get_device_properties(0).total_memory if given.device == "cuda" else 10 * GIB
        given.memory = 0.8 * of_gpu / GIB
    prepare()
    found = table(given)
    if given.write:
        write(found, given)


def write(found: pd.DataFrame, given: argparse.Namespace) -> None:
    """Put the rows into the results of this device, in the place of older ones of the same dtype, size and case."""
    where = RESULTS / f"objectives-{given.device}.md"
    rows: dict[tuple[str, ...], list[str]] = {}
    if where.exists():
        lines = where.read_text(encoding="utf-8").splitlines()[4:]
        kept = (line.strip("| ").split(" | ") for line in lines if line.startswith("|"))
        rows = {tuple(row[:4]): row for row in kept if row[3] in CASES}
    for new in found.itertuples(index=False):
        rows[tuple(map(str, new[:4]))] = list(map(str, new))
    places = {name: place for place, name in enumerate(CASES)}
    ordered = sorted(rows.values(), key=lambda row: (row[0], int(row[1]), int(row[2]), places[row[3]]))
    title = f"# Objectives as multiples of one matmul ({_machine(given.device)}, torch {torch.__version__})"
    head = [title, "", "| " + " | ".join(found.columns) + " |", "|" + "---|" * len(found.columns)]
    notes = [f"- {sentence}" for sentence in missed(ordered)] if given.device == "cpu" else []
    notes_of_run = ["", given.note] if given.note else []
    foot = ["", "Where a row exceeds the goals of `benchmarks/objective_goals.py`:", "", *notes] if notes else []
    RESULTS.mkdir(exist_ok=True)
    write_whole(
        where, "\n".join([*head, *("| " + " | ".join(row) + " |" for row in ordered), *notes_of_run, *foot]) + "\n"
    )


def _machine(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{[*names, platform.machine()][0]}, one thread"


def _most_resident(forget: bool = False) -> int:
    """The largest resident size so far, or since it was forgotten, in bytes."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    # Linux hands the largest size of a parent on to its children in ru_maxrss, but not in this.
    if forget:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    (line,) = (line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _wait(x: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
