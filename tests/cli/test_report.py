"""`report` as a user calls it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from goal_analysis.cli import app


def called(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture(scope="module")
def runs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs; the objective of one is a loss of the catalog's taken apart."""
    where = tmp_path_factory.mktemp("runs")
    for number, objective in enumerate(("vse_pp", "nca_twin/linear@softmax:12")):
        words = ["train", "--preset", "bag_of_words", "--data", str(folder), "--objective", objective]
        words += ["--set", "training.batch_size=20", "--set", "training.epochs=1", "--set", "model.image.dim=8"]
        result = called(*words, "-o", str(where / str(number)))
        assert result.exit_code == 0, result.output
    return where


def test_runs_become_a_page(runs: Path, tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.html"
    baseline = ["--baseline", "nca_twin/linear@softmax:12"]
    result = called("report", str(runs), str(tmp_path / "nowhere"), "-o", str(page), *baseline, "--queries", "2")
    assert result.exit_code == 0, result.output
    assert result.output == f"written to {page}\n"
    text = page.read_text("utf-8")
    best = json.loads((runs / "0" / "result.json").read_text())["best"]["rsum"]
    for said in (
        f"<b>{best:.1f}</b>",
        "vse_pp: too few seeds to say: 1 in common with nca_twin/linear@softmax:12, and 4 are needed",
        f"{tmp_path / 'nowhere'}: got no run.json in it but expected the folder of a run, or one of runs",
        "The data are features, so an image is known here by its first caption.",
        "retrieving from 12 images of dev",
    ):
        assert said in text
    assert text.count('class="query"') == 2 * 2 * 2, "both ways, of both runs"


def test_data_that_moved_are_said(runs: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("run.json", "result.json", "log.jsonl"):
        (moved / name).write_bytes((runs / "0" / name).read_bytes())
    result = called("report", str(moved), "-o", str(tmp_path / "page.html"))
    assert result.exit_code == 0, result.output
    assert "There is nothing to show: " in (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere: got no run.json in it but expected the folder of a run"),
        (["RUNS", "--baseline", "hinge"], "baseline: got 'hinge' but expected one of vse_pp, "),
    ],
)
def test_what_is_not_understood_is_refused(words: list[str], said: str, runs: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = called("report", *(str(runs) if word == "RUNS" else word for word in words), "-o", str(page))
    assert result.exit_code == 2
    assert said in result.output
    assert not page.exists()
