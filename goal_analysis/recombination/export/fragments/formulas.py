"""Where the formulas of an objective are put."""

from torch import Tensor


def triplet_weight(s_p: Tensor, s_n: Tensor) -> Tensor:
    """T."""
    return s_n - s_p


def positive_weight(s_p: Tensor, *others: Tensor) -> Tensor:
    """P⁺."""
    return s_p


def negative_weight(s_n: Tensor, *others: Tensor) -> Tensor:
    """P⁻."""
    return s_n


def relative_similarities(
    scores: Tensor, negatives: Tensor, anchor: Tensor, positive: Tensor, negative: Tensor
) -> tuple[Tensor, ...]:
    """What the pair weights read besides."""
    return ()


def defined_triplet_weight(s_p: float, s_n: float) -> float:
    """T in floats."""
    return s_n - s_p


def defined_positive_weight(s_p: float, *others: float) -> float:
    """P⁺ in floats."""
    return s_p


def defined_negative_weight(s_n: float, *others: float) -> float:
    """P⁻ in floats."""
    return s_n


def defined_relative_similarities(
    s: list[list[float]], match: list[list[bool]], triplets: list[tuple[int, int, int, float]], own: int
) -> tuple[float, ...]:
    """What the pair weights of one triplet read besides, in floats."""
    return ()


def changed_settings() -> list[str]:
    """Names of constants that are not what they were."""
    return []
