"""Names of files and folders."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

MOST_CHARACTERS = 100
"""Of a folder's name: file systems take some 250, and others stand beside it."""


def folder_name(name: str) -> str:
    """A name as one that files and folders can have; a long one ends in a hash of what is cut off.

    >>> folder_name("nca(tau=12)/linear@softmax:12")
    'nca_tau=12_linear_softmax_12'
    """
    found = re.sub(r"[^A-Za-z0-9._=-]+", "_", name)
    if len(found) > MOST_CHARACTERS:
        found = f"{found[: MOST_CHARACTERS - 17]}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:16]}"
    return f"_{found}" if not found.strip(".") else found


def folder_names(names: Iterable[str]) -> dict[str, str]:
    """The folder of each of some names that have folders side by side.

    Raises:
        ValueError: two names would have one folder.

    >>> folder_names(["a/b", "a b"])
    Traceback (most recent call last):
    ...
    ValueError: got 'a/b' and 'a b' but expected names that differ in letters and digits, for both have the folder a_b
    """
    owners: dict[str, str] = {}
    for name in names:
        other = owners.setdefault(folder_name(name), name)
        if other != name:
            raise ValueError(
                f"got {other!r} and {name!r} but expected names that differ in letters and digits, "
                f"for both have the folder {folder_name(name)}"
            )
    return {name: folder for folder, name in owners.items()}
