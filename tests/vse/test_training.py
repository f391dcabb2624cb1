"""The training loop: it learns, ends as if never interrupted, and says what went wrong."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from goal_analysis.vse import checkpoint, training
from goal_analysis.vse.batches import Share, order
from goal_analysis.vse.checkpoint import load, steps
from goal_analysis.vse.data import ArrayImages, RetrievalData, Split
from goal_analysis.vse.evaluation import evaluate
from goal_analysis.vse.health import TrainingTrouble, collapse, gradient_trouble
from goal_analysis.vse.metrics import metrics
from goal_analysis.vse.run import RESULT, trained
from goal_analysis.vse.run_folder import CHECKPOINTS, LOG, TABLE, RunError, locked, read_log

STEPS = 18
"""Of three epochs of 120 pairs in batches of 20."""


class Killed(BaseException):
    """Stands for the end of the process."""


def contents(folder: Path) -> dict[str, object]:
    """Log, table and the last weights of a run, bit for bit."""
    last = load(folder / CHECKPOINTS, steps(folder / CHECKPOINTS)[-1])
    tensors = {**last.model, **{f"optimizer {k}": t for k, t in last.optimizer.items()}}
    found: dict[str, object] = {name: t.numpy().tobytes() for name, t in tensors.items()}
    return found | {name: (folder / name).read_bytes() for name in (LOG, TABLE, RESULT)} | {"state": last.state}


def test_it_learns(trained_small, tmp_path: Path, data: RetrievalData) -> None:
    progress = trained_small(tmp_path, "training.epochs=8")
    first, *_, last = [r["rsum"] for r in read_log(tmp_path) if r["kind"] == "epoch"]
    assert last > first
    assert progress.best_rsum > 400, "twenty images; chance has about 145"
    model = trained(tmp_path)
    assert model.step == progress.best_step
    assert metrics(evaluate(model.model, data.dev, model.tokenizer)).rsum == progress.best_rsum
    rows = list(csv.DictReader((tmp_path / TABLE).read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 9))
    assert json.loads((tmp_path / RESULT).read_text())["best"]["rsum"] == progress.best_rsum


def test_the_seed_decides_everything(trained_small, tmp_path: Path) -> None:
    for name, settings in (("a", ()), ("b", ()), ("c", ("seed=1",))):
        trained_small(tmp_path / name, *settings)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


@pytest.mark.parametrize("settings", [(), ("training.checkpoint_steps=2", "training.accumulate=2")])
@pytest.mark.parametrize("moment", ["in a step", "while a checkpoint is written", "before a checkpoint has its name"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_run_ends_as_if_it_had_not_been_killed(
    trained_small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple, moment: str, at: int
) -> None:
    settings = (*settings, "training.probe_steps=3", "training.epochs_on_all=1")
    trained_small(tmp_path / "whole", *settings)
    calls = 0

    def dying(function):
        def called(*arguments, **named):
            nonlocal calls
            calls += 1
            if calls == at * (3 if moment == "in a step" else 1):
                raise Killed
            return function(*arguments, **named)

        return called

    where = {
        "in a step": (training, "_clipped"),
        "while a checkpoint is written": (checkpoint, "save_file"),
        "before a checkpoint has its name": (checkpoint.json, "dumps"),
    }[moment]
    with monkeypatch.context() as patch:
        if moment == "before a checkpoint has its name":
            patch.setattr(checkpoint.Path, "replace", dying(Path.replace))
        else:
            patch.setattr(*where, dying(getattr(*where)))
        with pytest.raises(Killed):
            trained_small(tmp_path / "killed", *settings)
    trained_small(tmp_path / "killed", *settings)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_run_that_is_done_is_left_as_it_is(trained_small, tmp_path: Path) -> None:
    trained_small(tmp_path)
    before = contents(tmp_path)
    trained_small(tmp_path)
    assert contents(tmp_path) == before


def test_another_experiment_or_other_data_do_not_go_on(trained_small, tmp_path: Path, data: RetrievalData) -> None:
    trained_small(tmp_path)
    with pytest.raises(RunError, match="the run of another experiment"):
        trained_small(tmp_path, "seed=2")
    features = data.train.images.batch(np.arange(60)).numpy()
    features[17, 3] += 1
    changed = Split("train", ArrayImages(features), data.train.captions, data.train.image_of)
    with pytest.raises(RunError, match=r"fingerprint .* has changed since the run began"):
        trained_small(tmp_path, on=RetrievalData("made up", changed, data.dev))


def test_two_runs_do_not_write_one_folder(trained_small, tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(RunError, match="another process is writing"):
        trained_small(tmp_path)
    trained_small(tmp_path)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"expected the folder of a run, with run\.json"):
        trained(tmp_path)


def test_it_stops_early_when_asked(trained_small, tmp_path: Path) -> None:
    """At so low a rate no epoch is better than the first."""
    still = ("training.epochs=40", "training.learning_rate=1e-12")
    for _ in range(2):
        progress = trained_small(tmp_path, *still, "training.patience=2")
        assert progress.stopped == "no better dev RSUM in 2 epochs"
        assert (progress.best_step, progress.step) == (6, 18)
    unlimited = trained_small(tmp_path / "b", "training.epochs=4", "training.learning_rate=1e-12")
    assert not unlimited.stopped
    assert unlimited.step == 24


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_other_precisions_learn_too(trained_small, tmp_path: Path, precision: str) -> None:
    assert trained_small(tmp_path, f"training.precision={precision}", "training.epochs=6").best_rsum > 300


@pytest.mark.parametrize("ways", ["stop", "continue"])
def test_numbers_that_are_not_finite_are_found(
    trained_small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ways: str
) -> None:
    right, calls = training.surrogate, 0

    def wrong(*arguments):
        nonlocal calls
        calls += 1
        return right(*arguments) * (float("nan") if calls == 4 else 1)

    monkeypatch.setattr(training, "surrogate", wrong)
    if ways == "stop":
        with pytest.raises(TrainingTrouble, match=r"step 4: not finite: .* lower training.learning_rate"):
            trained_small(tmp_path)
    else:
        trained_small(tmp_path, "training.on_trouble=continue")
        assert all(bool(t.isfinite().all()) for t in trained(tmp_path).model.parameters())
    assert [r["step"] for r in read_log(tmp_path) if r["kind"] == "trouble"] == [4]


def test_collapse_is_found(trained_small, tmp_path: Path, data: RetrievalData) -> None:
    alike = Split("train", ArrayImages(np.ones((60, 12), np.float32)), data.train.captions, data.train.image_of)
    with pytest.raises(TrainingTrouble, match=r"step 2: collapse: all image .* \(training.epochs_on_all=1\)"):
        trained_small(tmp_path, on=RetrievalData("made up", alike, data.dev))


def test_a_vanishing_gradient_is_found(trained_small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = training.surrogate
    monkeypatch.setattr(training, "surrogate", lambda *arguments: right(*arguments) * 0)
    with pytest.raises(TrainingTrouble, match="step 1: vanishing gradient"):
        trained_small(tmp_path)


def test_health_has_its_bounds() -> None:
    assert gradient_trouble(1.0, 1) is None
    assert collapse(torch.eye(3), "image", 1) is None
    assert collapse(torch.ones(1, 3), "image", 1) is None
    assert collapse(torch.ones(2, 3), "image", 1) is not None


def test_an_unwritable_folder_is_an_error(trained_small, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        trained_small(tmp_path / "file" / "run")


def test_too_few_pairs_are_an_error(trained_small, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got 120 pairs for steps of 200"):
        trained_small(tmp_path, "training.batch_size=200")


def test_shares_are_the_batch() -> None:
    pairs = order(np.arange(11), 0, 0)
    shares = [Share(rank, 3).of(pairs) for rank in range(3)]
    assert np.concatenate(shares).tolist() == pairs.tolist()
    assert sorted(pairs) == list(range(11))
