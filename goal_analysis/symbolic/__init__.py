"""The mathematics of losses and weights, in SymPy alone."""

from goal_analysis.symbolic.typesetting import writers as writers  # registers how every value shows itself
