"""`goal-analyze show` and `weights` as a user calls them."""

import json

import pytest
import torch
from typer.testing import CliRunner

import goal_analysis as ga
from goal_analysis.cli import app
from goal_analysis.symbolic.parsing import parse
from losses_catalog import catalog

TOML = """
[losses.focal_nca]
title = "NCA that forgets the easy"
formula = "softplus(tau*(s_n - s_p))**2/tau"
hyperparameters = { tau = { default = 10, domain = "(0, inf)", meaning = "steepness" } }
reference = "me2026"

[losses.my_circle]
hyperparameters = { gamma = 80 }
[[losses.my_circle.terms]]
outer = "softplus(gap)"
positives = { inner = "gamma*detach(max(0, 1.25 - s_p))*(s_p - 0.75)", aggregator = "softmin" }
negatives = { inner = "gamma*detach(max(0, s_n + 0.25))*(s_n - 0.25)", aggregator = "logsumexp" }
"""


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "my_losses.toml"
    path.write_text(TOML)
    return str(path)


@pytest.mark.parametrize("loss", catalog, ids=lambda loss: loss.name)
def test_every_loss_is_shown(loss):
    result = run("show", loss.name)
    assert result.exit_code == 0, result.output
    assert loss.title in result.output


def test_data_read_back():
    record = json.loads(run("show", "circle", "--json").output)
    assert record["integrable"] is False
    assert record["separable"] is True
    symbols = {h.name: h.symbol for loss in catalog if loss.name == "circle" for h in loss.hyperparameters}
    from goal_analysis.symbolic.analysis.decomposition import decompose
    from goal_analysis.symbolic.language.primitives import s_n, s_p

    circle = next(loss for loss in catalog if loss.name == "circle")
    names = {**symbols, "s_p": s_p, "s_n": s_n}
    assert parse(record["triplet_weight"], names) == decompose(circle).field.factors.triplet


def test_latex_and_markdown():
    latex = run("show", "circle", "--latex").output
    assert r"T(s_p, s_n) &= \gamma \sigma" in latex
    markdown = run("show", "circle", "--markdown").output
    assert "### Integrability" in markdown
    assert "| integrable | no |" in markdown


def test_settings_reach_the_characteristics():
    for most, arguments in ((80, ["--set", "gamma=80"]), (256, [])):
        assert f"at most {most}" in " ".join(run("show", "circle", *arguments).output.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["selectively_hard_triplet"], ["at most 5 (searched, not proved)"]),
        (["tuplet_margin"], ["grows and falls with hardness", "poles at s_p = -1 and s_p = 1"]),
        (["--formula", "softplus(64*(s_n - 0.25)*(s_p - 0.75))"], ["repels the positive where s_n > 0.25"]),
        (["--formula", "softplus(s_p - s_n)"], ["reversed: repels the positive", "reversed: attracts the negative"]),
        (["nca(tau=12)/linear"], ["tau = 12", "attracts the negative where s_n < 0"]),
        (["selectively_hard_triplet", "--set", "lam=3"], ["at lam = 3"]),
    ],
)
def test_what_the_weights_do_is_said_of_the_plane_and_at_the_settings(arguments, said):
    output = " ".join(run("show", *arguments).output.split())
    assert all(words in output for words in said), output


def test_fractions_are_numbers():
    assert "at most 0.2203" in " ".join(run("show", "info_nce", "--set", "tau=1/3").output.split())


def test_lines_keep_to_the_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert max(map(len, run("show", "vse_pp").output.splitlines())) <= 100
    assert max(map(len, run("list").output.splitlines())) <= 100


def test_a_formula_is_taken_apart():
    result = run("show", "--formula", "softplus(tau*(s_n - s_p))/tau", "--set", "tau=10")
    assert result.exit_code == 0, result.output
    assert "sigmoid(tau*(s_n - s_p))" in result.output


def test_own_losses(own):
    result = run("show", "my_circle", "--catalog", own, "--json")
    assert json.loads(result.output)["integrable"] is False
    focal = json.loads(run("show", "focal_nca", "--catalog", own, "--json").output)
    assert focal["integrable"] is True
    listed = json.loads(run("list", "--catalog", own, "--json").output)
    assert [record["name"] for record in listed][:2] == ["focal_nca", "my_circle"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "circel"], "got 'circel' but expected one of circle, circular"),
        (["show", "qqq"], "but expected one of apo_"),
        (["show"], "got neither a loss nor --formula but expected one of them"),
        (["show", "circle", "--formula", "s_n"], "got both"),
        (["show", "circle", "--set", "gama=3"], "got a value for 'gama' but expected one of gamma, m"),
        (["show", "circle", "--set", "gamma=-3"], "got -3.0 but expected a number in (0, inf)"),
        (["show", "circle", "--set", "gamma"], "got 'gamma' but expected NAME=VALUE"),
        (["show", "circle", "--set", "gamma=x"], "got 'gamma=x' but expected NAME=VALUE"),
        (["show", "circle", "--set", "gamma=1/0"], "got 'gamma=1/0' but expected NAME=VALUE"),
        (["show", "circle", "--set", "gamma=1", "--set", "gamma=2"], "got gamma twice"),
        (["show", "circle", "--latex", "--json"], "at most one"),
        (
            ["show", "--formula", "softplus(tau*(s_n - s_p))"],
            "A hyperparameter of a formula needs a value",
        ),
        (["show", "--formula", "s_n.__class__"], "^"),
        (["show", "circle", "--catalog", "missing.toml"], "missing.toml"),
        (["show", "circle", "--nonsense"], "No such option"),
        (["nonsense"], "No such command"),
    ],
)
def test_bad_usage_exits_with_2_and_says_why(arguments, said):
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[losses.x]\nformula = 'softplus(s_q)'", "loss 'x': formula: got the unknown name 's_q'"),
        ("[losses.x]\nformulla = 's_n'", "'formulla'"),
        ("[losses.circle]\nformula = 's_n - s_p'", "which the catalog has"),
        ("[losses", "my.toml"),
        ("\xff", "my.toml"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path, text, said):
    path = tmp_path / "my.toml"
    path.write_bytes(text.encode("latin-1"))
    result = run("show", "x", "--catalog", str(path))
    assert result.exit_code == 2
    assert said in result.output


def test_a_huge_file_is_refused(tmp_path):
    path = tmp_path / "my.toml"
    path.write_bytes(b"#" * 1_000_001)
    result = run("list", "--catalog", str(path))
    assert result.exit_code == 2
    assert "more than 1,000,000 bytes" in result.output


def test_weights_of_an_anchor_are_those_of_the_objective():
    """Every loss and every kind of objective, in the order that was typed; pairs of one similarity stay apart."""
    lines = [*(one.name for one in ga.losses()), "nca(tau=12)/linear@softmax:12", "softplus(10*(s_n - s_p))"]
    positives, negatives = (-0.5, -0.25), (-0.25, -0.75, -0.5, -0.5)
    arguments = ["--positives", "-0.5,-0.25", "--negatives=-1/4,-0.75,-0.5,-0.5"]
    found = json.loads(run("weights", *lines, *arguments, "--json").output)
    assert [record.pop("objective") for record in found] == lines
    of_p = torch.tensor([[True] * 2 + [False] * 4])
    scores, matches = torch.tensor([[*positives, *negatives]]).double(), ga.Matches(of_p, ~of_p, of_p.double())
    for line, record in zip(lines, found, strict=True):
        wanted = ga.objective(line, anchors="rows").weight_matrix(scores, matches)[0]
        assert list(record.values()) == wanted.tolist()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["vse_p", "--positives", "0.5", "--negatives", "0"], "expected one of vse_pp"),
        (["vse_pp", "--positives", "0.5", "--negatives", "a"], "--negatives: got 'a' but expected a finite number"),
        (["vse_pp", "--positives", "", "--negatives", "0"], "--positives: got '' but expected a finite number"),
        (["vse_pp", "--positives", "1.5", "--negatives", "0"], "vse_pp: got s_p1 = 1.5 but expected a cosine from -1"),
        (["proxy_nca", "--positives", "0.5", "--negatives", "0"], "expected a negative_squared_euclidean from -4 to 0"),
        (["vse_pp", "--positives", "0.5"], "--negatives"),
    ],
)
def test_weights_of_what_is_no_anchor_are_refused(arguments, said):
    result = run("weights", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
