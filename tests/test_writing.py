"""Files are written whole or not at all."""

import os

import pytest

from goal_analysis.writing import write_whole


def test_a_file_is_written_with_its_folder(tmp_path):
    write_whole(tmp_path / "a" / "b.txt", "σ")
    assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "σ"


def test_nothing_is_left_where_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "b.txt"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
