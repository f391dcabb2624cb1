"""A class of a library beside the loss that declares it: both compute a value and the gradients of one batch.

`coverage.py` makes the table of those in `coverage_rows.py`, and the tests hold every row to it.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from goal_analysis.api.objectives import value_of
from goal_analysis.numeric.functions import loss_value, weights_of_scores
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import scores
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Objective

RESULTS = Path(__file__).parent / "results" / "coverage.md"
DIM = 6
LABELS = torch.arange(3).repeat_interleave(3)
CLASSES = 4
IN_CLASSES = torch.tensor([0, 0, 1, 2, 3, 3, 1, 2, 1])
COUNT = len(LABELS)
MODULES = {
    "pytorch-metric-learning": "pytorch_metric_learning.losses",
    "sentence-transformers": "sentence_transformers.sentence_transformer.losses",
    "torch": "torch.nn",
    "open_clip": "open_clip.loss",
    "lightly": "lightly.loss",
}
"""Where the classes of a library are."""

Value = Callable[..., Tensor]
EQUAL = LABELS[:, None] == LABELS
OWN, NEXT = torch.eye(COUNT, dtype=torch.bool), torch.eye(COUNT, dtype=torch.bool).roll(1, 1)
OTHERS = ~torch.eye(COUNT, dtype=torch.bool)
OTHER_VIEW = torch.arange(2 * COUNT)[:, None].lt(COUNT) ^ torch.arange(2 * COUNT).lt(COUNT)


@dataclass(frozen=True)
class Batch:
    """Where the columns of the scores come from, and which of them match.

    Args:
        words: for a reader.
        matches: of every row with every column.
        embeddings: how many of rows, and of columns where they are others.
        rows: the rows and the columns that losses compare, made of these embeddings.
    """

    words: str
    matches: Matches
    embeddings: tuple[int, ...] = (COUNT,)
    rows: Callable[..., tuple[Tensor, Tensor]] = lambda x, y=None: (x, x if y is None else y)


def both_views(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """All embeddings of two sets beside themselves."""
    return torch.cat((x, y)), torch.cat((x, y))


ONE_SET = Batch("one set", Matches.of_labels(LABELS))
ITSELF = Batch("one set, each its own positive too", Matches(EQUAL, ~EQUAL))
PAIRS = Batch("pairs", Matches.of_pairs(COUNT), (COUNT, COUNT))
TRIPLETS = Batch("triplets", Matches(OWN, NEXT), (COUNT, COUNT))
BRANCHES = Batch(
    "two views' predictions against two views' targets",
    Matches(OWN.repeat(2, 2) & OTHER_VIEW, ~OWN.repeat(2, 2)),
    (COUNT,) * 4,
    lambda x, y, of_x, of_y: (torch.cat((x, y)), torch.cat((of_x, of_y))),
)
VIEWS = Batch("two views, one set", Matches.of_labels(torch.arange(COUNT).repeat(2)), (COUNT, COUNT), both_views)
TWICE = Batch("each with itself", Matches(OWN, ~OWN))
TEACHER = torch.rand(COUNT, COUNT, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
TAUGHT = Batch("pairs", Matches(OWN, ~OWN, TEACHER), (COUNT, COUNT))
PROXIES = Batch("proxies", Matches.of_classes(IN_CLASSES, CLASSES), (COUNT, CLASSES))
CENTRES = Batch("three proxies a class", Matches.of_classes(IN_CLASSES, CLASSES), (COUNT, 3 * CLASSES))
COLUMN_OF_LABEL = one_hot(LABELS, COUNT).bool()
MISREAD = Batch("one set, column c as class c", Matches(COLUMN_OF_LABEL, ~COLUMN_OF_LABEL))


@dataclass(frozen=True)
class Shipped:
    """A class of a library, and what it is here.

    Args:
        library: its name.
        name: of the class.
        value: of embeddings; None where nothing here declares it.
        loss: the line that declares it, or the objective.
        batch: what it is compared on.
        factor: ours times this is theirs.
        given: what the class is given, in its words.
        why: the difference that remains, or why it is not declared.
        measured: the class is a function of embeddings, and measured.
        line: what the table shows where an objective is given.
    """

    library: str
    name: str
    value: Value | None = None
    loss: str | Objective = ""
    batch: Batch = ONE_SET
    factor: float = 1
    given: str = ""
    why: str = ""
    measured: bool = False
    line: str = ""

    @property
    def objective(self) -> Objective:
        """Ours."""
        return value_of(self.loss)

    def embeddings(self) -> tuple[Tensor, ...]:
        """Not of unit length: most libraries normalise."""
        generator = torch.Generator().manual_seed(5)
        drawn = (2 * torch.randn(n, DIM, generator=generator, dtype=torch.float64) for n in self.batch.embeddings)
        return tuple(one.requires_grad_() for one in drawn)

    def scores(self, *embeddings: Tensor) -> Tensor:
        """Of the rows and the columns, of unit length but for products."""
        rows, columns = self.batch.rows(*embeddings)
        if self.objective.similarity is not DOT:
            rows, columns = normalize(rows), normalize(columns)
        return scores(self.objective.similarity, rows, columns)

    def mine(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Our value, and the gradients that our weights give the embeddings."""
        embeddings, loss = self.embeddings(), self.objective
        s = self.scores(*embeddings)
        value = self.factor * loss_value(loss, s.detach(), self.batch.matches)
        w = self.factor * weights_of_scores(loss, s.detach(), self.batch.matches)
        return value.detach(), torch.autograd.grad((w * s).sum(), embeddings)

    def theirs(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Their value and gradients."""
        assert self.value is not None
        embeddings = self.embeddings()
        value = self.value(*self.batch.rows(*embeddings)) if len(embeddings) == 1 else self.value(*embeddings)
        return value.detach(), torch.autograd.grad(value, embeddings)

    def differences(self) -> tuple[float, float]:
        """The relative differences of the values and of the gradients, in float64."""
        usual = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # some libraries give of their own use of others
                (value, found), (expected, gradients) = self.mine(), self.theirs()
        finally:
            torch.set_default_dtype(usual)
        of_value = (value - expected).abs() / expected.abs()
        of_gradients = [(a - b).abs().max() / b.abs().max() for a, b in zip(found, gradients, strict=True)]
        return float(of_value), float(max(of_gradients))


def found(library: str, name: str) -> Any:
    """A class of a library; None where it is not installed, or has no such class."""
    try:
        return getattr(importlib.import_module(MODULES[library]), name, None)
    except ImportError:
        return None


def exported(library: str) -> set[str]:
    """The losses that a library exports; none where it is not installed."""
    try:
        public = vars(importlib.import_module(MODULES[library]))
    except ImportError:
        return set()
    return {name for name, what in public.items() if isinstance(what, type) and name.endswith("Loss")}
