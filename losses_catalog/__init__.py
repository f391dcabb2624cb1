"""Deep-metric-learning losses as values, one a file."""
