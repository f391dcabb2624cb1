"""Several processes that train on one batch: the negatives of every anchor are those of all ranks.

    g_r = R · ∂⟨W, S⟩/∂(rows of rank r),    with W and S of the joined batch of all R ranks

The mean over the ranks of the parameters' gradients, which `torch.nn.parallel.DistributedDataParallel` takes, is then
what one process gets on the joined batch. Nothing is sent in the backward pass.
"""

import json

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch import distributed as dist

from goal_analysis.numeric.engine.pairs import Rank
from goal_analysis.recombination.objective import GradientObjective, check_finite, check_shapes
from goal_analysis.symbolic.language.similarity import Similarity


class AcrossProcesses(nn.Module):
    """An objective whose batch is that of all ranks of a process group.

    It is called as the objective is, by every rank with its own rows; the ranks may have different numbers of rows. The
    value is the surrogate of the joined batch, the same on every rank; the gradient is that of the rank's own rows,
    times the number of ranks, for a mean of the parameters' gradients over the ranks. Without a process group, or
    with one rank, it is the objective itself. What a rank objects to in its own share is told to all before anything
    else is sent, and all raise the same error: a rank that raised alone would leave the others waiting for it.

    Every rank mines the joined batch for itself. A selection that draws at random needs a ``generator`` that is seeded
    alike on every rank, for the ranks to draw alike.

    Args:
        objective: what trains.
        group: the ranks; by default all.

    >>> import goal_analysis as ga
    >>> across = AcrossProcesses(ga.objective("nca(tau=1)/constant"))
    >>> round(float(across(torch.eye(2), torch.eye(2))), 4)
    -0.2689
    """

    def __init__(self, objective: GradientObjective, group: dist.ProcessGroup | None = None) -> None:
        super().__init__()
        self.objective = objective
        self.group = group

    @property
    def similarity(self) -> Similarity:
        """The objective's similarity."""
        return self.objective.similarity

    @property
    def place(self) -> tuple[int, int]:
        """The rank of this process in the group, of which it has to be one, and how many there are; (0, 1) without."""
        if not (dist.is_available() and dist.is_initialized()):
            return 0, 1
        rank = dist.get_rank(self.group)
        if rank < 0:
            raise ValueError("group: got one without this process but expected one that it is a rank of")
        return rank, dist.get_world_size(self.group)

    @torch.compiler.disable
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
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
            ValueError: on every rank, and naming the rank, where a rank's own share is one that the objective refuses,
                or where the ranks do not fit together.
        """
        ranks = self.place[1]
        if ranks == 1:
            return self.objective(image_embeddings, text_embeddings, image_ids, text_ids)
        if self.objective.learned is not None:
            self.objective.learned.ranks = ranks  # on each of which its whole gradient is made
        images, texts = self._shares(image_embeddings, text_embeddings, image_ids, text_ids)
        joined = [self._joined(image_embeddings, images), self._joined(text_embeddings, texts)]
        if image_ids is not None:
            joined.append(self._joined(image_ids.long(), images))
            joined.append(joined[2] if text_ids is None else self._joined(text_ids.long(), texts))
        own = Rank(self._own(images), self._own(texts), lambda own: torch.stack(self._gathered(own)))
        value = self.objective(*joined, rank=own)
        return value + (ranks - 1) * (value - value.detach())  # the value, and its gradient times the ranks

    def _shares(
        self, images: Tensor, texts: Tensor, image_ids: Tensor | None, text_ids: Tensor | None
    ) -> tuple[list[int], list[int]]:
        """How many images and texts every rank has. What each says of its share all judge, so that none waits."""
        wrong = None
        try:
            check_shapes(images, texts, image_ids, text_ids)
            for name, e in (("image_embeddings", images), ("text_embeddings", texts)):
                if self.objective.refuse_nonfinite:
                    check_finite(name, e)
            ids = ("no ids", "image_ids", "image_ids and text_ids")[(image_ids is not None) + (text_ids is not None)]
            share = f"{images.dtype} and {texts.dtype} embeddings of dim {images.shape[1]} with {ids}"
            said = [None, len(images), len(texts), share]
        except Exception as error:  # whatever it is: raised here alone, it would leave the others waiting
            wrong, said = error, [f"{error}", 0, 0, ""]
        own = json.dumps(said).encode()
        longest = max(map(int, self._gathered(torch.tensor([len(own)], device=images.device))))
        padded = torch.tensor(list(own.ljust(longest)), dtype=torch.uint8, device=images.device)
        stated = [json.loads(bytes(text.tolist())) for text in self._gathered(padded)]
        for rank, (problem, *_) in enumerate(stated):
            if problem is not None:
                raise ValueError(f"rank {rank}: {problem}") from wrong
        for rank, (*_, share) in enumerate(stated):
            if share != stated[0][-1]:
                raise ValueError(f"rank {rank}: got {share} but expected {stated[0][-1]}, as rank 0 has them")
        return [images for _, images, *_ in stated], [texts for _, _, texts, _ in stated]

    def _own(self, rows: list[int]) -> slice:
        rank = self.place[0]
        return slice(sum(rows[:rank]), sum(rows[: rank + 1]))

    def _joined(self, own: Tensor, rows: list[int]) -> Tensor:
        if not any(rows):
            return own
        padded = own.detach().new_zeros((max(rows), *own.shape[1:]))
        padded[: len(own)] = own.detach()
        parts = [block[:count] for block, count in zip(self._gathered(padded), rows, strict=True)]
        parts[self.place[0]] = own
        return torch.cat(parts)

    def _gathered(self, own: Tensor) -> list[Tensor]:
        own = own.contiguous()
        found = [torch.empty_like(own) for _ in range(self.place[1])]
        dist.all_gather(found, own, group=self.group)
        return found
