"""Packages of extras: imported, or named with what is there, what is asked for, and how it is installed."""

import inspect
import re
from collections import Counter
from importlib import import_module
from traceback import walk_tb
from typing import Any

_PACKAGES = {"PIL": "pillow", "open_clip": "open_clip_torch"}  # of modules with another name
_REQUIREMENT = re.compile(r"""^([\w.-]+)(\S*); extra == ['"](?!dev|docs|test['"])(\w+)""", re.MULTILINE)


def import_extra(module: str, where: str = "") -> Any:
    """Import a module that may be missing or old; a ValueError says what is expected, and how it is installed."""
    try:
        found, said = import_module(module), _unmet(module)
    except ImportError as error:
        package = _PACKAGES.get(name := (error.name or module).partition(".")[0], name)
        said = unmet(error) or f"got no {package} but expected it: pip install {package}"
        raise ValueError(f"{where or module}: {said}") from error
    if said is not None:
        raise ValueError(f"{where or module}: {said}")
    return found


def unmet(problem: ImportError | AttributeError) -> str | None:
    """The message for an error that comes from a missing package, or one older than its extra asks for."""
    of = problem.name if isinstance(problem, ImportError) else getattr(inspect.getmodule(problem.obj), "__name__", "")
    through = [str(frame.f_globals["__name__"]) for frame, _ in walk_tb(problem.__traceback__)]
    absent = of if isinstance(problem, ModuleNotFoundError) else None
    return next(filter(None, (_unmet(name, name == absent) for name in [*reversed(through), of or ""])), None)


def _unmet(module: str, absent: bool = False) -> str | None:
    from importlib import metadata  # which takes longer to import than most of what stands above

    package = _PACKAGES.get(top := module.partition(".")[0], top.replace("_", "-"))
    declared = (line for ours in metadata.distributions(name="goal-analysis") for line in ours.requires or ())
    of_extras = _REQUIREMENT.findall("\n".join(declared))
    sizes = Counter(extra for *_, extra in of_extras)
    having = [(sizes[extra], extra, versions.split(",")) for name, versions, extra in of_extras if name == package]
    if not having:
        return None
    _, extra, versions = min(having)
    installed = next((one.version for one in metadata.distributions(name=package)), "")
    low, have = ([int(n) for n in re.findall(r"\d+", text)] for text in (versions[-1], installed))
    if low <= have and not absent:
        return None
    got = f"{package} {installed}" if [] < have < low else f"no {package}"
    return f"got {got} but expected {package}{','.join(versions[::-1])}: pip install 'goal-analysis[{extra}]'"
