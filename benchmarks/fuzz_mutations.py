"""Valid inputs made invalid: texts by pieces of their language, tables by keys and values, files by their bits."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Sequence
from typing import Any

PAYLOAD = "__import__('os').system('touch canary')"
HTML = "<script>document.title='taken'</script>"
PATHS = ("../../x", "/etc/passwd", "..", "a/../../x", "\\..\\..\\x", "C:/x", "./x", "a\0b", "~/x", "x" * 300, "")
NUMBERS = (0, -1, 1, 2**31, 2**63, 10**30, -(10**30), 1e308, 1e-320, float("inf"), float("nan"), 0.5, True, False)
TEXTS = (*PATHS, PAYLOAD, HTML, "\ud800", "\N{RIGHT-TO-LEFT OVERRIDE}x", "0", "nan", "${HOME}", "{{7*7}}", "%s%n")


def text(rng: random.Random, valid: str, pieces: Sequence[str]) -> str:
    """A text with one to four edits, of words for others or anywhere."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        words = list(re.finditer(r"\w+|[-+*/]", valid))
        if words and rng.random() < 0.5:
            word = rng.choice(words)
            valid = (
                valid[: word.start()] + rng.choice((*pieces, word[0] * 2, rng.choice(words)[0])) + valid[word.end() :]
            )
            continue
        at = rng.randrange(len(valid) + 1)
        kind = rng.randrange(6)
        drop = rng.randrange(6) if kind != 0 else 0
        insert = (
            "" if kind == 1 else rng.choice(pieces) if kind != 2 else chr(rng.choice((0, 10, 34, 39, 0x300, 0xFF1D)))
        )
        valid = valid[:at] + insert + valid[at + drop :]
        if kind == 5:
            start = rng.randrange(len(valid) + 1)
            valid = valid[:at] + valid[start : start + 20] + valid[at:]
    return valid


def large(rng: random.Random, unit: str) -> str:
    """Ten megabytes of it, or of parentheses or brackets."""
    one = rng.choice((unit + " + ", "(", "[", "-", "exp(", "a.", '"', "{a=", "1"))
    return one * (10_000_000 // len(one))


def value(rng: random.Random) -> Any:
    """Something hostile to stand where something else was expected."""
    kind = rng.randrange(8)
    if kind < 2:
        return rng.choice(NUMBERS)
    if kind < 5:
        return rng.choice(TEXTS)
    if kind == 5:
        return rng.choice((None, [], {}, [[]], {"": {}}, [1, "a", None], {"name": "linear"}))
    deep: Any = rng.choice((1, "a", None))
    for _ in range(rng.choice((3, 60))):
        deep = [deep] if kind == 6 else {"name": deep}
    return deep


def table(rng: random.Random, valid: Any) -> Any:
    """A table or list with one to three values, keys or entries changed, wherever they stand."""
    changed = copy.deepcopy(valid)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = changed
        while rng.random() < 0.75:
            inner = [
                v for v in (place.values() if isinstance(place, dict) else place) if isinstance(v, dict | list) and v
            ]
            if not inner:
                break
            place = rng.choice(inner)
        if not place:
            continue
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        kind = rng.randrange(6)
        if kind == 0:
            del place[key]
        elif kind == 1 and isinstance(place, dict):
            place[rng.choice(("unknown", "__class__", "", "name", "path"))] = value(rng)
        elif kind == 2 and isinstance(place[key], str):
            place[key] = text(rng, place[key], TEXTS)
        elif kind == 3 and isinstance(place[key], int | float) and abs(place[key]) < 1e300:
            place[key] = type(place[key])(place[key] * rng.choice((-1, 2, 1000))) if place[key] == place[key] else 0
        else:
            place[key] = value(rng)
    return changed


def content(rng: random.Random, valid: bytes) -> bytes:
    """The bytes of a file, some flipped, cut off, added or written over."""
    changed = bytearray(valid)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(changed)) if changed else 0
        kind = rng.randrange(6)
        if kind < 2 and changed:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del changed[at:]
        elif kind == 3:
            changed[at:at] = rng.randbytes(rng.randrange(1, 40))
        elif kind == 4:
            changed[at : at + 8] = rng.choice((b"\xff" * 8, b"\0" * 8, (2**40).to_bytes(8, "little"), b"{}"))
        else:
            changed[:0] = rng.choice((b"\xef\xbb\xbf", b"\0", b"\x80\x04", b"\xff\xfe"))
    return bytes(changed)
