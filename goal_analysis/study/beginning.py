"""What a study was begun with, in its folder, so that the same command goes on there and another one is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from goal_analysis.vse.folder.run_folder import RunError, identity
from goal_analysis.vse.loop.experiment import experiment_from_mapping


def begun(path: Path, kinds: Mapping[str, type]) -> dict[str, Any] | None:
    """What was declared when it was begun; None where nothing was.

    Of its experiment there is what `identity` has. What it does not say of that, for it was begun before an option
    existed, is the option's default.

    Args:
        path: of the declaration.
        kinds: what else than ``experiment`` it says, with its types.

    Raises:
        RunError: the file is not what was written.
    """
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise RunError(f"{path}: got {problem} but expected what a study writes") from problem
    expected = {"experiment": dict, **kinds}
    if not isinstance(found, dict) or not all(isinstance(found.get(name), kind) for name, kind in expected.items()):
        raise RunError(f"{path}: got no {', '.join(expected)} but expected what a study writes")
    return found | {"experiment": identity(experiment_from_mapping(found["experiment"], f"{path}: experiment"))}
