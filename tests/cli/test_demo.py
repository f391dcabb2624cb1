"""`goal-analyze demo`: what it finds of losses, how it retrieves, what Ctrl-C leaves, and what is not done again."""

import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import typer

from goal_analysis.cli.demo import (
    MARGIN,
    RETRIEVAL,
    RETRIEVING,
    SCALE,
    SMALL,
    compare_on_scenes,
    ending_a_demo,
    measure_margin_softmax,
    verify_losses_by_autograd,
)
from losses_catalog.contrastive import contrastive_loss
from losses_catalog.triplet import triplet_loss

SETTINGS = ("data.train=12", "data.dev=8", "data.test=1", "training.epochs=1", "training.batch_size=20")
SETTINGS += ("model.image.width=8", "model.tokenizer.name=words", "model.tokenizer.min_count=1")

SEEDS = 3


def train_in_a_demo(output: Path) -> None:
    os.environ["COLUMNS"] = "160"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells take from what they begin in the background
    try:
        with ending_a_demo(output):
            compare_on_scenes(output / RETRIEVAL, 1, SEEDS, SETTINGS, RETRIEVING[:1])
    except typer.Exit as end:
        sys.exit(end.exit_code)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which findings are kept."""
    monkeypatch.setenv("GOAL_ANALYSIS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_is_measured_is_recognised_and_not_measured_again(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "measurement.json"
    found = measure_margin_softmax(file)
    # Of scores, the softmax with a margin is `unified`; with class proxies it is `cos_face`.
    first = found["nearest"][0]
    assert (first["loss"], first["ties"].split(", ")[0]) == ("unified", "cos_face")
    assert first["distance"] < 1e-9
    assert first["settings"] == f"gamma={SCALE:g}, margin={MARGIN}"
    said = capsys.readouterr().out
    assert "separable: yes" in said
    assert "integrable: yes" in said
    monkeypatch.setattr(sys.modules["goal_analysis.cli.demo"], "margin_softmax", None)
    assert measure_margin_softmax(file) == found
    assert capsys.readouterr().out == said


def test_what_was_verified_is_not_verified_again(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, both = tmp_path / "verification.json", (triplet_loss, contrastive_loss)
    assert verify_losses_by_autograd(file, both[:1])
    (kept,) = cache.iterdir()
    assert verify_losses_by_autograd(file, both)
    assert f"2/2 {contrastive_loss.name}" in capsys.readouterr().out
    kept.write_text(kept.read_text().replace('"verified": true', '"verified": false'))
    assert not verify_losses_by_autograd(file, both[:1])
    assert json.loads(file.read_text())[0]["verified"] is False


def test_ctrl_c_leaves_a_report_and_the_same_command_goes_on(tmp_path: Path, forked) -> None:
    with forked(partial(train_in_a_demo, tmp_path)) as process:
        deadline = time.monotonic() + 300
        while not list(tmp_path.rglob("result.json")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate()
    assert process.returncode == 130, said
    assert said.count("Interrupted") == 1, said
    assert f" {RETRIEVING[0]} " in said, "the table of the runs that are done"
    page = (tmp_path / "report.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert RETRIEVING[0] in page
    done = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")}
    assert all("best" in json.loads(path.read_text()) for path in done)
    assert compare_on_scenes(tmp_path / RETRIEVAL, 1, SEEDS, SETTINGS, RETRIEVING[:1])
    assert len(list(tmp_path.rglob("result.json"))) == SEEDS > len(done)
    assert all(path.stat().st_mtime_ns == then for path, then in done.items())


def test_the_demo_says_when_a_run_fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = [*SMALL, "data.train=2", "data.dev=2", "training.batch_size=1000"]
    assert not compare_on_scenes(tmp_path, 1, 1, settings, RETRIEVING[:1])
    said = capfd.readouterr()
    assert "expected one step an epoch at least" in said.out + said.err


def test_there_are_a_baseline_and_four_more() -> None:
    assert len(set(RETRIEVING)) >= 5
