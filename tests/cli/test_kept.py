"""What commands derived is kept for the next call, and never for another question, other sources or a user's files."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import goal_analysis
from goal_analysis.cli import app
from goal_analysis.cli.kept import fingerprint, kept


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which answers are kept."""
    monkeypatch.setenv("GOAL_ANALYSIS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_second_answer_is_the_first_one_and_is_not_derived(cache: Path) -> None:
    words = [sys.executable, "-X", "importtime", "-m", "goal_analysis", "show", "triplet"]
    first, second = (subprocess.run(words, capture_output=True, text=True, check=True) for _ in range(2))
    assert first.stdout == second.stdout
    assert "hinge" in first.stdout
    assert [" sympy\n" in run.stderr for run in (first, second)] == [True, False]


def test_another_question_has_another_answer(cache: Path) -> None:
    answers = {kept(lambda one=one: one, "show", one) for one in (1, 2, 1)}
    assert answers == {1, 2}
    assert len(list(cache.iterdir())) == 2


def test_a_damaged_answer_is_derived_anew(cache: Path) -> None:
    assert kept(lambda: [1], "list") == [1]
    (file,) = cache.iterdir()
    for damage in ("", "{", "[1]", "{}"):
        file.write_text(damage)
        assert kept(lambda: [2], "list") == [2]
    assert json.loads(file.read_text()) == {"found": [2]}


@pytest.mark.parametrize("named", [Path("mine.toml"), "mine.toml", "mine.py:loss", "package.module:loss"])
def test_what_names_a_file_or_a_module_is_derived_anew(cache: Path, named: object) -> None:
    assert [kept(lambda one=one: one, "show", named) for one in (1, 2)] == [1, 2]


def test_with_extensions_and_with_off_nothing_is_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOAL_ANALYSIS_EXTENSIONS", "mine.py")
    assert [kept(lambda one=one: one, "list") for one in (1, 2)] == [1, 2]
    monkeypatch.delenv("GOAL_ANALYSIS_EXTENSIONS")
    monkeypatch.setenv("GOAL_ANALYSIS_CACHE", "off")
    assert [kept(lambda one=one: one, "list") for one in (1, 2)] == [1, 2]
    assert not cache.exists()


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GOAL_ANALYSIS_CACHE", str(tmp_path / "file" / "cache"))
    assert kept(lambda: 1, "list") == 1


def test_other_sources_are_another_question(tmp_path: Path) -> None:
    for package in ("goal_analysis", "losses_catalog"):
        shutil.copytree(Path(goal_analysis.__file__).parents[1] / package, tmp_path / package)

    def of_the_copy() -> str:
        program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from goal_analysis.cli import kept; "
        words = [sys.executable, "-c", program + "print(kept.fingerprint('list'))"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    assert of_the_copy() == fingerprint("list") != fingerprint("show")
    with (tmp_path / "losses_catalog" / "circle.py").open("a") as file:
        file.write("# another formula\n")
    assert of_the_copy() != fingerprint("list")


def test_an_error_is_not_kept(cache: Path) -> None:
    result = CliRunner().invoke(app, ["show", "circle", "--set", "gama=2"])
    assert result.exit_code == 2
    assert "gamma" in result.output
    assert not cache.exists()
