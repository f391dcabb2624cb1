"""What `import goal_analysis` offers: names, doors that understand text or refuse it, and a run from end to end."""

import ast
import dataclasses
import importlib
import inspect
import re
import sys
from enum import Enum
from pathlib import Path

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from typer.testing import CliRunner

import goal_analysis as ga
from goal_analysis.api.objectives import parts_with
from goal_analysis.cli import app
from goal_analysis.declarations import Choice
from goal_analysis.recombination.text import to_toml
from goal_analysis.vse.folder.run_folder import RunError

CALLABLES = [name for name in ga.__all__ if inspect.isfunction(getattr(ga, name))]
LINE = "nca(tau=12)/linear@softmax:12"

DOORS = {
    "objective": ga.objective,
    "decompose": ga.decompose,
    "integrability": ga.integrability,
    "characteristics": ga.characteristics,
    "describe": ga.describe,
    "verify": ga.verify,
    "recombine": ga.recombine,
    "twin": ga.twin,
    "export": ga.export,
    "plot": ga.plot,
}
"""Those that take an objective and the keywords of its fields."""


# --- names ----------------------------------------------------------------------------------------


def test_every_name_is_there_and_no_other() -> None:
    assert len(set(ga.__all__)) == len(ga.__all__)
    assert set(ga.__all__) <= set(dir(ga))
    for name in ga.__all__:
        assert getattr(ga, name) is not None
    with pytest.raises(AttributeError, match="module 'goal_analysis' has no attribute 'objectiv'"):
        _ = ga.objectiv  # pyright: ignore[reportAttributeAccessIssue]


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(ga.__file__).read_text("utf-8"))
    (checked,) = (n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    seen = {
        alias.asname: node.module for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen == ga._HOMES


@pytest.mark.parametrize("name", ga.__all__)
def test_a_public_name_is_documented(name: str) -> None:
    value = getattr(ga, name)
    if not (inspect.isfunction(value) or inspect.isclass(value)):
        return  # a symbol or an aggregator
    first, *_ = (inspect.getdoc(value) or "").split("\n\n")
    assert first.endswith((".", ":")), name
    if name in CALLABLES:
        said = inspect.getdoc(value) or ""
        parameters = [p.name for p in inspect.signature(value).parameters.values()]
        told = all(f"{parameter}:" in said for parameter in parameters)
        assert told or not parameters or "those of `objective`" in said, name
        assert "Raises:" in said or "refused" in said or not parameters, name


# --- what is understood ---------------------------------------------------------------------------


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return tuple(torch.nn.functional.normalize(torch.randn(7, 5, generator=generator), dim=1) for _ in range(2))


def gradients(objective: torch.nn.Module) -> torch.Tensor:
    x, y = (e.requires_grad_() for e in batch())
    objective(x, y).backward()
    assert x.grad is not None
    assert y.grad is not None
    return torch.cat([x.grad, y.grad])


@pytest.mark.parametrize(
    "line", [LINE, "circle(gamma=80)", "info_nce(tau=12)", "circle(gamma=80)/linear", "softplus(10*(s_n - s_p))/10"]
)
def test_text_toml_files_values_and_exports_are_one_objective(line: str, tmp_path: Path, monkeypatch) -> None:
    expected = gradients(ga.objective(line))
    declared = to_toml(ga.objective(line).objective, parts_with())
    file = tmp_path / "mine.toml"
    file.write_text(declared, "utf-8")
    value = ga.objective(line).objective
    for given in (declared, str(file), file, value, ga.objective(value)):
        assert torch.equal(gradients(ga.objective(given)), expected)
    source = ga.export(line, tmp_path / "exported.py", name="Exported", way="tiled")  # as the live one goes
    assert (tmp_path / "exported.py").read_text("utf-8") == source
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "exported", raising=False)
    assert torch.equal(gradients(importlib.import_module("exported").Exported()), expected)
    printed = CliRunner().invoke(app, ["export", line, "-o", "-", "--name", "Exported"])
    assert printed.output == ga.export(line, name="Exported")


def test_keywords_are_fields_mining_and_hyperparameters() -> None:
    value = ga.objective("circle", gamma=80, anchors="both", reduction="sum", similarity="dot").objective
    assert (value.anchors, value.reduction, value.similarity.name) == (ga.Anchors.BOTH, ga.Reduction.SUM, "dot")
    assert float(next(h for h in value.hyperparameters if h.name == "gamma").default) == 80
    assert torch.equal(
        gradients(ga.objective("nca/linear", tau=12, mining="softmax:12")), gradients(ga.objective(LINE))
    )
    moved = ga.objective("nca/linear", direction="tangential").objective
    assert moved.direction is not None
    assert moved.direction.name == "tangential"
    total, mean = (gradients(ga.objective("info_nce", reduction=name)) for name in ("sum", "mean"))
    torch.testing.assert_close(total, 14 * mean)
    assert ga.objective("softplus(tau*(s_n - s_p))", tau=3).objective.hyperparameters[0].default == 3


def test_other_objectives_from_parts() -> None:
    by_name = ga.recombine("circle", pair="linear", mining="hardest")
    assert torch.equal(gradients(ga.objective(by_name)), gradients(ga.objective("circle/linear@hardest")))
    assert torch.equal(gradients(ga.objective(ga.twin("nca/linear"))), gradients(ga.objective("nca_twin/linear")))
    own = ga.TripletWeight(name="mine", expression=ga.sigmoid(ga.s_n - ga.s_p))
    assert ga.recombine("nca/linear", triplet=own).terms[0].triplet == ga.sigmoid(ga.x_n - ga.x_p)
    assert {member.name for member in ga.family("hardest", using="vse_pp", integrable=True)} == {
        "vse_pp/constant@hardest"
    }
    assert ga.loss("circle") in ga.losses()
    assert set(ga.weights()) == {"triplet", "pair"}


def test_an_objective_that_is_declared_goes_through_every_door() -> None:
    margin = ga.Hyperparameter("margin", 0.3)
    mine = ga.Objective(
        name="mine",
        title="Mine",
        terms=(ga.Term(outer=ga.softplus(ga.gap + margin.symbol), positives=ga.MIN(ga.s_p), negatives=ga.MAX(ga.s_n)),),
        hyperparameters=(margin,),
    )
    assert ga.integrability(mine).integrable
    assert ga.describe(mine, margin=0.1).settings == {"margin": 0.1}
    for dtypes in (["float64"], "float64", [torch.float64]):
        assert isinstance(ga.verify(mine, dtypes=dtypes), ga.Verification)
    assert "class Mine(nn.Module):" in ga.export(mine)
    assert isinstance(ga.plot(mine), Figure)


@pytest.mark.parametrize("name", ["info_nce", "contrastive", "lmnn", "margin_mse"])
def test_a_loss_of_the_catalog_is_measured_as_what_it_is(name: str) -> None:
    measured = ga.measure(name, points=5)
    first = measured.nearest[0]
    assert name in (first.loss.name, *first.ties)
    assert first.best < 1e-6
    assert measured.integrable is True


@pytest.mark.parametrize("name", ["circle", "semi_hard_triplet"])
def test_a_loss_that_has_no_proof_is_not_measured_as_proved(name: str) -> None:
    assert ga.integrability(name).integrable is False
    assert ga.measure(name, points=5).integrable is not True


def test_a_measured_loss_has_its_nearest() -> None:
    def softmax_of_cosines(images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        scores = images @ texts.T
        return torch.nn.functional.cross_entropy(12 * scores, torch.arange(len(scores)))

    found = ga.measure(softmax_of_cosines, "two_sets", points=7)
    assert "info_nce" in {name for near in found.nearest[:1] for name in (near.loss.name, *near.ties)}
    assert "nearest" in found.summary()


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
@pytest.mark.parametrize(
    ("given", "keywords", "said"),
    [
        ("cricle", {}, "got 'cricle' but expected one of circle"),
        (
            "circle",
            {"reduction": "meen"},
            "reduction: got 'meen' but expected one of mean, ",
        ),
        ("circle", {"anchors": "row"}, "anchors: got 'row' but expected one of rows, columns, both"),
        ("circle", {"similarity": "cos"}, "similarity: got 'cos' but expected one of cosine, dot"),
        ("circle", {"direction": "tangent"}, "direction: got 'tangent' but expected one of"),
        ("circle", {"direction": 3}, "direction: got 3 but expected a name or a Direction"),
        ("circle", {"mining": "softmx"}, "mining: got 'softmx' but expected one of softmax"),
        ("circle", {"reductoin": "mean"}, "got a value for 'reductoin' but expected one of reduction, "),
        ("circle", {"gama": 80}, "got a value for 'gama' but expected one of gamma, "),
        ("circle", {"gamma": "80"}, "gamma: got '80' but expected a number in"),
        ("circle(gamma=80)", {"gamma": 90}, "got gamma 2 times but expected every one once"),
        ("missing.toml", {}, "missing.toml"),
        (3, {}, "got 3 but expected text such as"),
    ],
    ids=lambda value: str(value).replace(" ", "")[:30],
)
def test_a_door_refuses_what_it_does_not_understand(door, given, keywords, said) -> None:
    with pytest.raises((ValueError, TypeError, OSError)) as refused:
        door(given, **keywords)
    assert said in str(refused.value)


def test_enumerations_say_what_they_expect() -> None:
    public = [value for value in (getattr(ga, name) for name in ga.__all__) if inspect.isclass(value)]
    enumerations = {value for value in public if issubclass(value, Enum)} | set(Choice.__subclasses__())
    assert {ga.Anchors, ga.Reduction, ga.Pool} < enumerations
    for one in enumerations:
        with pytest.raises(ValueError, match=f"^{one.__name__.lower()}: got 'x' but expected one of "):
            one("x")
        assert one(next(iter(one)).value) in one
    with pytest.raises(ValueError, match="'x' is not a valid Plain"):  # the negative control: Python's own words
        Enum("Plain", ["a"])("x")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ga.decompose(), "decompose: got no 'given' but expected decompose(given, keywords)"),
        (lambda: ga.verify("circle", 1, 2), "verify: got too many positional arguments but expected verify("),
        (lambda: ga.loss("cricle"), "got 'cricle' but expected one of circle"),
        (lambda: ga.loss("circle", gama=3), "got a value for 'gama' but expected one of gamma"),
        (lambda: ga.recombine("circle", pair="linaer"), "pair weights: got 'linaer' but expected one of linear"),
        (lambda: ga.recombine("circle", triplet="ncaa"), "triplet weight: got 'ncaa' but expected one of nca"),
        (lambda: list(ga.family(["hardst"])), "mining: got 'hardst' but expected one of hardest"),
        (lambda: list(ga.family(using="linaer")), "part: got 'linaer' but expected one of linear"),
        (lambda: ga.verify("circle", dtypes=["float46"]), "dtypes: got 'float46' but expected one of float64"),
        (lambda: ga.verify("nca/linear"), "got prescribed weights but expected a loss"),
        (lambda: ga.measure("no_module:loss"), "no_module"),
        (lambda: ga.measure(torch.nn.functional.mse_loss, "sets"), "inputs: got 'sets' but expected one of"),
        (lambda: ga.export("circle", way="sprase"), "way: got 'sprase' but expected one of dense, tiled"),
        (lambda: ga.plot("circle", kind="portait"), "kind: got 'portait' but expected one of portrait"),
        (lambda: ga.plot(), "got 0 objectives"),
        (lambda: ga.train("scenes", "cricle"), "got 'cricle' but expected one of circle"),
        (lambda: ga.train("scenes", bacth_size=3), "training: got the key 'bacth_size' but expected one of batch_size"),
        (lambda: ga.train("scenes", epochs="many"), "training: epochs: got 'many' but expected a whole number"),
        (
            lambda: ga.train("scenes", preset="bag_of_word"),
            "preset: got 'bag_of_word' but expected one of bag_of_words",
        ),
        (lambda: ga.train("no_such_folder"), "data: got 'no_such_folder' but expected scenes, or a folder or file"),
        (lambda: ga.compare(["vse_pp", "cricle"]), "got 'cricle' but expected one of circle"),
        (lambda: ga.tune(["vse_pp", "cricle"]), "got 'cricle' but expected one of circle"),
        (lambda: ga.compare([]), "objectives: got [] but expected a list of them"),
        (lambda: ga.compare(["vse_pp"], seeds=0), "seeds: got 0 but expected a whole number from 1 to 100,000"),
        (lambda: ga.tune(["vse_pp"], budget=2.5), "budget: got 2.5 but expected a whole number"),
        (lambda: ga.tune("vse_pp"), "objectives: got 'vse_pp' but expected a list of them"),
        (lambda: ga.tune(["vse_pp", "vse_pp"]), "objectives: got vse_pp, vse_pp but expected every one once"),
    ],
)
def test_other_doors_refuse_too(call, said, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, TypeError)) as refused:
        call()
    assert said in str(refused.value)
    assert not list(tmp_path.iterdir())


# --- training -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> ga.Run:
    folder = tmp_path_factory.mktemp("surface") / "run"
    small = {"data.train": 60, "data.dev": 20, "data.test": 20, "model.image.dim": 16, "model.image.width": 8}
    return ga.train("scenes", "info_nce(tau=12)", preset="scenes", epochs=1, batch_size=30, output=folder, **small)


def test_a_run_says_what_it_did(run: ga.Run, capsys) -> None:
    assert isinstance(run.history, pd.DataFrame)
    assert list(run.history.index) == [1]
    best = run.history["rsum"].max()
    assert repr(run) == f"Run({str(run.folder)!r}: info_nce(tau=12) on scenes, 1 of 1 epochs, best dev RSUM {best:.1f})"
    assert len(repr(run)) < 300
    assert f"| 1 | {run.history['i2t_r1'][1]:.1f} |" in run._repr_markdown_()
    assert torch.equal(gradients(run.objective), gradients(ga.objective("info_nce(tau=12)")))
    assert 0 < run.evaluate("test").rsum < 600
    assert run.evaluate("dev").rsum == pytest.approx(best)
    assert ga.load_run(str(run.folder)) == run


def test_a_run_is_drawn(run: ga.Run) -> None:
    assert isinstance(run.plot(), Figure)
    assert isinstance(ga.plot(run, kind="ranking"), Figure)
    with pytest.raises(ValueError, match="kind: got 'weights' but expected what was logged: ranking, retrieval"):
        run.plot("weights")
    with pytest.raises(ValueError, match="expected runs alone"):
        ga.plot(run, "circle")


def test_the_same_call_goes_on_and_another_one_is_refused(run: ga.Run) -> None:
    of = run.experiment
    small = {f"data.{k}": v for k, v in of.data.items() if k != "name"} | {
        "model.image.dim": 16,
        "model.image.width": 8,
    }
    again = ga.train("scenes", of.objective, preset="scenes", epochs=1, batch_size=30, output=run.folder, **small)
    pd.testing.assert_frame_equal(again.history, run.history)
    with pytest.raises(RunError, match="another experiment"):
        ga.train("scenes", "vse_pp", preset="scenes", epochs=1, batch_size=30, output=run.folder, **small)
    with pytest.raises(RunError):
        ga.load_run(run.folder.parent)


def test_values_show_themselves_in_a_line_and_in_a_notebook() -> None:
    objective = ga.objective(LINE)
    assert repr(objective) == "GradientObjective(nca/linear@softmax:12, mean over rows and columns, cosine, tau=12)"
    assert "| integrable | no |" in objective._repr_markdown_()
    assert repr(ga.loss("vse_pp")) == "Objective(vse_pp: hinge(margin + s_n - s_p))"
    prescribed = objective.objective
    assert repr(prescribed).startswith("Objective(nca/linear@softmax:12: T = sigmoid(")
    assert "P⁻" in (prescribed._repr_markdown_() or "")
    assert dataclasses.replace(prescribed, name="other").name == "other"
    assert repr(ga.describe("circle")) == "Description(circle: the gradient of no loss; pulls and pushes)"
    assert repr(ga.characteristics("nca/linear")) == "Characteristics(pull right, push mixed where s_n < 0)"
    found = ga.verify("vse_pp", dtypes=["float64"])
    assert re.fullmatch(r"Verification\(vse_pp: largest relative errors \S+ in float64\)", repr(found))
    assert repr(ga.measure("vse_pp", points=5)).startswith("Measurement(vse_pp; nearest ")


@pytest.mark.parametrize(
    "value",
    [
        ga.loss("circle"),
        ga.objective("nca:tau=12/linear"),
        ga.decompose("vse_pp"),
        ga.decompose("vse_pp").field,
        ga.TripletWeight(name="mine", expression=ga.sigmoid(ga.s_n - ga.s_p)),
        ga.PairWeights(name="mine", positive=1 - ga.s_p, negative=ga.s_n),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_draws_itself_as_the_door_draws_it(value) -> None:
    assert [ax.get_title() for ax in value.plot().axes] == [ax.get_title() for ax in ga.plot(value).axes]
    of_axes = [[ax.get_ylabel() for ax in value.plot(*kind).axes] for kind in ((), ("pair",))]
    assert of_axes[0] != of_axes[1]
    with pytest.raises(ValueError, match="kind: got 'cirlce' but expected one of"):
        value.plot("cirlce")


def test_a_comparison_on_another_split_is_that_of_the_runs_best_models(tmp_path: Path) -> None:
    small = {"data.train": 40, "data.dev": 20, "data.test": 10, "model.image.dim": 8, "model.image.width": 8}
    given = {"preset": "scenes", "seeds": 1, "output": tmp_path, "epochs": 1, "batch_size": 20, **small}
    with pytest.raises(ValueError, match="got 'tset' but expected"):
        ga.compare(["info_nce:tau=12"], "scenes", split="tset", **given)
    assert not list(tmp_path.rglob("run.json")), "nothing is trained where there is no such split"
    found = {split: ga.compare(["info_nce:tau=12"], "scenes", split=split, **given) for split in ("dev", "test")}
    (folder,) = {path.parent for path in tmp_path.rglob("run.json")}
    for split, of in found.items():
        assert of.table["mean"].item() == pytest.approx(ga.load_run(folder).evaluate(split).rsum)
    assert repr(found["test"]).startswith("Comparison(")
