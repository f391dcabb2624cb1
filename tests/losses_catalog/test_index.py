"""The index names every file, every value is called after its file, and nothing in it can change."""

import ast
import dataclasses
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import losses_catalog
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter
from goal_analysis.symbolic.weight import PairWeights, TripletWeight
from losses_catalog import catalog, pair_weights, triplet_weights

FOLDER = Path(losses_catalog.__file__).parent
NO_LOSS = {"__init__", "lookup", "table", "weights"}
LINES = 60


def loss_files(folder: Path) -> list[Path]:
    """The files that hold one loss each."""
    return [file for file in sorted(folder.glob("*.py")) if file.stem not in NO_LOSS]


def missing_lines(folder: Path) -> list[str]:
    """The lines that the index of ``folder`` lacks: the import of a loss, or its place in `catalog`."""
    index = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    imported = {
        (node.module, name.name) for node in ast.walk(index) if isinstance(node, ast.ImportFrom) for name in node.names
    }
    listed = {node.id for node in ast.walk(index) if isinstance(node, ast.Name)}
    lines = []
    for file in loss_files(folder):
        if (f"losses_catalog.{file.stem}", f"{file.stem}_loss") not in imported:
            lines.append(f"from losses_catalog.{file.stem} import {file.stem}_loss")
        if f"{file.stem}_loss" not in listed:
            lines.append(f"    {file.stem}_loss,")
    return lines


def long_files(folder: Path) -> list[str]:
    """Files of losses that are longer than a loss should be."""
    lengths = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in loss_files(folder)}
    return [f"{name}: {length} lines" for name, length in lengths.items() if length > LINES]


def shadowing(module: ModuleType) -> list[str]:
    """Names of values of a module that are also the name of the module."""
    own_name = module.__name__.rpartition(".")[2]
    return [name for name in vars(module) if name == own_name]


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """A catalog of one loss, with nothing wrong."""
    (tmp_path / "cube.py").write_text("cube_loss = 3\n", encoding="utf-8")
    index = "from losses_catalog.cube import cube_loss\n\ncatalog = (\n    cube_loss,\n)\n"
    (tmp_path / "__init__.py").write_text(index, encoding="utf-8")
    return tmp_path


def test_the_index_names_every_file() -> None:
    assert missing_lines(FOLDER) == []


def test_a_made_up_catalog_passes(made_up: Path) -> None:
    assert missing_lines(made_up) == []
    assert long_files(made_up) == []


def test_a_forgotten_file_is_named_with_its_lines(made_up: Path) -> None:
    (made_up / "sphere.py").write_text("sphere_loss = 4\n", encoding="utf-8")
    assert missing_lines(made_up) == [
        "from losses_catalog.sphere import sphere_loss",
        "    sphere_loss,",
    ]


def test_an_imported_loss_that_is_not_listed_is_named(made_up: Path) -> None:
    index = made_up / "__init__.py"
    index.write_text("from losses_catalog.cube import cube_loss\n\ncatalog = ()\n", encoding="utf-8")
    assert missing_lines(made_up) == ["    cube_loss,"]


def test_files_of_losses_are_short() -> None:
    assert long_files(FOLDER) == []


def test_a_long_file_is_named(made_up: Path) -> None:
    (made_up / "cube.py").write_text("x = 0\n" * (LINES + 1), encoding="utf-8")
    assert long_files(made_up) == ["cube.py: 61 lines"]


def test_every_loss_is_listed_once() -> None:
    assert len({loss.name for loss in catalog}) == len(catalog) == len(loss_files(FOLDER))


def test_a_loss_is_called_after_its_file() -> None:
    for loss in catalog:
        module = importlib.import_module(f"losses_catalog.{loss.name}")
        assert getattr(module, f"{loss.name}_loss") is loss
        assert (module.__doc__ or "").count("\nSource: ") == 1, loss.name


def test_no_value_shadows_its_module() -> None:
    for name in ("weights", *(loss.name for loss in catalog)):
        module = importlib.import_module(f"losses_catalog.{name}")
        assert shadowing(module) == [], name
        assert getattr(losses_catalog, name) is module


def test_a_shadowing_value_is_found() -> None:
    module = ModuleType("losses_catalog.cube")
    module.__dict__["cube"] = 3
    assert shadowing(module) == ["cube"]


def parts(value: object) -> Iterator[object]:
    """The value and every dataclass within it."""
    if isinstance(value, tuple):
        for member in value:
            yield from parts(member)
    elif dataclasses.is_dataclass(value):
        yield value
        for field in dataclasses.fields(value):
            yield from parts(getattr(value, field.name))


def test_values_are_immutable() -> None:
    for value in (*catalog, *triplet_weights, *pair_weights):
        assert isinstance(hash(value), int)
        for part in parts(value):
            name = dataclasses.fields(part)[0].name  # pyright: ignore[reportArgumentType]
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(part, name, None)


def test_a_value_that_could_change_would_be_found() -> None:
    @dataclasses.dataclass
    class Mutable:
        name: str

    (part,) = parts(Mutable("cube"))
    setattr(part, "name", "sphere")  # noqa: B010
    assert part == Mutable("sphere")


def hyperparameters() -> list[Hyperparameter]:
    """Every hyperparameter of the catalog."""
    values = (*catalog, *triplet_weights, *pair_weights)
    return list(dict.fromkeys(h for value in values for h in value.hyperparameters))


def test_every_hyperparameter_says_what_it_means() -> None:
    assert [h.name for h in hyperparameters() if not h.meaning.split()] == []


@pytest.mark.parametrize("weights", [triplet_weights, pair_weights])
def test_weights_have_distinct_names(weights: tuple[TripletWeight | PairWeights, ...]) -> None:
    assert len({weight.name for weight in weights}) == len(weights)
