"""What an objective accepts: embeddings of one dim with ids that fit, finite numbers, unit vectors for the cosine."""

from __future__ import annotations

from torch import Tensor, linalg
from torch import float32 as wide_enough

UNIT = 1e-2
"""How far a length may be from 1 before embeddings no longer pass for unit vectors."""


def check_shapes(images: object, texts: object, image_ids: object | None, text_ids: object | None) -> None:
    """Raise a ValueError unless the embeddings are of one dim and the ids that are needed are there.

    What is no tensor at all raises a TypeError.

    Args:
        images: shape ``(images, dim)``.
        texts: shape ``(texts, dim)``.
        image_ids: shape ``(images,)``; needed unless text i comes with image i.
        text_ids: shape ``(texts,)``; needed unless there are as many texts as images.
    """
    images, texts = _tensor("image_embeddings", images), _tensor("text_embeddings", texts)
    for name, e in (("image_embeddings", images), ("text_embeddings", texts)):
        if e.ndim != 2:
            raise ValueError(f"{name}: got shape {tuple(e.shape)} but expected (embeddings, dim)")
        if not e.is_floating_point():
            raise ValueError(f"{name}: got a tensor of {e.dtype} but expected floating-point numbers")
    if images.shape[1] != texts.shape[1]:
        raise ValueError(
            f"got image_embeddings of shape {tuple(images.shape)} and text_embeddings of shape "
            f"{tuple(texts.shape)} but expected one dim"
        )
    if image_ids is None:
        if text_ids is not None or len(images) != len(texts):
            raise ValueError(
                f"got {len(images)} images and {len(texts)} texts without image_ids but expected the ids, or as many"
            )
        return
    for name, ids, e in (("image_ids", image_ids, images), ("text_ids", text_ids, texts)):
        if ids is None:
            continue
        ids = _tensor(name, ids)
        if ids.ndim != 1 or ids.is_floating_point() or ids.is_complex():
            raise ValueError(
                f"{name}: got a tensor of {ids.dtype} of shape {tuple(ids.shape)} "
                "but expected whole numbers of shape (embeddings,)"
            )
        if len(ids) != len(e):
            raise ValueError(f"{name}: got {len(ids)} ids but expected {len(e)}, one an embedding")
    if text_ids is None and len(texts) != len(images):
        raise ValueError(f"got {len(texts)} texts for {len(images)} images without text_ids but expected the ids")


def _tensor(name: str, given: object) -> Tensor:
    if not isinstance(given, Tensor):
        raise TypeError(f"{name}: got a {type(given).__name__} but expected a tensor")
    return given


def lengths(embeddings: Tensor) -> Tensor:
    """The Euclidean lengths of the rows, in float32 at least, without their history."""
    e = embeddings.detach()
    return linalg.vector_norm(e, dim=1, dtype=None if e.dtype.itemsize >= 4 else wide_enough)


def check_finite(x: Tensor, of_rows: Tensor, name: str) -> None:
    """Raise a ValueError with the row's number where a row holds NaN or an infinity.

    A length or a sum is finite only where all of its row is, and quicker to look at than every number; where it is not,
    as it is also when finite numbers overflow in it, the numbers decide.

    Args:
        x: shape ``(rows, columns)``.
        of_rows: shape ``(rows,)``; a length or a sum of each.
        name: what x is, for the message.
    """
    if bool(of_rows.isfinite().all()):
        return
    wrong = (~x.detach().isfinite()).any(1).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(f"{name}: row {row}: got a number that is not finite but expected finite numbers")


def are_unit(of_rows: Tensor) -> bool:
    """Whether these lengths are 1 within `UNIT`."""
    if not len(of_rows):
        return True
    least, most = of_rows.aminmax()
    return float(most) <= 1 + UNIT and float(least) >= 1 - UNIT
