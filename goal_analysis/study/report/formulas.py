"""Formulas as MathML, which browsers typeset themselves."""

from __future__ import annotations

import sympy as sp
from latex2mathml.converter import convert
from markupsafe import Markup

from goal_analysis.symbolic.typesetting import latex


def mathml(formula: sp.Expr | str) -> Markup:
    """A formula for a page.

    Args:
        formula: an expression, or LaTeX.

    >>> from goal_analysis.symbolic.language.primitives import s_p
    >>> mathml(1 - s_p)
    Markup('<math ...><mrow><mn>1</mn><mo>&#x02212;</mo><msub><mi>s</mi><mi>p</mi></msub></mrow></math>')
    """
    return Markup(convert(formula if isinstance(formula, str) else latex(formula)))
