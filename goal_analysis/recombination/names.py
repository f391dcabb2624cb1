"""The names in the line of an objective, so that one that nothing has is refused before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Collection

from goal_analysis.declarations import one_of

TWIN = "_twin"
"""What a triplet weight's name ends in that stands for its integrable twin beside the pair weights."""

RENAMED = {"circle": "circular", "nca": "neighbourhood_components"}
"""Names that a weight and a loss once shared, and what the other of them is called now."""

MODULE = r"(?:[^()@\s:]+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*"
_CALL = r"\s*({})\s*(?:\(([^()]*)\))?\s*"
LINE = re.compile(_CALL.format(rf"{MODULE}|[^\W\d][\w-]*") + "(?:/" + _CALL.format(r"[^\W\d]\w*") + ")?(?:@([^@]*))?")
"""A loss or a triplet weight with its settings, pair weights with theirs, and a mining."""


def check_names(
    head: str,
    pair: str | None,
    losses: Collection[str],
    triplets: Collection[str],
    pairs: Collection[str],
    classes: Collection[tuple[str, str]] = (),
) -> None:
    """Refuse a line whose head is no loss, no triplet weight and nothing of a module, or whose pair weights are none.

    Args:
        head: of a loss, or of a triplet weight.
        pair: of pair weights, or None.
        losses: the names that are known.
        triplets: the same.
        pairs: the same.
        classes: what libraries call losses, and what they are called here.

    Raises:
        ValueError: what was given, and the names that are known.
    """
    alone = ":" in head or head in losses
    if not alone and head.removesuffix(TWIN) not in triplets:
        here = dict.fromkeys(name for kind, name in classes if kind.lower() == head.lower() and name in losses)
        if here:
            raise ValueError(f"got {head!r} but expected {' or '.join(here)}, as that loss is called here")
        raise ValueError(f"got {head!r} but expected one of {one_of((*losses, *triplets), head)}")
    if pair is None:
        if not alone:
            other = f"; the loss is called {RENAMED[head]}" if head in RENAMED else ""
            expected = f"pair weights behind it, as in {head}/linear{other}"
            raise ValueError(f"got the triplet weight {head} alone but expected {expected}")
    elif pair not in pairs and pair not in losses:
        raise ValueError(f"pair weights: got {pair!r} but expected one of {one_of((*pairs, *losses), pair)}")
