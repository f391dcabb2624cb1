"""Objectives as one Python file that needs torch alone, cut from the engine's own source."""

from goal_analysis.recombination.export.exporting import export

__all__ = ["export"]
