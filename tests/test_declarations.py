"""Declarations that others wrote are read quickly, as annotated values, or refused in our words."""

import json
import re
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Interval

from goal_analysis.declarations import DEEPEST, MOST_IN_A_LINE, read_file, read_options, read_toml


def of_json(folder: Path, text: str) -> Any:
    """What the text means in a JSON file."""
    path = folder / "declared.json"
    path.write_text(f'{{"a": {text}}}')
    return read_file(path)["a"]


def test_what_is_within_the_bounds_is_read(tmp_path: Path) -> None:
    deep = "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1)
    assert read_toml(f"a = {deep}")["a"] == of_json(tmp_path, deep) == json.loads(deep)
    assert of_json(tmp_path, "1") == 1


@pytest.mark.parametrize("text", ["a." * 500_000 + "a = 1", '"".' * 330_000, "x" * (MOST_IN_A_LINE + 1)])
def test_a_line_that_is_too_long_is_refused_at_once(text: str) -> None:
    begin = time.process_time()
    with pytest.raises(ValueError, match=r"got a line of [\d,]+ characters but expected up to 10,000"):
        read_toml(text)
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("part", ["b.", "b . ", '"b c".', "'.'.", '"".'])
def test_keys_of_many_parts_are_refused_at_once(part: str) -> None:
    """They take a tenth of a second each, and a document has room for hundreds."""
    line = part * (9_000 // len(part)) + "c = 1"
    begin = time.process_time()
    for text in (line, f"[{line.removesuffix(' = 1')}]", f"x = {{ {line} }}"):
        with pytest.raises(ValueError, match="got a key whose tables are nested deeper than 50"):
            read_toml("\n".join([text] * 100))
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("line", ['"' * 9_000, '"a' * 4_500, "a " * 4_500, "a" * 9_000, "." * 9_000, "a" + " " * 9_000])
def test_looking_for_them_takes_no_time_either(line: str) -> None:
    begin = time.process_time()
    with pytest.raises(ValueError, match=r".+"):
        read_toml("\n".join([line] * 100))
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("depth", [DEEPEST, 900, 100_000])
def test_what_is_nested_too_deeply_is_refused(depth: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"declared\.json: got .*nested"):
        of_json(tmp_path, "[" * depth + "]" * depth)
    lists = "[\n" * depth + "]\n" * depth
    with pytest.raises(ValueError, match="nested"):
        read_toml(f"a = {lists}")


def encoder(
    shape: tuple[int, ...],
    mode: Literal["mean", "max"],
    sizes: list[int],
    size: tuple[int, int] | None = None,
    dim: int = 8,
    share: Annotated[float, Interval(gt=0, le=1)] = 0.5,
) -> None: ...


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mode": "maxx", "sizes": []}, "e: mode: got 'maxx' but expected one of max, mean"),
        ({"mode": "max", "sizes": 3}, "e: sizes: got 3 but expected a list of whole numbers"),
        ({"mode": "max", "sizes": [1, "2"]}, "e: sizes[1]: got '2' but expected a whole number"),
        ({"mode": "max"}, "e: got no sizes but expected a list of whole numbers"),
        (
            {"mode": "max", "sizes": [], "size": [1]},
            "e: size: got [1] but expected a list of 2: a whole number",
        ),
        ({"mode": "max", "sizes": [], "dim": 0}, "e: dim: got 0 but expected a whole number from 1 to 100"),
        ({"mode": "max", "sizes": [], "share": 0}, "e: share: got 0 but expected a number above 0 of at most 1"),
        ({"mode": "max", "sizes": [], "sise": 1}, "e: got the key 'sise' but expected one of size, sizes, dim"),
        ({"mode": "max\ud800", "sizes": []}, "expected what JSON in UTF-8 can hold"),
    ],
)
def test_options_of_a_strangers_encoder_are_refused_in_our_words(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        read_options(encoder, given, "e", after=1, most=100)


def test_options_of_a_strangers_encoder_are_read_by_its_annotations() -> None:
    given = {"mode": "max", "sizes": (1, 2), "size": [3, 4], "share": 1}
    expected = {"mode": "max", "sizes": [1, 2], "size": (3, 4), "share": 1.0}
    assert read_options(encoder, given, "e", after=1, most=100) == expected
