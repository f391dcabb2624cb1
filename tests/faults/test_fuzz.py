"""A few hundred cases of the fuzzing, and that it would find what it looks for."""

import os
from pathlib import Path

import fuzz
import pytest

CASES = 400


def test_hostile_input_is_refused_and_does_nothing() -> None:
    found = fuzz.run(CASES, seed=1)
    assert [defect for tally in found.values() for defect in tally.defects] == []
    assert all(tally.accepted + tally.refused > 10 for tally in found.values())
    assert sum(tally.accepted for tally in found.values()) > CASES / 10
    assert sum(tally.refused for tally in found.values()) > CASES / 2


def raising(error: Exception):
    def read(folder: Path) -> None:
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (raising(KeyError("x")), "KeyError: 'x' at test_fuzz.py"),
        (raising(ValueError("")), "ValueError without a message"),
        (lambda folder: eval("1 + 1"), "made Python do compile b'1 + 1'"),
        (lambda folder: exec(compile("1", "<hostile>", "exec")), "made Python do compile b'1'"),
        (lambda folder: os.system("true"), "made Python do os.system b'true'"),
        (lambda folder: open("elsewhere", "w").close(), "made Python do open 'elsewhere'"),
        (lambda folder: (folder / ".x.unfinished").touch(), "left frozenset"),
        (lambda folder: (folder / "canary").touch(), "the canary was made"),
    ],
)
def test_what_is_wrong_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read, said) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cases").mkdir()
    surface = fuzz.Surface("made up", 1, (ValueError,), lambda folder: None, lambda rng, folder: lambda: read(folder))
    found = fuzz.fuzz(surface, 1, 0, tmp_path / "cases")
    assert any(said in defect for defect in found.defects), found.defects


def test_a_case_that_takes_long_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.0)
    surface = fuzz.Surface("made up", 1, (), lambda folder: None, lambda rng, folder: lambda: sum(range(100_000)))
    assert "took 0.0 s" in fuzz.fuzz(surface, 1, 0, tmp_path).defects[0]
