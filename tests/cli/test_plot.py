"""`goal-analyze plot` as a user calls it."""

import json
from multiprocessing import forkserver

import pytest
from PIL import Image
from typer.testing import CliRunner

from goal_analysis.cli import app, pictures
from goal_analysis.study.engine import LocalProcesses


def called(*words):
    return CliRunner().invoke(app, ["plot", *map(str, words)])


def probed(folder):
    """The steps that were probed."""
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [record["step"] for record in records if record["kind"] == "probe"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_loss_gets_a_file_a_kind(tmp_path):
    result = called("circle", "--set", "gamma=16", "--format", "svg", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert "5 pictures written" in result.output
    assert names(tmp_path) == [f"circle-{kind}.svg" for kind in ("field", "flow", "pair", "portrait", "triplet")]
    text = (tmp_path / "circle-field.svg").read_text()
    assert "the gradient of no loss" in text
    assert "gamma\u00a0=\u00a016" in text


def test_losses_objectives_and_formulas_stand_beside_each_other(tmp_path):
    words = ("triplet", "nca(tau=7)/linear@softmax:12", "--formula", "k*softplus(s_n - s_p)", "--set", "k=2")
    result = called(*words, "--kind", "compare", "--format", "svg", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert names(tmp_path) == ["compare.svg"]
    text = (tmp_path / "compare.svg").read_text()
    assert all(name in text for name in ("triplet", "nca(tau=7)/linear@softmax:12", "k*softplus(s_n - s_p)"))


def test_two_objectives_and_their_difference(tmp_path):
    result = called("circle", "circle_undetached", "--kind", "difference", "--format", "svg", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert names(tmp_path) == ["difference.svg"]
    assert "the first minus the second" in (tmp_path / "difference.svg").read_text()


def test_settings_of_an_objective_are_its_defaults(tmp_path):
    result = called("nca(tau=7)/linear", "--kind", "pair", "--format", "svg", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert names(tmp_path) == ["nca_tau=7_linear-pair.svg"]
    assert "tau\u00a0=\u00a07" in (tmp_path / "nca_tau=7_linear-pair.svg").read_text()


def test_weights_that_read_other_pairs_are_drawn_without_any(tmp_path):
    result = called("circular(tau=3)/relative_sigmoid", "--format", "svg", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert "5 pictures written" in result.output
    for path in tmp_path.iterdir():
        assert all(f"{symbol}\u00a0=\u00a00" in path.read_text("utf-8") for symbol in ("R_p", "R_n"))


def test_many_losses_are_drawn_in_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MANY", 2)
    LocalProcesses()
    forkserver.ensure_running()  # a process has one server, and other tests need that of runs
    result = called("triplet", "neighbourhood_components", "--kind", "pair", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert names(tmp_path) == ["neighbourhood_components-pair.png", "triplet-pair.png"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "got nothing to draw but expected losses, --formula, --all or --run"),
        (("circel",), "got 'circel' but expected one of circle"),
        (
            ("circle", "--kind", "curl"),
            "--kind without --run: got 'curl' but expected one of pair, triplet, field, flow, portrait, compare",
        ),
        (("circle", "--kind", "compare"), "--kind compare: got 1 loss but expected two or more"),
        (("circle", "--kind", "difference"), "--kind difference: got circle but expected two losses"),
        (("circle", "--kind", "film"), "--kind without --run: got 'film' but expected one of field, pair"),
        (("--run", "x", "--kind", "field"), "--kind with --run: got 'field' but expected one of film, retrieval"),
        (("--run", "x", "--kind", "film", "--format", "png"), "--format: got 'png' but expected one of gif, mp4"),
        (("circle", "--format", "bmp"), "--format: got 'bmp' but expected one of png, svg, pdf"),
        (("circle", "--all"), "got --all and circle"),
        (("circle", "circle"), "expected every loss once"),
        (("circle", "--set", "tau=3"), "--set: got 'tau' but expected one of gamma, m"),
        (("circle", "--set", "gamma=-3"), "got -3.0 but expected a number in (0, inf)"),
        (("nca/nonsense",), "nonsense"),
        (("circle", "--run", "x"), "got --run and losses"),
        (("--run", "nowhere"), "nowhere"),
    ],
)
def test_what_is_not_understood(words, said, tmp_path):
    result = called(*words, "-o", tmp_path)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert names(tmp_path) == []


def test_runs_are_drawn(tmp_path):
    settings = ["data.train=40", "data.dev=12", "data.test=1", "training.epochs=1", "training.batch_size=20"]
    settings += ["training.probe_steps=2", "model.image.width=8", "model.image.dim=8", "training.warm_up_steps=1"]
    for seed in ("0", "1"):
        options = [word for setting in settings for word in ("--set", setting)]
        words = ["train", "--preset", "scenes", "--seed", seed, "-o", str(tmp_path / seed), *options]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
    out = tmp_path / "pictures"
    result = called("--run", tmp_path / "0", "--run", tmp_path / "1", "--format", "svg", "-o", out)
    assert result.exit_code == 0, result.output
    drawn = ("batch", "gallery", "quantiles", "ranking", "recall", "retrieval", "weights")
    assert names(out) == [f"{name}.svg" for name in drawn]
    objective = json.loads((tmp_path / "0" / "run.json").read_text())["experiment"]["objective"]
    assert f"{objective} (2 seeds)" in (out / "retrieval.svg").read_text()

    result = called("--run", tmp_path / "0", "--kind", "recall", "-o", tmp_path / "recall")
    assert names(tmp_path / "recall") == ["recall.png"], result.output
    film = called("--run", tmp_path / "0", "--run", tmp_path / "1", "--kind", "film", "-o", tmp_path / "films")
    assert film.exit_code == 0, film.output
    assert len(names(tmp_path / "films")) == 2
    for path in (tmp_path / "films").iterdir():
        with Image.open(path) as stills:
            assert stills.n_frames == len(probed(tmp_path / "0"))

    declared = tmp_path / "1" / "run.json"
    text = declared.read_text()
    declared.write_text(text.replace(json.loads(text)["data"]["fingerprint"], "0" * 16))
    result = called("--run", tmp_path / "1", "--kind", "gallery", "-o", tmp_path / "other")
    assert "but expected 0000000000000000: it has changed since the run began" in result.output
    assert not (tmp_path / "other").exists()
    declared.write_text(text)

    (tmp_path / "0" / "tokenizer.json").unlink()
    (tmp_path / "1" / "tokenizer.json").unlink()
    result = called("--run", tmp_path / "0", "-o", tmp_path / "less")
    assert result.exit_code == 0, result.output
    assert "left out what the model of" in result.output
    assert "retrieval.png" in names(tmp_path / "less")
    assert "gallery.png" not in names(tmp_path / "less")
