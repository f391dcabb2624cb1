"""The mathematics of losses and weights, in SymPy alone."""

from goal_analysis.symbolic.typesetting import pages as pages  # registers how every value shows itself
