"""docs/extending.md: its files are what the page says they are, by the names it gives them, in every command."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from goal_analysis.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
FILES = dict(re.findall(r"```\w+ file=(\S+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))


def test_a_loss_takes_one_file_of_under_40_lines():
    assert len(FILES["losses_catalog/worst_violation.py"].splitlines()) < 40


def test_the_file_is_a_loss_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "worst_violation.py").write_text(FILES["losses_catalog/worst_violation.py"], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        import worst_violation

        assert worst_violation.worst_violation_loss.name == "worst_violation"
    finally:
        sys.modules.pop("worst_violation", None)


def test_the_toml_file_is_the_same_loss(tmp_path):
    path = tmp_path / "my_losses.toml"
    path.write_text(FILES["my_losses.toml"])
    command = re.search(r"^\$ goal-analyze (show .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)[1]
    arguments = [str(path) if word == "my_losses.toml" else word for word in command.split()]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "sigmoid(tau*(margin + s_n - s_p))" in result.output


def test_the_toml_file_is_an_objective(tmp_path):
    path = tmp_path / "my_objective.toml"
    path.write_text(FILES["my_objective.toml"])
    command = re.search(r"^\$ goal-analyze (compose --toml .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)[1]
    arguments = [str(path) if word == "my_objective.toml" else word for word in command.split()]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "sigmoid(slope*(s_n - s_p))**2" in result.output
    assert "mean over the anchors" in result.output


TINY = ("training.epochs=1", "training.batch_size=8", 'model.tokenizer={name="words", min_count=1}')
SCORING = ('model.image={name="regions", dim=8}', 'model.text={name="recurrent"}')
SETTINGS = {
    "encoder": ('model.image={name="scaled", dim=8, start=0.5}',),
    "scorer": (*SCORING, 'model.scorer={name="best_match", start=2}'),
    "reranker": (*SCORING, 'model.reranker={name="best_match", top=2}'),
}


@pytest.fixture
def extension(tmp_path, monkeypatch):
    """The page's file of strangers, as a user's variable names it; its module is forgotten afterwards."""
    file = tmp_path / "digits.py"
    file.write_text(FILES["digits.py"], encoding="utf-8")
    monkeypatch.setenv("GOAL_ANALYSIS_EXTENSIONS", str(file))
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield file
    sys.modules.pop("digits", None)


def command(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, (words, result.output)
    return result.output


def written(settings):
    return ["--preset", "bag_of_words", *(word for setting in (*TINY, *settings) for word in ("--set", setting))]


@pytest.mark.parametrize("kind", SETTINGS)
def test_strangers_of_one_file_are_trained_and_evaluated(kind, extension, tmp_path):
    run = tmp_path / "run"
    command("train", "--data", "digits", *written(SETTINGS[kind]), "-o", run)
    record = json.loads((run / "run.json").read_text())
    assert record["experiment"]["data"] == {"name": "digits"}
    found = json.loads(command("evaluate", run, "--json"))
    assert found["images"] == 4
    assert ("dual_rsum" in found) == (kind == "reranker")
    assert "the digit" in command("retrieve", run, "--text", "the digit two")
    command("plot", "--run", run, "-o", tmp_path / "pictures")
    command("report", run, "-o", tmp_path / "page.html")
    assert "the digit two" in (tmp_path / "page.html").read_text()


def test_a_strangers_options_are_checked_as_the_packages_own(extension, tmp_path):
    given = ["train", "--data", "digits", *written(SETTINGS["encoder"]), "-o", str(tmp_path / "run"), "--set"]
    for setting, message in (
        ("data.seed=much", "data: digits: seed: got 'much' but expected a whole number"),
        ("data.sed=1", "data: digits: got the key 'sed' but expected one of seed"),
    ):
        result = CliRunner().invoke(app, [*given, setting])
        assert (result.exit_code, message in result.output) == (2, True), result.output


def test_the_processes_of_a_study_know_the_strangers(extension, tmp_path):
    words = [*written(SETTINGS["encoder"]), "--objective", "nca/linear@softmax:12", "--budget", "1", "--seeds", "1"]
    environment = {**os.environ, "GOAL_ANALYSIS_EXTENSIONS": ""}
    study = [sys.executable, "-m", "goal_analysis", "--extension", extension.name, "study", "--data", "digits"]
    done = subprocess.run(
        [*study, *words, "-o", "study"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the digit" in (tmp_path / "study" / "report.html").read_text()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.py", None, "missing.py but expected a Python file with the name of a module"),
        ("no-module.py", "", "no-module.py but expected a Python file with the name of a module"),
        ("json.py", "", "json.py but expected another name, for json is"),
        ("wrong.py", "1 / 0", "wrong.py: got ZeroDivisionError: division by zero"),
        (
            "unlike.py",
            "from goal_analysis.vse.data import DATASETS, DataSet\nDATASETS['x'] = DataSet(lambda seed=0: None)",
            r"got <lambda>(seed=0) but expected load(source, *, skip_bad, **options), each option annotated",
        ),
    ],
)
def test_a_file_that_is_no_extension_is_refused(name, content, message, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("GOAL_ANALYSIS_EXTENSIONS", "")
    if content is not None:
        (tmp_path / name).write_text(content)
    result = CliRunner().invoke(app, ["--extension", str(tmp_path / name), "list"])
    assert (result.exit_code, message in result.output) == (2, True), result.output
