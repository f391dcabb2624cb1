"""Derivations are kept on disk as JSON: the same question to the same sources has the same answer."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from goal_analysis.files import write_json

CACHE = "GOAL_ANALYSIS_CACHE"  # the variable that names the folder of what is kept; ``off`` keeps nothing
EXTENSIONS = "GOAL_ANALYSIS_EXTENSIONS"
"""The variable that names a user's own Python files to a command, and to the processes that a command starts."""
OUTSIDE = re.compile(r"\.(py|toml)\b|:\s*[^\W\d]")
"""What texts have that name a file or a module: the same text may mean something else tomorrow."""


def kept(make: Callable[[], Any], *question: Any) -> Any:
    """Call ``make``, unless these sources have answered the question before; give its result as JSON has it.

    A question that names a file or a module, and any with a user's own files loaded, is always answered anew.
    """
    named = os.environ.get(CACHE)
    if (
        named == "off"
        or os.environ.get(EXTENSIONS)
        or any(isinstance(part, Path) or OUTSIDE.search(str(part)) for part in question)
    ):
        return make()
    folder = Path(named or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "goal-analysis")
    file = folder / f"{fingerprint(question)}.json"
    with suppress(OSError, ValueError, RecursionError, KeyError, TypeError):
        return json.loads(file.read_text("utf-8"))["found"]
    found = make()
    with suppress(OSError):
        write_json(file, {"found": found})
    return found


def fingerprint(question: object = ()) -> str:
    """A hash of a question, of the sources that answer it, and of the versions of what these stand on."""
    state = hashlib.sha256(repr((question, *map(version, ("torch", "sympy", "numpy")))).encode())
    house, catalog = (Path(str(find_spec(name).origin)).parent for name in ("goal_analysis", "losses_catalog"))  # pyright: ignore
    for room in (house / "symbolic", house / "numeric", house / "recombination", catalog):
        for source in sorted(room.rglob("*.py")):
            state.update(source.read_bytes())
    return state.hexdigest()[:16]
