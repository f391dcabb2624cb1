"""Checkpoints: whole or not there, refused when changed, and never more than needed."""

import json
from pathlib import Path

import pytest
import torch

from goal_analysis.vse.folder.checkpoint import (
    MODEL,
    STATE,
    Checkpoint,
    CheckpointError,
    Progress,
    load,
    newest,
    save,
    steps,
)


def checkpoint(step: int, best: int | None = None) -> Checkpoint:
    tensors = {"a": torch.arange(3.0) + step, "b": torch.eye(2)}
    return Checkpoint(Progress(step, 1.5, best, stopped="σ"), tensors, {"0.exp_avg": torch.ones(2) * step})


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save(tmp_path, checkpoint(7))
    found = load(tmp_path, 7)
    assert found.progress == Progress(7, 1.5, stopped="σ")
    assert all(torch.equal(found.model[name], t) for name, t in checkpoint(7).model.items())
    assert torch.equal(found.optimizer["0.exp_avg"], torch.full((2,), 7.0))


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    for step in range(1, 7):
        save(tmp_path, checkpoint(step, best=2))
    assert steps(tmp_path) == [2, 5, 6]
    assert newest(tmp_path)[0].progress.step == 6


@pytest.mark.parametrize("bit", [0, 37, -1])
def test_a_flipped_bit_is_found_and_the_one_before_is_taken(tmp_path: Path, bit: int) -> None:
    for step in (1, 2):
        save(tmp_path, checkpoint(step))
    path = tmp_path / "step-00000002" / MODEL
    content = bytearray(path.read_bytes())
    content[bit] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: got SHA-256 .* expected .* steps \[1, 2\]"):
        load(tmp_path, 2)
    found, problems = newest(tmp_path)
    assert found.progress.step == 1
    assert len(problems) == 1


@pytest.mark.parametrize("name", [MODEL, STATE])
@pytest.mark.parametrize("length", [0, 20])
def test_what_is_cut_off_is_refused(tmp_path: Path, name: str, length: int) -> None:
    save(tmp_path, checkpoint(1))
    path = tmp_path / "step-00000001" / name
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="step-00000001"):
        load(tmp_path, 1)
    assert newest(tmp_path)[0] is None


def test_a_state_that_names_other_files_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, checkpoint(1)) / STATE
    record = json.loads(path.read_text())
    record["sha256"]["../../../secret"] = "0"
    path.write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"got the files .*'../../../secret'"):
        load(tmp_path, 1)


@pytest.mark.parametrize("most", [100, 300], ids=["of the tensors", "of the state"])
def test_a_disk_without_room_leaves_what_was_there(tmp_path: Path, full_disk, most: int) -> None:
    path = save(tmp_path, checkpoint(1))
    sizes = {name: (path / name).stat().st_size for name in (MODEL, STATE)}
    assert 100 < sizes[MODEL] < 300 < sizes[STATE]
    with full_disk(most), pytest.raises(OSError, match="File too large"):
        save(tmp_path, checkpoint(2))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert load(tmp_path, 1).progress.step == 1
