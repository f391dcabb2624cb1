"""What every test gets: fixed seeds, no display, reproducible hypotheses; and what several folders make up."""

import gc
import os
import random
import re
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

# What jaxtyping's import hook is the first to import it compiles anew, third parties included.
import beartype  # noqa: F401
import jaxtyping
import pytest
import sympy  # noqa: F401
from hypothesis import settings

decorate = jaxtyping.jaxtyped


def has_shape(annotation: Any, names: dict[str, Any]) -> bool:
    """Whether a shape is anywhere in an annotation, or may be because it cannot be read yet."""
    if isinstance(annotation, str):
        try:
            annotation = get_type_hints(SimpleNamespace(__annotations__={"it": annotation}), names)["it"]
        except (AttributeError, NameError, TypeError):
            return True
    if isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    parts = annotation if isinstance(annotation, list) else get_args(annotation)
    return any(has_shape(part, names) for part in parts if not isinstance(part, str))


def decorate_shaped(of: Any = None, *, typechecker: Callable) -> Any:
    """jaxtyping's decorator, of functions and data classes that have a shape among their annotations.

    jaxtyping decorates every function of a package. The checks of those without shapes would double the time of all
    tests.
    """
    if of is None:
        return partial(decorate_shaped, typechecker=typechecker)
    function = of.__init__ if isinstance(of, type) else of
    annotations = getattr(function, "__annotations__", {}).values()
    shaped = any(has_shape(annotation, function.__globals__) for annotation in annotations)
    return decorate(of, typechecker=typechecker) if shaped else of


# Every floor that handles tensors has its annotated shapes checked on each call. The older plug-ins of jaxtyping come
# after the other conftests, and so too late.
CHECKED = ("numeric", "recombination", "vse", "pictures", "study")
jaxtyping.jaxtyped = decorate_shaped
jaxtyping.install_import_hook([f"goal_analysis.{floor}" for floor in CHECKED], "beartype.beartype")

# Compiled files are kept, whatever the environment says: without them every worker and every call compiles the house.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = (
    "1"  # its pool of processes takes longer to start than the one compilation
)
os.environ["GOAL_ANALYSIS_CACHE"] = "off"  # what a test asks is answered by the code that it tests

# A busy machine may be slow without the code being wrong, hence no deadline.
settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Iterator[None]:
    """Look for no doctests in tests: one that cannot be imported would be passed over in silence."""
    found: Any = yield
    return [one for one in found if type(one).__name__ != "DoctestModule"]


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Skip a module whose extra is not installed, and no other that cannot be imported."""
    report: Any = yield
    lacking = re.search(r"ModuleNotFoundError: No module named '(\w+)", str(report.longrepr)) if report.failed else None
    if lacking and find_spec(lacking[1]) is None:
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 0, f"Skipped: got no module {lacking[1]}")
    return report


# Collecting tests makes much that stays, so the garbage collector looks at none of it, then or later.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    """Start every test from the same random state."""
    random.seed(0)


@pytest.fixture
def float64() -> Iterator[None]:
    """Compute in float64 unless the test says otherwise, from the same random state."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """No shapes are checked, as of users; the checks would speak before the package does."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """A context in which no file grows beyond so many bytes, as on a full disk."""

    @contextmanager
    def limited(most: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


WORDS = ("a", "red", "blue", "dog", "cat", "runs", "sits", "near", "tree", "house")


@pytest.fixture(scope="session")
def of_words() -> Callable:
    """Makes features that depend on the words of captions, and the captions, so many of each image."""
    import numpy as np

    def make(images: int, seed: int, captions: int, words: Sequence[str] = WORDS, dim: int = 12) -> tuple:
        rng = np.random.default_rng(seed)
        has = rng.random((images, len(words))) < 0.5
        has[:, 0] = True
        mixing = np.random.default_rng(0).normal(size=(len(words), dim))
        features = has @ mixing + 0.1 * rng.normal(size=(images, dim))
        said = (" ".join(w for w, h in zip(words, row, strict=True) if h) for row in has for _ in range(captions))
        return features.astype(np.float32), tuple(said)

    return make


@pytest.fixture(scope="session")
def folder_of_words(of_words: Callable, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Makes files with such features of so many images to train with, and of 12 of dev, five captions each."""
    import numpy as np

    def make(train: int) -> Path:
        where = tmp_path_factory.mktemp("data") / "small"
        where.mkdir()
        for split, images, seed in (("train", train, 1), ("dev", 12, 2)):
            features, captions = of_words(images, seed, captions=5)
            np.save(where / f"{split}_ims.npy", features)
            (where / f"{split}_caps.txt").write_text("\n".join(captions) + "\n")
            (where / f"{split}_ids.txt").write_text("\n".join(map(str, range(images))) + "\n")
        return where

    return make
