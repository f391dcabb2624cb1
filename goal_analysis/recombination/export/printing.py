"""Formulas as lines of Python: the operations of a program, in its order, as a person would write them."""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from goal_analysis.numeric.compilation import LINEAR_PAST
from goal_analysis.numeric.formula import Formula
from goal_analysis.symbolic.proof.evaluation import Program

WIDTH = 80
"""Characters from which a value gets a name of its own."""

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


def tensor_lines(f: Formula, names: Sequence[str], like: str) -> tuple[list[str], str]:
    """Assignments and the expression that compute what a formula computes from inputs of these names, operation for
    operation; a constant gets the shape of the tensor ``like``.
    """
    lines, stopped = _lines(f.stopped.program, list(names), "d")
    stopped = [text if _is_number(text) else f"({text}).detach()" for text in stopped]
    more, (value,) = _lines(f.whole.program, [*names, *stopped], "z")
    (place,) = f.whole.program.outputs
    is_constant = place >= len(f.whole.program.inputs) and f.whole.program.steps[place - len(f.whole.program.inputs)]
    if is_constant and is_constant.constant is not None:
        return [], f"torch.ones_like({like})" if value == "1" else f"torch.full_like({like}, {value})"
    return [*lines, *more], value


def number(value: float) -> str:
    """A float as it is written: whole numbers without a point.

    >>> number(10.0), number(0.2), number(-1e30)
    ('10', '0.2', '-1e+30')
    """
    if not math.isfinite(value):
        return "torch.nan" if math.isnan(value) else "torch.inf" if value > 0 else "-torch.inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e9 else repr(value)


def _lines(p: Program, texts: list[str], letter: str) -> tuple[list[str], list[str]]:
    uses = Counter([*p.outputs, *(i for s in p.steps for i in s.operands)])
    lines: list[str] = []

    def named(text: str) -> str:
        if text.replace(".", "").replace("-", "").replace("_", "").isalnum():
            return text
        lines.append(f"{letter}{len(lines) + 1} = {text}")
        return lines[-1].partition(" ")[0]

    for place, s in enumerate(p.steps, len(p.inputs)):
        if s.constant is not None:
            texts.append(number(float(s.constant)))
            continue
        operands = [texts[i] for i in s.operands]
        if s.operation in ("step", "logsumexp"):
            operands = [named(text) for text in operands]
        text = _written(s.operation, operands)
        is_long = len(text) > WIDTH or (uses[place] > 1 and place not in p.outputs)
        texts.append(named(text) if is_long else text)
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
