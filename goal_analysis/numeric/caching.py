"""Gradient caching: ∂L/∂θ = Σ over chunks of ∂L/∂X[chunk] · ∂f(chunk)/∂θ, with every chunk encoded twice.

The first pass keeps the embeddings X alone; in the backward pass every chunk is encoded again with the random numbers
that it had. PyTorch's checkpoints do both.
"""

import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torch.utils.checkpoint import checkpoint

from goal_analysis.declarations import check_counts, expect_kind
from goal_analysis.numeric.engine.surrogate import uncompiled


class GradientCache(nn.Module):
    """An encoder that takes any batch in the memory of a chunk; it is called as the encoder is.

    The gradients are those of the encoder called on the chunks one after the other, to rounding. If a row's embedding
    depends on that row alone, they are also those of one call on the whole batch; dropout draws other numbers. The loop
    stays as it is: with a `GradScaler`, accumulation, clipping, autocast, and several towers, each in a cache of its
    own. `DistributedDataParallel` goes around the cache, and reduces once a step. A step takes a second forward pass;
    without gradients there is one pass, in chunks.

    Args:
        model: the encoder, a module or a function of one. Tensors with as many rows as the first are cut to chunks, in
            tuples, lists and mappings too; tensors of one row, numbers and everything else go whole to every chunk.
        chunk: rows that are encoded at once, at least 1.
        select: takes the part to keep from the model's output, such as ``lambda output: output.pooler_output``; by
            default all. Its tensors with a row for every row are joined; the rest has to be the same for all chunks.

    Raises:
        ValueError: a chunk below 1; inputs without rows, or of unequal numbers of rows; outputs that cannot be joined.

    Source: Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup (Gao, Zhang, Han and Callan, 2021),
    https://arxiv.org/abs/2101.06983

    >>> tower, images = nn.Linear(3, 2), torch.randn(8, 3)
    >>> x = GradientCache(tower, chunk=2)(images)
    >>> x.square().sum().backward()
    >>> expected = torch.autograd.grad(tower(images).square().sum(), tower.weight)[0]
    >>> torch.allclose(tower.weight.grad, expected)
    True
    """

    def __init__(
        self, model: Callable[..., Any], chunk: int, select: Callable[[Any], Any] = lambda output: output
    ) -> None:
        super().__init__()
        check_counts(chunk=chunk)
        expect_kind("GradientCache: model", model, Callable, "a module or a function")
        self.model, self.chunk, self.select = model, chunk, select
        self._looked = False

    @uncompiled
    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The model's output for the whole batch.

        Args:
            inputs: of the model; the tensors have a row for every row of the batch.
            named: the same.

        Raises:
            ValueError: see the class.
        """
        inputs, named = tree_map(lambda leaf: dict(leaf) if isinstance(leaf, Mapping) else leaf, (inputs, named))
        leaves, tree = tree_flatten((inputs, named))
        rows = _rows(leaves)
        if rows <= self.chunk:
            return self._encode(*inputs, **named)
        found, sizes = [], []
        for first in range(0, rows, self.chunk):
            part = slice(first, first + self.chunk)
            cut = [e[part] if isinstance(e, Tensor) and e.ndim and len(e) == rows else e for e in leaves]
            found.append(tree_flatten(self._kept_small(*tree_unflatten(cut, tree))))
            sizes.append(min(self.chunk, rows - first))
        columns = zip(*(flat for flat, _ in found), strict=True)
        return tree_unflatten([_joined(column, sizes) for column in columns], found[0][1])

    def _kept_small(self, inputs: tuple, named: dict[str, Any]) -> Any:
        if not torch.is_grad_enabled():
            return self._encode(*inputs, **named)
        before = None if self._looked else [b.clone() for b in self.buffers()]
        found = checkpoint(
            self._encode,
            *inputs,
            use_reentrant=False,
            preserve_rng_state=False,  # which would pass over devices that no input is on
            context_fn=lambda: (nullcontext(), self._again(random_state())),
            **named,
        )
        if before is not None:
            self._warn_of_statistics(before)
        return found

    def _encode(self, *inputs: Any, **named: Any) -> Any:
        # A model may write into what it is given, which is encoded again.
        inputs, named = tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, (inputs, named))
        return self.select(self.model(*inputs, **named))

    @contextmanager
    def _again(self, back: Callable[[], None]) -> Iterator[None]:
        """The second pass: with the random numbers of the first, and leaving random state and buffers as they were."""
        forth, buffers = random_state(), [b.clone() for b in self.buffers()]
        try:
            back()
            yield
        finally:
            forth()
            with torch.no_grad():
                for buffer, value in zip(self.buffers(), buffers, strict=True):
                    buffer.copy_(value)

    def _warn_of_statistics(self, before: list[Tensor]) -> None:
        self._looked = True
        names = [n for (n, b), old in zip(self.named_buffers(), before, strict=True) if not torch.equal(b, old)]
        names += [n for n, m in self.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
        if names:
            warnings.warn(
                f"GradientCache: got a model with statistics of its batches, {names[0]}, but expected one that embeds "
                f"every row by itself: they are taken over the chunks of {self.chunk} rows, so the gradients are not "
                "those of one pass over the batch; put such layers into eval mode, or take GroupNorm or LayerNorm",
                stacklevel=5,
            )


def _rows(leaves: list[Any]) -> int:
    counts = [len(leaf) for leaf in leaves if isinstance(leaf, Tensor) and leaf.ndim]
    if not counts:
        raise ValueError("GradientCache: got inputs without a tensor that has rows but expected a batch")
    if others := sorted({count for count in counts if count not in (1, counts[0])}):
        raise ValueError(
            f"GradientCache: got inputs of {counts[0]} and {others[0]} rows but expected as many; inputs that do not "
            "go together row by row take a cache each"
        )
    return counts[0]


def _joined(parts: tuple[Any, ...], sizes: list[int]) -> Any:
    first = parts[0]
    if not isinstance(first, Tensor):
        return first
    of_rows = first.ndim and all(len(part) == size for part, size in zip(parts, sizes, strict=True))
    if of_rows and len({part.shape[1:] for part in parts}) == 1:
        return torch.cat(parts)
    if not of_rows and all(torch.equal(part, first) for part in parts):
        return first
    raise ValueError(
        f"GradientCache: got outputs of shapes {tuple(first.shape)} and {tuple(parts[-1].shape)} of chunks of "
        f"{sizes[0]} and {sizes[-1]} rows but expected a row for every row, or the same of all; select what is kept"
    )


def random_state(*generators: torch.Generator) -> Callable[[], None]:
    """A function that puts all random numbers, those of every device too, back to where they are now."""
    kept: list[tuple[Callable[[Any], object], Any]] = [
        (torch.set_rng_state, torch.get_rng_state()),
        (random.setstate, random.getstate()),
        (np.random.set_state, np.random.get_state()),
        *((generator.set_state, generator.get_state()) for generator in generators),
    ]
    for device in (torch.cuda, torch.xpu):
        if device.is_initialized():
            kept.append((device.set_rng_state_all, device.get_rng_state_all()))
    if torch.backends.mps.is_available():
        kept.append((torch.mps.set_rng_state, torch.mps.get_rng_state()))

    def restore() -> None:
        for put, state in kept:
            put(state)

    return restore
