"""Takes deep-metric-learning losses apart at the gradient."""
