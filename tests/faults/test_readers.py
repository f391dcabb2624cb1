"""Every reader and every sort of damage: what is read is refused by the name of its file, or is what is there."""

import json
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from goal_analysis.api.objectives import value_of
from goal_analysis.declarations import read_file
from goal_analysis.study.driver import PROGRESS, best_rsum, read_progress
from goal_analysis.study.report.runs import read_one
from goal_analysis.vse.data import load as load_data
from goal_analysis.vse.folder.checkpoint import MODEL, OPTIMIZER, STATE, load, steps
from goal_analysis.vse.folder.run import ARCHITECTURE, TOKENIZER, load_model
from goal_analysis.vse.folder.run_folder import CHECKPOINTS, LOG, RESULT, RUN, read_log, read_run
from goal_analysis.vse.loop.experiment import preset, read_experiment
from goal_analysis.vse.retrieval.judgements import read_judgements


@dataclass(frozen=True)
class Reader:
    """What reads a file, where it lies, and the damage that it may take for something else that is valid."""

    file: str
    read: Callable[[Path], object]
    passes: tuple[str, ...] = ()


def newest_checkpoint(folder: Path) -> object:
    return load(folder / "run" / CHECKPOINTS, steps(folder / "run" / CHECKPOINTS)[-1])


def pictures(folder: Path) -> object:
    return load_data(folder / "captions.csv").train.images.batch(np.arange(2))


NEWEST = f"run/{CHECKPOINTS}/step-00000008"
TEXT = ("a bit", "cut off", "a mark at its begin")
"""Of text that is no declaration almost every change is other text."""

MARKED = ("a mark at its begin", "a bit")  # where a mark at the begin of a file is passed over
ABSENT = ("missing", "a link to nothing", "a link to itself")

READERS = {
    "declaration in TOML": Reader("mine.toml", lambda f: read_file(f / "mine.toml"), ("empty", *MARKED)),
    "experiment in JSON": Reader("mine.json", lambda f: read_experiment(f / "mine.json"), MARKED),
    "objective in TOML": Reader("objective.toml", lambda f: value_of(f / "objective.toml"), MARKED),
    "features": Reader("precomp/train_ims.npy", lambda f: load_data(f / "precomp"), ("a bit",)),
    "captions": Reader("precomp/train_caps.txt", lambda f: load_data(f / "precomp"), TEXT),
    "ids": Reader("precomp/train_ids.txt", lambda f: load_data(f / "precomp"), (*MARKED, *ABSENT)),
    "Karpathy's JSON": Reader("karpathy.json", lambda f: load_data(f / "karpathy.json"), MARKED),
    "table of captions": Reader("captions.csv", pictures, TEXT),
    "picture": Reader("0.png", pictures, ("a bit",)),
    "judgements": Reader("judgements.csv", lambda f: read_judgements(f / "judgements.csv"), TEXT),
    "record of a run": Reader(f"run/{RUN}", lambda f: read_run(f / "run"), ("a bit",)),
    "log": Reader(f"run/{LOG}", lambda f: read_log(f / "run"), (*ABSENT, "empty", "zeros", *TEXT)),
    "result": Reader(f"run/{RESULT}", lambda f: best_rsum(f / "run"), ("a bit",)),
    "run in a report": Reader(f"run/{RUN}", lambda f: read_one(f / "run"), ("a bit",)),
    "tokenizer": Reader(f"run/{TOKENIZER}", lambda f: load_model(f / "run"), ("a bit",)),
    "architecture": Reader(f"run/{ARCHITECTURE}", lambda f: load_model(f / "run"), ("a bit",)),
    "weights": Reader(f"{NEWEST}/{MODEL}", newest_checkpoint),
    "optimizer": Reader(f"{NEWEST}/{OPTIMIZER}", newest_checkpoint),
    "state": Reader(f"{NEWEST}/{STATE}", newest_checkpoint),
    "progress of a study": Reader(f"study/{PROGRESS}", lambda f: read_progress(f / "study"), ("a bit",)),
}


def changed(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def instead(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def put(path: Path) -> None:
        path.unlink()
        make(path)

    return put


def make_socket(path: Path) -> None:
    home = Path.cwd()
    os.chdir(path.parent)  # the names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(home)


def flipped(content: bytes) -> bytes:
    return content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": changed(lambda content: b""),
    "cut off": changed(lambda content: content[: len(content) // 2]),
    "a bit": changed(flipped),
    "zeros": changed(lambda content: bytes(len(content))),
    "other bytes": changed(lambda content: b"\xff\xfe\x80\n" * 100),
    "a mark at its begin": changed(lambda content: b"\xef\xbb\xbf" + content),
    "brackets": changed(lambda content: b"[" * 20_000 + b"\n"),
    "a folder": instead(Path.mkdir),
    "a pipe": instead(os.mkfifo),
    "a socket": instead(make_socket),
    "a device": instead(lambda path: path.symlink_to("/dev/zero")),
    "a link to itself": instead(lambda path: path.symlink_to(path.name)),
    "a link to nothing": instead(lambda path: path.symlink_to("nothing")),
}


@pytest.fixture(scope="module")
def valid(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that is read; not to be written in."""
    folder = tmp_path_factory.mktemp("valid")
    shutil.copytree(whole, folder / "run")
    (folder / "mine.toml").write_text('[training]\nepochs = 3\n[data]\nname = "x"\n')
    (folder / "mine.json").write_text(json.dumps({**preset("bag_of_words"), "data": {"name": "x"}}))
    (folder / "objective.toml").write_text('objective = "circle"\nsettings = { gamma = 20 }\n')
    (folder / "precomp").mkdir()
    for split in ("train", "dev"):
        np.save(folder / "precomp" / f"{split}_ims.npy", np.random.default_rng(0).random((4, 6), np.float32))
        (folder / "precomp" / f"{split}_caps.txt").write_text("a red dog runs\n" * 20)
        (folder / "precomp" / f"{split}_ids.txt").write_text("0\n1\n2\n3\n")
    colours = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    rows, images = ["filepath,title,split"], []
    for k, split in enumerate(("train", "train", "val", "test")):
        Image.fromarray(colours).save(folder / f"{k}.png")
        rows.append(f"{k}.png,a red dog,{split}")
        images.append({"filename": f"{k}.png", "imgid": k, "split": split, "sentences": [{"raw": "a dog"}]})
    (folder / "captions.csv").write_text("\n".join(rows) + "\n")
    (folder / "karpathy.json").write_text(json.dumps({"images": images}))
    (folder / "judgements.csv").write_text("".join(f"{k}.png\t{k}.png#0\t1\t2\t4\n" for k in range(4)))
    (folder / "study").mkdir()
    (folder / "study" / PROGRESS).write_text(json.dumps({"driver": "process 1", "runs": 2}))
    return folder


@pytest.mark.parametrize("reader", READERS)
def test_what_is_whole_is_read(valid: Path, reader: str) -> None:
    READERS[reader].read(valid)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("reader", READERS)
def test_damage_is_refused_by_the_name_of_the_file(valid: Path, tmp_path: Path, reader: str, damage: str) -> None:
    given = READERS[reader]
    folder = Path(shutil.copytree(valid, tmp_path / "damaged", symlinks=True))
    DAMAGE[damage](folder / given.file)
    refusal = None
    try:
        given.read(folder)
    except (ValueError, OSError) as problem:
        refusal = problem
    file = folder / given.file
    name = (
        file.parent.name if reader == "features" and damage in ABSENT else file.name
    )  # without them there is no split
    assert name in str(refusal) if refusal else damage in given.passes
