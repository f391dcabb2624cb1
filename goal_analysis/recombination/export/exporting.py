"""An objective as the text of one Python file: what it is, its formulas, the engine, a check."""

from __future__ import annotations

import inspect
import keyword
import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import fields as dataclass_fields
from functools import partial
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from goal_analysis.numeric.engine.aggregators import Aggregator
from goal_analysis.numeric.engine.functions import Functions, Side
from goal_analysis.numeric.engine.relative import Relatives
from goal_analysis.numeric.formula import Formula
from goal_analysis.numeric.functions import functions_of
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import scores
from goal_analysis.recombination.export.cutting import ENGINE, FOLLOWED, Cutting
from goal_analysis.recombination.export.printing import tensor_lines
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.symbolic.language.similarity import COSINE, DOT
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.typesetting import latex, plain

WIDTH = 116
WAYS = ("dense", "tiled")


def export(objective: GradientObjective | Objective, name: str | None = None, way: str = "dense") -> str:
    """The text of a Python file that trains with an objective and needs torch alone.

    It is cut from the engine's source, so that on a CPU its gradients are those of the objective by the same way,
    to the last bit. Run as a program it checks itself.

    Args:
        objective: any whose selections and direction have a source that can be read.
        name: of the class, an identifier; by default made of the objective's name.
        way: "dense", which is short and goes through the whole matrix of scores; or "tiled", with the ways that keep no
            matrix of scores too.

    Raises:
        ValueError: a name that is no identifier; another way; a selection or direction without a source that can be
            read, or one that needs more than torch.

    >>> from losses_catalog.info_nce import info_nce_loss
    >>> "class InfoNce(nn.Module):" in export(info_nce_loss)
    True
    """
    module = objective if isinstance(objective, GradientObjective) else GradientObjective(objective)
    value = module.objective
    class_name = _class_name(value.name) if name is None else name
    if not class_name.isidentifier() or keyword.iskeyword(class_name):
        raise ValueError(f"name: got {name!r} but expected an identifier, such as NcaLinear")
    if way not in WAYS:
        raise ValueError(f"way: got {way!r} but expected one of {', '.join(WAYS)}")
    functions = functions_of(value)
    file = _File(Cutting(_own_modules(value), _known(functions) if way == "dense" else {}), way)
    file.functions(functions)
    if value.is_loss:
        file.cutting.take(f"{ENGINE}.dense", "loss")
    file.cutting.take(f"{ENGINE}.dense", "weight_matrix")
    file.cutting.take(f"{ENGINE}.surrogate", "Prescribed")
    if way == "tiled":
        file.cutting.take(f"{ENGINE}.surrogate", "quick_surrogate")
    file.cutting.take(__name__, "checked_batch")
    similarity = _similarity(value, file)
    direction = None if value.direction is None else file.callable(value.direction.gradients)
    made = _class(class_name, value, similarity, direction, way)
    file.unread = file.cutting.unread(made)
    stated = file.functions(functions)
    imports, cut = file.cutting.text()
    extra = ["import torch", "from torch import Tensor, nn"]
    lines = [line for line in imports.splitlines() if not re.fullmatch(r"import torch|from torch import .*", line)]
    head = "\n".join(["from __future__ import annotations", "", *lines, "", *extra])
    body = [
        f"FUNCTIONS = {stated}",
        made,
        _check(class_name, module, similarity),
    ]
    parts = [_docstring(module, class_name), head, *file.formulas, cut, *body]
    return _tidy("\n\n".join(part.strip("\n") for part in parts) + "\n")


class _File:
    """The definitions that a file is going to have."""

    def __init__(self, cutting: Cutting, way: str) -> None:
        self.cutting, self.way = cutting, way
        self.formulas: list[str] = []
        self.unread: frozenset[str] = frozenset()
        self._named: dict[Any, str] = {}

    def functions(self, functions: Functions) -> str:
        """The functions of an objective, as Python states them."""
        self.cutting.take(f"{ENGINE}.functions", "Functions")
        terms = []
        for i, term in enumerate(functions.terms):
            self.cutting.take(f"{ENGINE}.functions", "Term")
            self.cutting.take(f"{ENGINE}.dense", term.meet.__name__)
            tail = str(i + 1) if len(functions.terms) > 1 else ""
            fields = {
                "positives": "None" if term.positives is None else self.side(term.positives, "positive", tail, "s_p"),
                "negatives": "None" if term.negatives is None else self.side(term.negatives, "negative", tail, "s_n"),
                "pull": self.formula(term.pull, f"pull{tail}", ("x_p", "x_n"), "T⁺(x_p, x_n)"),
                "push": self.formula(term.push, f"push{tail}", ("x_p", "x_n"), "T⁻(x_p, x_n)"),
                "meet": term.meet.__name__,
            }
            if term.outer is not None:
                fields["outer"] = self.formula(term.outer, f"outer{tail}", ("x_p", "x_n"), "Φ(x_p, x_n)")
            if isinstance(term.relative, Relatives):
                fields["relative"] = self.relative(term.relative, tail)
            terms.append(self.stated("Term", fields, 2))
        fields = {name: repr(getattr(functions, name)) for name in ("rows", "columns", "mean", "middle")}
        terms = "(\n        " + ",\n        ".join(terms) + ",\n    )"
        return self.stated("Functions", {"terms": terms, **fields}, 0)

    def stated(self, kind: str, fields: dict[str, str], indent: int | None = None) -> str:
        """A value of the engine with the fields that are read, one a line where there is an indent."""
        said = [f"{name}={text}" for name, text in fields.items() if name not in self.unread]
        if indent is None:
            return f"{kind}({', '.join(said)})"
        inner = "\n" + "    " * (indent + 1)
        return f"{kind}({inner}{f',{inner}'.join(said)},\n{'    ' * indent})"

    def side(self, side: Side, what: str, tail: str, variable: str) -> str:
        """One side of a term."""
        self.cutting.take(f"{ENGINE}.functions", "Side")
        compiled = side.weight.whole.program.inputs if isinstance(side.weight, Formula) else ()
        reads = (variable, *(f"r{i}" for i in range(1, len(compiled))))
        of_inner, of_weight = ("k(s_p)", "P⁺") if what == "positive" else ("h(s_n)", "P⁻")
        fields = {
            "aggregator": self.aggregator(side.aggregator),
            "inner": self.formula(side.inner, f"{what}_inner{tail}", (variable,), of_inner),
            "weight": self.formula(side.weight, f"{what}_weight{tail}", reads, of_weight),
        }
        if side.pool != "own":
            fields["pool"] = repr(side.pool)
        if side.selection is not None:
            fields["selection"] = self.value(side.selection)
        if side.valued is not None and isinstance(side.valued, Formula) and side.valued.stopped.program.outputs:
            valued = self.formula(side.valued, f"{what}_valued{tail}", (variable,), "The same, differentiable")
            fields |= {"valued": valued} if valued != fields["inner"] else {}
        if self.way == "tiled":
            self.cutting.take(f"{ENGINE}.functions", "Hints")
            fields["hints"] = repr(side.hints).replace("=inf", "=float('inf')")
        return self.stated("Side", fields)

    def aggregator(self, aggregator: Aggregator) -> str:
        """An aggregator by its functions."""
        self.cutting.take(f"{ENGINE}.aggregators", "Aggregator")
        value, weights = self.callable(aggregator.value), self.callable(aggregator.weights)
        fields = {"name": repr(aggregator.name), "value": value, "weights": weights}
        if aggregator.enumerates:
            fields["enumerates"] = "True"
        if aggregator.scale != 1:
            fields["scale"] = repr(aggregator.scale)
        return self.stated("Aggregator", fields)

    def relative(self, relatives: Relatives, tail: str) -> str:
        """What pair weights read from other pairs."""
        self.cutting.take(f"{ENGINE}.relative", "Relatives")
        self.cutting.take(f"{ENGINE}.relative", "Relative")
        read = ("s_p", "s_n", "o_p", "o_n", "l_p")
        declared = []
        for i, one in enumerate(relatives.declared):
            contribution = self.formula(one.contribution, f"contribution{tail}_{i}", read, "what another pair adds")
            member = self.formula(one.member, f"member{tail}_{i}", read, "at least zero where it counts")
            declared.append(f"Relative({contribution}, {member}, {one.of_positives}, {one.counts!r})")
        return f"Relatives(({', '.join(declared)},))"

    def formula(self, formula: Callable[..., Tensor], name: str, arguments: tuple[str, ...], said: str) -> str:
        """A compiled formula as a function of the file, operation for operation; its name."""
        if not isinstance(formula, Formula):
            return self.callable(formula)
        lines, value = tensor_lines(formula, arguments, arguments[0])
        if not lines and (value,) == arguments:
            name, arguments, value, said = "same", ("s",), "s", "The similarity itself"
        if len(arguments) > 1 and not all(a in value + "".join(lines) for a in arguments):
            shapes = ", ".join(f"{a}.shape" for a in arguments)
            value = f"({value}).expand(torch.broadcast_shapes({shapes}))"
        head = f"({', '.join(f'{a}: Tensor' for a in arguments)}) -> Tensor:"
        body = [*(f"    {line}" for line in lines), f"    return {value}"]
        known = self._named.setdefault((head, *body), name)
        if known == name and not any(text.startswith(f"def {name}(") for text in self.formulas):
            self.formulas.append("\n".join([f"def {name}{head}", f'    """{said}."""', *body]))
        return known

    def callable(self, function: Any) -> str:
        """A function of a module, or one with some arguments given."""
        if isinstance(function, partial):
            self.cutting._imports["from functools import partial"] = None
            given = [*map(repr, function.args), *(f"{k}={v!r}" for k, v in function.keywords.items())]
            return f"partial({self.callable(function.func)}, {', '.join(given)})"
        if inspect.isfunction(function) and function.__qualname__ == function.__name__:
            self.cutting.take(function.__module__, function.__name__)
            return function.__name__
        return self.value(function)

    def value(self, value: Any) -> str:
        """A selection, or anything callable, as its class's call."""
        kind = type(value)
        if inspect.isfunction(value) or not hasattr(value, "__dataclass_fields__"):
            raise ValueError(f"export: got {value!r} but expected a function of a module, or a dataclass")
        self.cutting.take(kind.__module__, kind.__name__)
        fields = {f.name: getattr(value, f.name) for f in dataclass_fields(value)}
        fields = {name: v for name, v in fields.items() if not isinstance(v, torch.Generator)}
        return f"{kind.__name__}({', '.join(f'{n}={v!r}' for n, v in fields.items())})"


def _known(functions: Functions) -> dict[str, Any]:
    """What the engine's expressions always are in these functions; see `Cutting`."""
    terms = functions.terms
    sides = [side for term in terms for side in (term.positives, term.negatives)]
    there = [side for side in sides if side is not None]
    values = {
        "side": sides,
        "side.selection": [side.selection for side in there],
        "side.aggregator.enumerates": [side.aggregator.enumerates for side in there],
        "term.positives": [term.positives for term in terms],
        "term.negatives": [term.negatives for term in terms],
        "term.negatives.pool": [term.negatives.pool for term in terms if term.negatives is not None],
        "term.relative": [term.relative for term in terms],
        "functions.rows": [functions.rows],
        "functions.columns": [functions.columns],
        "functions.mean": [functions.mean],
    }
    kinds = {
        name: {one if one is None or isinstance(one, bool | str) else ... for one in found}
        for name, found in values.items()
    }
    return {name: found.pop() for name, found in kinds.items() if len(found) == 1}


def _own_modules(value: Objective) -> frozenset[str]:
    found = [side.selection for term in value.terms for side in term.sides if side.selection is not None]
    found += [] if value.direction is None else [value.direction.gradients]
    found += [] if value.similarity.tensors is None else [value.similarity.tensors]
    found += [side.aggregator.tensors.value for term in value.terms for side in term.sides if side.aggregator.tensors]
    modules = set()
    for one in found:
        one = one.func if isinstance(one, partial) else one
        modules.add(one.__module__ if inspect.isfunction(one) else type(one).__module__)
    return frozenset(m for m in modules if m.split(".")[0] != FOLLOWED)


def _similarity(value: Objective, file: _File) -> str:
    """The expression of the scores of ``x`` and ``y``."""
    if value.similarity.tensors is not None:
        return f"{file.callable(value.similarity.tensors)}(x, y)"
    if value.similarity.name in ("cosine", "dot"):
        return "x @ y.T"
    root = value.similarity.name == "negative_euclidean"
    name = "_distances" if root else "_squared_distances"
    file.cutting.take("goal_analysis.numeric.similarity", name)
    return f"-{name}(x, y)"


def _class(name: str, value: Objective, similarity: str, direction: str | None, way: str) -> str:
    unit = (
        ""
        if value.similarity != COSINE
        else (
            "        if not all(((e.detach().norm(dim=1) - 1).abs() <= 1e-2).all() for e in (x, y)):\n"
            "            x, y = nn.functional.normalize(x, dim=1), nn.functional.normalize(y, dim=1)\n"
        )
    )
    kind = "dot" if value.similarity.name in ("cosine", "dot") else value.similarity.name
    direction_or_own = direction or value.similarity.tensors
    quick = (
        ""
        if way == "dense" or direction_or_own
        else (
            f"        value = quick_surrogate(FUNCTIONS, {kind!r}, x, y, row_ids, column_ids)\n"
            "        if value is not None:\n            return value\n"
        )
    )
    if direction is None:
        scored = f"        return self.from_scores({similarity}, positives, ~positives)"
    else:
        scored = (
            f"        with torch.no_grad():\n            s = {similarity}\n"
            "            w = weight_matrix(FUNCTIONS, s, positives, ~positives)\n"
            f"            made = (*{direction}(w, x, y), (w * s).sum())\n        return Prescribed.apply(x, y, *made)"
        )
    loss = (
        ""
        if not value.is_loss or value.direction is not None
        else f'''

    def loss(self, x: Tensor, y: Tensor, row_ids: Tensor | None = None, column_ids: Tensor | None = None) -> Tensor:
        """The loss whose gradient this is, but where it is detached; fit for a curve."""
        positives = self.matches(x, y, row_ids, column_ids)
        return loss(FUNCTIONS, {similarity}, positives, ~positives)'''
    )
    dtype = "torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)"
    return f'''class {name}(nn.Module):
    """{_one_line(value.name)}, by its gradient: the value trains, times the upstream gradient, and is no loss."""

    def forward(self, x: Tensor, y: Tensor, row_ids: Tensor | None = None, column_ids: Tensor | None = None) -> Tensor:
        """The surrogate of embeddings, rows x and columns y; equal ids match, by default row i and column i."""
        x, y = (e.to({dtype}) for e in (x, y))
{unit}{quick}        positives = self.matches(x, y, row_ids, column_ids)
{scored}

    def from_scores(self, s: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """The surrogate of scores from anywhere, and of which pairs match and which do not."""
        with torch.no_grad():
            w = weight_matrix(FUNCTIONS, s.float() if s.dtype.itemsize < 4 else s, positives, negatives)
        return Prescribed.apply(s, None, w, None, (w * s.detach()).sum()){loss}

    @staticmethod
    def matches(x: Tensor, y: Tensor, row_ids: Tensor | None, column_ids: Tensor | None) -> Tensor:
        """Which pairs match."""
        if row_ids is None and len(x) != len(y):
            raise ValueError(f"got {{len(x)}} rows and {{len(y)}} columns without ids but expected the ids, or as many")
        rows = torch.arange(len(x), device=x.device) if row_ids is None else row_ids
        columns = rows if column_ids is None else column_ids
        if len(rows) != len(x) or len(columns) != len(y):
            raise ValueError(f"got {{len(rows)}} and {{len(columns)}} ids but expected {{len(x)}} and {{len(y)}}")
        return rows[:, None] == columns'''


def checked_batch() -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings and ids that a file checks itself on."""
    x = torch.sin(torch.arange(1.0, 21, dtype=torch.float64)).view(5, 4)
    y = x + torch.cos(torch.arange(1.0, 21, dtype=torch.float64) * 3).view(5, 4) / 2
    x, y = (torch.nn.functional.normalize(e, dim=1) for e in (x, y))
    return x, y, torch.tensor([0, 1, 1, 2, 3])


def _check(name: str, module: GradientObjective, similarity: str) -> str:
    x, y, ids = checked_batch()
    drawn = any(side.selection is not None for term in module.objective.terms for side in term.sides)
    seed = "\n    torch.manual_seed(0)" if drawn else ""
    torch.manual_seed(0)
    s = scores(DOT if module.similarity == COSINE else module.similarity, x, y)
    recorded = module.weight_matrix(s, Matches.of_image_ids(ids))
    rows = "\n        ".join(f"[{', '.join(f'{v:.10g}' for v in row)}]," for row in recorded.tolist())
    return f'''def check() -> None:
    """Hold W on a batch against what it was when this file was written, and the gradient against W."""
    recorded = torch.tensor([
        {rows}
    ], dtype=torch.float64)
    x, y, ids = checked_batch()
    x.requires_grad_(){seed}
    s = ({similarity}).detach().requires_grad_()
    (w,) = torch.autograd.grad({name}().from_scores(s, ids[:, None] == ids, ids[:, None] != ids), s)
    assert torch.allclose(w, recorded, rtol=1e-6, atol=1e-9), f"got {{w}} but expected {{recorded}}"{seed}
    assert torch.autograd.grad(2 * {name}()(x, y, ids), x)[0].isfinite().all(), "got a gradient that is not finite"
    print("{name}: as it was written")


if __name__ == "__main__":
    check()'''


def _docstring(module: GradientObjective, name: str) -> str:
    """What a file says of itself: formula, derivation, verdict."""
    value, found = module.objective, module.describe()
    settings = ", ".join(f"{h} = {number:g}" for h, number in found.settings.items())
    verdict = {
        True: "is the gradient of a loss",
        False: "is the gradient of no loss",
        None: "may be the gradient of a loss",
    }
    paragraphs = [
        _filled(
            f"{_one_line(value.name)}: an objective by its gradient, for pairs of embeddings such as images and texts."
        ),
        "    x_p = A⁺[k(s_p)]      x_n = A⁻[h(s_n)]      q = ∂A\n"
        "    W_ap = −T⁺(x_p, x_n)·q_p·P⁺(s_p)      W_an = T⁻(x_p, x_n)·q_n·P⁻(s_n)",
        "\n".join(_formulas(value)),
        *([settings] if settings else []),
        _filled(f"{value.reduction.value} over the anchors, which are {value.anchors.value}; {found.mining}."),
        _filled(f"W {verdict[found.integrable]}: {_one_line(found.reason)}."),
        *([f"The loss, in LaTeX: {latex(found.loss)}"] if found.loss is not None else []),
        _filled(
            f"Written by goal-analysis, of which nothing is needed here. Run as a program, this file checks {name}."
        ),
    ]
    return f'r"""{_harmless(chr(10).join(p + chr(10) for p in paragraphs)).rstrip()}\n"""'


def _formulas(value: Objective) -> Iterator[str]:
    for i, term in enumerate(value.terms, 1):
        tail = str(i) if len(value.terms) > 1 else ""
        pull, push = term.triplet_weights
        if term.outer is not None:
            yield f"    Φ{tail} = {plain(term.effective_outer)}"
        yield f"    T⁺{tail} = {plain(pull)}" if pull != push else f"    T{tail} = T⁺{tail} = T⁻{tail} = {plain(pull)}"
        if pull != push:
            yield f"    T⁻{tail} = {plain(push)}"
        for label, inner, side, s in (("P⁺", "k", term.positives, "s_p"), ("P⁻", "h", term.negatives, "s_n")):
            if side is not None:
                weight = plain(side.slope(sp.Symbol(s, real=True)))
                derived = "prescribed" if side.weight is not None else f"{inner}{tail}′"
                yield f"    {inner}{tail} = {plain(side.inner)}      {label}{tail} = {weight} ({derived})"


def _class_name(name: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", name)
    made = "".join(word[:1].upper() + word[1:] for word in words)
    return made if made.isidentifier() and not keyword.iskeyword(made) else f"Objective{made}"


def _filled(text: str) -> str:
    return "\n".join(textwrap.wrap(text, WIDTH))


def _harmless(text: str) -> str:
    """Text that cannot end a docstring or show as what it is not: no double quote, no character without a shape."""
    shapeless = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    seen = (" " if c != "\n" and unicodedata.category(c) in shapeless else c for c in text)
    return "".join(seen).replace('"', "'")


def _one_line(text: str) -> str:
    return " ".join(_harmless(text).replace("\\", "/").split())


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
