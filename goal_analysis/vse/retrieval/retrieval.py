"""What a model retrieves for one query."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from goal_analysis.vse.data.images import pieces
from goal_analysis.vse.data.split import Split
from goal_analysis.vse.models.dual_encoder import DualEncoder, Reranking, first_in_rows
from goal_analysis.vse.models.text import Tokenizer, Tokens
from goal_analysis.vse.retrieval.scoring import AT_A_TIME, in_evaluation

Read = Callable[[Int64[np.ndarray, " rows"]], tuple[Tensor, Tokens]]
"""Some candidates by their numbers, and the query beside them: images, and captions."""


def images_of_caption(model: nn.Module, tokenizer: Tokenizer, split: Split, caption: str) -> Float[Tensor, " images"]:
    """The score of every image of the split with a caption.

    Args:
        model: a trained one.
        tokenizer: of its captions.
        split: what is retrieved from.
        caption: the query.

    Raises:
        ValueError: a caption without a word.
    """
    if not caption.strip():
        raise ValueError("caption: got no words but expected a caption")
    tokens = tokenizer([caption])
    return _found(model, len(split.images), lambda rows: (split.images.batch(rows), tokens))


def captions_of_image(model: nn.Module, tokenizer: Tokenizer, split: Split, image: int) -> Float[Tensor, " captions"]:
    """The score of every caption of the split with an image.

    Args:
        model: a trained one.
        tokenizer: of its captions.
        split: what is retrieved from.
        image: its row.

    Raises:
        ValueError: no such image.
    """
    if not 0 <= image < len(split.images):
        raise ValueError(f"image: got {image} but expected a row from 0 to {len(split.images) - 1}")
    one, tokens = split.images.batch(np.array([image])), tokenizer(split.captions)
    return _found(model, len(split), lambda rows: (one, tokens.rows(torch.as_tensor(rows))))


@torch.no_grad()
def _found(model: nn.Module, candidates: int, read: Read) -> Float[Tensor, " candidates"]:
    """The scores of all candidates with the query."""
    parameter = next(model.parameters())

    def given(rows: Int64[np.ndarray, " rows"]) -> tuple[Tensor, Tokens]:
        images, tokens = read(rows)
        return images.to(parameter), tokens.to(parameter.device)

    def scores(rows: Int64[np.ndarray, " rows"]) -> Tensor:
        scorer = model.dual if isinstance(model, Reranking) else model
        found = scorer(*given(rows))
        return (found[0] @ found[1].T if isinstance(scorer, DualEncoder) else found).flatten().float().cpu()

    with in_evaluation(model):
        found = torch.cat([scores(rows) for rows in pieces(np.arange(candidates), AT_A_TIME)])
        if not isinstance(model, Reranking):
            return found

        def score_pairs(_: Tensor, columns: Tensor) -> Tensor:
            images, tokens = given(columns.numpy())
            pairs = torch.cartesian_prod(torch.arange(len(images)), torch.arange(len(tokens))).T.to(parameter.device)
            return model.score_pairs(images, tokens, pairs[0], pairs[1]).float().cpu()

        return first_in_rows(found[None], score_pairs, model.top)[0]
