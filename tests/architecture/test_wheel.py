"""The built wheel, installed in an environment of its own, in an empty folder, without the repository beside it."""

import importlib.util
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from losses_catalog import catalog

PACKAGES = ("goal_analysis", "losses_catalog")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]

TINY = ("data.train=12", "data.dev=8", "data.test=1", "training.epochs=1", "training.batch_size=20")
TINY += ("model.image.width=8", "model.tokenizer.name=words", "model.tokenizer.min_count=1")

COMMANDS = (
    ("list", "--library", "lightly"),
    ("compose", "nca(tau=12)/linear@softmax:12"),
    ("plot", "circle", "--kind", "pair", "-o", "pictures"),
    ("train", "--preset", "scenes", *(word for setting in TINY for word in ("--set", setting)), "-o", "run"),
    ("report", "run", "--queries", "1", "-o", "report.html"),
)

SCRIPT = f"""
import sys
sys.modules |= dict.fromkeys(("fcntl", "resource", "termios", "pwd", "grp"))  # which Windows does not have
import goal_analysis, losses_catalog
from typer.testing import CliRunner
from goal_analysis.cli import app
print(goal_analysis.__file__)
print(losses_catalog.__file__)
print(len(losses_catalog.catalog), "losses")
for words in {COMMANDS}:
    result = CliRunner().invoke(app, words)
    print("==", *words[:1], result.exit_code)
    print(result.output)
    if result.exit_code:
        sys.exit(repr(result.exception))
"""


def left_behind(project: Path, packed: list[str]) -> list[str]:
    """The files of the packages that a wheel with these names lacks."""
    files = (file for package in PACKAGES for file in sorted((project / package).rglob("*")))
    names = (file.relative_to(project).as_posix() for file in files if file.is_file())
    return [name for name in names if "__pycache__" not in name and name not in packed]


@pytest.fixture(scope="module")
def wheel(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the working copy, built by what is installed, else by what pip can get."""
    where = tmp_path_factory.mktemp("wheel")
    alone = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    words = [*PIP, "wheel", str(project), "--no-deps", *alone, "-w", str(where)]
    built = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    if built.returncode:
        if alone:
            pytest.fail(built.stderr)
        pytest.skip(f"hatchling is not installed and pip cannot get it: {built.stderr.strip().splitlines()[-1]}")
    return next(where.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment that has the wheel, and of what is installed here all but the project."""
    where = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(where)], check=True)
    python = where / "bin" / "python"
    subprocess.run([*PIP, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)], check=True)
    installed = next((where / "lib").glob("python*/site-packages"))
    # A folder that a .pth file adds has its own .pth files left unread, so the working copy stays out of sight.
    (installed / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def called(words: list[str], where: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    result = subprocess.run(words, cwd=where, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_wheel_has_every_file_of_the_packages(project: Path, wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel).namelist()
    assert left_behind(project, packed) == []
    assert not [name for name in packed if name.split("/")[0] not in PACKAGES and ".dist-info/" not in name]


def test_a_file_that_is_left_behind_is_found(project: Path, wheel: Path) -> None:
    missing = "goal_analysis/vse/loop/presets/scenes.toml"
    packed = [name for name in zipfile.ZipFile(wheel).namelist() if name != missing]
    assert left_behind(project, packed) == [missing]


def test_the_command_works_without_the_repository(python: Path, tmp_path: Path) -> None:
    said = called([str(python.parent / "goal-analyze"), "show", "circle"], tmp_path)
    assert "integrable no" in " ".join(said.split())


def test_everything_works_without_the_repository(python: Path, tmp_path: Path) -> None:
    said = called([str(python), "-c", SCRIPT], tmp_path)
    environment = str(python.parents[1])
    assert [line.startswith(environment) for line in said.splitlines()[:2]] == [True, True]
    for words in COMMANDS:
        assert f"== {words[0]} 0" in said
    assert f"{len(catalog)} losses" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "report.html", "run"]
    assert "data:image/jpeg" in (tmp_path / "report.html").read_text()
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["circle-pair.png"]
