"""Functions of Python's floats for the definitions of formulas."""

import math


def exp(x: float) -> float:
    """The exponential; infinite where it is too large for a float."""
    return math.exp(x) if x < 709 else math.inf


def log(x: float) -> float:
    """The natural logarithm; −∞ at zero."""
    return math.log(x) if x else -math.inf


def hinge(x: float) -> float:
    """The larger one of x and zero."""
    return max(x, 0.0)


def step(x: float) -> float:
    """Whether x is above zero; a half at zero."""
    return 0.5 * ((x > 0) + (x >= 0))


def sigmoid(x: float) -> float:
    """1/(1 + exp(−x))."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def softplus(x: float) -> float:
    """log(1 + exp(x))."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def logsumexp(*xs: float) -> float:
    """log Σ exp(x)."""
    top = max(xs)
    return top + math.log(math.fsum(math.exp(x - top) for x in xs))
