"""What is asked of the catalog: the family and the year of a loss, and which losses a library has."""

import re

from goal_analysis.declarations import expect_among, letters_of
from goal_analysis.symbolic.objective import Objective
from losses_catalog import families, libraries

classes: tuple[tuple[str, str], ...] = tuple(pair for known in libraries.values() for pair in known.items())
"""What libraries call losses, and what they are called here."""


def family_of(loss: Objective) -> str:
    """The family of a loss of the catalog; of another one ``your own``.

    >>> from losses_catalog.circle import circle_loss
    >>> family_of(circle_loss)
    'sets'
    """
    return next((family for family, members in families.items() if loss in members), "your own")


def year_of(loss: Objective) -> int | None:
    """The year of the paper of a loss, where one is named.

    >>> from losses_catalog.circle import circle_loss
    >>> year_of(circle_loss)
    2020
    """
    published = re.match(r"[a-z]+(\d{4})", next(iter(loss.reference), ""))
    return int(published[1]) if published else None


def names_in(library: str) -> set[str]:
    """The names of the losses that a library has, or of the one that a library calls so; another one is a ValueError.

    >>> names_in("CircleLoss")
    {'circle'}
    """
    meant = letters_of(library)
    found = set(libraries.get(library, {}).values()) | {name for kind, name in classes if letters_of(kind) == meant}
    if not found:
        expect_among("library", library, [*libraries, *(kind for kind, _ in classes)])
    return found
