"""`explore` as a user calls it: the page, the batch that is laid over it, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from goal_analysis.cli import app


def called(*words: str) -> Result:
    return CliRunner().invoke(app, ["explore", *words])


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("arrays"), np.random.default_rng(0)
    for name, shape in {"both": (2, 8, 4), "one": (8, 4), "other": (8, 4), "longer": (9, 4)}.items():
        np.save(folder / f"{name}.npy", rng.normal(size=shape).astype(np.float32))
    np.save(folder / "damaged.npy", np.full((2, 8, 4), np.nan, np.float32))
    np.save(folder / "labels.npy", np.arange(8) // 2)
    (folder / "labels.txt").write_text("cat\n" * 4 + "dog\n" * 4)
    (folder / "few.txt").write_text("cat dog\n")
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--batch", "both.npy"], "8 anchors; 56 of 56 triplets are drawn"),
        (["--batch", "one.npy", "--batch", "other.npy"], "8 anchors; 56 of 56 triplets are drawn"),
        (["--batch", "one.npy", "--labels", "labels.npy"], "8 anchors; 48 of 48 triplets are drawn"),
        (["--batch", "one.npy", "--labels", "labels.txt"], "8 anchors; 96 of 96 triplets are drawn"),
    ],
)
def test_a_batch_is_laid_over_a_formula(arrays: Path, tmp_path: Path, words: list[str], said: str) -> None:
    words = [str(arrays / word) if (arrays / word).exists() else word for word in words]
    formula = ["--formula", "softplus(tau*(s_n - s_p))/tau", "--set", "tau=10"]
    result = called(*formula, *words, "-o", str(tmp_path / "page.html"))
    assert result.exit_code == 0, result.output
    page = (tmp_path / "page.html").read_text("utf-8")
    assert said in page
    assert '"text":"softplus(tau*(s_n - s_p))/tau"' in page, "the line that says it in Python"
    assert len(page) < 3_000_000


def test_the_command_that_made_a_page_is_on_it_and_no_batch_is_no_dot(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["goal-analyze", "explore", "constant/linear"])
    result = called("constant/linear", "-o", str(tmp_path / "page.html"))
    assert result.output.strip() == f"written to {tmp_path / 'page.html'}"
    page = (tmp_path / "page.html").read_text("utf-8")
    assert re.search(r"This page was made by</p><pre[^>]*><code>goal-analyze explore constant/linear</code>", page)
    assert "triplets are drawn" not in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "got nothing to explore but expected losses or objectives, or --formula"),
        (["circel"], "circle"),
        (["circle", "--labels", "labels.txt"], "got labels without embeddings but expected --batch too"),
        (["vse0", "--batch", "one.npy"], "of shape (8, 4) but expected one file (2, pairs, dim), two files"),
        (["vse0", "--batch", "one.npy", "--batch", "longer.npy"], "of shape (9, 4) but expected"),
        (["vse0", "--batch", "both.npy", "--labels", "labels.txt"], "and labels but expected"),
        (["vse0", "--batch", "one.npy", "--labels", "few.txt"], "got 2 labels but expected 8, one an embedding"),
        (["vse0", "--batch", "damaged.npy"], "damaged.npy: row 0: got a number that is not finite"),
        (["vse0", "--batch", "labels.txt"], "labels.txt: got a file with a damaged header"),
        (["vse0", "--batch", "nowhere.npy"], "nowhere.npy: got a file that cannot be read"),
        (["vse0", "--set", "gamma=3"], "--set: got 'gamma' but expected one of margin"),
    ],
)
def test_what_is_not_understood_is_refused(arrays: Path, tmp_path: Path, words: list[str], said: str) -> None:
    words = [str(arrays / word) if word.endswith((".npy", ".txt")) else word for word in words]
    result = called(*words, "-o", str(tmp_path / "page.html"))
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "page.html").exists()
