"""Files are written whole or not at all, and locked by one process at a time."""

import os
from pathlib import Path

import pytest

from goal_analysis.files import try_lock, whole_folder, write_whole


def test_a_file_is_written_with_its_folder(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b.txt", "σ")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "σ".encode()
    write_whole(tmp_path / "a" / "b.txt", b"\xff")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"\xff"


def test_a_file_has_the_rights_that_others_have(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_whole(tmp_path / "whole", "x")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("name", ["a" * 250, "é" * 120, "*[a]?"])
def test_a_file_may_have_whatever_name_the_file_system_takes(tmp_path: Path, name: str) -> None:
    write_whole(tmp_path / name, "x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, full_disk) -> None:
    path = tmp_path / "report.html"
    write_whole(path, "old")
    with full_disk(1000), pytest.raises(OSError, match="File too large"):
        write_whole(path, "new" * 1000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_found_full_when_the_file_is_flushed_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    write_whole(path, "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new")
    with pytest.raises(OSError, match="No space left"), whole_folder(tmp_path / "folder") as folder:
        (folder / "a").write_text("x")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_an_old_one_or_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "outer" / "folder"
    with whole_folder(path) as folder:
        (folder / "a").write_text("old")
        assert not path.exists()
    with pytest.raises(FileNotFoundError), whole_folder(path) as folder:
        (folder / "a").rename(folder / "b")
    assert (path / "a").read_text() == "old"
    with whole_folder(path) as folder:
        (folder / "b").write_text("new")
    assert [file.name for file in path.iterdir()] == ["b"]
    assert list(path.parent.iterdir()) == [path]


def test_a_lock_is_held_by_one_until_it_is_released_or_its_process_ends(tmp_path: Path) -> None:
    path = tmp_path / "a" / "lock"
    lock = try_lock(path)
    assert lock is not None
    assert try_lock(path) is None
    lock.release()
    child = os.fork()
    if not child:
        os._exit(0 if try_lock(path) is not None else 1)
    assert os.waitpid(child, 0)[1] == 0
    again = try_lock(path)
    assert again is not None, "the process that held it has ended"
    again.release()


def test_a_forked_process_has_no_part_in_a_lock(tmp_path: Path) -> None:
    """As a process that reads images, which may outlive the run that made it for a while."""
    lock = try_lock(tmp_path / "lock")
    assert lock is not None
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    lock.release()
    again = try_lock(tmp_path / "lock")
    os.close(writing)
    os.waitpid(child, 0)
    assert again is not None
    again.release()
