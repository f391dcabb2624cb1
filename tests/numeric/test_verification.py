"""Verification of the whole catalog, and proof that it finds what is wrong."""

from dataclasses import replace
from functools import cache
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sympy as sp
import torch
from kinds_of_losses import covering

from goal_analysis.numeric import verification
from goal_analysis.numeric.batches import (
    BATCHES,
    CLASSES,
    IDENTICAL_AND_OPPOSITE,
    ONE_SET_WITH_LABELS,
    RANDOM_PAIRS,
    SEVERAL_CAPTIONS,
    Batch,
    features_batches,
)
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import embedding_gradients
from goal_analysis.numeric.verification import BOUND, ROWS, VerificationError, bound, verify
from goal_analysis.symbolic.analysis.decomposition import Decomposition, decompose
from goal_analysis.symbolic.language.aggregators import MEAN, Pool
from goal_analysis.symbolic.language.primitives import gap, hinge, s_n, s_p
from goal_analysis.symbolic.objective import Anchors, Objective, Reduction, Term
from losses_catalog import catalog

FACTOR = sp.Rational(1001, 1000)

decomposed = cache(decompose)
every_loss = pytest.mark.parametrize("loss", catalog, ids=lambda loss: loss.name)


def named(name: str) -> Decomposition:
    return decomposed(next(loss for loss in catalog if loss.name == name))


NARROW = (RANDOM_PAIRS, SEVERAL_CAPTIONS, IDENTICAL_AND_OPPOSITE)
"""What is computed in few digits too: ordinary scores, several positives, and the ends of the scale."""

SINGULAR = {
    "arc_face",
    "sub_center_arc_face",
    "curricular_face",
    "mv_arc_softmax",
    "tuplet_margin",
    "temperature_free_info_nce",
}
"""Losses of the angle, or of log-odds, whose weights are infinite where the angle is 0 or π."""


@every_loss
def test_the_weights_of_every_loss_are_its_gradient(loss: Objective) -> None:
    exact = verify(decomposed(loss), dtypes=[torch.float64]).frame
    narrow = verify(decomposed(loss), NARROW, [torch.float32, torch.bfloat16]).frame
    frame = pd.concat([exact, narrow])
    assert (exact.relative <= BOUND).all(), exact.sort_values("relative").tail()
    quantities = {"w⁺", "w⁻", "L", "W", "∂L/∂X", "∂L/∂Y"}
    if decomposed(loss).separable:
        quantities |= {"T", "P⁺", "P⁻", "T·P⁺", "T·P⁻"}
    assert set(frame.quantity) == quantities
    assert exact.batch.nunique() == len(BATCHES) - loss.proxies
    assert narrow.batch.nunique() == len(NARROW)
    # Most triplets are off the kinks, and in float32 the errors are those of rounding.
    assert (exact[(exact.batch == "random pairs") & (exact.quantity == "w⁺")].points == 24).all()
    assert (narrow[(narrow.dtype == "float32") & (narrow.quantity == "W")].relative < 1e-4).all()
    assert (frame.singular > 0).any() == (loss.name in SINGULAR)


def test_the_worst_errors_are_kept_per_dtype_and_quantity() -> None:
    verified = verify(named("circle"), [RANDOM_PAIRS])
    assert verified.worst.loc[("float64", "W"), "relative"] < BOUND
    assert "float64" in verified._repr_html_()


def other(loss: Objective, what: str) -> Objective | None:
    """A loss with something else than the loss has; None where that is no other loss."""
    sides = [side for term in loss.terms for side in term.sides]
    if what == "factor":
        terms = tuple(replace(t, outer=FACTOR * t.outer) if t.outer is not None else t for t in loss.terms)
        changed = replace(loss, terms=terms)
    elif what == "reduction":
        changed = replace(loss, reduction=Reduction.SUM if loss.reduction is Reduction.MEAN else Reduction.MEAN)
    elif what == "anchors":  # of one of pairs alone, rows and columns are the same
        changed = replace(loss, anchors=Anchors.ROWS)
    else:  # a sum or a soft maximum instead of every one
        changed = None
        if loss.plain and not loss.proxies and any(side.aggregator.enumerates for side in sides):
            terms = tuple(_meant(term) for term in loss.terms)
            changed = replace(loss, terms=terms)
    return None if changed is None or changed == loss else changed


def _meant(term: Term) -> Term:
    sides = {
        name: replace(side, aggregator=MEAN)
        for name, side in (("positives", term.positives), ("negatives", term.negatives))
        if side is not None and side.aggregator.enumerates
    }
    return replace(term, **sides)


KINDS = covering(catalog)
CHANGES = ("factor", "reduction", "anchors", "aggregators")


@pytest.mark.parametrize(("loss", "what"), list(zip(KINDS, cycle(CHANGES))), ids=lambda of: getattr(of, "name", of))
def test_the_value_and_the_weights_of_another_loss_are_told_from_plain_loops(
    loss: Objective, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = other(loss, what)
    if changed is None:
        pytest.skip("no other loss")
    batches = [CLASSES] if loss.proxies else [SEVERAL_CAPTIONS]
    for name in ("loss_value", "weights_of_scores"):
        with monkeypatch.context() as patch:
            right = getattr(verification, name)
            patch.setattr(verification, name, lambda _, *rest, right=right: right(changed, *rest))
            with pytest.raises(
                VerificationError, match=f"loss '{loss.name}': {'L' if name == 'loss_value' else 'W'} on"
            ):
                verify(decomposed(loss), batches, [torch.float64])


@pytest.fixture
def times_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights twice as large as they are."""
    right = verification.weights_of_scores
    monkeypatch.setattr(verification, "weights_of_scores", lambda *arguments: 2 * right(*arguments))


@pytest.mark.parametrize(
    ("loss", "dtype"),
    list(zip(KINDS, cycle([torch.float64, torch.float32, torch.bfloat16, torch.float16]))),
    ids=lambda of: getattr(of, "name", str(of)),
)
@pytest.mark.usefixtures("times_two")
def test_twice_the_weights_are_found_in_every_dtype(loss: Objective, dtype: torch.dtype) -> None:
    message = f"W on batch .* in {str(dtype)[6:]}: got a relative error of 1 but expected at most {bound('W', dtype):g}"
    with pytest.raises(VerificationError, match=message):
        verify(decomposed(loss), [SEVERAL_CAPTIONS], [dtype])


def test_small_weights_agree() -> None:
    verify(named("circle"), [RANDOM_PAIRS, SEVERAL_CAPTIONS], settings={"gamma": 1e-14})


@pytest.mark.usefixtures("times_two")
def test_weights_so_small_that_all_of_them_look_like_rounding_are_compared() -> None:
    with pytest.raises(VerificationError, match="got a relative error of 1 but expected at most 1e-10"):
        verify(named("circle"), [RANDOM_PAIRS], settings={"gamma": 1e-14})


def test_what_cancels_to_zero_is_held_against_what_is_summed() -> None:
    """Every embedding pulls as much as it pushes, in float32 up to the rounding of both."""
    term = Term(outer=gap, positives=MEAN(sp.Integer(3) ** s_p), negatives=MEAN(sp.Integer(3) ** s_n, Pool.ALL))
    decomposition = decompose(Objective(name="cancels", title="Cancels", terms=(term,)))
    everything = torch.ones(4, 4, dtype=torch.bool)
    batch = replace(RANDOM_PAIRS, matches=Matches(everything, ~everything))
    batch = replace(batch, rows=batch.rows[:4], columns=batch.columns[:4])
    frame = verify(decomposition, [batch]).frame
    assert (frame[frame.quantity == "W"].relative < 1e-6).all()


def test_a_half_precision_gradient_may_be_off_by_what_rounded_scores_do() -> None:
    assert bound("∂L/∂X", torch.float16) == bound("∂L/∂Y", torch.bfloat16) == 0.5
    assert bound("∂L/∂X", torch.float32) == bound("W", torch.float16) == bound("T", torch.bfloat16) == 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_wrong_sign_of_a_direction_is_found_in_every_dtype(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "embedding_gradients", lambda *a: tuple(-g for g in embedding_gradients(*a)))
    with pytest.raises(VerificationError, match="∂L/∂X on batch 'random pairs'"):
        verify(named("info_nce"), [RANDOM_PAIRS], [dtype])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_embeddings_that_are_not_finite_are_refused(value: float) -> None:
    batch = replace(RANDOM_PAIRS, columns=RANDOM_PAIRS.columns.clone())
    batch.columns[3, 2] = value
    with pytest.raises(ValueError, match="loss 'circle': got embeddings of batch 'random pairs' that are not finite"):
        verify(named("circle"), [batch])


def without_pairs() -> Batch:
    nothing = torch.zeros(12, 12, dtype=torch.bool)
    return replace(RANDOM_PAIRS, matches=Matches(nothing, nothing))


def no_embeddings() -> Batch:
    return Batch("nothing", torch.zeros(0, 8), torch.zeros(3, 8), Matches(*(torch.zeros(0, 3) > 0,) * 2))


@pytest.mark.parametrize(
    ("name", "batches", "dtypes"),
    [
        ("circle", [], [torch.float64]),
        ("circle", [RANDOM_PAIRS], []),
        ("circle", [without_pairs()], [torch.float64]),
        ("circle", [no_embeddings()], [torch.float64]),
        ("proxy_nca", [ONE_SET_WITH_LABELS], [torch.float64]),
    ],
)
def test_nothing_to_compare_is_no_verification(name: str, batches, dtypes) -> None:
    with pytest.raises(ValueError, match=f"loss '{name}': got nothing to compare"):
        verify(named(name), batches, dtypes)


def test_large_batches_are_compared_with_the_quick_way_alone(request: pytest.FixtureRequest) -> None:
    generator = torch.Generator().manual_seed(0)
    rows, columns = (torch.nn.functional.normalize(torch.randn(ROWS + 1, 16, generator=generator)) for _ in range(2))
    frame = verify(named("info_nce"), [Batch("large", rows, columns, Matches.of_pairs(ROWS + 1))]).frame
    assert "L" not in set(frame.quantity)
    request.getfixturevalue("times_two")
    with pytest.raises(VerificationError, match="W on batch 'large'"):
        verify(named("info_nce"), [Batch("large", rows, columns, Matches.of_pairs(ROWS + 1))])


def spoilt(decomposition: Decomposition, what: str) -> Decomposition:
    """The decomposition with one of its pieces times 1.001."""
    field = decomposition.field
    if what in ("triplet", "positive", "negative") and field.factors is not None:
        wrong = FACTOR * getattr(field.factors, what)
        return replace(decomposition, field=replace(field, factors=replace(field.factors, **{what: wrong})))
    if what in ("w⁺", "w⁻"):
        name = {"w⁺": "positive", "w⁻": "negative"}[what]
        return replace(decomposition, field=replace(field, **{name: FACTOR * getattr(field, name)}))
    raise ValueError(what)


@pytest.mark.parametrize(
    ("loss", "what"), list(zip(KINDS, cycle(["triplet", "w⁺", "w⁻"]))), ids=lambda of: getattr(of, "name", of)
)
def test_a_piece_times_1_001_is_found(loss: Objective, what: str) -> None:
    decomposition = decomposed(loss)
    if what == "triplet" and not decomposition.separable:
        what = "w⁺"
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
    ],
)
def test_the_error_names_what_is_wrong(what: str, quantity: str) -> None:
    message = (
        rf"loss 'circle': {quantity} on batch 'random pairs' in float64: "
        r"got a relative error of 0\.00\d+ but expected at most 1e-10"
    )
    with pytest.raises(VerificationError, match=message):
        verify(spoilt(named("circle"), what), [RANDOM_PAIRS])


@pytest.mark.parametrize("which", [0, 1])
def test_a_wrong_direction_is_found(which: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments):
        found = list(embedding_gradients(*arguments))
        found[which] = 1.001 * found[which]
        return tuple(found)

    monkeypatch.setattr(verification, "embedding_gradients", wrong)
    with pytest.raises(VerificationError, match=f"∂L/∂{'XY'[which]} on batch 'random pairs' in float64"):
        verify(named("circle"), [RANDOM_PAIRS])


def test_a_typed_in_weight_that_is_wrong_is_found() -> None:
    field = replace(named("circle").field, positive=1 - s_p, negative=s_n, factors=None)
    with pytest.raises(VerificationError, match="loss 'circle': w⁺ on batch 'random pairs' in float64"):
        verify(replace(named("circle"), field=field), [RANDOM_PAIRS])


def test_a_weight_that_overflows_is_found() -> None:
    """[exp(γ·gap)]₊ over 1 + exp(γ·gap) is a sigmoid on paper, and NaN in float32 past 89."""
    field, gamma = named("info_nce").field, sp.Symbol("tau", positive=True)
    gap = gamma * (s_n - s_p)
    unstable = gamma * hinge(sp.exp(gap)) / (1 + sp.exp(gap))
    typed = replace(named("info_nce"), field=replace(field, positive=unstable, factors=None))
    verify(typed, [IDENTICAL_AND_OPPOSITE], [torch.float32])
    message = "w⁺ on batch 'identical and opposite' in float32: got a number that is not finite where the exact"
    with pytest.raises(VerificationError, match=message):
        verify(typed, [IDENTICAL_AND_OPPOSITE], [torch.float32], settings={"tau": 100})


def test_settings_are_used() -> None:
    for scale in (0.5, 200):
        verify(named("info_nce"), [RANDOM_PAIRS, ONE_SET_WITH_LABELS], [torch.float64], settings={"tau": scale})
    with pytest.raises(ValueError, match="expected one of tau"):
        verify(named("info_nce"), [RANDOM_PAIRS], settings={"sale": 1})


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
    images = 7 if per_image == 1 else 3
    (batch,) = features_batches(written(tmp_path, features, captions), "dev", 1, images)
    assert batch.rows.shape == batch.columns.shape == (images * per_image, 32)
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
    (batch,) = features_batches(written(tmp_path, features, None), "dev")
    assert batch.rows.isfinite().all()


def test_missing_features_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"got no file .*test_ims\.npy but expected the features of split"):
        features_batches(tmp_path, "test")


@pytest.mark.parametrize(
    ("features", "captions", "message"),
    [
        (np.zeros((9, 4), np.int64), None, r"dev_ims\.npy: got int64 of shape \(9, 4\) but expected floats"),
        (np.zeros((9, 0, 4), np.float16), None, r"dev_ims\.npy: got float16 of shape \(9, 0, 4\) but expected floats"),
        (np.zeros((9, 4), np.float32), None, r"dev_ims\.npy: row 0: got the mean of the images taken"),
        (np.full((9, 4), 0.1, np.float32), None, r"dev_ims\.npy: row 0: got the mean of the images taken"),
        (np.eye(9, dtype=np.float32)[[4, 5, 6, 7, 8, 4]][:, :4], None, r"row 0: got the mean of the images taken"),
        (np.zeros((9,), np.float16), None, r"got float16 of shape \(9,\) but expected floats of shape"),
        (np.zeros((0, 4), np.float32), None, r"got float32 of shape \(0, 4\) but expected floats of shape"),
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
        features_batches(written(tmp_path, features, captions), "dev", images=6)


def test_a_row_that_is_not_finite_is_named(tmp_path: Path) -> None:
    features = np.ones((9, 4), np.float32)
    features[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"dev_ims\.npy: row 2: got a value that is not finite"):
        features_batches(written(tmp_path, features, None), "dev")


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "dev_ims.npy", np.array([{"a": 1}] * 9, dtype=object))
    with pytest.raises(ValueError, match=r"dev_ims\.npy: .*Python objects"):
        features_batches(tmp_path, "dev")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off"], ids=["empty", "no archive"])
def test_a_file_that_is_no_array_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dev_ims.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"dev_ims\.npy: "):
        features_batches(tmp_path, "dev")


def test_an_archive_is_no_array(tmp_path: Path) -> None:
    with (tmp_path / "dev_ims.npy").open("wb") as file:
        np.savez(file, np.ones((9, 4)))
    with pytest.raises(ValueError, match=r"dev_ims\.npy: got no NumPy array but expected one: .*PK"):
        features_batches(tmp_path, "dev")


def test_one_image_has_no_mean_to_differ_from(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dev_ims\.npy: got 1 images but expected at least 2"):
        features_batches(written(tmp_path, np.ones((9, 4), np.float32), None), "dev", images=1)


def test_captions_in_another_encoding_are_named(tmp_path: Path) -> None:
    folder = written(tmp_path, np.random.default_rng(0).random((9, 4)), None)
    (folder / "dev_caps.txt").write_bytes(b"a dog\n" * 4 + "ein Bär\n".encode("latin-1") + b"a dog\n" * 4)
    with pytest.raises(ValueError, match=r"dev_caps\.txt: row 4: got .* but expected captions in UTF-8"):
        features_batches(folder, "dev")


def test_several_batches_are_spread_over_the_split(tmp_path: Path) -> None:
    features = np.random.default_rng(0).random((40, 10))
    folder = written(tmp_path, features, 80)
    first, middle, last = features_batches(folder, "dev")
    assert [b.name.removeprefix(tmp_path.name) for b in (first, middle, last)] == [
        " dev",
        " dev from row 14",
        " dev from row 28",
    ]
    assert all(b.rows.shape == (24, 32) for b in (first, middle, last))
    assert (first.rows - last.rows).abs().max() > 0.1
    assert len(features_batches(written(tmp_path, features[:8], 8), "dev")) == 1
    with pytest.raises(ValueError, match="got 1 images but expected at least 2"):
        features_batches(written(tmp_path, features[:1], 1), "dev")
    features[33, 3] = np.inf
    with pytest.raises(ValueError, match="row 33: got a value that is not finite"):
        features_batches(written(tmp_path, features, 40), "dev")
