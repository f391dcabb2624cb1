"""docs/extending.md: its files are losses, in few lines and by the names it gives them."""

import re
import sys
from pathlib import Path

from typer.testing import CliRunner

from goal_analysis.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
FILES = dict(re.findall(r"```\w+ file=(\S+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))


def test_a_loss_takes_one_file_of_under_40_lines():
    assert len(FILES["losses_catalog/worst_violation.py"].splitlines()) < 40


def test_the_file_is_a_loss_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "worst_violation.py").write_text(FILES["losses_catalog/worst_violation.py"], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        import worst_violation

        assert worst_violation.worst_violation_loss.name == "worst_violation"
    finally:
        sys.modules.pop("worst_violation", None)


def test_the_toml_file_is_the_same_loss(tmp_path):
    path = tmp_path / "my_losses.toml"
    path.write_text(FILES["my_losses.toml"])
    command = re.search(r"^\$ goal-analyze (show .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)[1]
    arguments = [str(path) if word == "my_losses.toml" else word for word in command.split()]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "sigmoid(tau*(margin + s_n - s_p))" in result.output


def test_the_toml_file_is_an_objective(tmp_path):
    path = tmp_path / "my_objective.toml"
    path.write_text(FILES["my_objective.toml"])
    command = re.search(r"^\$ goal-analyze (compose .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)[1]
    arguments = [str(path) if word == "my_objective.toml" else word for word in command.split()]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "sigmoid(slope*(s_n - s_p))**2" in result.output
    assert "mean over the anchors" in result.output
