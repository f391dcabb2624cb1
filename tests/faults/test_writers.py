"""Every writer and every sort of trouble: an error that names the file, and the same work, done again, is whole."""

import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from power_loss import State, Work, put, state_of
from power_loss_works import WORKS

from goal_analysis.api.objectives import export
from goal_analysis.api.runs import plot
from goal_analysis.pictures.canvas import save

NOBODY = 65534


@cache
def drawn() -> Figure:
    return plot("constant/linear")


MORE = (
    Work("an exported objective", lambda folder: export("circle", folder / "mine" / "circle.py")),
    Work("a picture", lambda folder: save(drawn(), folder / "mine" / "circle.png")),
)
PLACES = {
    "a file in the place of another": "report.html",
    "a folder in the place of another": "model",
    "a training run": "run",
    "features of pictures": "features",
    "a study of eight runs": "study",
    "an exported objective": "mine",
    "a picture": "mine",
}
"""What each work makes first of all."""

FILES = {
    "a training run": "run/log.csv",
    "features of pictures": "features/train_ims.npy",
    "a study of eight runs": "study/comparison.csv",
    "an exported objective": "mine/circle.py",
    "a picture": "mine/circle.png",
}
"""One of what it writes in there."""

EVERY = (*WORKS, *MORE)
each = pytest.mark.parametrize("work", EVERY, ids=lambda work: work.name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Work], State]:
    """What a work leaves that nothing happens to."""
    done: dict[str, State] = {}

    def get(work: Work) -> State:
        if work.name not in done:
            folder = tmp_path_factory.mktemp("whole")
            work.before(folder)
            work.do(folder)
            done[work.name] = lasting(work, folder)
        return done[work.name]

    return get


def lasting(work: Work, folder: Path) -> State:
    return {p: v for p, v in state_of(folder).items() if not any(fnmatch(p, f"*{one}") for one in work.volatile)}


def check(work: Work, folder: Path, expected: State, trouble: AbstractContextManager[object], said: str) -> None:
    """A work fails by name in some trouble, leaves what there was, and is done when the trouble is over."""
    before = state_of(folder)
    with trouble, pytest.raises((OSError, ValueError)) as refusal:
        work.do(folder)
    assert said in str(refusal.value)
    after = state_of(folder)
    assert all(after[path] == content for path, content in before.items()), "what there was is still there"
    assert not [path for path in after if ".unfinished" in path], "nothing half-written stays"
    work.do(folder)
    assert lasting(work, folder) == expected


LARGE = ("a training run", "a study of eight runs", "an exported objective", "a picture")


@pytest.mark.parametrize(
    ("work", "most"),
    [(work, most) for work in EVERY for most in (100, 600) if most == 100 or work.name in LARGE],
    ids=lambda given: getattr(given, "name", str(given)),
)
def test_a_full_disk(tmp_path: Path, whole, full_disk, work: Work, most: int) -> None:
    expected = whole(work)
    work.before(tmp_path)
    check(work, tmp_path, expected, full_disk(most), str(tmp_path))


@each
def test_a_folder_without_the_right_to_write(whole, work: Work) -> None:
    expected = whole(work)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        work.before(folder)
        check(work, folder, expected, read_only(folder), place)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """No right to write in a folder, whoever this process belongs to."""
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(stat.S_IRWXU)


@contextmanager
def removed(path: Path) -> Iterator[None]:
    """What is in the way is gone at the end."""
    yield
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("work", [work for work in EVERY if work.name in FILES], ids=lambda work: work.name)
def test_a_file_in_the_place_of_the_folder(tmp_path: Path, whole, work: Work) -> None:
    expected, path = whole(work), tmp_path / PLACES[work.name]
    path.write_text("in the way")
    with removed(path), pytest.raises((OSError, ValueError), match=str(path)):
        work.do(tmp_path)
    work.do(tmp_path)
    assert lasting(work, tmp_path) == expected


@pytest.mark.parametrize("work", [work for work in EVERY if work.name in FILES], ids=lambda work: work.name)
def test_a_folder_in_the_place_of_a_file(tmp_path: Path, whole, work: Work) -> None:
    expected, path = whole(work), tmp_path / FILES[work.name]
    (path / "in the way").mkdir(parents=True)
    with removed(path), pytest.raises((OSError, ValueError), match=str(path)):
        work.do(tmp_path)
    work.do(tmp_path)
    assert lasting(work, tmp_path) == expected


NAMED = {
    "a file in the place of another": (1,),
    "a folder in the place of another": (1, 2),
    "an exported objective": (1,),
    "a picture": (1,),
}
"""Before which of the names that it gives a work is killed; the others before the first, the second and the fourth."""


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("work", "number"),
    [(work, number) for work in EVERY for number in NAMED.get(work.name, (1, 2, 4))],
    ids=lambda given: getattr(given, "name", str(given)),
)
def test_a_killed_process(tmp_path: Path, whole, in_a_child, work: Work, number: int) -> None:
    """Before the so many-th file or folder gets its name."""
    expected, folder = whole(work), put({}, tmp_path / "work")
    work.before(folder)
    assert in_a_child(lambda: work.do(folder), "os.rename", "*", number) == -signal.SIGKILL
    work.do(folder)
    found = lasting(work, folder)
    assert {path: found.get(path) for path in expected} == expected
