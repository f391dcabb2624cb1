"""Any torch loss, measured as a black box: its weights, their factors, whether they are a gradient of something."""

from goal_analysis.numeric.measurement.black_box import UnmeasurableLoss
from goal_analysis.numeric.measurement.constructed_embeddings import Inputs
from goal_analysis.numeric.measurement.measured_weights import Measurement
from goal_analysis.numeric.measurement.measuring import against_references, measure
from goal_analysis.numeric.measurement.nearest import Neighbour, nearest

__all__ = [
    "Inputs",
    "Measurement",
    "Neighbour",
    "UnmeasurableLoss",
    "against_references",
    "measure",
    "nearest",
]
