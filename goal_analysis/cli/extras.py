"""What a command says where a package of one of the extras is not installed."""

from __future__ import annotations

import re
from importlib.metadata import requires

DISTRIBUTIONS = {"PIL": "pillow"}
"""Distributions that are not called as what they are imported as."""

_REQUIREMENT = re.compile(r"""([\w.-]+).*;\s*extra == ['"](\w+)['"]""")


def line_for(module: str | None) -> str | None:
    """The pip line of the smallest extra that installs a module, or None where no extra has it.

    >>> line_for("matplotlib.pyplot")
    "pip install 'goal-analysis[plots]'"
    """
    top = (module or "").partition(".")[0]
    wanted = DISTRIBUTIONS.get(top, top).replace("_", "-").lower()
    extras: dict[str, list[str]] = {}
    for requirement in requires("goal-analysis") or ():
        match = _REQUIREMENT.match(requirement)
        if match:
            extras.setdefault(match[2], []).append(match[1].replace("_", "-").lower())
    having = [extra for extra, names in extras.items() if wanted in names]
    smallest = min(having, key=lambda extra: len(extras[extra]), default=None)
    return None if smallest is None else f"pip install 'goal-analysis[{smallest}]'"
