"""Verification of the whole catalog, and proof that it finds what is wrong.

This file is long because the batches that verification runs on are tested here too.
"""

import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sympy as sp
import torch

from goal_analysis.numeric import verification
from goal_analysis.numeric.batches import (
    BATCHES,
    features_batch,
    identical_and_opposite,
    one_set_with_labels,
    random_pairs,
)
from goal_analysis.numeric.similarity import embedding_gradients
from goal_analysis.numeric.verification import BOUND, Verification, VerificationError, verify
from goal_analysis.symbolic.decomposition import Decomposition, decompose
from goal_analysis.symbolic.loss import SymbolicLoss
from goal_analysis.symbolic.primitives import s_n, s_p
from losses_catalog import catalog

FACTOR = sp.Rational(1001, 1000)
SECONDS = 60
"""For the whole catalog; it takes a sixth of that on one thread."""

decomposed = cache(decompose)
every_loss = pytest.mark.parametrize("loss", catalog, ids=lambda loss: loss.name)


def named(name: str) -> Decomposition:
    return decomposed(next(loss for loss in catalog if loss.name == name))


@pytest.fixture(scope="module")
def verified() -> tuple[dict[str, Verification], float]:
    for loss in catalog:
        decomposed(loss)
    start = time.perf_counter()
    found = {loss.name: verify(decomposed(loss)) for loss in catalog}
    return found, time.perf_counter() - start


@every_loss
def test_the_weights_of_every_loss_are_its_gradient(loss: SymbolicLoss, verified) -> None:
    frame = verified[0][loss.name].frame
    exact = frame[frame.dtype == "float64"]
    assert ((exact.relative <= BOUND) | (exact.absolute <= 1e-14)).all(), exact.sort_values("relative").tail()
    assert set(frame.dtype) == {"float64", "float32", "bfloat16"}
    quantities = {"w⁺", "w⁻", "W", "∂L/∂X", "∂L/∂Y"}
    if decomposed(loss).separable:
        quantities |= {"T", "P⁺", "P⁻", "T·P⁺", "T·P⁻"}
    assert set(frame.quantity) == quantities
    assert frame.batch.nunique() == len(BATCHES) - loss.proxies


def test_most_triplets_are_off_the_kinks(verified) -> None:
    frame = pd.concat(v.frame for v in verified[0].values())
    on_random = frame[(frame.batch == "random pairs") & (frame.quantity == "w⁺") & (frame.dtype == "float64")]
    assert (on_random.points == 24).all()


def test_in_float32_the_errors_are_those_of_rounding(verified) -> None:
    frame = pd.concat(v.frame for v in verified[0].values())
    assert (frame[(frame.dtype == "float32") & (frame.quantity == "W")].relative < 1e-4).all()


def test_singularities_are_those_of_a_margin_on_the_angle(verified) -> None:
    frame = pd.concat(v.frame for v in verified[0].values())
    assert set(frame[frame.singular > 0].loss) == {"arc_face", "tuplet_margin"}


def test_the_whole_catalog_takes_less_than_a_minute(verified) -> None:
    assert verified[1] < SECONDS


def test_the_worst_errors_are_kept_per_dtype_and_quantity(verified) -> None:
    worst = verified[0]["circle"].worst
    assert worst.loc[("float64", "W"), "relative"] < BOUND
    assert "float64" in verified[0]["circle"]._repr_html_()


def spoilt(decomposition: Decomposition, what: str) -> Decomposition:
    """The decomposition with one of its pieces times 1.001."""
    field, parts = decomposition.field, decomposition.parts
    if what in ("triplet", "positive", "negative") and field.factors is not None:
        wrong = FACTOR * getattr(field.factors, what)
        return replace(decomposition, field=replace(field, factors=replace(field.factors, **{what: wrong})))
    if what in ("w⁺", "w⁻"):
        name = {"w⁺": "positive", "w⁻": "negative"}[what]
        return replace(decomposition, field=replace(field, **{name: FACTOR * getattr(field, name)}))
    wrong = (replace(parts[-1], **{what: FACTOR * getattr(parts[-1], what)}),)
    return replace(decomposition, parts=(*parts[:-1], *wrong))


@every_loss
@pytest.mark.parametrize("what", ["triplet", "w⁺", "w⁻", "outer"])
def test_a_piece_times_1_001_is_found(loss: SymbolicLoss, what: str) -> None:
    decomposition = decomposed(loss)
    if what == "triplet" and not decomposition.separable:
        what = "w⁺"
    if what == "outer":
        what = "outer_negative" if loss.terms[-1].negatives else "outer_positive"
    with pytest.raises(VerificationError, match=f"loss '{loss.name}'"):
        verify(spoilt(decomposition, what), dtypes=[torch.float64])


@pytest.mark.parametrize(
    ("what", "quantity"),
    [
        ("triplet", r"T·P⁺"),
        ("positive", r"T·P⁺"),
        ("negative", r"T·P⁻"),
        ("w⁺", r"w⁺"),
        ("w⁻", r"w⁻"),
        ("outer_positive", "W"),
        ("outer_negative", "W"),
        ("inner_positive", "W"),
        ("inner_negative", "W"),
    ],
)
def test_the_error_names_what_is_wrong(what: str, quantity: str) -> None:
    message = (
        rf"loss 'circle': {quantity} on batch 'random pairs' in float64: "
        r"got a relative error of 0\.00\d+ but expected at most 1e-10"
    )
    with pytest.raises(VerificationError, match=message):
        verify(spoilt(named("circle"), what), [random_pairs])


@pytest.mark.parametrize("which", [0, 1])
def test_a_wrong_direction_is_found(which: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments):
        found = list(embedding_gradients(*arguments))
        found[which] = 1.001 * found[which]
        return tuple(found)

    monkeypatch.setattr(verification, "embedding_gradients", wrong)
    with pytest.raises(VerificationError, match=f"∂L/∂{'XY'[which]} on batch 'random pairs' in float64"):
        verify(named("circle"), [random_pairs])


def test_a_typed_in_weight_that_is_wrong_is_found() -> None:
    field = replace(named("circle").field, positive=1 - s_p, negative=s_n, factors=None)
    with pytest.raises(VerificationError, match="loss 'circle': w⁺ on batch 'random pairs' in float64"):
        verify(replace(named("circle"), field=field), [random_pairs])


def test_a_weight_that_overflows_is_found() -> None:
    """exp(γ·gap) over 1 + exp(γ·gap) is a sigmoid on paper, and NaN in float32 past 89."""
    field, gamma = named("info_nce").field, sp.Symbol("scale", positive=True)
    gap = gamma * (s_n - s_p)
    unstable = gamma * sp.exp(gap) / (1 + sp.exp(gap))
    typed = replace(named("info_nce"), field=replace(field, positive=unstable, factors=None))
    verify(typed, [identical_and_opposite], [torch.float32])
    message = "w⁺ on batch 'identical and opposite' in float32: got a number that is not finite where the exact"
    with pytest.raises(VerificationError, match=message):
        verify(typed, [identical_and_opposite], [torch.float32], settings={"scale": 100})


def test_settings_are_used() -> None:
    for scale in (0.5, 200):
        verify(named("info_nce"), [random_pairs, one_set_with_labels], settings={"scale": scale})
    with pytest.raises(ValueError, match="expected one of scale"):
        verify(named("info_nce"), [random_pairs], settings={"sale": 1})


def written(folder: Path, features: np.ndarray, captions: int | None) -> Path:
    np.save(folder / "dev_ims.npy", features)
    if captions is not None:
        (folder / "dev_caps.txt").write_text("a dog runs\n" * captions, encoding="utf-8")
    return folder


@pytest.mark.parametrize("shape", [(9, 40), (9, 6, 20)], ids=["pooled", "regions"])
@pytest.mark.parametrize(("captions", "per_image"), [(None, 1), (9, 1), (45, 5)])
def test_real_features_become_two_views(
    tmp_path: Path, shape: tuple[int, ...], captions: int | None, per_image: int
) -> None:
    features = np.random.default_rng(0).gamma(2.0, size=shape).astype(np.float16)
    batch = features_batch(written(tmp_path, features, captions), "dev", images=7, dim=16)
    assert batch.rows.shape == batch.columns.shape == (7 * per_image, 16)
    for view in (batch.rows, batch.columns):
        torch.testing.assert_close(view.norm(dim=1), torch.ones(len(view)))
        assert torch.unique(view, dim=0).shape == view.shape
    assert (batch.matches.positives.sum(1) == per_image).all()
    s = batch.rows @ batch.columns.T
    assert s[batch.matches.positives].mean() > s[batch.matches.negatives].mean() + 0.2
    assert batch.name.endswith("dev")
    for name in ("circle", "lifted_structure", "vse_pp"):
        verify(named(name), [batch])


def test_half_precision_does_not_overflow(tmp_path: Path) -> None:
    """The sum of the squares of these features is far beyond the largest float16."""
    features = (60000 * np.random.default_rng(0).random((4, 30))).astype(np.float16)
    assert features_batch(written(tmp_path, features, None), "dev", images=4).rows.isfinite().all()


def test_missing_features_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"got no file .*test_ims\.npy but expected the features of split"):
        features_batch(tmp_path, "test")


@pytest.mark.parametrize(
    ("features", "captions", "message"),
    [
        (np.zeros((9, 4), np.int64), None, r"dev_ims\.npy: got int64 of shape \(9, 4\) but expected floats"),
        (np.zeros((9,), np.float16), None, r"got float16 of shape \(9,\) but expected floats of shape"),
        (np.zeros((3, 4), np.float32), None, r"shape \(3, 4\) but expected .* with at least 6 images"),
        (
            np.zeros((9, 4), np.float32),
            44,
            r"dev_caps\.txt: got 44 captions but expected a multiple of the 9",
        ),
        (np.zeros((9, 4), np.float32), 0, r"dev_caps\.txt: got 0 captions but expected a multiple of the 9"),
    ],
)
def test_features_that_do_not_fit_are_named(
    tmp_path: Path, features: np.ndarray, captions: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        features_batch(written(tmp_path, features, captions), "dev")


def test_a_row_that_is_not_finite_is_named(tmp_path: Path) -> None:
    features = np.ones((9, 4), np.float32)
    features[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"dev_ims\.npy: row 2: got a value that is not finite"):
        features_batch(written(tmp_path, features, None), "dev")


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "dev_ims.npy", np.array([{"a": 1}] * 9, dtype=object))
    with pytest.raises(ValueError, match=r"dev_ims\.npy: .*Python objects"):
        features_batch(tmp_path, "dev")
