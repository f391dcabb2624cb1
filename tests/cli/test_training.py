"""How a training run that cannot begin ends on the terminal."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from goal_analysis.cli import app

SETTINGS = ("training.epochs=1", "model.image.dim=8")


def trained(folder: Path, run: Path, *settings: str) -> Result:
    words = [part for setting in (*SETTINGS, *settings) for part in ("--set", setting)]
    return CliRunner().invoke(app, ["train", "--preset", "bag_of_words", "--data", str(folder), "-o", str(run), *words])


def test_a_run_that_could_not_begin_is_begun_in_the_same_folder(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    failed = trained(folder, run, "training.batch_size=5000")
    assert failed.exit_code == 1
    assert f"{run}: training: got 200 pairs for steps of 5000 but expected" in failed.output
    assert trained(folder, run, "training.batch_size=20").exit_code == 0


@pytest.mark.parametrize("seeds", [(0, 1), (0, 0)])
def test_the_folder_of_another_run_is_named_once(folder: Path, tmp_path: Path, seeds: tuple[int, int]) -> None:
    run = tmp_path / "run"
    first, second = (trained(folder, run, "training.batch_size=20", f"seed={seed}") for seed in seeds)
    assert first.exit_code == 0
    assert second.exit_code == int(seeds[0] != seeds[1])
    said = f"{run}: got the run of another experiment"
    assert second.output.count(said) == second.exit_code
    assert f"{run}: {run}:" not in second.output
