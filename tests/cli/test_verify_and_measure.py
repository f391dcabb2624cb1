"""`goal-analyze verify` and `goal-analyze measure` as a user calls them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from kinds_of_losses import covering
from typer.testing import CliRunner

from goal_analysis.cli import app
from goal_analysis.numeric import verification
from goal_analysis.numeric.functions import weights_of_scores
from losses_catalog import catalog

ONE_OF_THEIRS = """
import torch

def infoish(images, texts):
    scores = 7 * images @ texts.T
    return torch.nn.functional.cross_entropy(scores, torch.arange(len(scores)))

class Broken(torch.nn.Module):
    def forward(self, embeddings, labels):
        return "nothing"

number = 3
"""


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_one_loss_is_verified():
    result = run("verify", "circle", "--json", "--dtype", "float64", "--set", "gamma=80")
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)
    assert record["loss"] == "circle"
    assert record["verified"] is True
    assert record["float64"] < 1e-10


def test_a_wrong_factor_makes_the_exit_code_1(monkeypatch):
    def slightly_wrong(*given):
        return weights_of_scores(*given) * 1.001

    monkeypatch.setattr(verification, "weights_of_scores", slightly_wrong)
    result = run("verify", "info_nce", "--dtype", "float64")
    assert result.exit_code == 1
    assert "0 of 1 losses verified" in result.output
    assert "loss 'info_nce': W on batch" in result.output


def test_own_losses_are_verified_too(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[losses.mine]\nformula = 'softplus(tau*(s_n - s_p))**2'\nhyperparameters = { tau = 3 }\n")
    result = run("verify", "mine", "--catalog", str(path), "--dtype", "float64")
    assert result.exit_code == 0, result.output


def test_real_features_are_another_batch(tmp_path):
    np.save(tmp_path / "dev_ims.npy", np.random.default_rng(0).random((8, 20)).astype(np.float16))
    assert run("verify", "vse_pp", "--features", str(tmp_path), "--dtype", "float64").exit_code == 0


PLAIN = [loss.name for loss in covering([loss for loss in catalog if loss.plain])]
"""One of every kind. The others compare every pair with every positive, which takes minutes on a thousand photographs;
and where x and log(1 + x) cancel, as in PNP-Ib, autograd's derivative of the value has no digit left to compare."""


@pytest.mark.parametrize(
    ("name", "losses", "captions"),
    [("flickr8k_precomp", PLAIN, 2), ("flickr8k_regions_precomp", ["vse_pp", "tuplet_margin"], 5)],
)
def test_the_catalog_on_real_photographs(name, losses, captions, tmp_path):
    """Of many losses with two of the captions of every photograph: loops over all triplets are long with five."""
    data = os.environ.get("GOAL_ANALYSIS_DATA")
    if not data:
        pytest.skip("GOAL_ANALYSIS_DATA names no folder of features")
    (tmp_path / "dev_ims.npy").symlink_to(Path(data) / name / "dev_ims.npy")
    lines = (Path(data) / name / "dev_caps.txt").read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "dev_caps.txt").write_text("".join(line for i, line in enumerate(lines) if i % 5 < captions), "utf-8")
    result = run("verify", *losses, "--features", str(tmp_path), "--dtype", "float64", "--json")
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)) == len(losses)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "neither losses nor --all"),
        (["circle", "--all"], "both losses and --all"),
        (["circel"], "but expected one of circle"),
        (["circle", "--dtype", "float8"], "got 'float8' but expected one of float64"),
        (["circle", "--device", "abacus"], "device: got 'abacus'"),
        (["circle", "--set", "gama=3"], "expected one of gamma, m"),
        (["circle", "triplet", "--set", "gamma=3"], "expected one loss"),
        (["circle", "--features", "nowhere"], "nowhere/dev_ims.npy"),
    ],
)
def test_bad_usage_of_verify(arguments, said):
    result = run("verify", *arguments)
    assert result.exit_code == 2, result.output
    assert said in result.output


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    (tmp_path / "their_losses.py").write_text(ONE_OF_THEIRS)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("theirs")
def test_a_foreign_loss_is_recognised():
    result = run("measure", "their_losses:infoish", "--points", "7", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["integrable"].startswith("yes")
    assert found["nearest"][0]["distance"] < 1e-6
    assert any("info_nce" in (n["loss"], *n["ties"].split(", ")) for n in found["nearest"])


def test_the_circle_loss_of_a_library_is_no_gradient():
    pytest.importorskip("pytorch_metric_learning", reason="pytorch-metric-learning is not installed")
    result = run("measure", "pytorch_metric_learning.losses:CircleLoss", "--points", "9")
    assert result.exit_code == 0, result.output
    assert "integrable: no" in result.output
    assert "gamma=80, m=0.4" in result.output


@pytest.mark.parametrize(("said", "largest"), [("true", 1.0), ("false", 2.0)])
def test_a_switch_is_no_word(said, largest, tmp_path):
    lines = "def loss(x, y, halved=False):", "    return (x @ y.T).logsumexp(1).sum() / (1 + (halved is True))"
    (tmp_path / "switched.py").write_text("\n".join(lines))
    result = run("measure", f"{tmp_path}/switched.py:loss", "--with", f"halved={said}", "--points", "5", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["w_n"][2][2] == pytest.approx(largest / 2)


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["their_losses"], "but expected MODULE:NAME, FILE.py:NAME or an objective"),
        (["torch.nn.MSELoss"], "but expected torch.nn:MSELoss, FILE.py:NAME or an objective"),
        (["their_losses:nothing"], "nothing"),
        (["no_such_package:loss"], "no_such_package"),
        (["their_losses:number"], "expected a callable"),
        (["their_losses:Broken"], "scalar"),
        (["their_losses:infoish", "--inputs", "triples"], "inputs: got 'triples' but expected one of triplets"),
    ],
)
def test_bad_usage_of_measure(arguments, said):
    result = run("measure", *arguments)
    assert result.exit_code == 2, result.output
    assert said in result.output
