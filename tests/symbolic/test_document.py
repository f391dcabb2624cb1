"""Documents that others wrote are read quickly or refused."""

import json
import time

import pytest

from goal_analysis.declarations import DEEPEST, MOST_IN_A_LINE, read_json, read_toml


def test_what_is_within_the_bounds_is_read() -> None:
    deep = "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1)
    assert read_toml(f"a = {deep}")["a"] == json.loads(deep)
    assert read_json(f"[{deep}]") == [json.loads(deep)]
    assert read_json("1") == 1


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
def test_what_is_nested_too_deeply_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match="nested"):
        read_json("[" * (depth + 1) + "]" * (depth + 1))
    lists = "[\n" * depth + "]\n" * depth
    with pytest.raises(ValueError, match="nested"):
        read_toml(f"a = {lists}")
