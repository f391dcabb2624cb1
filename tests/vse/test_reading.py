"""Pictures are the same ones whoever reads them, and many at once are read by processes of their own."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from goal_analysis.vse.data.split import DataError, RetrievalData, Rows, Split, statistics
from goal_analysis.vse.folder.run_folder import LOG
from goal_analysis.vse.loop import batches
from goal_analysis.vse.loop.batches import ReadByWorkers, pictures_by_workers

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@dataclass(frozen=True, eq=False)
class Pictures:
    """Drawn when they are asked for, in processes that are written down.

    Args:
        drawn_by: file of the processes' numbers.
        count: how many.
        spoilt: the row of one that cannot be read.
    """

    drawn_by: Path
    count: int
    spoilt: int = -1

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.count, 3, 16, 16)

    def __len__(self) -> int:
        return self.count

    def batch(self, rows: Rows) -> Tensor:
        numbers = np.asarray(rows).tolist()
        if self.spoilt in numbers:
            raise DataError(f"pictures: row {self.spoilt}: got none but expected one")
        with self.drawn_by.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return torch.stack([torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(row)) for row in numbers])

    def fingerprint(self) -> str:
        return str(self.count)

    def processes(self) -> set[int]:
        found = {int(line) for line in self.drawn_by.read_text().split()}
        self.drawn_by.unlink()
        return found


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "PIECE", 4)


def test_pictures_are_the_same_and_read_elsewhere(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path / "by", 30)
    for rows in (np.array([7, 3, 3, 29, 0, 1, 2, 8, 9]), torch.arange(30)):
        expected = pictures.batch(rows)
        assert pictures.processes() == {os.getpid()}
        found = ReadByWorkers(pictures, 2).batch(rows)
        assert torch.equal(found, expected)
        here = pictures.processes()
        assert len(here) == 2
        assert os.getpid() not in here
    ReadByWorkers(pictures, 2).batch(np.arange(4))
    assert pictures.processes() == {os.getpid()}, "of a few no process is begun"
    by_workers = statistics(ReadByWorkers(pictures, 2))
    assert all(torch.equal(a, b) for a, b in zip(by_workers, statistics(pictures), strict=True))


def test_reading_draws_no_randomness(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    ReadByWorkers(Pictures(tmp_path / "by", 30), 1).batch(np.arange(30))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_picture_that_cannot_be_read_is_named_alone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^pictures: row 13: got none but expected one$"):
        ReadByWorkers(Pictures(tmp_path / "by", 30, spoilt=13), 2).batch(np.arange(30))


def test_features_are_left_alone(data: RetrievalData) -> None:
    assert pictures_by_workers(data.dev, 2) is data.dev


def test_a_run_reads_its_pictures_in_workers_alone(trained_small, tmp_path: Path, data: RetrievalData) -> None:
    pictures = [Pictures(tmp_path / f"by-{split.name}", len(split.images)) for split in data.splits()]
    of_pictures = RetrievalData(
        "drawn",
        *(
            Split(s.name, images, s.captions, s.image_of)
            for s, images in zip((data.train, data.dev), pictures, strict=True)
        ),
    )
    assert pictures_by_workers(of_pictures.dev, 0) is of_pictures.dev
    logs = []
    for workers in (0, 1):
        folder = tmp_path / str(workers)
        model = ("model.pictures.width=8", "model.pictures.dim=8", "training.epochs=1")
        trained_small(folder, *model, f"training.workers={workers}", on=of_pictures)
        logs.append((folder / LOG).read_bytes())
        assert [os.getpid() in images.processes() for images in pictures] == [not workers, not workers]
    assert logs[0] == logs[1]
