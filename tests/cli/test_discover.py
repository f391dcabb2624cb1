"""`discover` as a user calls it, on a small folder of features."""

import json
import runpy
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from goal_analysis.cli import app

SETTINGS = ("training.batch_size=40", "training.epochs=2", "model.image.dim=8")
BASELINES = ("vse_pp",)


def words(folder: Path, output: Path, *more: str) -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    counts = ["--budget", "3", "--baseline-budget", "1", "--finalists", "1", "--seeds", "1", "--jobs", "2"]
    named = [part for name in BASELINES for part in ("--baseline", name)]
    return ["discover", "--data", str(folder), "-o", str(output), *counts, *named, *settings, *more]


@pytest.fixture(scope="module")
def other(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same features under another name."""
    return shutil.copytree(folder, tmp_path_factory.mktemp("data") / "other")


@pytest.fixture(scope="module")
def output(folder: Path, other: Path, tmp_path_factory: pytest.TempPathFactory, killed_midway) -> Path:
    """A discovery that was killed, and gone on with."""
    where = tmp_path_factory.mktemp("discovery") / "found"
    given = words(folder, where, "--confirm", str(other))
    kept = killed_midway(given, where)
    again = CliRunner().invoke(app, given)
    assert again.exit_code == 0, again.output
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    return where


def ran(output: Path) -> pd.DataFrame:
    """The trials that were run, without the variants of the winner."""
    trials = pd.read_csv(output / "trials.csv")
    return trials[(trials["state"] != "not run") & ~trials["why"].astype(str).str.startswith("variant")]


def test_every_search_has_its_trials_and_what_was_drawn_is_told(output: Path) -> None:
    trials = ran(output)
    assert trials.groupby("search").size().to_dict() == {"found": 3, "vse_pp": 1}
    assert set(trials["state"]) <= {"complete", "fail"}, "the first trials measure the rungs, and none is ended early"
    complete = trials[trials["state"] == "complete"]
    assert (complete["epochs"] == complete["training.epochs"]).all()
    idle = pd.read_csv(output / "trials.csv").query("state == 'not run'")
    assert all(why.startswith(("rejected", "copy of", "variant")) for why in idle["why"])


def test_the_best_few_are_compared_with_the_baselines_over_fresh_seeds(output: Path, folder: Path) -> None:
    text = (output / "discovery.md").read_text()
    assert f"## {folder.name}\n" in text
    assert "## other, on which nothing was chosen\n" in text
    for name in ("found 1", *BASELINES):
        assert text.count(f"| `{name}` | below | 1 |") == 2
    best = ran(output).query("search == 'found' and state == 'complete'")["rsum"].max()
    assert f"- found 1: {best:.1f} in the trial, the best of 3; " in text
    assert "A trial's number is no estimate" in text
    assert "| found | 1 | " in text, "what the rungs say of the end"
    assert "## found 1, made simple" in text
    declared = [json.loads(path.read_text()) for path in (output / "tuning").rglob("experiment.json")]
    assert {(run["seed"], run["data"]["fold"]) for run in declared} == {(1000, 0)}  # none of the comparison's


def test_what_was_found_is_a_module_that_checks_itself(output: Path) -> None:
    for name in ("found_1", "vse_pp"):
        assert {path.suffix for path in output.glob(f"{name}[.-]*")} == {".py", ".toml", ".png"}
    runpy.run_path(str(output / "found_1.py"))["check"]()


def test_another_discovery_in_the_folder_is_refused(output: Path, folder: Path, other: Path) -> None:
    refused = {
        ("--set", "training.epochs=3"): "got another experiment than this study was begun with",
        ("--budget", "2"): "found: got a budget of 2 but expected 3 at least",
        ("--data", str(other)): "got another data than this study was begun with",
        ("--integrable",): "got another objective 'found' than this study has",
    }
    for more, said in refused.items():
        found = CliRunner().invoke(app, words(folder, output, *more))
        assert found.exit_code == 1
        assert said in found.output


def test_a_larger_budget_goes_on_from_what_was_searched(
    output: Path, folder: Path, other: Path, tmp_path: Path
) -> None:
    more = shutil.copytree(output, tmp_path / "more")
    kept = {path: path.stat().st_mtime_ns for path in more.rglob("result.json")}
    found = CliRunner().invoke(app, words(folder, more, "--confirm", str(other), "--budget", "4"))
    assert found.exit_code == 0, found.output
    assert (ran(more)["search"] == "found").sum() == 4
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_data_that_is_not_there_is_refused(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, words(tmp_path / "none", tmp_path / "out"))
    assert found.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_two_data_sets_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    same = shutil.copytree(folder, tmp_path / "elsewhere" / folder.name)
    found = CliRunner().invoke(app, words(folder, tmp_path / "out", "--data", str(same)))
    assert found.exit_code == 2
    assert f"got two data sets called '{folder.name}' but expected names that differ" in " ".join(found.output.split())
