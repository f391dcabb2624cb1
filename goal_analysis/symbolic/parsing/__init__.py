"""Formulas, losses and weights from text: read with bounds, never evaluated, refused with the place."""

from goal_analysis.symbolic.parsing.errors import FormulaError
from goal_analysis.symbolic.parsing.formula import parse

__all__ = ["FormulaError", "parse"]
