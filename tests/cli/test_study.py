"""`study` as a user calls it, on a small folder of features: killed, gone on with, and asked how far it is."""

import json
import re
import signal
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from goal_analysis.cli import app
from goal_analysis.cli.options import BASELINES
from goal_analysis.cli.studies import FAMILIES

SETTINGS = ("training.batch_size=20", "training.epochs=1", "model.image.dim=8")
RUNS = 3 * (1 + 2)


def words(folder: Path, output: Path, *more: str) -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    budget = ["--budget", "1", "--seeds", "2", "--objective", "constant/linear"]
    return ["study", "--data", str(folder), "-o", str(output), *budget, *settings, *more]


def test_a_study_is_killed_gone_on_with_by_one_and_never_runs_anything_twice(
    folder: Path, tmp_path: Path, forked_call, killed_midway
) -> None:
    output = tmp_path / "study"
    kept = killed_midway(words(folder, output), output)
    assert len(kept) >= 2
    asked = CliRunner().invoke(app, ["status", str(output)])
    assert f"of {RUNS} runs done" in asked.output
    assert "No process drives it; the same command goes on from there" in asked.output
    with forked_call(words(folder, output)) as one:
        said = one.stdout.readline()
        one.send_signal(signal.SIGSTOP)  # or it could be done before it is asked for
        try:
            other = CliRunner().invoke(app, words(folder, output))
            assert other.exit_code == 1
            assert f"got a study that process {one.pid} on " in other.output
            state = json.loads(CliRunner().invoke(app, ["status", str(output), "--json"]).output)
            assert state["driven"]
            assert len(kept) < state["done"] < RUNS
        finally:
            one.send_signal(signal.SIGCONT)
        said += one.communicate()
    assert one.returncode == 0, said
    assert len(list(output.rglob("result.json"))) == RUNS
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    logs = [path.read_text().splitlines() for path in output.rglob("output.log")]
    assert all(len([line for line in lines if line.startswith("epoch 1/1")]) == 1 for lines in logs)
    assert "constant/linear: too few seeds to say: 2 in common with info_nce(tau=12)" in " ".join(said.split())
    assert f"({RUNS} of {RUNS} runs done, 0 running, 0 waiting; best so far" in said
    narrow = CliRunner().invoke(app, words(folder, output), env={"COLUMNS": "60"}).output
    rows = [line for line in narrow.splitlines() if line.startswith(" ")]
    assert all(len(line) <= 60 for line in rows)
    for row in (output / "comparison.md").read_text().splitlines():
        if row.startswith("| `"):  # every word of the table is printed whole
            assert set(re.sub(r"[|`]", " ", row).split()) <= {
                word.rstrip(";") for line in rows for word in line.split()
            }
    table = pd.read_csv(output / "comparison.csv")
    assert set(table.objective) == {*BASELINES, "constant/linear"}
    assert list(table.seeds) == [2, 2, 2]
    trials = pd.read_csv(output / "trials.csv")
    assert set(trials.state) == {"complete"}
    assert len(trials) == 3
    page = (output / "report.html").read_text()
    assert "constant/linear: " in page
    assert "Differences are to info_nce(tau=12) over the same seeds" in " ".join(page.split())
    assert all('"kind": "probe"' in path.read_text() for path in (output / "comparison").rglob("log.jsonl"))
    assert not any('"kind": "probe"' in path.read_text() for path in (output / "tuning").rglob("log.jsonl"))
    for path in (output / "comparison").rglob("result.json"):
        name = json.loads((path.parent / "run.json").read_text())["experiment"]["name"]
        row = table.set_index("objective").loc[name]
        assert row["mean"] - 40 <= json.loads(path.read_text())["best"]["rsum"] <= row["mean"] + 40


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--family", "mine"), "--family: got 'mine' but expected one of known, published, soft, all"),
        (("--tune", "rate"), "tune: got 'rate' but expected one of learning_rate, objective, "),
        (("--objective", "nca/nonsense"), "got 'nonsense' but expected one of"),
        (("--engine", "mine"), "--engine: got 'mine' but expected one of local, ray"),
        (("--gpus-per-run", "1"), "--gpus-per-run: got 1.0 beside --engine local but expected it with --engine ray"),
        (("--preset", "mine"), "preset: got 'mine' but expected one of"),
    ],
)
def test_what_is_not_understood_is_refused(folder: Path, tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(app, words(folder, tmp_path / "study", *more))
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "study").exists()


def test_a_folder_without_a_study_has_no_status(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["status", str(tmp_path)])
    assert result.exit_code == 2
    assert "progress.json: got" in result.output
    assert "but expected what a study writes" in result.output
    assert list(tmp_path.iterdir()) == []


def test_families_are_objectives() -> None:
    from goal_analysis.api.objectives import objective as trained_objective

    assert len(FAMILIES["published"]) == 15
    assert len(FAMILIES["known"]) == 8
    for name in (*BASELINES, *FAMILIES["all"], *FAMILIES["known"]):
        assert trained_objective(name) is not None
