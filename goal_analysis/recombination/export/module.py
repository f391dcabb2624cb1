"""What an exported file has besides formulas and the engine, cut as that is: the module that trains, and its check."""

from typing import Any

import torch
from torch import Tensor, nn

from goal_analysis.numeric.engine.dense import loss, weight_matrix
from goal_analysis.numeric.engine.functions import Functions
from goal_analysis.numeric.engine.surrogate import Prescribed, quick_surrogate

Given = Tensor | None
"""What may be left out."""

FUNCTIONS = Functions(())
RECORDED: Any = ()
SIMILARITY = "dot"
DIRECTION: Any = None
UNIT, MOVED, QUICK, VALUED, CARRIED, DRAWN = True, True, True, True, True, True
"""Whether embeddings are normalised, the direction is another than the similarity's own, there is the tiled way, the
loss has a value, formulas read what pairs carry, and a selection may draw at random.
"""

STATED = ("FUNCTIONS", "RECORDED", "SIMILARITY", "DIRECTION", "scores_of")


def scores_of(x: Tensor, y: Tensor) -> Tensor:
    """S."""
    return x @ y.T


class Exported(nn.Module):
    """An objective by its gradient: the value trains, times the upstream gradient, and is no loss."""

    def forward(
        self, x: Tensor, y: Tensor, row_ids: Given = None, column_ids: Given = None, carried: Given = None
    ) -> Tensor:
        """The surrogate of embeddings, rows x and columns y; equal ids match, by default row i and column i."""
        x, y = (e.to(torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)) for e in (x, y))
        if UNIT and not all(((e.detach().norm(dim=1) - 1).abs() <= 1e-2).all() for e in (x, y)):
            x, y = nn.functional.normalize(x, dim=1), nn.functional.normalize(y, dim=1)
        if QUICK:
            value = quick_surrogate(FUNCTIONS, SIMILARITY, x, y, row_ids, column_ids, unit=UNIT)
            if value is not None:
                return value
        positives = self.matches(x, y, row_ids, column_ids)
        if MOVED:
            with torch.no_grad():
                s = scores_of(x, y)
                w = weight_matrix(FUNCTIONS, s, positives, ~positives, carried)
                made = (*DIRECTION(w, x, y), (w * s).sum())
            return Prescribed.apply(x, y, *made)
        else:
            return self.from_scores(scores_of(x, y), positives, ~positives, carried)

    def from_scores(self, s: Tensor, positives: Tensor, negatives: Tensor, carried: Given = None) -> Tensor:
        """The surrogate of scores from anywhere, of which pairs match, which do not, and what pairs carry."""
        with torch.no_grad():
            w = weight_matrix(FUNCTIONS, s.float() if s.dtype.itemsize < 4 else s, positives, negatives, carried)
        return Prescribed.apply(s, None, w, None, (w * s.detach()).sum())

    if VALUED:

        def loss(
            self, x: Tensor, y: Tensor, row_ids: Given = None, column_ids: Given = None, carried: Given = None
        ) -> Tensor:
            """The loss whose gradient this is, but where it is detached; fit for a curve."""
            positives = self.matches(x, y, row_ids, column_ids)
            return loss(FUNCTIONS, scores_of(x, y), positives, ~positives, carried)

    @staticmethod
    def matches(x: Tensor, y: Tensor, row_ids: Given, column_ids: Given) -> Tensor:
        """Which pairs match."""
        rows = torch.arange(len(x), device=x.device) if row_ids is None else row_ids
        columns = rows if column_ids is None else column_ids
        if len(rows) != len(x) or len(columns) != len(y):
            raise ValueError(
                f"got ids of {len(rows)} rows and {len(columns)} columns but expected {len(x)} and {len(y)}"
            )
        return rows[:, None] == columns


def checked_batch() -> tuple[Tensor, ...]:
    """Embeddings and ids that a file checks itself on."""
    x = torch.sin(torch.arange(1.0, 21, dtype=torch.float64)).view(5, 4)
    y = x + torch.cos(torch.arange(1.0, 21, dtype=torch.float64) * 3).view(5, 4) / 2
    return *(nn.functional.normalize(e, dim=1) for e in (x, y)), torch.tensor([0, 1, 1, 2, 3])


def checked_carried() -> Tensor:
    """What the pairs of that batch carry."""
    return torch.sin(torch.arange(25, dtype=torch.float64) * 5).view(5, 5)


def check() -> None:
    """Compare W on a batch with its values when this file was written, and check that gradients are finite."""
    recorded = torch.tensor(RECORDED, dtype=torch.float64)
    x, y, ids = checked_batch()
    if DRAWN:
        torch.manual_seed(0)
    s = scores_of(x, y).requires_grad_()
    (w,) = torch.autograd.grad(
        Exported().from_scores(s, ids[:, None] == ids, ids[:, None] != ids, checked_carried() if CARRIED else None), s
    )
    assert torch.allclose(w, recorded, rtol=1e-6, atol=1e-9), f"got {w} but expected {recorded}"
    made = torch.autograd.grad(
        2 * Exported()(x.requires_grad_(), y, ids, carried=checked_carried() if CARRIED else None), x
    )[0]
    assert made.isfinite().all(), "got a gradient that is not finite"
    print("Exported: as it was written")
