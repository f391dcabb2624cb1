"""Formulas, losses and weights from text: read with bounds, never evaluated, refused with the place."""

from goal_analysis.symbolic.parsing.formula import FormulaError, parse

__all__ = ["FormulaError", "parse"]
