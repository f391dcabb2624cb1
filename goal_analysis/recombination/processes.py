"""Several processes that train on one batch: the negatives of every anchor are those of all ranks.

    g_r = R · ∂⟨W, S⟩/∂(rows of rank r),    with W and S of the joined batch of all R ranks

The mean over the ranks of the parameters' gradients, which `torch.nn.parallel.DistributedDataParallel` takes, is then
what one process gets on the joined batch: the hardest negatives are the hardest of all ranks, a mean over anchors is
the mean over all of them, and relative similarities see every triplet.

What it costs: with N = Σ n_r rows in all, every rank receives the images and the texts of all others, 2·N·dim numbers
in two exchanges (of blocks as large as the largest share), before them 8 whole numbers of every rank, and ids where
they are given. Every rank does the whole work of the joined batch, N²·dim multiplications for a matrix product and the
memory that the objective takes for N rows: R times what a share of that work would be, and no less time than one
process with all rows takes. Nothing is sent in the backward pass.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch import distributed as dist

from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.symbolic.similarity import Similarity

STATED = ("images", "texts", "image dim", "text dim", "image_ids given", "text_ids given")
"""What every rank tells the others before anything is sent."""


class AcrossProcesses(nn.Module):
    """An objective whose batch is that of all ranks of a process group.

    It is called as the objective is, by every rank with its own rows; the ranks may have different numbers of rows. The
    value is the surrogate of the joined batch, the same on every rank; the gradient is that of the rank's own rows,
    times the number of ranks, for a mean of the parameters' gradients over the ranks. Without a process group, or
    with one rank, it is the objective itself.

    Args:
        objective: what trains.
        group: the ranks; by default all.

    >>> from losses_catalog.weights import constant_pair, nca_triplet
    >>> objective = AcrossProcesses(GradientObjective(nca_triplet, constant_pair, settings={"tau": 1.0}))
    >>> round(float(objective(torch.eye(2), torch.eye(2))), 4)
    -1.0758
    """

    def __init__(self, objective: GradientObjective, group: dist.ProcessGroup | None = None) -> None:
        super().__init__()
        self.objective = objective
        self.group = group

    @property
    def similarity(self) -> Similarity:
        """The objective's similarity."""
        return self.objective.similarity

    def forward(
        self,
        image_embeddings: Float[Tensor, "images dim"],
        text_embeddings: Float[Tensor, "texts dim"],
        image_ids: Int[Tensor, " images"] | None = None,
        text_ids: Int[Tensor, " texts"] | None = None,
    ) -> Float[Tensor, ""]:
        """The surrogate of the joined batch.

        Args:
            image_embeddings: the rank's own rows.
            text_embeddings: the rank's own columns.
            image_ids: as the objective reads them, and the same for an image on every rank. By default text i of a rank
                matches image i of that rank alone.
            text_ids: likewise.

        Raises:
            ValueError: on every rank, where the ranks do not fit together or a rank's rows and ids do not; or what the
                objective refuses.
        """
        if not _connected() or dist.get_world_size(self.group) == 1:
            return self.objective(image_embeddings, text_embeddings, image_ids, text_ids)
        stated = self._exchanged_statements(image_embeddings, text_embeddings, image_ids, text_ids)
        images, texts = [s[0] for s in stated], [s[1] for s in stated]
        joined_images = self._joined(image_embeddings, images)
        joined_texts = self._joined(text_embeddings, texts)
        if image_ids is None:
            value = self.objective(joined_images, joined_texts)
        else:
            of_images = self._joined(image_ids, images)
            of_texts = of_images if text_ids is None else self._joined(text_ids, texts)
            value = self.objective(joined_images, joined_texts, of_images, of_texts)
        ranks = len(stated)
        return ranks * value - (ranks - 1) * value.detach()

    def _exchanged_statements(
        self, images: Tensor, texts: Tensor, image_ids: Tensor | None, text_ids: Tensor | None
    ) -> list[list[int]]:
        """What every rank says of its share; it is judged by all, so that none is left waiting."""
        fits = all(ids is None or len(ids) == len(e) for ids, e in ((image_ids, images), (text_ids, texts)))
        paired = text_ids is not None or len(images) == len(texts)
        numbers = [len(images), len(texts), images.shape[1], texts.shape[1]]
        own = torch.tensor([*numbers, image_ids is not None, text_ids is not None, fits, paired], device=images.device)
        found = [torch.empty_like(own) for _ in range(dist.get_world_size(self.group))]
        dist.all_gather(found, own, group=self.group)
        stated = [statement.tolist() for statement in found]
        for rank, statement in enumerate(stated):
            said = ", ".join(f"{what} {number}" for what, number in zip(STATED, statement, strict=False))
            if not statement[6]:
                raise ValueError(f"rank {rank}: got {said} but expected one id for every image and every text")
            if not statement[7] or (statement[5] and not statement[4]):
                raise ValueError(f"rank {rank}: got {said} but expected as many images as texts, or the ids of both")
            if statement[2:6] != stated[0][2:6] or statement[2] != statement[3]:
                first = ", ".join(f"{what} {number}" for what, number in zip(STATED, stated[0], strict=False))
                raise ValueError(f"rank {rank}: got {said} but expected one dim, and ids as rank 0 has them: {first}")
        return stated

    def _joined(self, own: Tensor, rows: list[int]) -> Tensor:
        """The rows of all ranks, those of this one with their history."""
        padded = own.detach().new_zeros((max(rows), *own.shape[1:]))
        padded[: len(own)] = own.detach()
        found = [torch.empty_like(padded) for _ in rows]
        dist.all_gather(found, padded, group=self.group)
        parts = [block[:count] for block, count in zip(found, rows, strict=True)]
        parts[dist.get_rank(self.group)] = own
        return torch.cat(parts)


def _connected() -> bool:
    return dist.is_available() and dist.is_initialized()
