"""Any torch loss, measured as a black box: its weights, their factors, whether they are a gradient of something."""

from goal_analysis.numeric.measurement.calling import Inputs, UnmeasurableLoss
from goal_analysis.numeric.measurement.measurement import Measurement
from goal_analysis.numeric.measurement.measuring import measure
from goal_analysis.numeric.measurement.nearest import Neighbour, nearest

__all__ = ["Inputs", "Measurement", "Neighbour", "UnmeasurableLoss", "measure", "nearest"]
