"""`goal-analyze family`, `compose` and `export` as a user calls them."""

import importlib.util
import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from goal_analysis.api.objectives import objective as trained_objective
from goal_analysis.api.objectives import text_of
from goal_analysis.cli import app
from goal_analysis.cli.demo import OBJECTIVES, recombine
from goal_analysis.cli.options import objective_of, parts
from goal_analysis.recombination.minings import mining_of
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.text import parse_objective
from losses_catalog import catalog

OWN_TOML = """
mining = "top_k:3"
pair = "linear"
triplet = { formula = "sigmoid(a*(s_n - s_p))", hyperparameters = { a = 10 } }
"""
OWN_LOSS = """
[losses.focal_nca]
formula = "softplus(tau*(s_n - s_p))**2/tau"
hyperparameters = { tau = 10 }
"""


def run(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=given)


def composed(*arguments: str, given: str | None = None) -> dict:
    result = run("compose", *arguments, "--json", given=given)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


# --- compose --------------------------------------------------------------------------------------


def test_an_objective_by_its_line() -> None:
    result = run("compose", "nca(tau=12)/constant@softmax:12")
    assert result.exit_code == 0, result.output
    assert "softplus(tau*(x_n - x_p))/tau" in result.output
    assert re.search(r"integrable +yes$", result.output, re.MULTILINE)


def test_the_same_objective_by_its_parts_and_from_a_file(tmp_path: Path) -> None:
    line = composed("nca(tau=12)/linear@softmax:6,12")
    assert line["objective"] == "nca(tau=12)/linear@softmax:6,12"
    assert line["integrable"] is False
    parts_of_it = ("--triplet", "nca", "--pair", "linear", "--mining", "softmax:6,12", "--set", "tau=12")
    assert composed(*parts_of_it) == line
    declared = run("compose", *parts_of_it, "--as-toml").output
    path = tmp_path / "mine.toml"
    path.write_text(declared)
    assert composed("--toml", str(path)) == line
    assert composed(str(path)) == line
    assert composed("--toml", "-", given=declared) == line
    assert composed("nca/linear", "--mining", "softmax:6,12", "--set", "tau=12") == line


def test_formulas_of_ones_own() -> None:
    found = composed("--triplet-formula", "sigmoid(a*(s_n - s_p))", "--pair", "constant", "--set", "a=8")
    assert found["integrable"] is True
    assert found["loss"] == "softplus(a*(s_n - s_p))/a"
    assert found["settings"] == {"a": 8.0}
    halves = ("--positive-formula", "(1 - s_p)**k", "--negative-formula", "s_n", "--set", "k=3")
    assert composed("--triplet", "nca", *halves)["weights"]["P+"] == "(1 - s_p)**k"


def test_a_name_that_both_have_is_the_triplet_weights() -> None:
    halves = ("--positive-formula", "tau*(1 - s_p)", "--negative-formula", "s_n", "--set", "tau=3")
    assert composed("--triplet", "nca", *halves)["settings"] == {"tau": 3.0, "tau_pair": 3.0}


def test_twins_and_weights_of_losses_have_names() -> None:
    assert composed("--triplet", "nca_twin", "--pair", "linear")["integrable"] is True
    assert composed("circle(gamma=80, m=0.4)/circle")["settings"] == {"gamma": 80.0, "m": 0.4}
    assert composed("nca/circle(m=0.4)@all")["settings"] == {"tau": 10.0, "m": 0.4}


def test_weights_of_ones_own_losses_have_names(tmp_path: Path) -> None:
    path = tmp_path / "losses.toml"
    path.write_text(OWN_LOSS)
    assert composed("focal_nca/linear", "--catalog", str(path))["objective"] == "focal_nca/linear"
    names = run("family", "--names", "--part", "focal_nca", "--catalog", str(path)).output.split()
    assert "focal_nca/linear@hardest" in names


def test_direction_reduction_anchors_and_similarity() -> None:
    options = ("--direction", "tangential", "--reduction", "mean", "--anchors", "rows", "--similarity", "dot")
    found = composed("nca/linear", *options)
    assert (found["direction"], found["reduction"], found["anchors"]) == ("tangential", "mean", "rows")
    again = run("compose", "nca/linear", *options, "--as-toml").output
    assert composed("--toml", "-", given=again) == found


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compose"], "got nothing but expected one of: an objective such as nca/linear@softmax:12"),
        (["compose", "nca/linear", "--triplet", "nca"], "got an objective and its parts but expected one of"),
        (["compose", "ncaa/linear"], "got 'ncaa' but expected one of nca"),
        (["compose", "nca/linear@softest"], "mining: got 'softest' but expected one of"),
        (["compose", "nca/linear@all", "--mining", "all"], "got the mining twice"),
        (["compose", "nca/linear", "--set", "tau=1e99999999"], "--set: got 'tau=1e99999999' but expected NAME=VALUE"),
        (["compose", "nca/linear", "--set", "tua=1"], "got a value for 'tua' but expected one of tau"),
        (["compose", "nca(tau=1)/linear", "--set", "tau=1"], "got tau 2 times"),
        (["compose", "nca/linear", "--direction", "up"], "direction: got 'up' but expected one of"),
        (
            ["compose", "nca/linear", "--reduction", "max"],
            "reduction: got 'max' but expected one of sum, mean, mean_each, mean_active",
        ),
        (["compose", "nca/linear", "--similarity", "cos"], "similarity: got 'cos' but expected one of"),
        (["compose", "nca/linear", "--json", "--as-toml"], "at most one"),
        (["compose", "--pair", "linear"], "got neither --triplet nor --triplet-formula"),
        (["compose", "--triplet", "nca"], "expected either --pair, or --positive-formula with --negative-formula"),
        (["compose", "--triplet", "nca", "--positive-formula", "s_p"], "expected either --pair"),
        (["compose", "--triplet", "nca", "--pair", "linear", "--positive-formula", "s_p"], "expected either --pair"),
        (["compose", "--triplet-formula", "a*s_n", "--pair", "linear"], "A hyperparameter of a formula needs a value"),
        (["compose", "--triplet-formula", "s_n.real", "--pair", "linear"], "triplet weight: formula"),
        (["compose", "--toml", "missing.toml"], "missing.toml"),
        (["compose", "missing.toml"], "missing.toml"),
        (["compose", "--toml", "x.toml", "--mining", "all"], "got --toml and --mining but expected it in the file"),
        (["compose", "arc_face/constant@softmax:12"], "not real"),
        (["export", "ncaa/linear"], "got 'ncaa'"),
        (["family", "--sign", "good"], "sign: got 'good' but expected one of pulls and pushes"),
        (["family", "--part", "linaer"], "part: got 'linaer' but expected one of linear"),
        (["family", "--mining", "softest"], "mining: got 'softest'"),
        (["family", "--all", "--mining", "all"], "got --all and --mining but expected one of them"),
    ],
)
def test_bad_usage_exits_with_2_and_says_why(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "Traceback" not in result.output


def test_what_is_no_toml_is_refused() -> None:
    result = run("compose", "--toml", "-", given="triplet = ")
    assert result.exit_code == 2
    assert "got what is no TOML" in result.output


# --- one text, one objective ------------------------------------------------------------------------

TEXTS = (
    "info_nce(tau=12)",
    "circle(gamma=80)/linear",
    "vse_pp@softmax:12",
    "nca(tau=12)/linear@top_k:3",
    "softplus(10*(s_n - s_p))/10",
)


def gradient(objective: Any, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    x, y, ids = batch
    x = x.clone().requires_grad_()
    objective(x, y, ids).backward()
    assert x.grad is not None
    return x.grad


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_one_objective_trained_declared_and_exported(text: str, tmp_path: Path, monkeypatch) -> None:
    ids = torch.arange(8) // 2
    x, y = (torch.nn.functional.normalize(torch.randn(8, 4), dim=1) for _ in range(2))
    batch = (x, y, ids)
    expected = gradient(GradientObjective(parse_objective(text, parts())), batch)
    assert expected.any()
    assert torch.equal(gradient(trained_objective(text), batch), expected)
    assert torch.equal(gradient(trained_objective(text_of(objective_of(text))), batch), expected)
    declared = run("compose", text, "--as-toml").output
    assert torch.equal(gradient(trained_objective(declared), batch), expected)
    file = tmp_path / "objective.py"
    assert run("export", text, "--name", "mine", "-o", str(file)).exit_code == 0
    spec = importlib.util.spec_from_file_location("mine", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mine", module)
    spec.loader.exec_module(module)
    classes = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == "mine"]
    (made,) = [c() for c in classes if issubclass(c, torch.nn.Module)]
    torch.testing.assert_close(gradient(made, batch), expected)


@pytest.mark.parametrize(
    "text", ["nca/linear", "nca/linear@softmax:6,12", "vse_pp@top_k:3", "constant/linear@semi_hard"]
)
def test_what_is_printed_as_mining_is_what_the_parser_reads(text: str) -> None:
    said = composed(text)["mining"]
    stem = text.partition("@")[0]
    assert composed(f"{stem}@{said}")["objective"] == composed(text)["objective"]
    assert mining_of(said) == mining_of(text.partition("@")[2] or "hardest")


def test_an_objective_of_ones_own_module_goes_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import replace\nfrom losses_catalog.circle import circle_loss\n"
        "mine = replace(circle_loss, name='mine', anchors='both')\n"
    )
    assert composed(f"{file}:mine")["anchors"] == "both"
    assert run("compose", f"{file}:yours").exit_code == 2
    assert "curl" in run("show", f"{file}:mine").output


# --- family ---------------------------------------------------------------------------------------


def test_names_of_the_family_are_objectives() -> None:
    names = run("family", "--all", "--names").output.split()
    assert len(names) >= 700
    for name in names[:: len(names) // 12]:
        assert objective_of(name).name == name


def test_the_family_is_filtered_and_judged() -> None:
    """Of the parts of one loss; those of the others take seconds each."""
    records = json.loads(run("family", "--integrable", "--part", "vse_pp", "--json").stdout)
    assert [record["objective"] for record in records] == ["vse_pp/constant@hardest"]
    assert records[0]["loss"].startswith("hinge(margin")
    table = run("family", "--part", "vse_pp", "--mining", "top_k:3", "--sign", "mixed").stdout
    assert "vse_pp/linear@top_k:3" in table
    assert "vse_pp/sigmoid@top_k:3" not in table
    assert "objectives; " in table


# --- export ---------------------------------------------------------------------------------------


def test_an_exported_file_is_what_is_printed_and_checks_itself(tmp_path: Path) -> None:
    path = tmp_path / "mine" / "objective.py"
    result = run("export", "nca/linear@top_k:2", "-o", str(path))
    assert result.exit_code == 0, result.output
    runpy.run_path(str(path))["check"]()
    printed = run("export", "nca/linear@top_k:2", "-o", "-").stdout
    assert printed == path.read_text()


def test_a_file_that_is_there_is_kept_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "objective.py"
    path.write_text("mine")
    refused = run("export", "nca/linear", "-o", str(path))
    assert refused.exit_code == 2
    assert "which is there already" in refused.output
    assert path.read_text() == "mine"
    assert run("export", "nca/linear", "-o", str(path), "--force").exit_code == 0
    assert "torch" in path.read_text()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("export", "nca/linear", "-o", str(tmp_path / "file" / "objective.py"))
    assert result.exit_code == 2
    assert "Traceback" not in result.output


# --- demo -----------------------------------------------------------------------------------------


def test_the_demo_recombines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recombine(tmp_path)
    output = capsys.readouterr().out
    assert all(text in output for text in OBJECTIVES)
    records = json.loads((tmp_path / "objectives.json").read_text())
    assert [record["integrable"] for record in records] == [True, True, False, True, False]
    assert (tmp_path / "objective.py").exists()


def test_the_parts_are_those_of_the_catalog() -> None:
    assert parts().losses == catalog
    assert {"nca", "circular"} <= {t.name for t in parts().triplet_weights}


def test_help_has_examples() -> None:
    for command in ("family", "compose", "export"):
        assert f"goal-analyze {command}" in run(command, "--help").output
