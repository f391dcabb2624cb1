"""Proof that annotated shapes are checked while the tests run, on every floor that handles tensors."""

import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import jaxtyping
import pytest
import torch

import goal_analysis

WITHOUT_TENSORS = {"symbolic", "api", "cli"}
CANARY = '''
    """Functions that return another shape than they promise, in the words of the annotation or by a name of it."""

    from jaxtyping import Float
    from torch import Tensor

    Scores = Float[Tensor, "images texts"]


    def transpose(scores: Float[Tensor, "images texts"]) -> Float[Tensor, "images texts"]:
        return scores.T


    def turn(scores: Scores) -> list[Scores] | None:
        return [scores.T]
'''
POSTPONED = "from __future__ import annotations\n"


def packages() -> list[str]:
    """Every package inside goal_analysis that may handle tensors."""
    inside = Path(goal_analysis.__file__).parent.glob("*/__init__.py")
    return sorted(f"goal_analysis.{file.parent.name}" for file in inside if file.parent.name not in WITHOUT_TENSORS)


@pytest.fixture(params=["", POSTPONED], ids=["annotations", "postponed annotations"])
def cage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder with the canary in it; the canary is forgotten afterwards."""
    (tmp_path / "canary.py").write_text(request.param + textwrap.dedent(CANARY), encoding="utf-8")
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.split(".")[-1] == "canary":
            del sys.modules[name]


def canary_in(package: ModuleType, cage: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import the canary as if its file lay in the package."""
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(cage)])
    monkeypatch.setattr(package, "canary", None, raising=False)  # the import sets it; so it goes again
    return importlib.import_module(f"{package.__name__}.canary")


@pytest.mark.parametrize("name", packages())
def test_a_wrong_shape_is_caught(name: str, cage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = canary_in(importlib.import_module(name), cage, monkeypatch)
    assert canary.transpose(torch.zeros(3, 3)).shape == (3, 3)
    for wrong in (canary.transpose, canary.turn):
        with pytest.raises(jaxtyping.TypeCheckError, match=wrong.__name__):
            wrong(torch.zeros(2, 3))


def test_outside_the_floors_it_is_not(cage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(cage)
    canary = importlib.import_module("canary")
    assert canary.transpose(torch.zeros(2, 3)).shape == (3, 2)
