"""Formulas as lines of Python: the operations of a program, in its order, as a person would write them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sympy as sp

from goal_analysis.numeric.compilation import LINEAR_PAST
from goal_analysis.numeric.formula import Formula
from goal_analysis.symbolic.proof.evaluation import Program, Step

WIDTH = 80
"""Characters from which a value gets a name of its own."""

ATOM, NEGATIVE, PRODUCT, SUM = 3, 2, 1, 0
"""How strongly what a text says holds together."""

TORCH: Mapping[str, str] = {
    "sqrt": "torch.sqrt({})",
    "exp": "torch.exp({})",
    "log": "torch.log({})",
    "sin": "torch.sin({})",
    "cos": "torch.cos({})",
    "acos": "torch.acos({})",
    "atan": "torch.atan({})",
    "erf": "torch.erf({})",
    "sigmoid": "torch.sigmoid({})",
    "hinge": "{}.clamp_min(0)",
    "step": "torch.heaviside({0}, {0}.new_full((), 0.5))",
    "softplus": f"torch.nn.functional.softplus({{}}, threshold={LINEAR_PAST})",
    "pow": "torch.pow({}, {})",
}
"""The functions of `goal_analysis.numeric.compilation.TORCH`, where nothing is differentiated."""

INFIX = {"add": (" + ", SUM), "sub": (" - ", SUM), "mul": (" * ", PRODUCT), "div": (" / ", PRODUCT)}


@dataclass(frozen=True)
class Text:
    """A part of an expression.

    Args:
        text: as it is written.
        strength: how strongly it holds together.
    """

    text: str
    strength: int = ATOM

    def within(self, least: int) -> str:
        """The text, in parentheses where it holds together less than this."""
        return self.text if self.strength >= least else f"({self.text})"


def tensor_lines(f: Formula, names: Sequence[str], like: str) -> tuple[list[str], str]:
    """Assignments and the expression that compute what a formula computes, operation for operation.

    Args:
        f: compiled.
        names: of its inputs.
        like: a tensor of the shape that a constant is to have.
    """
    lines, stopped = _lines(f.stopped.program, list(map(Text, names)), "d")
    more, (value,) = _lines(f.whole.program, [*map(Text, names), *stopped], "z")
    (place,) = f.whole.program.outputs
    is_constant = place >= len(f.whole.program.inputs) and f.whole.program.steps[place - len(f.whole.program.inputs)]
    if is_constant and is_constant.constant is not None:
        return [], "torch.ones_like(" + like + ")" if value.text == "1" else f"torch.full_like({like}, {value.text})"
    return [*lines, *more], value.text


def number(value: float) -> str:
    """A float as it is written: whole numbers without a point.

    >>> number(10.0), number(0.2), number(-1e30)
    ('10', '0.2', '-1e+30')
    """
    if not math.isfinite(value):
        return "torch.nan" if math.isnan(value) else "torch.inf" if value > 0 else "-torch.inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e9 else repr(value)


def _lines(p: Program, texts: list[Text], letter: str) -> tuple[list[str], list[Text]]:
    first = len(p.inputs)
    uses = Counter([*p.outputs, *(i for s in p.steps for i in s.operands)])
    lines: list[str] = []
    for place, s in enumerate(p.steps, first):
        if s.constant is not None:
            texts.append(_constant(s.constant))
            continue
        operands = [texts[i] for i in s.operands]
        if s.operation in ("step", "logsumexp"):
            operands = [_named(t, lines, letter) for t in operands]
        text = _written(s, operands)
        if len(text.text) > WIDTH or (uses[place] > 1 and place not in p.outputs):
            text = _named(text, lines, letter)
        texts.append(text)
    return lines, [texts[i] for i in p.outputs]


def _constant(value: sp.Expr) -> Text:
    text = number(float(value))
    return Text(text, NEGATIVE if text.startswith("-") else ATOM)


def _named(text: Text, lines: list[str], letter: str) -> Text:
    if text.text.replace(".", "").replace("-", "").replace("_", "").isalnum():
        return text
    name = f"{letter}{len(lines) + 1}"
    lines.append(f"{name} = {text.text}")
    return Text(name)


def _written(s: Step, operands: list[Text]) -> Text:
    if s.operation == "neg":
        return Text(f"-{operands[0].within(ATOM)}", NEGATIVE)
    if s.operation in INFIX:
        left, right = operands
        sign, strength = INFIX[s.operation]
        if s.operation == "add" and right.text.startswith("-") and right.strength == NEGATIVE:
            sign, right = " - ", Text(right.text[1:])
        return Text(left.within(strength) + sign + right.within(strength + 1), strength)
    if s.operation == "logsumexp":
        return _folded(operands)
    if s.operation == "hinge":
        return Text(TORCH["hinge"].format(operands[0].within(ATOM)))
    return Text(TORCH[s.operation].format(*(t.text for t in operands)))


def _folded(operands: list[Text]) -> Text:
    """logaddexp from the left; numbers as tensors."""
    like = next(t.text for t in operands if not _is_number(t.text))
    texts = [f"{like}.new_full((), {t.text})" if _is_number(t.text) else t.text for t in operands]
    total = texts[0]
    for text in texts[1:]:
        total = f"torch.logaddexp({total}, {text})"
    return Text(total)


def _is_number(text: str) -> bool:
    return text[0] in "-0123456789" or text in ("torch.inf", "torch.nan")
