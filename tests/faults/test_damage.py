"""Damaged and changed files, folders that cannot be written, full disks: refused by name, and nothing lost."""

import json
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from goal_analysis.declarations import read_file
from goal_analysis.files import write_whole
from goal_analysis.study.driver import best_rsum
from goal_analysis.vse.data import load as load_data
from goal_analysis.vse.data.precomp import open_features
from goal_analysis.vse.data.split import ArrayImages, DataError, RetrievalData, Split
from goal_analysis.vse.folder.checkpoint import MODEL, OPTIMIZER, STATE, CheckpointError, load, steps
from goal_analysis.vse.folder.run import ARCHITECTURE, TOKENIZER, load_model
from goal_analysis.vse.folder.run_folder import CHECKPOINTS, LOG, RESULT, RUN, RunError, lock_run, read_log, read_run

NOBODY = 65534


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def damage(path: Path, way: str) -> None:
    content = bytearray(path.read_bytes())
    if way == "cut off":
        del content[len(content) // 2 :]
    elif way == "a bit":
        content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("way", ["cut off", "a bit"])
@pytest.mark.parametrize("name", [MODEL, OPTIMIZER, STATE])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_goes_on(
    contents, train, run: Path, whole: Path, name: str, way: str
) -> None:
    last, before = steps(run / CHECKPOINTS)[-1], steps(run / CHECKPOINTS)[-2]
    damage(run / CHECKPOINTS / f"step-{last:08d}" / name, way)
    with pytest.raises(CheckpointError, match=rf"the one before it is that of step {before}"):
        load(run / CHECKPOINTS, last)
    with pytest.raises(CheckpointError, match=rf"step {before}; goal-analyze train --resume \S+ goes on from that"):
        load_model(run)
    told = []
    train(run, report=told.append)
    (trouble,) = [record for record in told if record["kind"] == "trouble"]
    assert trouble["trouble"] == "damaged checkpoint"
    assert f"the run goes on from step {before}" in trouble["cause"]
    assert contents(run) == contents(whole)


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (
            RUN,
            "got checkpoints without run.json, which says what was run, but expected an empty folder, or a whole run",
        ),
        (LOG, r"log.jsonl: got 0 records of the kind epoch up to step \d+ but expected 2"),
    ],
)
def test_a_run_without_its_record_or_its_log_is_refused_before_it_is_trained(
    train, run: Path, lost: str, said: str
) -> None:
    (run / lost).unlink()
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}
    with pytest.raises(RunError, match=said):
        train(run)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")} == before


LOST_LINES = {
    "the first epoch": (lambda lines: [one for one in lines if '"epoch": 1' not in one], r"got the epochs \[2\] but"),
    "the last lines": (lambda lines: lines[:-3], "got 1 records of the kind epoch up to step 8 but expected 2"),
    "a step": (lambda lines: lines[:2] + lines[3:], "got 7 records of the kind step up to step 8 but expected 8"),
}


@pytest.mark.parametrize("lost", LOST_LINES)
def test_a_log_without_some_of_its_lines_is_refused(train, run: Path, lost: str) -> None:
    keep, said = LOST_LINES[lost]
    (run / LOG).write_text("".join(keep((run / LOG).read_text().splitlines(keepends=True))))
    with pytest.raises(RunError, match=f"log.jsonl: {said}"):
        train(run)


def test_features_that_are_exchanged_under_a_run_end_it(train, data: RetrievalData, tmp_path: Path) -> None:
    """Other numbers under the same name, between two epochs; and the same file touched by nobody."""

    def on(folder: Path) -> RetrievalData:
        folder.mkdir()
        images = {}
        for split in (data.train, data.dev):
            np.save(folder / f"{split.name}_ims.npy", split.images.batch(np.arange(len(split.images))).numpy())
            images[split.name] = replace(split, images=open_features(folder / f"{split.name}_ims.npy")[0])
        return replace(data, **images)

    def exchange(record: Mapping[str, Any]) -> None:
        if (record["kind"], record["step"]) == ("step", 1):
            np.save(tmp_path / "exchanged" / "train_ims.npy", np.ones((len(data.train.images), 6)))

    train(tmp_path / "same run", on=on(tmp_path / "same"))
    with pytest.raises(RunError, match=r"train_ims.npy: got other content than when the run began"):
        train(tmp_path / "run", on=on(tmp_path / "exchanged"), report=exchange)
    assert not (tmp_path / "run" / RESULT).exists()


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


IRREGULAR = {
    "pipe": os.mkfifo,
    "socket": make_socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
}
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "declaration": ("mine.toml", read_file),
    "captions": ("captions.txt", load_data),
    "features": ("train_ims.npy", open_features),
    "log": (LOG, lambda path: read_log(path.parent)),
    "record": (RUN, lambda path: read_run(path.parent)),
    "written": ("report.html", lambda path: write_whole(path, "a page")),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("kind", IRREGULAR)
@pytest.mark.parametrize("reader", READERS)
def test_pipes_sockets_and_devices_are_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reader: str, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # the names of sockets are short
    name, read = READERS[reader]
    IRREGULAR[kind](Path(name))
    before = os.lstat(name).st_ino
    with pytest.raises((OSError, ValueError), match=f"got a {kind} but expected a regular file"):
        read(Path(name))
    assert os.lstat(name).st_ino == before


@pytest.mark.parametrize(("words", "said"), [(20_000, "20000 words"), (9_999, "")])
def test_a_caption_without_end_is_refused_by_its_row(tmp_path: Path, words: int, said: str) -> None:
    for name in ("train", "dev"):
        np.save(tmp_path / f"{name}_ims.npy", np.ones((2, 3), np.float32))
        (tmp_path / f"{name}_caps.txt").write_text("a dog\n" + "dog " * words + "\n")
    if not said:
        assert len(load_data(tmp_path).train) == 2
        return
    with pytest.raises(DataError, match=rf"train_caps.txt: row 1: got a caption of {said}.* data.longest"):
        load_data(tmp_path)


def test_a_small_table_of_many_rows_is_refused_before_it_is_read(tmp_path: Path) -> None:
    table, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    column = table.DictionaryArray.from_arrays(table.array(np.zeros(5_000_001, np.int8)), ["a"])
    parquet.write_table(table.table({"image": column, "caption": column}), tmp_path / "many.parquet")
    with pytest.raises(DataError, match=r"got a table .* it has 5,000,001 rows but expected .* data.most_rows"):
        load_data(tmp_path / "many.parquet")


def test_an_undamaged_run_is_not_complained_of(train, run: Path) -> None:
    told = []
    train(run, report=told.append)
    assert told == []
    assert load_model(run).step in steps(run / CHECKPOINTS)


@pytest.mark.parametrize("name", ["rsum", "step"])
def test_a_number_in_the_state_is_not_changed_unnoticed(run: Path, name: str) -> None:
    last = steps(run / CHECKPOINTS)[-1]
    path = run / CHECKPOINTS / f"step-{last:08d}" / STATE
    record = json.loads(path.read_text())
    record["state"]["best_rsum" if name == "rsum" else "step"] += 1
    path.write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"got SHA-256 .* as it was written"):
        load(run / CHECKPOINTS, last)


def test_a_checkpoint_of_another_model_is_refused(train, run: Path, tmp_path: Path) -> None:
    train(tmp_path / "other", "model.image.dim=4")
    shutil.rmtree(run / CHECKPOINTS)
    shutil.copytree(tmp_path / "other" / CHECKPOINTS, run / CHECKPOINTS)
    for call in (load_model, train):
        with pytest.raises(CheckpointError, match=r"step \d+: got .* but expected the tensors of this model"):
            call(run)


def test_foreign_names_among_the_checkpoints_are_passed_over(run: Path) -> None:
    before = steps(run / CHECKPOINTS)
    for name in ("step-", "step-abc", "step-²", "step-7", "step-00000000000000000000099", "step--0000001"):
        (run / CHECKPOINTS / name).mkdir()
    assert steps(run / CHECKPOINTS) == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (RUN, r"run\.json: got .* but expected"),
        (LOG, r"log\.jsonl: line \d+: got .* but expected a record"),
        (TOKENIZER, r"tokenizer\.json: got .* but expected the tokenizer"),
        (ARCHITECTURE, r"architecture\.json: got .* but expected the model"),
        (RESULT, r"result\.json: got .* but expected the result"),
    ],
)
@pytest.mark.parametrize("content", [b"[" * 5000, b"\xff\xfe\n", b"null\n", b'{"best": [], "kind": 1}\n'])
def test_damaged_records_are_refused_by_name(run: Path, name: str, said: str, content: bytes) -> None:
    (run / name).write_bytes(content + b"\n")
    with pytest.raises(RunError, match=said):
        {RUN: load_model, LOG: read_log, TOKENIZER: load_model, ARCHITECTURE: load_model, RESULT: best_rsum}[name](run)


def test_changed_data_are_refused_by_their_fingerprint(contents, train, run: Path, data: RetrievalData) -> None:
    features = data.train.images.batch(np.arange(40)).numpy().copy()
    features[17, 3] = np.nextafter(features[17, 3], np.float32(9))
    changed = Split("train", ArrayImages(features), data.train.captions, data.train.image_of)
    words = (*data.train.captions[:-1], "a tree")
    reworded = Split("train", data.train.images, words, data.train.image_of)
    before = contents(run)
    for one in (changed, reworded):
        with pytest.raises(RunError, match=r"fingerprint .* has changed since the run began"):
            train(run, on=RetrievalData("made up", one, data.dev))
    assert contents(run) == before


def test_numbers_in_the_data_that_are_not_finite_are_refused_with_their_row(
    train, tmp_path: Path, data: RetrievalData
) -> None:
    features = data.train.images.batch(np.arange(40)).numpy().copy()
    features[17, 3] = np.nan
    spoilt = Split("train", ArrayImages(features, "train_ims.npy"), data.train.captions, data.train.image_of)
    for workers in (0, 1):
        with pytest.raises(DataError, match=r"^train_ims\.npy: row 17: got a number that is not finite"):
            train(tmp_path / str(workers), f"training.workers={workers}", on=RetrievalData("x", spoilt, data.dev))


def test_two_runs_do_not_write_one_folder(contents, train, run: Path, whole: Path) -> None:
    with lock_run(run), pytest.raises(RunError, match="another process is writing"):
        train(run)
    train(run)
    assert contents(run) == contents(whole)


@pytest.fixture
def read_only(whole: Path) -> Iterator[Path]:
    """A copy of the run in a folder that this process may read and not write, whoever it belongs to."""
    with tempfile.TemporaryDirectory() as outer:
        Path(outer).chmod(0o755)
        run = Path(shutil.copytree(whole, Path(outer) / "run"))
        for path in (run, *run.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)
        try:
            yield run
        finally:
            if root:
                os.seteuid(0)
            for path in (run, *run.rglob("*")):
                path.chmod(stat.S_IRWXU)


def test_a_read_only_folder_is_named_and_left_as_it_was(train, read_only: Path) -> None:
    before = {path: path.read_bytes() for path in read_only.rglob("*") if path.is_file()}
    with pytest.raises(PermissionError, match=str(read_only)):
        train(read_only)
    with pytest.raises(PermissionError, match=str(read_only)):
        write_whole(read_only / "report.html", "x")
    assert {path: path.read_bytes() for path in before} == before
    assert load_model(read_only).step, "it can still be read"
