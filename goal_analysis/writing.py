"""Files written whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

UNFINISHED = ".unfinished"
"""What the name of a file ends in while it is written; what a killed process left is written over by the next."""


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` to ``path``; whatever happens, the file is the old one or the new one.

    Args:
        path: where; its folder is made if it is missing.
        text: written in UTF-8.

    Raises:
        OSError: the folder cannot be written or the disk is full; the old file is intact.
    """
    write_whole_bytes(path, text.encode("utf-8"))


def write_whole_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` as `write_whole` does.

    Args:
        path: where; its folder is made if it is missing.
        content: what.

    Raises:
        OSError: the folder cannot be written or the disk is full; the old file is intact.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}{UNFINISHED}")
    with os.fdopen(_opened_alone(unfinished), "wb") as file:
        try:
            file.truncate()
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise


def write_json(path: Path, value: Any) -> None:
    """Write what JSON can hold to ``path`` as `write_whole` does, in the form of `json_text`."""
    write_whole(path, json_text(value))


def json_text(value: Any) -> str:
    """The text of a JSON file that people read too."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def read_back(value: Any) -> Any:
    """What is read of a value that was written: lists for tuples, text for keys.

    >>> read_back({"shape": (2, 3)})
    {'shape': [2, 3]}
    """
    return json.loads(json_text(value))


def _opened_alone(path: Path) -> int:
    """The file of this name, locked; of several who write it, one after the other has it."""
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)  # whoever had it before has renamed or removed it
