"""The names in the line of an objective, so that one that nothing has is refused before anything is loaded."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from goal_analysis.declarations import letters_of, naming, number_of, one_of

FIELDS = ("similarity", "direction", "reduction", "anchors", "learned")
"""Fields of an objective that are set beside its parts and its hyperparameters."""

IN_LINE = ("anchors", "reduction", "learned")
"""Those that a line says among the values."""

OF_PAIR = "_pair"
"""What the name of a pair weights' hyperparameter gets where the triplet weight has another one of that name."""

TWIN = "_twin"
"""What a triplet weight's name ends in that stands for its integrable twin beside the pair weights."""

RENAMED = {"circle": "circular", "nca": "neighbourhood_components"}
"""Names that a weight and a loss once shared, and what the other of them is called now."""

MODULE = r"(?:[^()@\s:]+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*"
_CALL = r"\s*({})\s*(\([^()]*\)|:\s*\w+\s*=[^()@]*?)?\s*"
LINE = re.compile(_CALL.format(rf"{MODULE}|[^\W\d][\w-]*") + "(?:/" + _CALL.format(r"[^\W\d]\w*") + ")?(?:@([^@]*))?")
"""A loss or a triplet weight and its settings, in parentheses or behind a colon; pair weights and theirs; a mining."""


def check_names(
    head: str,
    pair: str | None,
    losses: Collection[str],
    triplets: Collection[str],
    pairs: Collection[str],
    classes: Collection[tuple[str, str]] = (),
) -> None:
    """Refuse a line with an unknown head or pair by a ValueError with the known names; ``classes`` as in `called`."""
    alone = ":" in head or head in losses
    if not alone and head.removesuffix(TWIN) not in triplets:
        here = called(head, losses, classes)
        expected = here or f"one of {one_of((*losses, *triplets), head, classes)}"
        raise ValueError(f"got {head!r} but expected {expected}")
    if pair is None:
        if not alone:
            other = f"; the loss is called {RENAMED[head]}" if head in RENAMED else ""
            expected = f"pair weights behind it, as in {head}/linear{other}"
            raise ValueError(f"got the triplet weight {head} alone but expected {expected}")
    elif pair not in pairs and pair not in losses:
        raise ValueError(f"pair weights: got {pair!r} but expected one of {one_of((*pairs, *losses), pair, classes)}")


def called(given: str, losses: Collection[str], classes: Collection[tuple[str, str]]) -> str:
    """Our name of a loss that is written otherwise, for an error; empty where that is not known.

    ``classes`` are other names and ours: classes of libraries, and titles with their parts apart by commas.
    """
    meant, by_others = letters_of(given), [(one, name) for kind, name in classes for one in re.split("[(),]", kind)]
    found = [name for name in losses if letters_of(name) == meant]
    found += [name for one, name in by_others if name in losses and meant in (letters_of(one), _initials(one))]
    return f"{' or '.join(dict.fromkeys(found))}, as that loss is called here" if found and meant else ""


def _initials(name: str) -> str:
    """Those of a class of three words or more, such as mnrl of MultipleNegativesRankingLoss."""
    found = re.findall("[A-Z](?=[a-z])", name)
    return "".join(found).lower() if len(found) > 2 else ""


def said_in(text: str | None, owner: str) -> list[tuple[str, str]]:
    """The names and the values that stand behind a name of a line, in parentheses or behind a colon."""
    said = []
    for assignment in text.strip(": ()").split(",") if text and text.strip(": ()") else ():
        name, equals, value = (part.strip() for part in assignment.partition("="))
        if not equals:
            raise ValueError(f"{owner}: got {assignment.strip()!r} but expected NAME=VALUE, such as tau=12")
        said.append((name, value))
    return said


def settings_in(said: list[tuple[str, str]], known: Mapping[str, Any], owner: str) -> Iterator[tuple[str, float]]:
    """The settings that were said, by the names of the hyperparameters that are ``known`` under theirs."""
    for name, value in said:
        if name not in known:
            expected = f"one of {one_of(known, name)}" if known else "none: it has no hyperparameters"
            other = f"; the triplet weight {owner} is called {RENAMED[owner]} now" if owner in RENAMED else ""
            raise ValueError(f"{owner}: got a value for {name!r} but expected {expected}{other}")
        with naming(f"{owner}: {name}"):
            number = number_of(value)
        yield known[name].name, known[name].check(number, f"{owner}: {name}")
