"""What a run was made with: the versions of packages, and the git revision where there is one."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version

PACKAGES = ("goal-analysis", "torch", "numpy", "lightning-fabric", "safetensors")
UNKNOWN = "unknown"


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a run depends on."""
    return {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()}


def revision() -> str:
    """The git revision of the working folder; empty where there is none."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def _version(name: str) -> str:
    try:
        return version(name)
    except ImportError:
        return UNKNOWN
