"""What is known of an objective that was found: its formulas, whether a loss has them, and files to train with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from goal_analysis.files import folder_name, write_whole
from goal_analysis.recombination.description import described
from goal_analysis.recombination.export import export
from goal_analysis.recombination.text import to_toml
from goal_analysis.recombination.verdict import verdict
from goal_analysis.symbolic.objective import Objective


def write_finding(objective: Objective, name: str, folder: Path) -> None:
    """Write a module that needs torch alone, and the TOML file for ``goal-analyze train``."""
    stem = folder / folder_name(name)
    write_whole(stem.with_name(stem.name + ".toml"), to_toml(objective))
    write_whole(stem.with_name(stem.name + ".py"), export(objective, "".join(c if c.isalnum() else "_" for c in name)))


def known_of(objective: Objective) -> Iterator[str]:
    """Lines of Markdown: the weights, the mining and the direction, and the verdict with its reason."""
    about = described(objective, verdict(objective))
    factors, field = about.weights.factors, about.weights
    if factors is not None:
        yield f"- T = `{factors.triplet}`"
        yield f"- P⁺ = `{factors.positive}`, P⁻ = `{factors.negative}`"
    else:
        yield f"- w⁺ = `{field.positive}`, w⁻ = `{field.negative}`"
    if about.settings:
        yield f"- {', '.join(f'{name} = {value:.4g}' for name, value in about.settings.items())}"
    yield f"- mining: {about.mining}; direction: {about.direction}"
    yield f"- {about.verdict.said}: {about.reason}"
