"""Expressions on paper: as a line of text that `parse` reads back, and in LaTeX."""

from __future__ import annotations

import sympy as sp

from goal_analysis.symbolic.typesetting.printers import Latex, Plain


def plain(expression: sp.Expr) -> str:
    """One line of text that `parse` reads back to the same expression.

    The one exception are products of several cube or higher roots of numbers: SymPy has many forms of them.

    Args:
        expression: in the words that `parse` knows; others are written SymPy's way.

    >>> from goal_analysis.symbolic.language.primitives import s_n, s_p
    >>> plain((s_n - s_p) ** 2 / 5 + sp.sqrt(s_n) / 3)
    'sqrt(s_n)/3 + 0.2*(s_n - s_p)**2'
    """
    return Plain().doprint(expression)


def latex(expression: sp.Expr) -> str:
    r"""LaTeX, in the notation of the field.

    Args:
        expression: any; a symbol named after a Greek letter becomes the letter, longer names stand upright.

    >>> from goal_analysis.symbolic.language.primitives import gap, hinge
    >>> print(latex(hinge(gap + sp.Symbol("margin"))))
    \left[\mathrm{margin} + A^{-} - A^{+}\right]_{+}
    """
    return Latex().doprint(expression)
