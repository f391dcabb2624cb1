"""An objective as one Python file that stands alone, and gives the same gradients to the last bit."""

from goal_analysis.recombination.export.exporting import export

__all__ = ["export"]
