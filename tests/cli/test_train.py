"""`train`, `evaluate`, `retrieve` and `compare` as a user calls them, on a small folder of features."""

import html
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from goal_analysis.api.runs import experiment_of
from goal_analysis.cli import app
from goal_analysis.cli.runs import processes
from goal_analysis.files import folder_name
from goal_analysis.study.driver import PROGRESS
from goal_analysis.vse.folder.checkpoint import load, steps
from goal_analysis.vse.folder.run_folder import CHECKPOINTS, LOG
from goal_analysis.vse.loop.experiment import presets

SETTINGS = ("training.batch_size=20", "training.epochs=4", "model.image.dim=8", "training.checkpoint_steps=2")


def arguments(folder: Path, run: Path, *more: str) -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return ["train", "--preset", "bag_of_words", "--data", str(folder), "-o", str(run), *settings, *more]


def called(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("runs") / "one"
    result = called(*arguments(folder, where, "--objective", "nca/linear@softmax:12"))
    assert result.exit_code == 0, result.output
    assert "epoch 4/4: dev RSUM" in result.output
    return where


def test_a_run_says_what_was_run(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    assert record["experiment"]["objective"] == "nca/linear@softmax:12"
    assert record["experiment"]["training"]["batch_size"] == 20
    assert record["versions"]["torch"]
    assert len(record["data"]["fingerprint"]) == 16


def test_a_run_is_evaluated(run: Path, tmp_path: Path) -> None:
    ranks = tmp_path / "ranks.json"
    found = json.loads(called("evaluate", str(run), "--json", "--ranks", str(ranks)).stdout)
    best = json.loads((run / "result.json").read_text())["best"]
    assert found["rsum"] == best["rsum"]
    assert len(json.loads(ranks.read_text())["t2i"]) == 60
    low, high = found["intervals"]["rsum"]
    assert low < found["rsum"] < high
    assert set(found["intervals"]) == {"rsum", *(f"{way}_r{k}" for way in ("i2t", "t2i") for k in (1, 5, 10))}
    both = called("evaluate", str(run), str(run)).output
    assert f"RSUM {found['rsum']:.1f} [{low:.1f}, {high:.1f}] on 12 images of dev." in both
    assert "an image with all its captions counts as one" in " ".join(both.split())
    on_train = json.loads(called("evaluate", str(run), "--split", "train", "--json").stdout)
    assert on_train["images"] == 40


def test_captions_and_queries_do_not_control_the_terminal(folder: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "coloured")
    lines = (folder / "dev_caps.txt").read_text().splitlines()
    (tmp_path / "coloured" / "dev_caps.txt").write_text("".join(f"{line} \x1b[31mred\x07\n" for line in lines))
    said = called("retrieve", str(run), "--data", str(tmp_path / "coloured"), "--text", "a\x1b]0;b\x07 dog").output
    assert "\\x1b[31mred\\x07" in said
    assert "a\\x1b]0;b\\x07 dog" in said.replace("\\\\", "\\")
    assert "\x1b" not in said
    assert "\x07" not in said


def test_single_queries(folder: Path, run: Path) -> None:
    found = json.loads(called("retrieve", str(run), "--text", "a red dog", "--top", "3", "--json").stdout)
    assert [record["place"] for record in found] == [1, 2, 3]
    assert found[0]["score"] >= found[2]["score"]
    found = json.loads(called("retrieve", str(run), "--image", "2", "--json").stdout)
    assert [record["place"] for record in found[:5]] == [1, 2, 3, 4, 5]
    right = [record["image"] == 2 for record in found]
    assert [record["right"] for record in found] == right
    assert any(right), "where none is among the first, the first right one stands behind them"
    said = called("retrieve", str(run), "--image", "2").stdout
    assert said.startswith("Captions of dev for image 2, '"), "what the query is"
    place = found[right.index(True)]["place"]
    assert f"The first right caption is at place {place} of 60" in said
    captions = (folder / "dev_caps.txt").read_text().splitlines()
    known = json.loads(called("retrieve", str(run), "--text", captions[7], "--top", "12", "--json").stdout)
    assert 1 in [record["image"] for record in known if record["right"]]
    unknown = called("retrieve", str(run), "--text", "a red dog of nobody")
    assert "No image of dev is known to be right: none has this caption" in unknown.output
    assert "the model knows no word" in called("retrieve", str(run), "--text", "zzz qqq").output
    assert "the model knows no word" not in called("retrieve", str(run), "--text", "zzz a").output


@pytest.mark.parametrize("preset", presets())
def test_a_preset_is_printed_as_a_file_that_says_the_same(preset: str, tmp_path: Path) -> None:
    said = called("train", "--preset", preset, "--as-toml", "--set", "training.epochs=3", "--objective", "circle:m=1/4")
    assert said.exit_code == 0, said.output
    (tmp_path / "mine.toml").write_text(said.stdout, "utf-8")
    expected = experiment_of(preset, objective="circle:m=1/4", assignments=["training.epochs=3"])
    assert experiment_of(tmp_path / "mine.toml") == expected
    assert experiment_of(preset) != expected
    assert not (tmp_path / "runs").exists(), "nothing was trained"


def test_presets_are_listed_with_what_they_are() -> None:
    found = json.loads(called("presets", "--json").stdout)
    assert [one["preset"] for one in found] == list(presets())
    assert all(one["about"] and not one["about"].startswith("#") for one in found)
    assert "scenes" in called("presets").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train"], "got neither an experiment's file nor a preset but expected one"),
        (["train", "--preset", "bag"], "got 'bag' but expected one of"),
        (
            ["train", "--preset", "bag_of_words", "--set", "training.epoch=3"],
            "got the key 'epoch' but expected one of epochs",
        ),
        (["train", "--preset", "bag_of_words", "--objective", "nca/linea", "-o", "RUN"], "linear"),
        (["train", "--preset", "bag_of_words", "--data", "nowhere", "-o", "RUN"], "nowhere"),
        (["train", "--resume", "nowhere"], "expected the folder of a run"),
        (["evaluate", "nowhere"], "expected the folder of a run"),
        (["train", "--resume", "nowhere", "--skip-bad"], "--resume: got settings too"),
        (["retrieve", "nowhere"], "got neither --text nor --image"),
        (["retrieve", "nowhere", "--text", "", "--image", "2"], "got both --text and --image"),
        (["compare"], "got no experiment but expected files or --preset"),
    ],
)
def test_what_is_not_understood_is_refused(words: list[str], said: str, tmp_path: Path) -> None:
    result = called(*(str(tmp_path / "run") if word == "RUN" else word for word in words))
    assert result.exit_code == 2
    assert said in result.output


def test_wrong_splits_and_protocols_are_refused(run: Path) -> None:
    assert "got 'test' but expected one of train, dev" in called("evaluate", str(run), "--split", "test").output
    assert "got 12 images but expected 5000" in called("evaluate", str(run), "--protocol", "coco1k").output
    assert "expected a row from 0 to 11" in called("retrieve", str(run), "--image", "12").output


def test_images_of_another_kind_than_those_trained_on_are_refused(folder: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "wide")
    images = np.load(folder / "dev_ims.npy")
    np.save(tmp_path / "wide" / "dev_ims.npy", np.hstack([images, images[:, :1]]))
    width = images.shape[1]
    said = f"{run}: got images of shape ({width + 1},) but expected ({width},), as it was trained on"
    for words in (["evaluate", str(run)], ["evaluate", str(run), str(run)], ["retrieve", str(run), "--text", "a"]):
        result = called(*words, "--data", str(tmp_path / "wide"))
        assert result.exit_code == 2
        assert said in result.output.replace("\n", " ")
        assert called(*words, "--data", str(folder)).exit_code == 0


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(
    folder: Path, run: Path, tmp_path: Path, forked_call, name: str
) -> None:
    """The moments that matter are those of tests/faults; here the whole process is gone."""
    with forked_call(arguments(folder, tmp_path / "killed", "--objective", "nca/linear@softmax:12")) as process:
        while process.poll() is None and not (tmp_path / "killed" / LOG).exists():
            time.sleep(0.01)
        time.sleep(np.random.default_rng().uniform(0, 0.3))
        process.send_signal(getattr(signal, name))
        said = process.communicate()
    if name == "SIGTERM":
        assert process.returncode == 0 or (process.returncode == 130 and "the same command goes on" in said)
    result = called("train", "--resume", str(tmp_path / "killed"))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "killed" / LOG).read_bytes() == (run / LOG).read_bytes()
    one, other = (load(f / CHECKPOINTS, steps(f / CHECKPOINTS)[-1]) for f in (run, tmp_path / "killed"))
    assert all((tensor == other.model[name]).all() for name, tensor in one.model.items())


def test_a_full_disk_ends_a_run_and_leaves_its_checkpoints(folder: Path, run: Path, tmp_path: Path, full_disk) -> None:
    """Files of one kilobyte at most stand for a full disk; a larger write fails with EFBIG."""
    full = tmp_path / "full"
    shutil.copytree(run, full)
    (full / "result.json").unlink()
    kept = full / CHECKPOINTS
    shutil.rmtree(kept / f"step-{steps(kept)[-1]:08d}")
    before = {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    with full_disk(1024):
        ended = called("train", "--resume", str(full))
    assert ended.exit_code == 1
    assert f"{full}: " in ended.output
    assert "File too large" in ended.output
    assert {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()} == before
    assert called("train", "--resume", str(full)).exit_code == 0
    assert (full / LOG).read_bytes() == (run / LOG).read_bytes()


def test_a_run_is_logged_for_tensorboard(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result = called(*arguments(folder, tmp_path / "run", "--tensorboard"))
    assert result.exit_code == 0, result.output
    found = event_accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    found.Reload()
    epochs = [r for r in map(json.loads, (tmp_path / "run" / LOG).read_text().splitlines()) if r["kind"] == "epoch"]
    logged = [(event.step, event.value) for event in found.Scalars("epoch/rsum")]
    assert logged == [(r["step"], pytest.approx(r["rsum"])) for r in epochs]
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard")
    result = called(*arguments(folder, tmp_path / "other", "--tensorboard"))
    assert result.exit_code == 1
    assert (
        "got no tensorboard but expected tensorboard>=2.16,<3: pip install 'goal-analysis[tensorboard]'"
        in result.output
    )


def test_objectives_are_compared(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    words = ["compare", "--preset", "bag_of_words", "--data", str(folder), "--seeds", "2", "--jobs", "2", *settings]
    words += ["--objective", "vse_pp", "--objective", "nca/linear@softmax:12", "-o", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["goal-analyze", *words])
    result = called(*words)
    assert result.exit_code == 0, result.output
    assert "nca/linear@softmax:12: " in result.output
    again = called(*words)
    assert "runs done" not in again.output, "a run that was done ended once more"
    assert "nca/linear@softmax:12: too few seeds to say: 2 in common with vse_pp" in again.output
    on_train = json.loads(called(*words, "--split", "train", "--json").stdout)
    for row in on_train:
        seeds = (tmp_path / folder_name(row["objective"])).iterdir()
        each = [json.loads(called("evaluate", str(run), "--split", "train", "--json").stdout) for run in seeds]
        assert row["mean"] == pytest.approx(np.mean([one["rsum"] for one in each]))
    page = tmp_path / "report.html"
    assert called("report", str(tmp_path), "-o", str(page), "--queries", "0").exit_code == 0
    made, said = page.read_text(), "Differences are to {} over the same seeds"
    assert said.format("vse_pp") in made, "not to the first by name"
    assert shlex.join(["goal-analyze", *words]) in html.unescape(made)
    assert str(tmp_path / "vse_pp") not in made, "the runs' own commands are none that anybody typed"
    progress = (tmp_path / PROGRESS).rename(tmp_path / "aside")
    assert called("report", str(tmp_path), "-o", str(page), "--queries", "0").exit_code == 0
    assert said.format("nca/linear@softmax:12") in page.read_text(), "no study says what it compares with"
    progress.rename(tmp_path / PROGRESS)
    missing = called(*words[:-1], str(tmp_path / "other"), "--split", "test")
    assert missing.exit_code == 2
    assert "split: got 'test' but expected one of train, dev" in missing.output.replace("\n", " ")
    assert not (tmp_path / "other").exists()
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    other = called(*words, "--set", "training.epochs=5")
    assert other.exit_code == 2
    assert "got the run of another experiment" in other.output
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == kept
    record = tmp_path / "vse_pp" / "seed-1" / "run.json"
    changed = json.loads(record.read_text())
    changed["data"]["fingerprint"] = "0" * 16
    record.write_text(json.dumps(changed))
    result = called(*words)
    assert result.exit_code == 1
    assert "seed-1: got data with the fingerprint 0000000000000000 but expected" in result.output.replace("\n", " ")


def test_torchrun_says_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes(None, None) == (1, 1)
    assert processes(3, 2) == (3, 2)
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    assert processes(None, None) == processes(4, 2) == (4, 2)
    with pytest.raises(typer.Exit):
        processes(2, None)


def test_two_processes_train_as_one_on_the_joined_batch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[Sequence[str]], subprocess.Popen]
) -> None:
    """To rounding in float64, without dropout, which every process draws for its own share."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    precise = ("training.precision=64-true", "model.image.dropout=0", "model.text.dropout=0", "training.epochs=2")
    settings = [part for setting in precise for part in ("--set", setting)]
    one, two = (
        arguments(folder, tmp_path / name, *settings, "--accelerator", "cpu", "--devices", count)
        for name, count in (("one", "1"), ("two", "2"))
    )
    alone = called(*one)
    assert alone.exit_code == 0, alone.output
    with call(two) as process:
        said = process.communicate(timeout=240)[0]
    assert process.returncode == 0, said
    expected, found = (load(tmp_path / name / CHECKPOINTS, 20).model for name in ("one", "two"))
    for name, tensor in expected.items():
        assert float((tensor - found[name]).abs().max()) < 1e-12
    assert len((tmp_path / "two" / LOG).read_text().splitlines()) == 2


ENDLESS = "100000000000000000000"


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--seed", ENDLESS),
        ("train", "--devices", ENDLESS),
        ("train", "--nodes", ENDLESS),
        *(("train", "--set", f"training.{name}={ENDLESS}") for name in ("epochs", "batch_size", "workers")),
        ("compare", "--preset", "bag_of_words", "--seeds", ENDLESS),
        ("study", "--budget", ENDLESS),
        ("discover", "--finalists", ENDLESS),
        ("retrieve", "run", "--text", "a dog", "--top", ENDLESS),
        ("report", "run", "--queries", ENDLESS),
        ("measure", "torch.nn.functional:triplet_margin_loss", "--dim", ENDLESS),
    ],
    ids=" ".join,
)
def test_a_count_without_end_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: Sequence[str]) -> None:
    monkeypatch.chdir(tmp_path)
    data = ("--data", "scenes") if words[0] in ("train", "compare", "study", "discover") else ()
    preset = ("--preset", "bag_of_words") if words[0] == "train" else ()
    result = called(*words, *preset, *data)
    assert result.exit_code == 2
    assert re.search(r"expected a whole number from \d to [\d,]+|less than or equal to 100000|x<=100000", result.output)
    assert list(tmp_path.iterdir()) == []
