"""The generated pages: every command with every option, every public module once."""

import doctest
import math
import re
from pathlib import Path

import pytest
from typer.main import get_command

import goal_analysis
from goal_analysis.cli import app

pytest.importorskip("docutils", reason="the pages are made with the docs extra")

from generating import catalog_formulas, catalog_pages, docstrings
from generating.at_once import over_cores
from generating.docstrings import with_literal_blocks
from generating.mathml import formula

HIDDEN = re.compile(r"goal_analysis\.(cli|recombination\.export\.fragments|__main__)\b|\._")


def test_every_command_and_option_is_on_the_page(generated):
    page = generated["command-line.md"]
    for name, command in get_command(app).commands.items():
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert f"`{parameter.opts[0]}" in section


def test_every_public_module_is_on_one_page(generated):
    api = "\n".join(text for path, text in generated.items() if path.startswith("api/"))
    documented = re.findall(r"^\.\. automodule:: (\S+)$", api, re.MULTILINE)
    package = Path(goal_analysis.__file__).parent
    files = (path.relative_to(package.parent).with_suffix("") for path in package.rglob("*.py"))
    modules = {".".join(path.parts).removesuffix(".__init__") for path in files}
    expected = {name for name in modules if not HIDDEN.search(name)}
    assert set(documented) == expected
    assert len(documented) == len(set(documented))


def test_a_formula_in_a_docstring_is_set_as_it_stands():
    lines = ["L of `step`s.", "", "    a|b", "", "Args:", "    x: |s|."]
    found = ["L of `step`\\ s.", "", "::", "", "    a|b", "", "Args:", "    x: \\|s\\|."]
    assert with_literal_blocks(lines) == found


def test_formulas_need_no_script():
    aligned = formula(r"\begin{aligned} a &= b \\ c &= \tfrac{1}{2} \end{aligned}", "block")
    assert aligned.startswith("<math")
    assert aligned.count("<mtr>") == 2
    assert "&amp;" not in aligned
    assert "<mi>&</mi>" not in aligned


@pytest.mark.parametrize("module", [catalog_formulas, catalog_pages, docstrings], ids=lambda module: module.__name__)
def test_the_examples_of_what_generates_the_pages_are_right(module):
    found = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted
    assert not found.failed


def test_work_over_cores_is_in_order_and_its_errors_are_raised(monkeypatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert over_cores(math.sqrt, [4.0, 9.0, 16.0]) == [2, 3, 4]
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        over_cores(math.sqrt, [4.0, -1.0])
