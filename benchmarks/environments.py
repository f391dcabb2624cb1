"""Runs the suite with the oldest versions that pyproject.toml promises, or with the newest, and writes what ran.

    python benchmarks/environments.py oldest --folder /somewhere/large -- tests/symbolic tests/numeric
    python benchmarks/environments.py newest --folder /somewhere/large

uv (https://docs.astral.sh/uv) resolves and installs; torch from the package index has CUDA's libraries with it, so the
folder takes several GB. Where uv's resolution alone would not run, `TOGETHER` says what has to come with it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
RESULTS = PROJECT / "benchmarks" / "results" / "environments.md"

TOGETHER = ("click==8.1.7", "setuptools==69.0.0")
"""Beside the oldest: what typer 0.12 parses with, and what lightning-fabric 2.2 imports `pkg_resources` from."""

TOOLS = [
    "pytest",
    "pytest-xdist",
    "hypothesis",
    "beartype",
    "hatchling",
    "import-linter",
    "nbclient",
    "ipykernel",
    "ipywidgets",
    "selenium",
]
ADAPTED = ["pytorch-metric-learning", "sentence-transformers", "accelerate", "datasets", "tensorboard", "eccv-caption"]
SHOWN = (
    "torch numpy pandas sympy matplotlib seaborn typer rich pydantic pillow lightning-fabric optuna plotly safetensors"
)
SHOWN = [*SHOWN.split(), "pytorch-metric-learning", "sentence-transformers"]


def run(*words: str | Path) -> str:
    """The output of a command that has to end well."""
    return subprocess.run([*map(str, words)], check=True, capture_output=True, text=True).stdout


def install(folder: Path, kind: str, python: str) -> Path:
    """The Python of an environment with the project's dependencies, all extras, and what the tests use."""
    executable = folder / "bin" / "python"
    if not executable.exists():
        run("uv", "venv", "--python", python, folder)
        resolution = "lowest-direct" if kind == "oldest" else "highest"
        how = ("--python", python, "--resolution", resolution, "--no-annotate", "--no-header", "--extra", "all")
        compiled = run("uv", "pip", "compile", PROJECT / "pyproject.toml", *how).splitlines()
        if kind == "oldest":
            named = {line.partition("==")[0] for line in TOGETHER}
            compiled = [line for line in compiled if line.partition("==")[0] not in named] + list(TOGETHER)
        pins = folder / "pins.txt"
        pins.write_text("\n".join(compiled))
        run("uv", "pip", "install", "--python", executable, "-r", pins, "-c", pins, *TOOLS, *ADAPTED)
    run("uv", "pip", "install", "--python", executable, "--no-deps", "--reinstall", "-e", PROJECT)
    return executable


def main() -> int:
    """Install, run, and add a row to the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["oldest", "newest"])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--python", default="3.11")
    parser.add_argument("tests", nargs="*", help="what pytest runs; by default everything")
    given = parser.parse_args()
    executable = install(given.folder, given.kind, given.python)
    words = [executable, "-m", "pytest", "-q", "-n", "2", "-W", "default", "-p", "no:cacheprovider", *given.tests]
    done = subprocess.run(
        words, cwd=PROJECT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True
    )
    sys.stdout.write(done.stdout)
    ended = next(line for line in reversed(done.stdout.splitlines()) if re.search(r"\d+ (passed|failed)", line))
    said = ", ".join(re.findall(r"\d+ (?:passed|failed|skipped|errors?)", ended))
    listed = dict(
        line.split("==") for line in run("uv", "pip", "freeze", "--python", executable).splitlines() if "==" in line
    )
    versions = ", ".join(f"{name} {listed[name]}" for name in SHOWN if name in listed)
    what = " ".join(given.tests) or "everything"
    with RESULTS.open("a", encoding="utf-8") as table:
        table.write(f"| {given.kind} | {given.python} | {versions} | {what} | {said} |\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
