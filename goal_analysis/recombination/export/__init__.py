"""Objectives as one Python file that needs torch alone: what it is, its formulas, the engine's own source, a check."""

import ast
import inspect
import keyword
import math
import re
import textwrap
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any

import torch

from goal_analysis.declarations import expect_among
from goal_analysis.numeric.compilation import LINEAR_PAST, Formula
from goal_analysis.numeric.engine.functions import Functions
from goal_analysis.numeric.functions import functions_of
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import scores
from goal_analysis.recombination.export.cutting import TEMPLATE, VALUES, Cutting
from goal_analysis.recombination.export.module import checked_batch, checked_carried
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.symbolic.language.similarity import COSINE, DOT
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.proof.evaluation import Program
from goal_analysis.symbolic.typesetting import latex, plain
from goal_analysis.symbolic.typesetting.pages import weights_page

WIDTH, LONG = 116, 160
LONG_VALUE = 80  # characters from which a value gets a name of its own
WAYS = ("dense", "tiled")

LETTERS = {"positive_inner": "k", "negative_inner": "h", "positive_weight": "P⁺", "negative_weight": "P⁻"}
LETTERS |= {"pull": "T⁺", "push": "T⁻", "outer": "Φ"}
"""What formulas are in the notation of papers."""

PYTHON: Mapping[str, str] = {
    "add": "({}) + ({})",
    "sub": "({}) - ({})",
    "mul": "({}) * ({})",
    "div": "({}) / ({})",
    "neg": "-({})",
    "hinge": "({}).clamp_min(0)",
    "step": "torch.heaviside({0}.detach(), {0}.new_full((), 0.5))",
    "softplus": f"torch.nn.functional.softplus({{}}, threshold={LINEAR_PAST})",
}
"""What `goal_analysis.numeric.compilation.TORCH` has, but for derivatives at a kink; all others are torch's by name."""


def export(objective: GradientObjective | Objective, name: str | None = None, way: str = "dense") -> str:
    """The text of a Python file that trains with an objective and needs torch alone; see `goal_analysis.export`.

    It is cut from the engine's source, so that on a CPU its gradients are those of the objective by the same way, to
    the last bit. A name, a way, a selection or a direction that cannot be exported is a ValueError.
    """
    module = objective if isinstance(objective, GradientObjective) else GradientObjective(objective)
    value = module.objective
    if value.learned:
        raise ValueError(
            f"export: got {', '.join(value.learned)}, which is learned, but expected numbers: give learned=() to an "
            "objective to have those that it begins with"
        )
    class_name = _class_name(value.name) if name is None else name
    if not class_name.isidentifier() or keyword.iskeyword(class_name):
        raise ValueError(f"name: got {name!r} but expected an identifier, such as NcaLinear")
    expect_among("way", way, WAYS)
    file = _File(value, way)
    stated = [*file.stated(), f"RECORDED = {_recorded(module)}"]
    imports, engine, own = file.cutting.text()
    parts = [
        _docstring(module, class_name),
        f"from __future__ import annotations\n\n{imports}",
        *file.formulas,
        engine,
        *stated,
        re.sub(r"\bExported\b", class_name, own),
        'if __name__ == "__main__":\n    check()',
    ]
    return "\n".join(line.rstrip() for line in "\n\n".join(parts).splitlines()) + "\n"


class _File:
    def __init__(self, value: Objective, way: str) -> None:
        self.value, self.functions = value, functions_of(value)
        own_scores = value.similarity.tensors is not None
        facts = {
            "UNIT": value.similarity == COSINE,
            "MOVED": value.direction is not None,
            "QUICK": way == "tiled" and value.direction is None and not own_scores,
            "VALUED": value.is_loss and value.direction is None,
            "CARRIED": value.reads_carried,
            "DRAWN": any(side.selection is not None for term in value.terms for side in term.sides),
        }
        self.known = facts | (_known(self.functions) if way == "dense" else {})

    def stated(self) -> list[str]:
        """The constants. What the code reads decides what is stated, which brings more code, until nothing is new."""
        self.read: frozenset[str] = frozenset()
        while True:
            self.cutting, self.formulas, self._named = Cutting(self.known, self.read), [], {}
            functions = self.said(self.functions, ()) if self.read else ""
            scored = self._scores()
            moved = self.said(self.value.direction.gradients, ()) if self.value.direction is not None else None
            if self.known["VALUED"]:
                self.cutting.take(TEMPLATE, "loss")  # which a method is called, too
            for name in ("Exported", "check"):
                self.cutting.take(TEMPLATE, name)
            if self.cutting.fields == self.read:
                break
            self.read = self.cutting.fields
        self.formulas.append(f'def scores_of(x: Tensor, y: Tensor) -> Tensor:\n    """S."""\n    return {scored}')
        kind = "dot" if self.value.similarity == COSINE else self.value.similarity.name
        stated = {"FUNCTIONS": functions, "DIRECTION": moved, "SIMILARITY": repr(kind) if self.known["QUICK"] else None}
        return [f"{name} = {text}" for name, text in stated.items() if text is not None]

    def said(self, value: Any, place: tuple[str, ...]) -> str:
        """A value as Python states it; ``place`` says where it stands among the functions."""
        if isinstance(value, Formula):
            return self._formula(value, place)
        if isinstance(value, tuple):
            return _laid_out("", [self.said(one, (*place, str(i))) for i, one in enumerate(value, 1)])
        if isinstance(value, partial):
            self.cutting.imports.setdefault("functools", set()).add("partial")
            given = [self.said(one, place) for one in value.args]
            given += [f"{name}={self.said(one, place)}" for name, one in value.keywords.items()]
            return f"partial({', '.join([self.said(value.func, place), *given])})"
        if inspect.isfunction(value) and value.__qualname__ == value.__name__:
            return self._taken(value)
        if is_dataclass(value):
            kind = self._taken(type(value))
            named = {f.name: getattr(value, f.name) for f in fields(value)}
            if kind in VALUES:
                own = [f.name for f in fields(value) if f.name in self.read and named[f.name] != f.default]
                named = {name: named[name] for name in own}
            given = {name: one for name, one in named.items() if not isinstance(one, torch.Generator)}
            return _laid_out(kind, [f"{name}={self.said(one, (*place, name))}" for name, one in given.items()])
        if callable(value):
            raise ValueError(f"export: got {value!r} but expected a function of a module, or a dataclass")
        return "float('inf')" if value == float("inf") else repr(value)

    def _taken(self, one: Any) -> str:
        self.cutting.own |= {one.__module__}
        self.cutting.take(one.__module__, one.__name__)
        return one.__name__

    def _formula(self, formula: Formula, place: tuple[str, ...]) -> str:
        _, number, *inner, field = place
        term = self.functions.terms[int(number) - 1]
        sides = {"positives": "positive_", "negatives": "negative_", "named": f"named_{''.join(inner[1:])}_"}
        side = sides.get(inner[0] if inner else "", "")
        name = side + field + (number if len(self.functions.terms) > 1 else "")
        if side:
            more = range(1, len(formula.stopped.program.inputs))
            beside = ["y_p"] if side == "positive_" else ["y_n", "s_p", "y_p"][: len(more)]
            beside = beside if term.pull is None else [f"r{i}" for i in more]
            arguments = ("s_p" if side == "positive_" else "s_n", *beside)
        elif field == "whole":
            arguments = ("total",)
        elif inner:  # of what weights read from other pairs
            name, arguments = f"{name}_{inner[-1]}", ("s_p", "s_n", "o_p", "o_n", "l_p")
        else:
            named = [f"named_{i}" for i in range(1, len(term.named) + 1)]
            arguments = ("x_p", "x_n", *([] if term.pull is not None else [*named, "count_p", "count_n", "y_p", "y_n"]))
        said = f"{LETTERS.get(side + field, field)}({', '.join(arguments)})"
        lines, value = tensor_lines(formula, arguments, arguments[0])
        if not lines and (value,) == arguments:
            name, arguments, value, said = "same", ("s",), "s", "The similarity itself"
        if len(arguments) > 1 and not all(a in value + "".join(lines) for a in arguments):
            value = f"torch.broadcast_tensors({', '.join([value, *arguments])})[0]"
        head = f"({', '.join(f'{a}: Tensor' for a in arguments)}) -> Tensor:"
        body = [*(f"    {line}" for line in lines), f"    return {value}"]
        known = self._named.setdefault((head, *body), name)
        if known == name and not any(text.startswith(f"def {name}(") for text in self.formulas):
            self.formulas.append("\n".join([f"def {name}{head}", f'    """{said}."""', *body]))
        return known

    def _scores(self) -> str:
        similarity = self.value.similarity
        if similarity.tensors is not None:
            return f"{self.said(similarity.tensors, ())}(x, y)"
        if similarity in (COSINE, DOT):
            return "x @ y.T"
        name = "_distances" if similarity.name == "negative_euclidean" else "_squared_distances"
        self.cutting.take("goal_analysis.numeric.similarity", name)
        return f"-{name}(x, y)"


def _laid_out(head: str, parts: list[str]) -> str:
    text = f"{head}({', '.join(parts)}{',' if parts and not head else ''})"
    inner = "".join(f"{part},\n" for part in parts)
    return text if len(text) <= LONG else f"{head}(\n{textwrap.indent(inner, '    ')})"


def _known(functions: Functions) -> dict[str, Any]:
    """What the code calls the same thing in every term and on every side."""
    terms = functions.terms
    sides = [side for term in terms for side in (term.positives, term.negatives, *term.named)]
    there, negatives = ([side for side in of if side] for of in (sides, [term.negatives for term in terms]))
    values = {"side": sides, "side.aggregator.enumerates": [side.aggregator.enumerates for side in there]}
    values["term.negatives.pool"] = [side.pool for side in negatives]
    for of, found in (("side", there), ("term", terms), ("functions", [functions])):
        values |= {f"{of}.{f.name}": [getattr(one, f.name) for one in found] for f in fields(found[0])}
    kinds = {
        name: {one if one is None or isinstance(one, bool | str) else ... for one in found}
        for name, found in values.items()
    }
    return {name: found.pop() for name, found in kinds.items() if len(found) == 1}


def _recorded(module: GradientObjective) -> str:
    x, y, ids = checked_batch()
    torch.manual_seed(0)
    s = scores(DOT if module.similarity == COSINE else module.similarity, x, y)
    rows = module.weight_matrix(s, replace(Matches.of_image_ids(ids), carried=checked_carried())).tolist()
    return _laid_out("", [f"({', '.join(f'{v:.10g}' for v in row)})" for row in rows])


def _docstring(module: GradientObjective, name: str) -> str:
    value, found = module.objective, module.describe()
    settings = ", ".join(f"{h} = {number:g}" for h, number in found.settings.items())
    paragraphs = [
        f"{_one_line(value.name)}: an objective by its gradient, for pairs of embeddings such as images and texts.",
        "    x_p = A⁺[k(s_p)]      x_n = A⁻[h(s_n)]      q = ∂A\n"
        "    W_ap = −T⁺(x_p, x_n)·q_p·P⁺(s_p)      W_an = T⁻(x_p, x_n)·q_n·P⁻(s_n)",
        "\n".join(f"    {row.label} = {plain(row.value)}" for row in weights_page(found.weights).rows[1:]),
        f"{settings}{settings and '; '}{value.reduction.words}, which are {value.anchors.value}; {found.mining}.",
        f"W is {found.verdict.said}: {_one_line(found.reason)}.",
        "" if found.loss is None else f"    The loss, in LaTeX: {latex(found.loss)}",
        f"Written by goal-analysis, of which nothing is needed here. Run as a program, this file checks {name}.",
    ]
    filled = (p if p.startswith("    ") else "\n".join(textwrap.wrap(p, WIDTH)) for p in paragraphs if p)
    return f'r"""{_harmless((chr(10) * 2).join(filled))}\n"""'


def _class_name(name: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", name)
    made = "".join(word[:1].upper() + word[1:] for word in words)
    return made if made.isidentifier() and not keyword.iskeyword(made) else f"Objective{made}"


def _harmless(text: str) -> str:
    """Text that cannot end a docstring or show as what it is not: no double quote, no character without a shape."""
    shapeless = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    seen = (" " if c != "\n" and unicodedata.category(c) in shapeless else c for c in text)
    return "".join(seen).replace('"', "'")


def _one_line(text: str) -> str:
    return " ".join(_harmless(text).replace("\\", "/").split())


def tensor_lines(f: Formula, names: Sequence[str], like: str) -> tuple[list[str], str]:
    """Assignments and the expression that compute a formula of these names; a constant gets the shape of ``like``."""
    lines, stopped = _lines(f.stopped.program, list(names), "d")
    stopped = [text if _is_number(text) else f"({text}).detach()" for text in stopped]
    more, (value,) = _lines(f.whole.program, [*names, *stopped], "z")
    (place,) = f.whole.program.outputs
    is_constant = place >= len(f.whole.program.inputs) and f.whole.program.steps[place - len(f.whole.program.inputs)]
    if is_constant and is_constant.constant is not None:
        return [], f"torch.ones_like({like})" if value == "1" else f"torch.full_like({like}, {value})"
    return [*lines, *more], value


def number(value: float) -> str:
    """A float as it is written: whole numbers without a point."""
    if not math.isfinite(value):
        return "torch.nan" if math.isnan(value) else "torch.inf" if value > 0 else "-torch.inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e9 else repr(value)


def _lines(p: Program, texts: list[str], letter: str) -> tuple[list[str], list[str]]:
    """The lines that compute a program, and the texts of its outputs. Inputs that three steps read are read in the
    program's order: autograd adds their gradients in that, and sums differ by it.
    """
    uses = Counter([*p.outputs, *(i for s in p.steps for i in s.operands)])
    lines: list[str] = []
    reads = [{i} if uses[i] > 2 else set() for i in range(len(p.inputs))]  # of a text, of such inputs
    waiting: list[int] = []  # what no line has yet

    def line(text: str) -> str:
        lines.append(f"{letter}{len(lines) + 1} = {text}")
        return lines[-1].partition(" ")[0]

    def named(text: str) -> str:
        if text.replace(".", "").replace("-", "").replace("_", "").isalnum():
            return text
        for place in waiting:
            texts[place] = line(texts[place]) if reads[place] else texts[place]
        waiting.clear()
        return line(text)

    for place, s in enumerate(p.steps, len(p.inputs)):
        if s.constant is not None:
            texts.append(number(float(s.constant)))
            reads.append(set())
            continue
        waiting[:] = [one for one in waiting if one not in s.operands]
        operands = [texts[i] for i in s.operands]
        if s.operation in ("step", "logsumexp"):
            operands = [named(text) for text in operands]
        text = _written(s.operation, operands)
        is_long = len(text) > LONG_VALUE or (uses[place] > 1 and place not in p.outputs)
        texts.append(named(text) if is_long else text)
        reads.append(set() if is_long else set().union(*(reads[i] for i in s.operands)))
        waiting += [] if is_long else [place]
    return lines, [texts[i] for i in p.outputs]


def _written(operation: str, operands: list[str]) -> str:
    if operation == "logsumexp":  # logaddexp from the left; numbers as tensors
        like = next(text for text in operands if not _is_number(text))
        first, *others = (f"{like}.new_full((), {text})" if _is_number(text) else text for text in operands)
        for text in others:
            first = f"torch.logaddexp({first}, {text})"
        return first
    last = ast.parse(operands[-1], mode="eval").body
    if operation == "add" and isinstance(last, ast.UnaryOp):
        operation, operands = "sub", [operands[0], ast.unparse(last.operand)]
    written = PYTHON.get(operation, f"torch.{operation}({', '.join(['{}'] * len(operands))})").format(*operands)
    return ast.unparse(ast.parse(written, mode="eval"))  # without needless parentheses


def _is_number(text: str) -> bool:
    return text[0] in "-0123456789" or text in ("torch.inf", "torch.nan")
