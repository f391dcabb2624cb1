"""The folder of a run: ``run.json`` says what was run and with what, ``log.jsonl`` has one record a line, ``log.csv``
those of epochs. The clock is in ``seconds.jsonl``, so a resumed run ends with the same log, bit for bit.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from annotated_types import MaxLen, MinLen

from goal_analysis import files
from goal_analysis.declarations import read_value
from goal_analysis.vse.loop.experiment import Experiment, Whole

RUN, LOG, TABLE, SECONDS, LOCK = "run.json", "log.jsonl", "log.csv", "seconds.jsonl", "run.lock"
RESULT = "result.json"
CHECKPOINTS = "checkpoints"

T = TypeVar("T")


class RunError(ValueError):
    """A folder that holds no run, another run, or a run that another process is writing."""


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Keep other processes from writing in a run's folder; the lock ends with the process, however that ends."""
    lock = files.try_lock(folder / LOCK)
    if lock is None:
        raise RunError(f"{folder}: got a run that another process is writing but expected one at a time")
    try:
        for left in (folder, folder / CHECKPOINTS):
            files.remove_unfinished(left, seconds=0)
        yield
    finally:
        lock.release()


def read_record(path: Path, expected: str, build: Callable[[Any], T]) -> T:
    """What a function makes of a JSON file; whatever it raises becomes a `RunError` that says what was expected, unless
    the function says what is wrong with the file itself.
    """
    try:
        return build(json.loads(files.regular(path).read_text("utf-8")))
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError) as problem:
        said = getattr(problem, "strerror", "") or repr(problem)
        said = str(problem) if isinstance(problem, ValueError) else said.lower()
        whole = said if said.startswith(f"{path}: ") else f"{path}: got {said} but expected {expected}"
        raise RunError(whole) from problem


def run_folders(path: Path) -> list[Path]:
    """The folders of runs, this one or those below it; where there is none, a `RunError`."""
    found = []
    for folder, inner, there in os.walk(path):
        if RUN in there:
            found.append(Path(folder))
            inner.clear()
        inner.sort()
    if not found:
        raise RunError(f"{path}: got no {RUN} in it but expected the folder of a run, or one of runs")
    return found


@dataclass(frozen=True)
class RunData:
    """What a run is trained on; the shape is that of all images to train on."""

    name: str
    fingerprint: str
    shape: Annotated[tuple[Whole, ...], MinLen(2), MaxLen(4)]


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What was run and with what, as ``run.json`` has it; the command is what the user typed."""

    experiment: Experiment
    data: RunData
    command: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    revision: str = ""


def read_run(folder: Path) -> RunRecord:
    """The record of a run; a folder without a run is a `RunError`."""
    path, expected = folder / RUN, f"the folder of a run, with {RUN}"
    return read_record(path, expected, lambda record: read_value(RunRecord, record, str(path)))


def check_same(folder: Path, experiment: Experiment) -> None:
    """Raise unless the folder holds a run of this experiment; the number of workers may differ."""
    ours, theirs = (_flat(identity(one)) for one in (experiment, read_run(folder).experiment))
    apart = [f"{n}: {theirs.get(n)!r}, not {ours.get(n)!r}" for n in {**theirs, **ours} if theirs.get(n) != ours.get(n)]
    if apart:
        more = f" and {len(apart) - 3} more" if len(apart) > 3 else ""
        said = f"got the run of another experiment ({'; '.join(apart[:3])}{more})"
        raise RunError(f"{folder}: {said} but expected an empty folder, or the same one")


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """What nested tables have, by dotted names."""
    if not isinstance(value, dict):
        return {name: value}
    return {n: v for key, of in value.items() for n, v in _flat(of, f"{name}.{key}".lstrip(".")).items()}


def identity(experiment: Experiment) -> dict[str, Any]:
    """The part of an experiment that decides its outcome, as JSON gives it back: all but the number of workers."""
    return files.json_value(replace(experiment, training=replace(experiment.training, workers=0)).mapping())


class Log:
    """The records of a run, but none of steps after ``after``, which a resumed run makes again; None begins anew."""

    def __init__(self, folder: Path, after: int | None = None) -> None:
        self._folder = folder
        for name in (LOG, SECONDS):
            kept = [] if after is None else [r for r in read_log(folder, name) if r["step"] <= after]
            files.write_whole(folder / name, "".join(_line(record) for record in kept))
        self._write_table()

    def add(self, record: Mapping[str, Any], seconds: float) -> None:
        """Add a record to the log, with the wall clock; an epoch's record goes into the table too."""
        for name, line in ((LOG, record), (SECONDS, {"step": record["step"], "seconds": round(seconds, 3)})):
            path = self._folder / name
            with files.names_file(path), path.open("ab") as file:
                files.write_through(file, _line(line).encode("utf-8"))
        if record["kind"] == "epoch":
            self._write_table()

    def _write_table(self) -> None:
        import pandas as pd

        rows = [record for record in read_log(self._folder) if record["kind"] == "epoch"]
        table = pd.DataFrame(rows).drop(columns="kind", errors="ignore")
        files.write_whole(self._folder / TABLE, table.to_csv(index=False, lineterminator="\n"))


def read_log(folder: Path, name: str = LOG) -> list[dict[str, Any]]:
    """The records of a run's log, without a last one that was not written whole. Without an epoch, a `RunError`."""
    path = folder / name
    if not path.exists():
        return []
    lines = files.whole_lines(files.regular(path).read_bytes()).splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        where = f"{path}: line {number}"
        try:
            record = json.loads(line) if line else None
        except (ValueError, RecursionError) as problem:
            raise RunError(f"{where}: got {problem} but expected a record as a run writes it") from problem
        kinds = {"step": int, "kind": str} if name == LOG else {"step": int}
        if line and not (isinstance(record, dict) and all(type(record.get(key)) is of for key, of in kinds.items())):
            raise RunError(f"{where}: got {line[:60]!r} but expected a record with its kind and its step")
        found += [record] if line else []
    epochs = [record.get("epoch") for record in found if record.get("kind") == "epoch"]
    if epochs != [*range(1, len(epochs) + 1)]:
        raise RunError(f"{path}: got the epochs {epochs} but expected one after the other from 1 on")
    return found


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"
