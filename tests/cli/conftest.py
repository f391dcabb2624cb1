"""Small data, as a user has them in a folder."""

from pathlib import Path

import numpy as np
import pytest

WORDS = ("a", "red", "blue", "dog", "cat", "runs", "sits", "near", "tree", "house")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features that depend on the words of five captions each, as files."""
    where = tmp_path_factory.mktemp("data") / "small"
    where.mkdir()
    for split, images, seed in (("train", 40, 1), ("dev", 12, 2)):
        rng = np.random.default_rng(seed)
        has = rng.random((images, len(WORDS))) < 0.5
        has[:, 0] = True
        features = has @ np.random.default_rng(0).normal(size=(len(WORDS), 12)) + 0.1 * rng.normal(size=(images, 12))
        np.save(where / f"{split}_ims.npy", features.astype(np.float32))
        captions = [" ".join(w for w, h in zip(WORDS, row, strict=True) if h) for row in has for _ in range(5)]
        (where / f"{split}_caps.txt").write_text("\n".join(captions) + "\n")
        (where / f"{split}_ids.txt").write_text("\n".join(map(str, range(images))) + "\n")
    return where
