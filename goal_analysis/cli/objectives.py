"""Objectives by name: what the line or the declaration of an objective stands for, and which stands for it."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goal_analysis.cli.choosing import MOST_BYTES, losses
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.objective import Reduction
from losses_catalog import pair_weights, triplet_weights

if TYPE_CHECKING:  # torch is loaded when a command runs
    from goal_analysis.recombination.composition import Parts
    from goal_analysis.recombination.objective import GradientObjective


@lru_cache(maxsize=8)
def parts(own: Path | None = None) -> Parts:
    """The weights of the catalog and of its losses; with the losses of a user's file."""
    from goal_analysis.recombination.composition import parts_of

    return parts_of(triplet_weights, pair_weights, map(decompose, losses(own)))


def objective_of(text: str, own: Path | None = None, **more: Any) -> GradientObjective:
    """The objective of a line such as ``nca(tau=12)/linear@softmax:12``, of a file ``*.toml``, or of what that holds.

    Args:
        text: the line, the file's name, or the declaration.
        own: a file of losses whose weights have names too.
        more: the keywords of `goal_analysis.recombination.composition.parse_objective`, beside a line.

    Raises:
        ValueError: what was not understood, and what would be accepted.
        OSError: the file cannot be read.
    """
    from goal_analysis.recombination.composition import Parts, from_toml, parse_objective

    if is_declaration(text):
        return from_toml(declaration_of(text), parts(own))
    plain = Parts(triplet_weights, pair_weights)  # the weights of losses have to be derived first
    words = set(re.findall(r"[^\W\d]\w*", text))
    told = words & {p.name for p in plain.pair_weights} and words & {t.name for t in plain.triplet_weights}
    if told and own is None:
        try:
            return parse_objective(text, plain, **more)
        except ValueError:
            pass
    return parse_objective(text, parts(own), **more)


def is_declaration(text: str) -> bool:
    """Whether a text is an objective's declaration in TOML or the name of its file, and no line."""
    return "\n" in text or text.endswith(".toml")


def declaration_of(text: str) -> str:
    """The declaration of a file ``*.toml``, or the one that the text is.

    Raises:
        ValueError: the file is no UTF-8.
        OSError: it cannot be read.
    """
    return text if "\n" in text else read_text(text)


def written(objective: GradientObjective) -> str:
    """What an experiment names this objective by: its line where that says it all for training, or its declaration."""
    from goal_analysis.recombination.composition import compact, to_toml

    line = compact(objective)
    try:
        if repr(objective_of(line, reduction=Reduction.MEAN)) == repr(objective):
            return line
    except ValueError:
        pass  # a weight of the user's own has no name here
    return to_toml(objective, parts())


def read_text(path: str) -> str:
    """The text of a file, or of the standard input for a dash."""
    if path == "-":
        return sys.stdin.read(MOST_BYTES + 1)
    with Path(path).open("rb") as file:
        return file.read(MOST_BYTES + 1).decode("utf-8")
