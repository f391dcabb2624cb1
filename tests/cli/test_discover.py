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
SEARCHES = {"found", "InfoNCE", "hardest triplet"}


def words(folder: Path, output: Path, *more: str) -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    counts = ["--budget", "3", "--baseline-budget", "2", "--finalists", "1", "--seeds", "2", "--jobs", "2"]
    return ["discover", "--data", str(folder), "-o", str(output), *counts, *settings, *more]


@pytest.fixture(scope="module")
def output(folder: Path, tmp_path_factory: pytest.TempPathFactory, killed_midway) -> Path:
    """A discovery that was killed, and gone on with."""
    where = tmp_path_factory.mktemp("discovery") / "found"
    given = words(folder, where, "--confirm", str(folder))
    kept = killed_midway(given, where)
    again = CliRunner().invoke(app, given)
    assert again.exit_code == 0, again.output
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    return where


def best_of(output: Path, search: str) -> float:
    trials = pd.read_csv(output / "trials.csv")
    return trials[(trials["search"] == search) & (trials["state"] == "complete")]["rsum"].max()


def test_every_search_has_its_trials_and_what_was_drawn_is_told(output: Path) -> None:
    trials = pd.read_csv(output / "trials.csv")
    ran = trials[trials["state"] != "not run"]
    assert ran.groupby("search").size().to_dict() == {"found": 3, "InfoNCE": 2, "hardest triplet": 2}
    assert set(ran["state"]) <= {"complete", "pruned", "fail"}
    assert (ran[ran["state"] == "complete"]["epochs"] == 2).all()
    assert (ran[ran["state"] == "pruned"]["epochs"] == 1).all()
    assert all(why.startswith(("rejected", "copy of")) for why in trials[trials["state"] == "not run"]["why"])


def test_the_best_few_are_compared_with_the_baselines_over_fresh_seeds(output: Path, folder: Path) -> None:
    text = (output / "discovery.md").read_text()
    assert f"## {folder.name}: 2 fresh seeds" in text
    for name in SEARCHES - {"found"} | {"found 1"}:
        assert f"| {name} | 2 |" in text
        assert (
            len(
                list(
                    (output / "comparison").rglob(
                        f"{name.removesuffix(' 1').replace(' ', '_')}_trial_*/seed-*/result.json"
                    )
                )
            )
            == 2
        )
    states = pd.read_csv(output / "trials.csv").query("search == 'found' and state != 'not run'")["state"]
    ended = f"chosen of {(states == 'complete').sum()} that came to an end, of 3 that were run; "
    assert f"- found 1: {best_of(output, 'found'):.1f} in the trial, {ended}" in text
    assert "Its number there is no estimate" in text
    seeds = {json.loads(path.read_text())["seed"] for path in (output / "trials").rglob("experiment.json")}
    assert seeds == {1000}  # none of the comparison's


def test_what_was_found_is_a_module_that_checks_itself(output: Path) -> None:
    for name in ("found_1", "InfoNCE", "hardest_triplet"):
        assert {path.suffix for path in output.glob(f"{name}*")} == {".py", ".toml", ".png"}
    runpy.run_path(str(output / "found_1.py"))["check"]()


def test_another_discovery_in_the_folder_is_refused(output: Path, folder: Path) -> None:
    for other in (("--set", "training.epochs=3"), ("--budget", "2")):
        found = CliRunner().invoke(app, words(folder, output, *other))
        assert found.exit_code == 1
        assert "got another experiment or smaller budgets" in found.output


def test_a_larger_budget_goes_on_from_what_was_searched(output: Path, folder: Path, tmp_path: Path) -> None:
    more = shutil.copytree(output, tmp_path / "more")
    kept = {path: path.stat().st_mtime_ns for path in more.rglob("result.json")}
    found = CliRunner().invoke(app, words(folder, more, "--confirm", str(folder), "--budget", "4"))
    assert found.exit_code == 0, found.output
    trials = pd.read_csv(more / "trials.csv")
    assert (trials[trials["state"] != "not run"]["search"] == "found").sum() == 4
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_data_that_is_not_there_is_refused(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, words(tmp_path / "none", tmp_path / "out"))
    assert found.exit_code == 2
    assert not (tmp_path / "out").exists()
