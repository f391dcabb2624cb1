"""The blocks of docs/extending.md, run as they stand."""

import contextlib
import io
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from goal_analysis.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
BLOCK = re.compile(r"```(\w+)(?: file=(\S+))?\n(.*?)```", re.DOTALL)


def blocks():
    return [match.groups() for match in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))]


def test_the_page_says_what_its_code_prints():
    names: dict = {}
    printed = None
    for language, _, body in blocks():
        if language == "python":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(body, str(PAGE), "exec"), names)
            printed = output.getvalue()
        elif language == "text":
            assert printed == body


def test_a_loss_takes_one_file_of_under_40_lines():
    bodies = {file: body for _, file, body in blocks() if file}
    assert len(bodies["losses_catalog/worst_violation.py"].splitlines()) < 40


def test_the_file_is_a_loss_by_its_name(tmp_path, monkeypatch):
    body = next(body for _, file, body in blocks() if file and file.endswith("worst_violation.py"))
    (tmp_path / "worst_violation.py").write_text(body, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        import worst_violation

        assert worst_violation.worst_violation_loss.name == "worst_violation"
    finally:
        sys.modules.pop("worst_violation", None)


def test_the_toml_file_is_the_same_loss(tmp_path):
    body = next(body for _, file, body in blocks() if file == "my_losses.toml")
    path = tmp_path / "my_losses.toml"
    path.write_text(body)
    command = next(body for language, _, body in blocks() if language == "console")
    arguments = command.removeprefix("$ goal-analyze ").split()
    result = CliRunner().invoke(app, [str(path) if a == "my_losses.toml" else a for a in arguments])
    assert result.exit_code == 0, result.output
    assert "sigmoid(tau*(margin + s_n - s_p))" in result.output


@pytest.mark.parametrize("language", ["python", "toml", "text", "console"])
def test_the_reader_of_blocks_finds_them(language):
    assert any(found == language for found, _, _ in blocks())
