"""Where input of others comes in, each with valid inputs, what is made of them, and the errors that are documented."""

from __future__ import annotations

import hashlib
import json
import pickle
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fuzz_mutations as mutated
import numpy as np
import sympy as sp
import torch
from PIL import Image

from goal_analysis.declarations import read_file, read_toml, with_settings
from goal_analysis.files import folder_name
from goal_analysis.recombination.parts import Parts
from goal_analysis.recombination.text import from_toml, line_of, parse_objective, to_toml
from goal_analysis.study.driver import best_rsum
from goal_analysis.study.report.runs import read_one
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.parsing import FormulaError, parse
from goal_analysis.symbolic.parsing.declaration import losses_from_mapping
from goal_analysis.vse.data import load as load_data
from goal_analysis.vse.data.pictures import path_inside
from goal_analysis.vse.data.precomp import open_features
from goal_analysis.vse.data.split import DataError
from goal_analysis.vse.folder.checkpoint import (
    MODEL,
    OPTIMIZER,
    STATE,
    Checkpoint,
    CheckpointError,
    Progress,
    load,
    newest,
    save,
)
from goal_analysis.vse.folder.run_folder import RunError, read_log, read_run
from goal_analysis.vse.loop.experiment import experiment_from_mapping, preset, presets
from goal_analysis.vse.loop.health import OutOfMemory
from goal_analysis.vse.models.model import build_model, build_tokenizer, restore_tokenizer
from losses_catalog import catalog, pair_weights, triplet_weights

PARTS = Parts(triplet_weights, pair_weights, catalog)
WORDS = "s_n s_p tau 0 1 2 0.5 1e3 1e999 9**9**9 + - * / ** ( ) , = @ : exp( log( sqrt( max( if else [ ] { }"
PIECES = (
    *WORDS.split(" "),
    *("__class__", "lambda:", mutated.PAYLOAD, "\n", '"', "'", '"""', "[[", "_twin", "relative_", "nan", "inf"),
)
NAMES = (
    *(weight.name for weight in (*triplet_weights, *pair_weights)),
    *("softmax", "hardest", "top_k", "semi_hard", "all", "mean", "max", "logsumexp", "sum", "tau", "margin", "m"),
    *("0.1", "1", "3", "20", "1/3", "s_n", "s_p"),
)
"""What is understood somewhere, so that a change may be accepted."""

FORMULAS = (
    "softplus(tau*(s_n - s_p))/tau",
    "hinge(s_n - s_p + 0.2)**2",
    "(1 - s_p)**2/2 + s_n**2/2",
    "log(1 + exp(tau*(s_n - 0.5)))/tau",
    "s_n if s_n > s_p - 0.1 else 0",
    "logsumexp(0, tau*s_n, -tau*s_p)",
    "detach(1.25 - s_p)*tau*s_p",
)
LINES = (
    "nca(tau=12)/linear@softmax:12",
    "hinge(margin=0.2)/constant",
    "circular/sigmoid@top_k:3",
    "constant/relative_linear",
)
OBJECTIVE = """mining = "softmax:12"
triplet = { formula = "sigmoid(tau*(s_n - s_p))", hyperparameters = { tau = 10 } }
pair = { positive = "1 - s_p", negative = "s_n" }
reduction = "mean"
"""
LOSSES = """[losses.mine]
formula = "softplus(tau*(s_n - s_p + m))/tau"
title = "Mine"
hyperparameters = { tau = 10, m = 0.2 }
[losses.other]
formula = "log(1 + exp(s_n)) - s_p"
negatives = { aggregator = "logsumexp", pool = "own" }
positives = "mean"
"""


@dataclass(frozen=True)
class Surface:
    """Where input comes in.

    Args:
        name: how the table calls it.
        share: of a thousand cases.
        documented: the errors that refuse.
        valid: reads the valid inputs in a folder, which has to work.
        case: puts a changed input into the folder and returns what reads it.
    """

    name: str
    share: int
    documented: tuple[type[Exception], ...]
    valid: Callable[[Path], object]
    case: Callable[[random.Random, Path], Callable[[], object]]


def formulas() -> Surface:
    """Formulas of losses and weights."""
    names = {"s_n": s_n, "s_p": s_p, "tau": sp.Symbol("tau", positive=True)}

    def case(rng: random.Random, folder: Path) -> Callable[[], object]:
        formula = rng.choice(FORMULAS)
        pieces = PIECES[: rng.choice((12, 20, len(PIECES)))]
        hostile = mutated.large(rng, "s_n") if rng.random() < 0.0005 else mutated.text(rng, formula, pieces)
        return lambda: parse(hostile, names)

    return Surface("formulas", 200, (FormulaError,), lambda folder: [parse(f, names) for f in FORMULAS], case)


def lines() -> Surface:
    """Objectives in one line, read and written again."""

    def read(line: str) -> str:
        objective = parse_objective(line, PARTS)
        return line_of(objective, PARTS) or to_toml(objective, PARTS)

    def case(rng: random.Random, folder: Path) -> Callable[[], object]:
        hostile = (
            mutated.large(rng, "nca/")
            if rng.random() < 0.001
            else mutated.text(rng, rng.choice(LINES), rng.choice((PIECES, NAMES)))
        )
        return lambda: read(hostile)

    return Surface(
        "objectives in a line", 60, (ValueError,), lambda folder: [parse_objective(line, PARTS) for line in LINES], case
    )


def documents(name: str, share: int, valid: str, read: Callable[[str], object]) -> Surface:
    """TOML documents: their text changed, or their tables."""

    def case(rng: random.Random, folder: Path) -> Callable[[], object]:
        kind = rng.random()
        if kind < 0.002:
            hostile = mutated.large(rng, "a = 1\n")
        elif kind < 0.5:
            hostile = mutated.text(rng, valid, rng.choice((PIECES, NAMES)))
        else:
            lines = valid.splitlines()
            at = rng.randrange(len(lines))
            key, equals, _ = lines[at].partition("=")
            lines[at] = f"{key}{equals} {json.dumps(mutated.value(rng))}" if equals else lines[at]
            hostile = "\n".join(lines)
        return lambda: read(hostile)

    return Surface(name, share, (ValueError, TypeError), lambda folder: read(valid), case)


def tables(name: str, share: int, valid: list[Any], read: Callable[[Any], object]) -> Surface:
    """Tables that were read already."""

    def case(rng: random.Random, folder: Path) -> Callable[[], object]:
        hostile = mutated.table(rng, rng.choice(valid))
        return lambda: read(hostile)

    return Surface(name, share, (ValueError, OutOfMemory), lambda folder: [read(one) for one in valid], case)


def files(
    name: str,
    share: int,
    documented: type[Exception],
    make: Callable[[Path], None],
    change: Callable[[random.Random, Path], None],
    read: Callable[[Path], object],
) -> Surface:
    """Folders of files, one of which is changed."""

    def case(rng: random.Random, folder: Path) -> Callable[[], object]:
        make(folder)
        change(rng, folder)
        return lambda: read(folder)

    def valid(folder: Path) -> object:
        make(folder)
        return read(folder)

    return Surface(name, share, (documented,), valid, case)


def json_change(name: str) -> Callable[[random.Random, Path], None]:
    """Change a file of JSON: its values, or its bytes, or make it deep or large."""

    def change(rng: random.Random, folder: Path) -> None:
        path, kind = folder / name, rng.random()
        if kind < 0.002:
            path.write_bytes(rng.choice((b"[", b'{"a":', b'"', b"1")) * 100_000)
        elif kind < 0.3:
            path.write_bytes(mutated.content(rng, path.read_bytes()))
        else:
            path.write_text(json.dumps(mutated.table(rng, json.loads(path.read_text()))), "utf-8")

    return change


def _make_karpathy(folder: Path) -> None:
    entries = [
        {"filename": f"{k}.jpg", "filepath": "in", "imgid": k, "split": s, "sentences": [{"raw": "a dog", "sentid": k}]}
        for k, s in enumerate(("train", "restval", "val", "test"))
    ]
    (folder / "in").mkdir(exist_ok=True)
    for entry in entries:
        (folder / "in" / entry["filename"]).touch()
    (folder / "data.json").write_text(json.dumps({"images": entries}))


def _make_table(folder: Path) -> None:
    for k in range(3):
        Image.new("RGB", (2, 2)).save(folder / f"{k}.jpg")
    rows = ["filepath{0}title{0}split", "0.jpg{0}a dog{0}train", '1.jpg{0}"a, cat"{0}dev', "2.jpg{0}nan{0}test"]
    for suffix, separator in ((".csv", ","), (".tsv", "\t")):
        (folder / f"data{suffix}").write_text("\n".join(rows).format(separator) + "\n")


def _change_table(rng: random.Random, folder: Path) -> None:
    path = rng.choice((folder / "data.csv", folder / "data.tsv"))
    (folder / ("data.tsv" if path.suffix == ".csv" else "data.csv")).unlink()
    kind, text = rng.random(), path.read_text()
    if kind < 0.4:
        found = mutated.content(rng, text.encode())
    elif kind < 0.7:
        found = text.replace(rng.choice(("0.jpg", "a dog", "train", "title")), rng.choice(mutated.TEXTS), 1).encode(
            "utf-8", "surrogatepass"
        )
    else:
        found = mutated.text(rng, text, (*mutated.TEXTS, ",", "\t", '"', "\n", ",,,")).encode("utf-8", "surrogatepass")
    path.write_bytes(found)


def _read_tables(folder: Path) -> None:
    for path in (folder / "data.csv", folder / "data.tsv"):
        if path.exists():
            load_data(path, skip_bad=path.suffix == ".csv")


def _make_precomp(folder: Path) -> None:
    for name in ("train", "dev"):
        np.save(folder / f"{name}_ims.npy", np.arange(12, dtype=np.float32).reshape(2, 6))
        (folder / f"{name}_caps.txt").write_text("a dog\n" * 10)
        (folder / f"{name}_ids.txt").write_text("0\n1\n")


def _change_precomp(rng: random.Random, folder: Path) -> None:
    path = folder / rng.choice(("train_ims.npy",) * 6 + ("train_caps.txt", "train_ids.txt"))
    kind = rng.random()
    if path.suffix == ".npy" and kind < 0.6:
        header: dict[str, Any] = {"descr": "<f4", "fortran_order": False, "shape": (2, 6)}
        shapes = (
            (-2, 6),
            (2**62, 2**62),
            (0, 6),
            (2,),
            (),
            (2, 6, 1, 1),
            (True, 6),
            (2.0, 6),
            "x",
            (10**30, 6),
            (2, 0),
        )
        key = rng.choice(list(header))
        dtypes = ("|O", "<f4,<i8", "<U9", "|V10000", "<f16", "<i8", "", "x", "<f2", ">f8", mutated.PAYLOAD, "|b1")
        header[key] = rng.choice({"descr": dtypes, "fortran_order": (True, 1, None, "x"), "shape": shapes}[key])
        literal = mutated.PAYLOAD if rng.random() < 0.1 else repr(header)
        body = literal.encode() + b"\n"
        major = rng.choice((1, 1, 1, 2, 3, 9))
        length = len(body).to_bytes(2 if major == 1 else 4, "little")
        body += pickle.dumps(_Malicious()) if rng.random() < 0.3 else np.arange(12, dtype=np.float32).tobytes()
        path.write_bytes(b"\x93NUMPY" + bytes((major, 0)) + length + body)
    elif path.suffix == ".npy" and kind < 0.65:
        np.save(path, np.array([_Malicious(), 1], dtype=object), allow_pickle=True)
    elif path.suffix == ".npy" and kind < 0.7:
        path.write_bytes(pickle.dumps(_Malicious()))
    else:
        path.write_bytes(mutated.content(rng, path.read_bytes()))


def _read_precomp(folder: Path) -> None:
    features, _ = open_features(folder / "train_ims.npy")
    features.batch(np.arange(min(len(features), 8)))
    load_data(folder)


class _Malicious:
    """Whoever unpickles it makes the canary."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("touch canary",)


def _make_checkpoints(folder: Path) -> None:
    if not (folder / "valid").exists():
        tensors = {"a": torch.arange(3.0), "b": torch.eye(2)}
        for step in (1, 2):
            save(
                folder / "valid",
                Checkpoint(Progress(step, best_rsum=1.0), tensors, {"0.step": torch.ones(())}),
            )
    shutil.rmtree(folder / "now", ignore_errors=True)
    shutil.copytree(folder / "valid", folder / "now")


def _change_checkpoints(rng: random.Random, folder: Path) -> None:
    """Of those that are changed, some get the right sums, as an attacker would give them."""
    where = folder / "now" / "step-00000002"
    name, kind = rng.choice((MODEL, OPTIMIZER, STATE)), rng.random()
    if name == STATE:
        json_change(STATE)(rng, where)
        return
    if kind < 0.15:
        (where / name).write_bytes(pickle.dumps(_Malicious()))
    elif kind < 0.25:
        torch.save({"a": torch.ones(2)}, where / name)
    elif kind < 0.6:
        header = {
            "a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
            "b": {"dtype": "F32", "shape": [2, 2], "data_offsets": [12, 28]},
        }
        text = json.dumps(mutated.table(rng, header)).encode("utf-8", "surrogatepass")
        length = rng.choice((len(text),) * 8 + (2**62, 0, 2**31))
        (where / name).write_bytes(length.to_bytes(8, "little") + text + bytes(28))
    else:
        (where / name).write_bytes(mutated.content(rng, (where / name).read_bytes()))
    if rng.random() < 0.8:
        record = json.loads((where / STATE).read_text())
        record["sha256"][name] = hashlib.sha256((where / name).read_bytes()).hexdigest()
        (where / STATE).write_text(json.dumps(record))


def _read_checkpoints(folder: Path) -> None:
    found, _ = newest(folder / "now")
    assert found is not None, "the one before is whole"
    load(folder / "now", 2)


def _make_run(folder: Path) -> None:
    experiment = experiment_from_mapping({**preset("bag_of_words"), "data": {"name": "x"}}).mapping()
    measures = dict.fromkeys((f"{way}_r{k}" for way in ("i2t", "t2i") for k in (1, 5, 10)), 1.0)
    measures |= {"rsum": 6.0, "i2t_median_rank": 1.0, "t2i_median_rank": 1.0}
    epoch = {"kind": "epoch", "step": 3, "epoch": 1, **measures}
    run = {
        "experiment": experiment,
        "data": {"name": "x", "fingerprint": "0" * 16, "shape": [2, 6]},
        "command": ["goal-analyze"],
        "versions": {},
        "revision": "",
    }
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "log.jsonl").write_text(json.dumps(epoch) + "\n")
    (folder / "result.json").write_text(json.dumps({"best": epoch, "stopped": ""}))


def _change_run(rng: random.Random, folder: Path) -> None:
    name = rng.choice(("run.json", "log.jsonl", "result.json"))
    json_change(name)(rng, folder)
    if name == "log.jsonl":
        (folder / name).write_bytes((folder / name).read_bytes() + b"\n")


def _read_run(folder: Path) -> None:
    read_run(folder)
    read_log(folder)
    best_rsum(folder)
    read_one(folder)


def _make_experiment(folder: Path) -> None:
    (folder / "experiment.json").write_text(json.dumps({**preset("bag_of_words"), "data": {"name": "x"}}))


def paths() -> Surface:
    """Names of pictures, which may lead nowhere but into the folder."""

    def read(folder: Path, name: str) -> None:
        assert (folder / path_inside(folder, name)).resolve().is_relative_to(folder.resolve())

    def case(rng: random.Random, folder: Path) -> Callable[[], object]:
        hostile = mutated.text(rng, rng.choice((*mutated.PATHS, "a/b.jpg")), (*mutated.TEXTS, "/", "..", "/../", "\\"))
        return lambda: read(folder, hostile)

    return Surface("paths in data", 90, (DataError,), lambda folder: read(folder, "a/b.jpg"), case)


def names() -> Surface:
    """Names of objectives, which become those of folders."""

    def read(name: str) -> None:
        found = folder_name(name)
        assert Path("x", found).resolve().parent == Path("x").resolve(), found
        assert 0 < len(found.encode()) < 200, found

    def case(rng: random.Random, folder: Path) -> Callable[[], object]:
        hostile = mutated.text(rng, rng.choice((*LINES, *mutated.TEXTS)), (*mutated.TEXTS, "/", ".."))
        return lambda: read(hostile)

    return Surface("names of folders", 50, (), lambda folder: [read(line) for line in LINES], case)


def _assigned(given: Any) -> object:
    return experiment_from_mapping(with_settings(given, [f"seed={given.get('seed', 0)}", "model.image.dim=4"]))


def _model(given: Any) -> object:
    captions = ["a dog", "a cat", "a dog runs"]
    tokenizer = build_tokenizer(given, captions)
    return build_model(given, (6,), tokenizer)


SMALL = {"dim": 4}
MODELS: list[Any] = [
    {
        "image": {"name": "linear", "dropout": 0.3, **SMALL},
        "text": {"name": "bag_of_words"},
        "tokenizer": {"name": "words", "min_count": 1},
    },
    {
        "image": {"name": "linear", **SMALL},
        "text": {"name": "recurrent", "words": 3},
        "tokenizer": {"name": "words", "min_count": 1},
    },
]
VOCABULARY = {"kind": "words", "words": ["a", "dog"], "document_frequencies": [3, 2], "captions": 3}

SURFACES = (
    formulas(),
    lines(),
    documents("objectives in TOML", 60, OBJECTIVE, lambda text: from_toml(text, PARTS)),
    documents("losses in TOML", 50, LOSSES, lambda text: losses_from_mapping(read_toml(text))),
    files(
        "experiments in a file",
        100,
        ValueError,
        _make_experiment,
        json_change("experiment.json"),
        lambda folder: experiment_from_mapping(read_file(folder / "experiment.json")),
    ),
    tables(
        "settings of experiments",
        60,
        [{**preset(name), "data": {"name": "x"}} for name in presets()],
        _assigned,
    ),
    tables("models from tables", 30, MODELS, _model),
    files(
        "Karpathy's JSON",
        80,
        DataError,
        _make_karpathy,
        json_change("data.json"),
        lambda folder: load_data(folder / "data.json"),
    ),
    files("tables of captions", 40, DataError, _make_table, _change_table, _read_tables),
    files("features in npy", 90, DataError, _make_precomp, _change_precomp, _read_precomp),
    files("checkpoints", 50, CheckpointError, _make_checkpoints, _change_checkpoints, _read_checkpoints),
    files("records of runs", 50, RunError, _make_run, _change_run, _read_run),
    tables("tokenizers", 50, [VOCABULARY], lambda given: restore_tokenizer(given)),
    paths(),
    names(),
)
