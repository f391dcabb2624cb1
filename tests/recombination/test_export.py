"""Exported files: the same gradients to the last bit, alone in the world, and a self-test that sees what is changed."""

import ast
import re
import subprocess
import sys
import types
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sympy as sp
import torch
from torch import Tensor
from torch.nn.functional import normalize

from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.mining import (
    MINERS,
    DistanceWeighted,
    Hardest,
    Miner,
    SelectivelyHard,
    SemiHard,
    Softmax,
    TopK,
)
from goal_analysis.numeric.similarity import DIRECTIONS, Direction, direction_regularized
from goal_analysis.recombination.export import export
from goal_analysis.recombination.export.assembly import decided
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.symbolic.analysis.recovery import tangent_twin
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter
from goal_analysis.symbolic.language.primitives import detach, hinge, logsumexp, s_n, s_p, softplus
from goal_analysis.symbolic.language.similarity import (
    COSINE,
    DOT,
    SIMILARITIES,
    RelativeSimilarity,
    Similarity,
    other_negative,
)
from goal_analysis.symbolic.objective import Anchors, Reduction
from goal_analysis.symbolic.weight import PairWeights, TripletWeight, compose
from losses_catalog.weights import (
    circle_triplet,
    constant_pair,
    constant_triplet,
    hinge_triplet,
    linear_pair,
    nca_triplet,
    pair_weights,
    relative_linear_pair,
    relative_sigmoid_pair,
    sigmoid_pair,
    triplet_weights,
)

STEEP = (Softmax(5.0, 60.0), Softmax(20.0, 40.0), Softmax(0.0, 5.0), Softmax(3.0, 0.0))
MININGS = (*(m for m in MINERS if m.name != "distance_weighted"), DistanceWeighted(dim=8), *STEEP)
minings = pytest.mark.parametrize("mining", MININGS, ids=str)
WAYS = (None, *DIRECTIONS, direction_regularized(0.3))
SIZES = [  # every two of rows, dim and dtype
    (n, dim, dtype)
    for i, n in enumerate((1, 2, 5, 64, 300))
    for dim, dtype in zip((4, 64), (torch.float32, torch.float64)[:: 1 if i % 2 else -1], strict=True)
]


def along(mining: Miner, similarity: Similarity) -> tuple[Direction | None, ...]:
    """A quarter of the directions: every two of mining, similarity and direction meet."""
    return WAYS[(MININGS.index(mining) + SIMILARITIES.index(similarity)) % 4 :: 4]


def loaded(source: str) -> Any:
    """The one objective of an exported file."""
    module = types.ModuleType("exported")
    exec(compile(source, "exported", "exec"), module.__dict__)
    (found,) = (v for k, v in vars(module).items() if k.endswith("Objective"))
    return found()


def batch(n: int, dim: int, dtype: torch.dtype, unit: bool = True) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(n)
    x = torch.randn(n, dim, generator=g, dtype=torch.float64)
    y = x + torch.randn(n, dim, generator=g, dtype=torch.float64)
    x, y = (normalize(e, dim=1) if unit else e for e in (x, y))
    return x.to(dtype), y.to(dtype)


def ids_of(n: int) -> list[tuple[Tensor, ...]]:
    """None; captions; ids of both in disorder, some alone; one id for all, so that there are no negatives."""
    i = torch.arange(n)
    return [(), (i // 2,), ((i * 7) % (n // 2 + 1), (i * 3) % n), (torch.zeros_like(i),)]


def gradients(objective: Any, x: Tensor, y: Tensor, *ids: Tensor) -> list[Tensor]:
    """The value and the gradients times an upstream gradient of 3, of embeddings."""
    x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
    torch.manual_seed(0)
    value = objective(x, y, *ids)
    return [value.detach(), *torch.autograd.grad(3 * value, (x, y))]


def same_bits(objective: GradientObjective, x: Tensor, y: Tensor, exported: Any = None) -> bool:
    exported = exported or loaded(export(objective))
    for ids in ids_of(len(x)):
        expected, got = (gradients(o, x, y, *ids) for o in (objective, exported))
        if not all(map(torch.equal, expected, got)):
            return False
        matches = Matches.of_image_ids(*ids) if ids else Matches.of_pairs(len(x))
        scores = (x @ y.T).requires_grad_()
        torch.manual_seed(0)
        (expected_w,) = torch.autograd.grad(objective.from_scores(scores, matches), scores)
        torch.manual_seed(0)
        (got_w,) = torch.autograd.grad(exported.from_scores(scores, matches.positives, matches.negatives), scores)
        if not torch.equal(expected_w, got_w):
            return False
    return True


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@minings
def test_every_weight_has_the_same_bits(mining: Miner) -> None:
    for t, p in weights_with(mining):
        objective = GradientObjective(t, p, mining)
        assert same_bits(objective, *batch(12, 4, torch.float32)), objective


def weights_with(mining: Miner) -> list[tuple[TripletWeight, PairWeights]]:
    """All pair weights that this mining can have, and all triplet weights, in turn."""
    pairs = [p for p in pair_weights if not (p.relative and isinstance(mining, Softmax))]
    turned = MININGS.index(mining)
    return [(triplet_weights[(turned + i) % len(triplet_weights)], p) for i, p in enumerate(pairs)]


def test_every_two_parts_meet() -> None:
    met = [(t.name, p.name, mining) for mining in MININGS for t, p in weights_with(mining)]
    assert {(t, p) for t, p, _ in met} == {(t.name, p.name) for t, p in product(triplet_weights, pair_weights)}
    assert {(t, m) for t, _, m in met} == {(t.name, m) for t, m in product(triplet_weights, MININGS)}
    directed = [(m, s.name, way) for m, s in product(MININGS, SIMILARITIES) for way in along(m, s)]
    assert {(m, way) for m, _, way in directed} == set(product(MININGS, WAYS))
    assert {(s, way) for _, s, way in directed} == {(s.name, way) for s, way in product(SIMILARITIES, WAYS)}
    asked = [(m, a, *of_anchors(m, a)) for m, a in product(MININGS, Anchors)]
    assert {(m, r) for m, _, r, _ in asked} == set(product(MININGS, Reduction))
    assert {(a, r) for _, a, r, _ in asked} == set(product(Anchors, Reduction))
    for place, all_of in enumerate((MININGS, Anchors, Reduction)):
        assert {(found[place], found[3]) for found in asked} == set(product(all_of, (COSINE, DOT)))


@cache
def nca_linear(mining: Miner) -> tuple[GradientObjective, Any]:
    """An objective with this mining, and its file."""
    objective = GradientObjective(nca_triplet, linear_pair, mining)
    return objective, loaded(export(objective))


@minings
@pytest.mark.parametrize(("n", "dim", "dtype"), SIZES)
def test_every_size_has_the_same_bits(mining: Miner, n: int, dim: int, dtype: torch.dtype) -> None:
    n = min(n, 64) if mining.name in ("all", "semi_hard") else n
    objective, exported = nca_linear(mining)
    assert same_bits(objective, *batch(n, dim, dtype), exported)


@pytest.mark.parametrize("mining", [Hardest(), Softmax(10.0, 12.0), Softmax(10.0, 100.0)], ids=str)
def test_tiles_have_the_same_bits(mining: Miner) -> None:
    objective = GradientObjective(nca_triplet, linear_pair, mining)
    exported, (x, y) = loaded(export(objective)), batch(2100, 4, torch.float32)
    for ids in ((), (torch.arange(2100) // 3,)):
        assert all(map(torch.equal, gradients(objective, x, y, *ids), gradients(exported, x, y, *ids)))


@minings
@pytest.mark.parametrize("similarity", SIMILARITIES, ids=lambda s: s.name)
@pytest.mark.filterwarnings("ignore:.*expected unit vectors")
def test_every_direction_has_the_same_bits(mining: Miner, similarity: Any) -> None:
    for way in along(mining, similarity):
        objective = GradientObjective(circle_triplet, linear_pair, mining, similarity, way)
        assert same_bits(objective, *batch(12, 5, torch.float64, unit=False)), objective


@minings
@pytest.mark.parametrize("anchors", Anchors)
def test_anchors_and_means_have_the_same_bits(mining: Miner, anchors: Anchors) -> None:
    reduction, similarity = of_anchors(mining, anchors)
    objective = GradientObjective(
        nca_triplet, sigmoid_pair, mining, similarity, anchors=anchors, reduction=reduction, refuse_nonfinite=False
    )
    assert same_bits(objective, *batch(9, 4, torch.float32))


def of_anchors(mining: Miner, anchors: Anchors) -> tuple[Reduction, Similarity]:
    """Reduction and similarity in turn."""
    first, second = MININGS.index(mining), list(Anchors).index(anchors)
    return list(Reduction)[(first + second) % 2], (COSINE, DOT)[(first // 2 + second) % 2]


@pytest.mark.parametrize("mining", [Hardest(), Softmax(), TopK(2)], ids=str)
def test_other_shapes_and_empty_batches_and_half_precision(mining: Miner) -> None:
    objective = GradientObjective(nca_triplet, sigmoid_pair, mining, reduction=Reduction.MEAN)
    exported, (x, y) = loaded(export(objective)), batch(20, 4, torch.float32)
    half = (x.bfloat16(), y.bfloat16())
    for given in (
        (x[:7], y, torch.arange(7), torch.arange(20) % 9),
        (x[:0], y[:0]),
        (x[:0], y, torch.arange(0), torch.arange(20)),
        half,
        (x, y.double()),
    ):
        assert all(map(torch.equal, gradients(objective, *given), gradients(exported, *given)))


def test_a_negative_control_of_the_bits() -> None:
    objective, other = (GradientObjective(nca_triplet, linear_pair, settings={"tau": t}) for t in (10.0, 10.0001))
    x, y = batch(5, 4, torch.float32)
    assert not same_bits(objective, x, y, loaded(export(other)))


a, b = Hyperparameter("a", 0.3), Hyperparameter("math", 2.5)
OWN = TripletWeight(
    name="own",
    expression=detach(hinge(s_n - s_p + a.symbol)) * s_n
    + logsumexp(s_p, b.symbol, s_n) / (softplus(s_p - s_n) + sp.sqrt(s_n**2 + sp.Rational(1, 3)))
    - sp.exp(-(s_n**3)) * sp.cos(b.symbol * s_p) / 7
    + (s_p + 2) ** sp.Rational(7, 3),
    hyperparameters=(a, b),
)


@pytest.mark.parametrize("mining", [SemiHard(0.5), Softmax(4.0, 6.0)], ids=str)
def test_formulas_of_ones_own_and_twins(mining: Miner, tmp_path: Path) -> None:
    twin, _ = tangent_twin(compose(circle_triplet, sigmoid_pair))
    assert twin.factors is not None
    hyperparameters = circle_triplet.hyperparameters + sigmoid_pair.hyperparameters
    of_twin = TripletWeight(name="twin", expression=twin.factors.triplet, hyperparameters=hyperparameters)
    for t, p in ((OWN, linear_pair), (of_twin, sigmoid_pair)):
        objective = GradientObjective(t, p, mining)
        source = export(objective)
        assert same_bits(objective, *batch(30, 4, torch.float32), loaded(source))
        assert run(source, tmp_path).returncode == 0


def run(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run an exported file where nothing of the project can be imported."""
    file = folder / "exported.py"
    file.write_text(source, encoding="utf-8")
    command = [sys.executable, "-I", str(file)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


KINDS = {
    "hardest": GradientObjective(nca_triplet, linear_pair),
    "semi-hard, relative": GradientObjective(hinge_triplet, relative_linear_pair, SemiHard()),
    "top k, relative": GradientObjective(circle_triplet, relative_sigmoid_pair, TopK(3), reduction=Reduction.MEAN),
    "selectively hard": GradientObjective(nca_triplet, sigmoid_pair, SelectivelyHard(0.2), direction=DIRECTIONS[-1]),
    "drawn": GradientObjective(nca_triplet, sigmoid_pair, DistanceWeighted(dim=8), anchors=Anchors.ROWS),
    "softmax": GradientObjective(nca_triplet, sigmoid_pair, Softmax(8.0, 12.0), anchors=Anchors.COLUMNS),
    "steep softmax": GradientObjective(circle_triplet, pair_weights[-1], Softmax(8.0, 60.0), reduction=Reduction.MEAN),
    "mean softmax": GradientObjective(constant_triplet, constant_pair, Softmax(0.0, 3.0), similarity=SIMILARITIES[3]),
}
kinds = pytest.mark.parametrize("objective", KINDS.values(), ids=KINDS.keys())


@kinds
def test_a_file_alone_passes_its_self_test(objective: GradientObjective, tmp_path: Path) -> None:
    done = run(export(objective), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("passed\n")
    assert done.stderr == ""


@minings
def test_the_self_test_passes_for_every_direction(mining: Miner, capsys: pytest.CaptureFixture[str]) -> None:
    for similarity, way in ((s, way) for s in SIMILARITIES for way in along(mining, s)):
        objective = GradientObjective(nca_triplet, linear_pair, mining, similarity, way)
        module = types.ModuleType("exported")
        exec(compile(export(objective), "exported", "exec"), module.__dict__)
        assert module.self_test(), (objective, capsys.readouterr().out)


def changed_constants(source: str) -> list[str]:
    """The source with one number changed at a time: those of the weights and of the mining, and recorded ones."""
    found = []
    for match in re.finditer(r"^([A-Z_]+) = (\d[\d.]*)$", source, re.M):
        found.append(source[: match.start(2)] + repr(ast.literal_eval(match[2]) + 1) + source[match.end(2) :])
    for name in ("triplet_weight", "positive_weight", "negative_weight", "defined_triplet_weight"):
        head = source.index(f"def {name}(")
        start = source.index('"""\n', head) + 4
        body = source[start : source.index("\n\n\n", start)]
        body = body.replace("(), 0.5))", "(), ...))")  # the value of a step at its kink alone
        for match in re.finditer(r"(?<![\w.])\d+(\.\d+)?(?![\w.])", body):
            place = start + match.start()
            changed = repr(ast.literal_eval(match[0]) * 1.01 + 0.01)
            found.append(source[:place] + changed + source[start + match.end() :])
    place = source.find("RECORDED = (")
    return [*found, source[:place] + "RECORDED = (1 + " + source[place + 12 :]] if place >= 0 else found


@kinds
def test_a_changed_constant_fails_the_self_test(
    objective: GradientObjective, capsys: pytest.CaptureFixture[str]
) -> None:
    source = export(objective)
    sabotaged = changed_constants(source)
    assert len(sabotaged) > 1
    for text in sabotaged:
        module = types.ModuleType("exported")
        exec(compile(text, "exported", "exec"), module.__dict__)
        try:
            passed = module.self_test()
        except ValueError:  # chances that are not what they should be
            passed = False
        where = next(pair for pair in zip(source.splitlines(), text.splitlines(), strict=True) if pair[0] != pair[1])
        assert not passed, where
    capsys.readouterr()


def test_a_sabotaged_file_exits_with_one(tmp_path: Path) -> None:
    source = export(KINDS["hardest"])
    done = run(source.replace("torch.sigmoid(10 *", "torch.sigmoid(11 *"), tmp_path)
    assert done.returncode == 1
    assert "FAILED: T, pairs, images with ids, recorded numbers" in done.stdout


@kinds
def test_the_text_is_tidy(objective: GradientObjective) -> None:
    source = export(objective)
    tree = ast.parse(source)
    assert source == export(objective)
    assert "goal_analysis" not in source
    assert max(map(len, source.splitlines())) <= 120
    assert not [line for line in source.splitlines() if line != line.rstrip()]
    assert "\n\n\n\n" not in source
    assert source.endswith(")\n")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name != "__init__" and node.col_offset == 0:
            assert ast.get_docstring(node), node.name
    defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    imported = {a.asname or a.name for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names}
    read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    settled = {n.id for n in read_constants(tree)}
    assert imported - {"annotations"} <= read
    assert defined - {n for n in defined if n.endswith("Objective")} <= read
    assert settled <= read
    roots = {(n.module if isinstance(n, ast.ImportFrom) else n.names[0].name) for n in tree.body if is_import(n)}
    assert {str(root).split(".")[0] for root in roots} <= {"torch", *sys.stdlib_module_names}


def is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def read_constants(tree: ast.Module) -> list[ast.Name]:
    return [t for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)]


HOSTILE = '"""\nimport os\nos.abort()\n"""\\" \x00\u202e\'\'\' {0} %s'


@pytest.mark.filterwarnings("error")
def test_hostile_names_stay_words(tmp_path: Path) -> None:
    odd = sp.Symbol(HOSTILE, real=True)
    t = TripletWeight(
        name=HOSTILE,
        expression=s_n - s_p + sum(sp.Symbol(n, real=True) for n in ("torch", "__debug__", "v3")),
        hyperparameters=tuple(Hyperparameter(n, 0.5, meaning=HOSTILE) for n in ("torch", "__debug__", "v3")),
        note=HOSTILE,
        reference=(HOSTILE,),
    )
    relative = RelativeSimilarity(
        symbol=odd, contribution=s_n - other_negative, other=other_negative, member=other_negative
    )
    p = PairWeights(name=HOSTILE, positive=1 + odd, negative=s_n, relative=(relative,), note=HOSTILE)
    source = export(GradientObjective(t, p, TopK(2)))
    assert not {"os", "abort"} & {n.id for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name)}
    assert not set("\x00\u202e") & set(source)
    done = run(source, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_names() -> None:
    objective = KINDS["hardest"]
    assert "class NcaLinearObjective(nn.Module):" in export(objective)
    assert "class MineObjective(nn.Module):" in export(objective, "Mine")
    assert "class MyObjective(nn.Module):" in export(objective, "MyObjective")
    for name in ("", "a b", "x):\n    pass", "é", "1a", "a" * 81):
        with pytest.raises(ValueError, match=r"export: name: got .* but expected a class's name, up to 80 letters"):
            export(objective, name)


class Mine:
    name = "mine"

    def __call__(self, scores: Tensor, matches: Matches) -> Any:
        return Hardest()(scores, matches)


def test_what_is_of_ones_own_is_refused() -> None:
    with pytest.raises(ValueError, match=r"export: mining: got .*Mine.* but expected one of hardest, semi_hard"):
        export(GradientObjective(nca_triplet, constant_pair, Mine()))
    direction = Direction("tangential", "of mine", lambda w, x, y: (w @ y, w.T @ x))
    with pytest.raises(ValueError, match=r"export: direction: got 'tangential' but expected one of cosine, dot"):
        export(GradientObjective(nca_triplet, constant_pair, direction=direction))


def test_the_docstring_tells_the_verdict_and_the_loss() -> None:
    yes, no = (export(GradientObjective(nca_triplet, p)) for p in (constant_pair, linear_pair))
    assert "It is the gradient of a loss: " in yes
    assert "L = softplus(tau*(s_n - s_p))/tau" in yes
    assert "It is not the gradient of a loss: the curl" in no
    assert "tau = 10, steepness" in no
    assert r"w^{-} = T\,P^{-} &= s_n \sigma" in no


def test_exported_files_refuse_what_does_not_fit() -> None:
    exported, (x, y) = loaded(export(KINDS["hardest"])), batch(3, 4, torch.float64)
    scores, pairs = x @ y.T, torch.eye(3, dtype=torch.bool)
    for given, message in (
        ((x, y[:, :2]), r"got embeddings of shapes \(3, 4\) and \(3, 2\)"),
        ((x, y[:2]), "got 3 images and 2 texts without image_ids"),
        ((x.long(), y), "expected floating-point"),
        ((x, y, torch.rand(3)), "image_ids: got torch.float64"),
        ((x * torch.inf, y), "image_embeddings: row 0: got a number that is not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            exported(*given)
    with pytest.raises(ValueError, match=r"positives: got torch.bool of shape"):
        exported.from_scores(scores, pairs[:2])
    with pytest.raises(ValueError, match="got a pair that is positive and negative"):
        exported.from_scores(scores, pairs, pairs)
    with pytest.warns(UserWarning, match="expected unit vectors"):
        exported(2 * x, y)


def test_statements_that_are_settled_are_decided() -> None:
    text = "def f(x):\n    if A:\n        y = 1\n    elif B:\n        y = 2\n    else:\n        y = 3\n    return y"
    decide = {flags: decided(text, dict(zip("AB", flags, strict=True))) for flags in product((True, False), repeat=2)}
    assert {flags: re.findall(r"y = \d", t) for flags, t in decide.items()} == {
        (True, True): ["y = 1"],
        (True, False): ["y = 1"],
        (False, True): ["y = 2"],
        (False, False): ["y = 3"],
    }
    assert decide[True, True] == "def f(x):\n    y = 1\n    return y"
