"""Files and folders: written whole or not at all, locked by one process at a time, and named safely."""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

UNFINISHED = ".unfinished"
"""The names of files and folders that are being written begin with a dot and end in this."""

ABANDONED = 3600.0
"""After so many seconds without a change, an unfinished file is taken for the remains of a killed process."""

MOST_CHARACTERS = 100
"""The longest name of a folder: file systems take some 250 characters, and other names are built from it."""


def regular(path: Path) -> Path:
    """The path; an OSError where it is a pipe, a device or a socket: reading may never end, and writing replaces it."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return path
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = "pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"
        raise OSError(errno.EINVAL, f"got a {kind} but expected a regular file", str(path))
    return path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write text in UTF-8 or bytes such that readers see the old file or the new one, never a part, whatever ends the
    process or the machine. A missing folder is made; an OSError, also where a device or a pipe is, leaves the old file.
    """
    make_folder(regular(path).parent)
    unfinished = _unfinished(path)
    try:
        with names_file(path):
            with unfinished.open("xb") as file:
                write_through(file, content.encode("utf-8") if isinstance(content, str) else content)
            name_for_good(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    remove_unfinished(path.parent)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a new folder to write files into, which takes the place of ``path`` at the end; an error leaves the old."""
    make_folder(path.parent)
    unfinished, old = _unfinished(path), _unfinished(path)
    unfinished.mkdir()
    try:
        with names_file(path):
            yield unfinished
            for written in (*unfinished.rglob("*"), unfinished):
                _flush(written)
            if path.is_dir():
                os.replace(path, old)
            name_for_good(unfinished, path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)
    remove_unfinished(path.parent)


@contextmanager
def names_file(path: Path) -> Iterator[None]:
    """Let an OSError that names no file, as of a full disk, or an unfinished one, name this one."""
    try:
        yield
    except OSError as problem:
        if problem.errno is None or not (problem.filename is None or UNFINISHED in str(problem.filename)):
            raise
        raise OSError(problem.errno, problem.strerror, str(path)) from problem


def write_through(file: BinaryIO, content: bytes) -> None:
    """Write bytes so that they survive a loss of power."""
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where they are missing; they survive a loss of power."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        _flush(made.parent)


def name_for_good(written: Path, path: Path) -> None:
    """Rename a written file so that it replaces the file of this name, and survives a loss of power."""
    os.replace(written, path)
    _flush(path.parent)


def remove_unfinished(folder: Path, seconds: float = ABANDONED) -> None:
    """Remove what killed processes left half-written in a folder; what changed in the last ``seconds`` is kept."""
    for left in folder.glob(f".*{UNFINISHED}"):
        with suppress(OSError):
            if time.time() - left.lstat().st_mtime >= seconds:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def whole_lines(content: bytes) -> bytes:
    """The lines of a file that grows, without a torn last line or zeros, which a kill or a loss of power leaves."""
    written = content.partition(b"\0")[0]
    return written[: written.rfind(b"\n") + 1]


def try_lock(path: Path) -> FileLock | None:
    """Lock a file until the lock is released or the process ends; None where it is held already. Forks have no part."""
    make_folder(path.parent)
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def write_json(path: Path, value: Any) -> None:
    """Write what JSON can hold to ``path`` as `write_whole` does, in the form of `json_text`."""
    write_whole(path, json_text(value))


def json_text(value: Any) -> str:
    """The text of a JSON file that people read too."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def json_value(value: Any) -> Any:
    """The value that a JSON file gives back: lists for tuples, text for keys."""
    return json.loads(json_text(value))


def folder_name(name: str) -> str:
    """Make a name one that files and folders can have; a long name is cut off and ends in a hash.

    >>> folder_name("nca(tau=12)/linear@softmax:12")
    'nca_tau=12_linear_softmax_12'
    """
    found = re.sub(r"[^A-Za-z0-9._=-]+", "_", name)
    if len(found) > MOST_CHARACTERS:
        found = f"{found[: MOST_CHARACTERS - 17]}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:16]}"
    return f"_{found}" if not found.strip(".") else found


def folder_names(names: Iterable[str]) -> dict[str, str]:
    """The folder of each name, where the folders stand side by side; a ValueError where two would have one folder."""
    owners: dict[str, str] = {}
    for name in names:
        other = owners.setdefault(folder_name(name), name)
        if other != name:
            raise ValueError(
                f"got {other!r} and {name!r} but expected names that differ in letters and digits, "
                f"for both have the folder {folder_name(name)}"
            )
    return {name: folder for folder, name in owners.items()}


def _unfinished(path: Path) -> Path:
    """A name beside ``path`` that no other process uses."""
    return path.with_name(f".{path.name[:50]}-{secrets.token_hex(6)}{UNFINISHED}")


def _flush(path: Path) -> None:
    folder = path.is_dir()
    if folder and (os.name == "nt" or not os.access(path, os.R_OK)):  # which flushes no folders, or may not open this
        return
    descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
