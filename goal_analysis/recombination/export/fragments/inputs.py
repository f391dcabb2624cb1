"""What an exported objective accepts."""

import warnings

import torch
from torch import Tensor, nn

from goal_analysis.recombination.export.fragments.settled import CHECK_FINITE


def check_batch(x: Tensor, y: Tensor, image_ids: Tensor | None, text_ids: Tensor | None) -> None:
    """Raise a ValueError unless the embeddings have one dim and the ids that are needed fit them."""
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"got embeddings of shapes {tuple(x.shape)} and {tuple(y.shape)} but expected (n, dim) twice")
    if not (x.is_floating_point() and y.is_floating_point()):
        raise ValueError(f"got embeddings of {x.dtype} and {y.dtype} but expected floating-point numbers")
    if image_ids is None:
        if text_ids is not None or len(x) != len(y):
            raise ValueError(f"got {len(x)} images and {len(y)} texts without image_ids but expected ids, or as many")
        return
    text_ids = image_ids if text_ids is None else text_ids
    for name, ids, e in (("image_ids", image_ids, x), ("text_ids", text_ids, y)):
        if ids.is_floating_point() or ids.is_complex() or ids.shape != e.shape[:1]:
            raise ValueError(
                f"{name}: got {ids.dtype} of shape {tuple(ids.shape)} but expected whole numbers of shape ({len(e)},)"
            )


def check_masks(scores: Tensor, positives: Tensor, negatives: Tensor) -> None:
    """Raise a ValueError unless the masks are of the scores' shape, and no pair is in both."""
    for name, mask in (("positives", positives), ("negatives", negatives)):
        if mask.dtype != torch.bool or mask.shape != scores.shape or mask.ndim != 2:
            raise ValueError(
                f"{name}: got {mask.dtype} of shape {tuple(mask.shape)} but expected a bool matrix of the scores' "
                f"shape {tuple(scores.shape)}"
            )
    if bool((positives & negatives).any()):
        raise ValueError("got a pair that is positive and negative but expected one or the other")


def check_finite(x: Tensor, name: str) -> None:
    """Raise a ValueError with the row's number where a row holds NaN or an infinity."""
    wrong = (~x.detach().isfinite()).any(1).nonzero()
    if len(wrong):
        raise ValueError(f"{name}: row {int(wrong[0])}: got a number that is not finite but expected finite numbers")


def unit(embeddings: Tensor, name: str) -> Tensor:
    """The embeddings if their lengths are 1 within a hundredth, so that scores are dot products; else normalised."""
    e = embeddings.detach()
    lengths = torch.linalg.vector_norm(e, dim=1, dtype=torch.promote_types(e.dtype, torch.float32))
    if not len(lengths) or bool((lengths - 1).abs().amax() <= 1e-2):
        return embeddings
    if CHECK_FINITE:
        check_finite(embeddings, name)
    warnings.warn(f"{name}: got other lengths than 1 but expected unit vectors; they are normalised", stacklevel=3)
    return nn.functional.normalize(embeddings, dim=1)


def wide(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers without their history, of one dtype: the wider one of both, and float32 at least."""
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    return x.detach().to(dtype), y.detach().to(dtype)


def has_few_positives(x: Tensor, y: Tensor, image_ids: Tensor | None, text_ids: Tensor | None) -> bool:
    """Whether there are embeddings, and no anchor has more than 32 positives, which a list holds best."""
    if not x.numel() or not len(y) or image_ids is None:
        return bool(x.numel() and len(y))
    text_ids = image_ids if text_ids is None else text_ids
    _, group = torch.unique(torch.cat([image_ids, text_ids]), return_inverse=True)
    of_image, of_text = group[: len(x)], group[len(x) :]
    images, texts = (torch.bincount(g, minlength=len(group)) for g in (of_image, of_text))
    return max(int(texts[of_image].max()), int(images[of_text].max())) <= 32
