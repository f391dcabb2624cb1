"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


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
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
