"""Objectives from text: one line such as ``nca(tau=12)/linear@softmax:12``, or a TOML document; and back."""

from goal_analysis.recombination.composition.compact import compact, parse_objective
from goal_analysis.recombination.composition.declared import from_toml, to_toml
from goal_analysis.recombination.composition.of_losses import parts_of
from goal_analysis.recombination.composition.parts import Parts

__all__ = ["Parts", "compact", "from_toml", "parse_objective", "parts_of", "to_toml"]
