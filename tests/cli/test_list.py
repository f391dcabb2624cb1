"""`goal-analyze list`: every loss, as a table and as data."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from goal_analysis.cli import app
from losses_catalog import catalog, families


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_the_list_names_every_loss():
    output = run("list").output
    assert {loss.name for loss in catalog} <= {line.split()[0] for line in output.splitlines() if line.strip()}
    assert f"{len(catalog)} losses" in output


@pytest.mark.parametrize("columns", [50, 60, 80, 100])
def test_no_column_and_no_word_is_cut_however_narrow_the_terminal(columns):
    output = CliRunner().invoke(app, ["list", "--family", "softmax"], env={"COLUMNS": str(columns)}).output
    words = [line.split() for line in output.splitlines()]
    assert all(len(line) <= columns for line in output.splitlines())
    assert "…" not in output
    for record in json.loads(run("list", "--json", "--family", "softmax").output):
        assert any(record["name"] in line for line in words)
        assert {*record["shape"].split()} <= {word.strip(";") for line in words for word in line}
    assert {"Doosterlinck", "Robinson", "2021", "integrable", "reference"} - {w for line in words for w in line} == {
        "Doosterlinck"  # the negative control: it is of another family
    }


def names(*arguments):
    return [record["name"] for record in json.loads(run("list", "--json", *arguments).output)]


def test_the_list_as_data():
    assert names() == [loss.name for loss in catalog]
    assert names("--integrable", "no") == [
        "sel_hn",
        "selectively_hard_triplet",
        "batch_all_triplet",
        "semi_hard_triplet",
        "online_contrastive",
        "ranked_list",
        "threshold_consistent_margin",
        "hardness_weighted_info_nce",
        "false_negative_masked_info_nce",
        "dual_temperature",
        "circle",
        "mv_am_softmax",
        "mv_arc_softmax",
        "curricular_face",
    ]


def test_filters_choose_and_join():
    assert names("--family", "rankings") == [loss.name for loss in families["rankings"]]
    assert names("--proxies", "yes") == [loss.name for loss in catalog if loss.proxies]
    assert set(names("--separable", "no")) == set(names()) - set(names("--separable", "yes"))
    assert names("--year", "2025") == [
        "sel_hn",
        "hardness_weighted_info_nce",
        "false_negative_masked_info_nce",
        "temperature_free_info_nce",
        "sppo",
        "apo_zero",
        "apo_down",
    ]
    assert set(names("--year", "2015-2017")) > {"triplet", "margin", "proxy_nca"}
    assert names("--library", "lightly") == ["negative_cosine", "info_nce", "dcl"]
    assert names("--library", "mULTIsimilarityloss") == ["multi_similarity"]
    assert names("--library", "ContrastiveLoss") == ["contrastive_cosine_squared", "hinge_embedding"]
    assert names("--family", "softmax", "--integrable", "no", "--year", "2022") == ["dual_temperature"]
    assert names("--family", "pairs", "--year", "1900") == []


def test_the_table_is_by_family():
    lines = run("list").output.splitlines()
    assert [line for line in lines if line in families] == list(families)
    assert run("list", "--library", "MarginLoss").output.splitlines()[-1] == "1 loss"


@pytest.mark.parametrize(
    ("what", "value", "expected"),
    [
        ("family", "softmx", "softmax, "),
        ("integrable", "maybe", "yes, no, open"),
        ("separable", "True", "yes, no, open"),
        ("proxies", "", "yes, no, open"),
        ("year", "20", "a year such as 2020"),
        ("library", "sentence_transformers", "sentence-transformers, "),
        ("library", "TripletLos", "TripletLoss, "),
    ],
)
def test_another_filter_is_refused_with_what_is_accepted(what, value, expected):
    result = run("list", f"--{what}", value)
    assert result.exit_code == 2
    assert f"{what}: got {value!r} but expected " in result.output
    assert expected in " ".join(result.output.split())


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
