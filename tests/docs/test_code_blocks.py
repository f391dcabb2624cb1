"""The Python of the pages, run as it stands: what a page says its code prints, it prints."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
import torch
from typer.main import get_command
from typer.testing import CliRunner

from goal_analysis.cli import app

ROOT = Path(__file__).parents[2]
WRITTEN = [path for path in sorted((ROOT / "docs").rglob("*.md")) if "generated" not in path.parts]
PAGES = [ROOT / "README.md", *WRITTEN]
BLOCK = re.compile(r"```(\w+)(?: file=(\S+))?\n(.*?)```", re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Language, file and body of every block."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def run(page: Path) -> list[tuple[str, str]]:
    """What every block of text says, with what the Python before it printed."""
    names: dict = {}
    printed, said = "", []
    for language, _, body in blocks(page):
        if language == "python":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(body, str(page), "exec"), names)
            printed = output.getvalue()
        elif language == "text":
            said.append((body, printed))
    return said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_says_what_its_code_prints(page):
    try:
        found = run(page)
    except ImportError as error:
        if hasattr(torch.compiler, "set_stance"):  # of torch 2.6
            raise
        pytest.skip(f"the page is written for newer versions of what it plugs into: {error}")
    for body, printed in found:
        assert body == printed


OF_RUNS = ("status",)  # what is shown of runs that are not there


def shown(page: Path) -> list[tuple[list[str], set[str]]]:
    """What every console block with an output says, with what its command prints here; "…" ends a line that goes on."""
    found = []
    for language, file, body in blocks(page):
        if file:
            Path(file).write_text(body, encoding="utf-8")
        first, *said = (" ".join(line.split()) for line in body.replace("\\\n", " ").splitlines())
        program, _, rest = first.partition("$ goal-analyze ")
        if language == "console" and rest and not program and said and not said[0].startswith("$"):
            words = shlex.split(rest)
            if words[0] not in OF_RUNS:
                lines = {" ".join(line.split()) for line in CliRunner().invoke(app, words).output.splitlines()}
                begun = {
                    line for line in said if line.endswith("…") and any(x.startswith(line[:-1].rstrip()) for x in lines)
                }
                found.append((said, lines | begun))
    return found


@pytest.mark.parametrize("page", [PAGES[0], ROOT / "docs" / "questions.md"], ids=lambda page: page.stem)
def test_what_a_page_shows_of_the_command_line_is_its_output(page, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    found = shown(page)
    assert len(found) > 1
    for said, lines in found:
        assert set(said) <= lines


def test_every_command_shown_is_understood():
    """Its words, not its files: every command and option on a page is one of the command line's."""
    known = get_command(app).commands
    for page in PAGES:
        for language, _, body in blocks(page):
            lines = body.replace("\\\n", " ").splitlines() if language == "console" else []
            for line in lines:
                _, found, rest = line.partition("goal-analyze ")
                if not line.startswith("$ ") or not found or rest.startswith("COMMAND"):
                    continue
                name, *words = shlex.split(rest, comments=True)
                assert name in known, f"{page}: {line}"
                accepted = {option for p in known[name].params for option in (*p.opts, *p.secondary_opts)}
                given = {word.partition("=")[0] for word in words if word.startswith("-")}
                assert given <= accepted, f"{page}: {line}"


COLUMN = 92
"""How many characters of code the column of a page shows."""


def typed(language: str, body: str) -> list[str]:
    """The lines of a block that a reader types; of a console, its commands."""
    if language != "console":
        return body.splitlines()
    return [line for command in re.findall(r"^\$ (?:.*\\\n)*.*$", body, re.MULTILINE) for line in command.splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_first_block_of_a_page_fits_its_column(page):
    for language, _, body in blocks(page)[:1]:
        assert max(map(len, typed(language, body)), default=0) <= COLUMN


def test_a_command_goes_on_after_a_backslash():
    assert typed("console", "$ a \\\n    b\nsaid\n$ c\n") == ["$ a \\", "    b", "$ c"]


def test_a_wrong_page_is_noticed(tmp_path):
    page = tmp_path / "wrong.md"
    page.write_text(
        "```python\nprint(1)\n```\n\n```text\n2\n```\n\n```console\n$ goal-analyze --version\n3\n4 …\n```\n"
    )
    assert run(page) == [("2\n", "1\n")]
    ((said, lines),) = shown(page)
    assert not lines & set(said)


def test_there_is_code_to_run():
    assert sum(language == "python" for page in PAGES for language, _, _ in blocks(page)) >= 25
