"""The training loop: it learns, ends as if never interrupted, and says what went wrong."""

import csv
import json
import multiprocessing
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from goal_analysis.declarations import with_settings
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.parts import Parts
from goal_analysis.recombination.text import parse_objective
from goal_analysis.vse.data.split import ArrayImages, RetrievalData, Split
from goal_analysis.vse.folder.checkpoint import STATE, load, save, steps
from goal_analysis.vse.folder.run import load_model, run_experiment
from goal_analysis.vse.folder.run_folder import CHECKPOINTS, LOG, RESULT, RUN, TABLE, RunError, read_log
from goal_analysis.vse.loop import training
from goal_analysis.vse.loop.batches import epoch_batches, order
from goal_analysis.vse.loop.experiment import TrainingOptions, experiment_from_mapping, preset
from goal_analysis.vse.loop.health import (
    COLLAPSED,
    VANISHING_STEPS,
    TrainingTrouble,
    collapse,
    gradient_trouble,
)
from goal_analysis.vse.models.text import pad
from goal_analysis.vse.retrieval.scoring import evaluate_models
from losses_catalog import catalog, pair_weights, triplet_weights

STEPS = 18
"""Of three epochs of 120 pairs in batches of 20."""


class Killed(BaseException):
    """Stands for the end of the process."""


def contents(folder: Path) -> dict[str, object]:
    """Log, table and the last weights of a run, bit for bit."""
    last = load(folder / CHECKPOINTS, steps(folder / CHECKPOINTS)[-1])
    tensors = {**last.model, **{f"optimizer {k}": t for k, t in last.optimizer.items()}}
    found: dict[str, object] = {name: t.numpy().tobytes() for name, t in tensors.items()}
    return found | {name: (folder / name).read_bytes() for name in (LOG, TABLE, RESULT)} | {"progress": last.progress}


def test_it_learns(trained_small, tmp_path: Path, data: RetrievalData) -> None:
    progress = trained_small(tmp_path, "training.epochs=8")
    first, *_, last = [r["rsum"] for r in read_log(tmp_path) if r["kind"] == "epoch"]
    assert last > first
    assert progress.best_rsum > 400, "twenty images; chance has about 145"
    model = load_model(tmp_path)
    assert model.step == progress.best_step
    assert evaluate_models([(model.model, model.tokenizer)], data.dev).rsum == progress.best_rsum
    rows = list(csv.DictReader((tmp_path / TABLE).read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 9))
    assert json.loads((tmp_path / RESULT).read_text())["best"]["rsum"] == progress.best_rsum


@pytest.fixture(scope="module")
def finished(trained_small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs; not to be written in."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    trained_small(folder)
    return folder


@pytest.fixture
def again(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(finished, tmp_path / "again"))


def test_the_seed_decides_everything(trained_small, finished: Path, tmp_path: Path) -> None:
    for name, settings in (("same", ()), ("other", ("seed=1",))):
        trained_small(tmp_path / name, *settings)
    assert contents(tmp_path / "same") == contents(finished)
    assert contents(tmp_path / "other") != contents(finished)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch):
    """Runs something that ends when it calls a function of the loop for so many a time."""

    def run(work: Callable[[], object], name: str, number: int) -> None:
        right, calls = getattr(training, name), count(1)

        def dying(*arguments):
            if next(calls) == number:
                raise Killed
            return right(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(training, name, dying)
            with pytest.raises(Killed):
                work()

    return run


INTERRUPTED = ("training.probe_steps=3", "training.epochs_on_all=1")


LEARNS = "objective=info_nce(learned=tau<=10.003)"


@pytest.fixture(
    scope="module", params=[(), ("training.checkpoint_steps=2", "training.accumulate=2", LEARNS)], ids=["", "learns"]
)
def interrupted(request: pytest.FixtureRequest, trained_small, tmp_path_factory: pytest.TempPathFactory):
    """Settings, and what a run of them leaves that nothing interrupts."""
    settings = (*request.param, *INTERRUPTED)
    folder = tmp_path_factory.mktemp("whole") / "run"
    trained_small(folder, *settings)
    return settings, contents(folder)


@pytest.mark.parametrize("moment", [("learning_rate", 3), ("learning_rate", 8), ("surrogate", 9), ("record_of", 2)])
def test_a_run_ends_as_if_it_had_not_been_killed(
    trained_small, tmp_path: Path, killed, interrupted: tuple, moment: tuple[str, int]
) -> None:
    settings, expected = interrupted
    killed(lambda: trained_small(tmp_path, *settings), *moment)
    trained_small(tmp_path, *settings)
    assert contents(tmp_path) == expected
    learned = [r["learned_tau"] for r in read_log(tmp_path) if r["kind"] == "epoch" and LEARNS in settings]
    assert all(tau != 10 and tau < 10.0031 for tau in learned)


SIGNALS = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_ends_a_run_after_its_step_and_nothing_is_lost(
    trained_small, tmp_path: Path, interrupted: tuple, name: str
) -> None:
    settings, expected = interrupted
    number = getattr(signal, name)
    before = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    outside = signal.signal(number, before)  # which ignores it where tests run in the background

    def ended(folder: Path, times: int) -> None:
        def report(record: Mapping[str, Any]) -> None:
            for _ in range(times if (record["kind"], record["step"]) == ("probe", 3) else 0):
                signal.raise_signal(number)

        with pytest.raises(KeyboardInterrupt):
            trained_small(folder, *settings, report=report)
        assert signal.getsignal(number) == before

    try:
        ended(tmp_path / "once", 1)
        assert steps(tmp_path / "once" / CHECKPOINTS)[-1] == 3
        trained_small(tmp_path / "once", *settings)
        assert contents(tmp_path / "once") == expected
        ended(tmp_path / "twice", 2)
        assert 3 not in steps(tmp_path / "twice" / CHECKPOINTS)
    finally:
        signal.signal(number, outside)


def test_data_sets_carry_nothing_that_a_formula_could_read(trained_small, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got an objective that reads what pairs carry but expected"):
        trained_small(tmp_path / "run", "objective=(s_p - s_n - (y_p - y_n))**2")
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_done_is_left_as_it_is(trained_small, finished: Path, again: Path) -> None:
    trained_small(again)
    assert contents(again) == contents(finished)


def test_another_experiment_or_other_data_do_not_go_on(trained_small, again: Path, data: RetrievalData) -> None:
    with pytest.raises(RunError, match=r"the run of another experiment \(seed: 0, not 2\) but expected"):
        trained_small(again, "seed=2")
    features = data.train.images.batch(np.arange(60)).numpy()
    features[17, 3] += 1
    changed = Split("train", ArrayImages(features), data.train.captions, data.train.image_of)
    with pytest.raises(RunError, match=r"fingerprint .* has changed since the run began"):
        trained_small(again, on=RetrievalData("made up", changed, data.dev))


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"expected the folder of a run, with run\.json"):
        load_model(tmp_path)


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


def test_encoding_in_chunks_changes_nothing_but_the_numbers_of_dropout(trained_small, tmp_path: Path) -> None:
    exact = ("training.precision=64-true", "training.epochs=1", "training.accumulate=2")
    for name, settings in {
        "whole": ("model.image.dropout=0.0",),
        "chunks": ("model.image.dropout=0.0", "training.chunk=6"),
        "dropout": ("training.chunk=6",),
    }.items():
        trained_small(tmp_path / name, *exact, *settings)
    whole, chunks, dropout = (
        nn.utils.parameters_to_vector(load_model(tmp_path / name).model.parameters())
        for name in ("whole", "chunks", "dropout")
    )
    torch.testing.assert_close(chunks, whole, rtol=0, atol=1e-12)
    assert not torch.allclose(dropout, whole, rtol=0, atol=1e-3)


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
        assert all(bool(t.isfinite().all()) for t in load_model(tmp_path).model.parameters())
    assert [r["step"] for r in read_log(tmp_path) if r["kind"] == "trouble"] == [4]


def test_collapse_is_found(trained_small, tmp_path: Path, data: RetrievalData) -> None:
    alike = Split("train", ArrayImages(np.ones((60, 12), np.float32)), data.train.captions, data.train.image_of)
    with pytest.raises(TrainingTrouble, match=r"step 1: collapse: all image .* makes no difference"):
        trained_small(tmp_path, on=RetrievalData("made up", alike, data.dev))


def test_collapse_of_scores_is_found(tmp_path: Path, of_words) -> None:
    """Of a model that gives no embeddings, where all images and all captions are alike, and only there."""
    settings = ["model.image.dim=16", "training.epochs=4", "training.batch_size=10"]
    settings += ["model.tokenizer.name=words", "model.tokenizer.min_count=1", "training.log_steps=2"]
    experiment = experiment_from_mapping(with_settings(preset("cross_attention"), settings))
    objective = GradientObjective(parse_objective(experiment.objective, Parts(triplet_weights, pair_weights, catalog)))

    def run(folder: Path, alike: bool) -> None:
        features, captions = of_words(60, 1, captions=1)
        if alike:
            features, captions = np.ones_like(features), ("a red dog",) * 60
        regions = ArrayImages(features.reshape(60, 3, 4))
        split = Split("train", regions, captions, np.arange(60))
        fabric = Fabric(accelerator="cpu", devices=1)
        run_experiment(experiment, objective, RetrievalData("x", split, split), folder, fabric)

    with pytest.raises(TrainingTrouble, match=r"step 1: collapse: all scores .* of each other; .* makes no difference"):
        run(tmp_path / "alike", alike=True)
    run(tmp_path / "others", alike=False)


@pytest.fixture
def without_weights(monkeypatch: pytest.MonkeyPatch):
    """From a step on, training has no gradient but at some steps."""
    right = training.surrogate

    def patch(first: int, but: tuple[int, ...] = ()) -> None:
        calls = 0

        def wrong(*arguments):
            nonlocal calls
            calls += 1
            return right(*arguments) * (calls < first or calls in but)

        monkeypatch.setattr(training, "surrogate", wrong)

    return patch


def test_a_vanishing_gradient_is_found(trained_small, tmp_path: Path, without_weights) -> None:
    without_weights(first=6)
    with pytest.raises(TrainingTrouble, match=r"step 25: vanishing gradient: got no gradient for 20 steps in a row"):
        trained_small(tmp_path, "training.epochs=9")


def test_in_a_run_of_fewer_steps_it_has_vanished_if_there_never_was_one(
    trained_small, tmp_path: Path, without_weights
) -> None:
    without_weights(first=1)
    with pytest.raises(TrainingTrouble, match=rf"step {STEPS}: vanishing gradient"):
        trained_small(tmp_path / "never")
    without_weights(first=2)
    assert trained_small(tmp_path / "once").zero_steps == STEPS - 1


def test_a_gradient_that_comes_back_has_not_vanished(trained_small, tmp_path: Path, without_weights) -> None:
    """And one that vanishes for good, where that stops nothing, is told every so many steps."""
    without_weights(first=1, but=(20, 40))
    trained_small(tmp_path / "back", "training.epochs=9", "training.log_steps=50")
    without_weights(first=1, but=(20,))
    trained_small(tmp_path / "gone", "training.epochs=10", "training.on_trouble=continue", "training.log_steps=50")
    for name, expected in (("back", []), ("gone", [40, 60])):
        assert [r["step"] for r in read_log(tmp_path / name) if r["kind"] == "trouble"] == expected


def test_a_batch_without_negatives_is_a_step_as_any_other(trained_small, tmp_path: Path) -> None:
    """Two captions of one image, whose features are the same where nothing is dropped."""
    small_batches = ("training.batch_size=2", "training.log_steps=1", "model.image.dropout=0.0", "training.epochs=1")
    assert trained_small(tmp_path, *small_batches).step == 60
    norms = [r["gradient_norm"] for r in read_log(tmp_path) if r["kind"] == "step"]
    assert min(norms) == 0
    assert np.median(norms) > 1e-3


def test_steps_without_a_gradient_are_counted_across_a_resumption(
    trained_small, tmp_path: Path, killed, without_weights
) -> None:
    settings = ("training.epochs=9", "training.checkpoint_steps=2")
    without_weights(first=1)
    killed(lambda: trained_small(tmp_path, *settings), "learning_rate", 12)
    assert load(tmp_path / CHECKPOINTS, 10).progress.zero_steps == 10
    with pytest.raises(TrainingTrouble, match="step 20: vanishing gradient"):
        trained_small(tmp_path, *settings)


def test_a_checkpoint_that_does_not_count_them_has_none(trained_small, again: Path) -> None:
    last = load(again / CHECKPOINTS, STEPS)
    saved = save(again / CHECKPOINTS, replace(last, progress=replace(last.progress, zero_steps=5)))
    assert trained_small(again).zero_steps == 5
    record = json.loads((saved / STATE).read_text())
    del record["state"]["zero_steps"], record["sha256"][STATE]
    (saved / STATE).write_text(json.dumps(record))
    assert trained_small(again).zero_steps == 0


def test_health_has_its_bounds() -> None:
    assert gradient_trouble(1.0, 1, 0, 1) is None
    assert gradient_trouble(0.0, 1, 1, 2) is None
    assert "no gradient for 1 step, " in str(gradient_trouble(0.0, 1, 1, 1))
    assert gradient_trouble(0.0, 99, VANISHING_STEPS - 1, 100) is None
    assert gradient_trouble(0.0, 99, VANISHING_STEPS, 100) is not None
    apart, alike, none = torch.eye(3), torch.ones(3, 3), torch.full((3, 3), torch.nan)
    images = torch.arange(3)
    assert collapse((apart, apart), images, 1) is None
    assert "all image embeddings" in str(collapse((alike, apart), images, 1))
    assert "all text embeddings" in str(collapse((apart, alike), images, 1))
    assert "epochs_on_all" in str(collapse((apart, alike), images, 2))
    assert collapse((alike, alike), torch.zeros(3), 1) is None
    assert collapse((none, none), images, 1) is None
    assert collapse(none, images, 1) is None
    assert collapse(apart, images, 1) is None
    assert collapse(torch.ones(1, 1), images[:1], 1) is None
    assert collapse(torch.tensor([[0.5, 0.5 + 2 * COLLAPSED]]), images, 1) is None
    assert collapse(torch.tensor([[0.5, 0.5 + COLLAPSED / 2]]), images, 1) is not None


def test_an_unwritable_folder_is_an_error(trained_small, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        trained_small(tmp_path / "file" / "run")


def test_too_few_pairs_are_an_error(trained_small, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got 120 pairs for steps of 200"):
        trained_small(tmp_path, "training.batch_size=200")


@pytest.mark.parametrize("wrong", ["training.batch_size=200", "model.image.name=nothing"])
def test_what_cannot_begin_leaves_the_folder_to_another(trained_small, tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ValueError, match="but expected"):
        trained_small(tmp_path, wrong)
    assert not (tmp_path / RUN).exists()
    assert trained_small(tmp_path).step == STEPS
    with pytest.raises(RunError, match="the run of another experiment"):
        trained_small(tmp_path, wrong)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize(("first", "then"), [(1, 0), (0, 2)])
def test_another_number_of_workers_goes_on(
    trained_small, finished: Path, tmp_path: Path, killed, first: int, then: int
) -> None:
    killed(lambda: trained_small(tmp_path, f"training.workers={first}"), "epoch_batches", 2)
    trained_small(tmp_path, f"training.workers={then}")
    assert contents(tmp_path) == contents(finished)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_the_readers_of_batches_end_before_dev_is_evaluated(
    trained_small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive, right = [], training.record_of

    def looked(*arguments):
        alive.append(len(multiprocessing.active_children()))
        return right(*arguments)

    monkeypatch.setattr(training, "record_of", looked)
    trained_small(tmp_path, "training.workers=2")
    assert alive
    assert not any(alive)


def test_shares_are_the_batch() -> None:
    split = Split("train", ArrayImages(np.zeros((11, 2), np.uint8)), ("a dog",) * 11, np.arange(11))
    options = TrainingOptions(batch_size=11)
    parts = [next(epoch_batches(split, pad([[2]] * 11), options, 0, 0, rank=rank, ranks=3))[3] for rank in range(3)]
    assert torch.cat(parts).tolist() == order(np.arange(11), 0, 0).tolist()
    assert [len(part) for part in parts] == [4, 4, 3]
