"""`goal-analyze list`: every loss, as a table and as data."""

import json

from typer.testing import CliRunner

from goal_analysis.cli import app
from losses_catalog import catalog


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_the_list_names_every_loss():
    output = run("list").output
    assert all(f" {loss.name} " in output for loss in catalog)
    assert f"{len(catalog)} losses" in output


def test_the_list_as_data():
    records = json.loads(run("list", "--json").output)
    assert [record["name"] for record in records] == [loss.name for loss in catalog]
    assert {record["name"] for record in records if not record["integrable"]} == {
        "circle",
        "ranked_list",
        "selectively_hard_triplet",
    }


def test_help_has_examples():
    for command in ("list", "show", "demo"):
        assert f"goal-analyze {command}" in run(command, "--help").output
