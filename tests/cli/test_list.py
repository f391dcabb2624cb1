"""`goal-analyze list`: every loss, as a table and as data."""

import json
import subprocess
import sys

import pytest
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
        "hardness_weighted_info_nce",
        "ranked_list",
        "selectively_hard_triplet",
    }


REFUSED = (
    ("show", "circel"),
    ("compose", "nca/linaer"),
    ("plot", "circle", "--format", "bmp"),
    ("verify", "circle", "--dtype", "int8"),
    ("train", "--preset", "bag_of_wrods"),
    ("train", "--preset", "bag_of_words", "--objective", "circel"),
    ("compare", "--preset", "bag_of_words", "--objective", "nca/linaer"),
    ("study", "--objective", "circel"),
    ("study", "--preset", "bag_of_wrods"),
    ("discover", "--preset", "bag_of_wrods"),
    ("evaluate", "nowhere"),
    ("retrieve", "nowhere", "--image", "1"),
    ("report", "nowhere"),
    ("plot", "--run", "nowhere"),
    ("SHOW", "Circel"),
    ("show", "nca/linear@softmx:12"),
    ("compose", "nca/linear", "--mining", "softmx"),
    ("train", "--preset", "scenes", "--objective", "info_nce:tau=12@hardset"),
    ("explore", "circel"),
)
IN_SYMPY = (
    ("show", "circle:gama=80"),
    ("compose", "nca(tua=12)/linear"),
    ("compose", "circle/sigmoid:alfa=3"),
    ("train", "--preset", "scenes", "--objective", "circle(gamma=-1)"),
    ("explore", "circle:gamma=much"),
)


@pytest.mark.parametrize("words", [("--help",), ("train", "--help"), *REFUSED, *IN_SYMPY], ids=" ".join)
def test_what_is_only_read_and_refused_loads_no_torch_and_for_settings_alone_sympy(words: tuple[str, ...]) -> None:
    script = (
        "import sys\n"
        "from goal_analysis.cli import app\n"
        "try:\n    app(sys.argv[1:])\n"
        "except SystemExit as end:\n    code = end.code\n"
        "print(code, sorted({'numpy', 'sympy', 'torch', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    loaded = "['sympy']" if words in IN_SYMPY else "[]"
    assert done.stdout.splitlines()[-1] == f"{0 if '--help' in words else 2} {loaded}"
    assert "--help" in words or "but expected" in done.stderr


def test_help_has_examples():
    for command in ("list", "show", "demo"):
        assert f"goal-analyze {command}" in run(command, "--help").output
