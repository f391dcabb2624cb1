"""The page of losses as libraries ship them: each measured as a black box.

`python docs/generating/shipped_page.py` measures all and writes the page. A section stands for itself, so a test can
measure one again and find it in the page.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

from goal_analysis.api.objectives import measure
from losses_catalog import catalog

PAGE = Path(__file__).parents[1] / "losses-as-shipped.md"
POINTS = 13
TOPICS = (
    "measured on",
    "pulls and pushes",
    "signs",
    "verdict",
    "jumps",
    "dead",
    "not finite",
    "explodes",
    "graded",
    "learns",
)

TEXT = """# Losses as they are shipped

`goal-analyze measure` calls a loss as a black box. Here is what it says of the losses of other libraries, with their
defaults unless the title says otherwise. The weights are autograd's, and nothing is read off the source. *Integrable:
yes* is a proof by what the loss calls, *no* has a witness, and *open* says what is missing for a proof. Distances
compare the gradients by all pairs on random batches, up to the factor. `python docs/generating/shipped_page.py` writes
this page.
"""


def clip_loss(image_features: Tensor, text_features: Tensor, logit_scale: Tensor) -> Tensor:
    """ClipLoss of open_clip on one machine, https://github.com/mlfoundations/open_clip/blob/main/src/open_clip/loss.py."""
    logits = logit_scale * image_features @ text_features.T
    target = torch.arange(len(logits))
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2


def siglip_loss(image_features: Tensor, text_features: Tensor, logit_scale: Tensor, logit_bias: Tensor) -> Tensor:
    """SigLipLoss of open_clip on one machine, from the same file."""
    logits = logit_scale * image_features @ text_features.T + logit_bias
    return -logsigmoid((2 * torch.eye(len(logits)) - 1) * logits).sum() / len(logits)


@dataclass(frozen=True)
class Shipped:
    """A loss of a library, its settings, and what ``goal-analyze measure`` is given where that differs."""

    library: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    written: Callable[..., Tensor] | None = None

    @property
    def title(self) -> str:
        """What its section is called."""
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        return f"{self.name.partition(':')[2]}({settings})" if settings else self.name.partition(":")[2]


PML, ST = "pytorch-metric-learning", "sentence-transformers"
SHIPPED = (
    Shipped("torch", "torch.nn:TripletMarginLoss", {"margin": 0.5}),
    Shipped("torch", "torch.nn:CosineEmbeddingLoss"),
    Shipped(PML, "pytorch_metric_learning.losses:TripletMarginLoss"),
    Shipped(PML, "pytorch_metric_learning.losses:CircleLoss"),
    Shipped(PML, "pytorch_metric_learning.losses:SupConLoss"),
    Shipped(PML, "pytorch_metric_learning.losses:MultiSimilarityLoss"),
    Shipped(ST, "sentence_transformers.losses:MultipleNegativesRankingLoss"),
    Shipped(ST, "sentence_transformers.losses:ContrastiveLoss"),
    Shipped("open_clip", "open_clip.loss:ClipLoss", written=clip_loss),
    Shipped("open_clip", "open_clip.loss:SigLipLoss", written=siglip_loss),
)


def section(shipped: Shipped) -> str:
    """What was measured of a loss."""
    found = measure(shipped.written or shipped.name, points=POINTS, settings=shipped.settings)
    said = found.findings() | {"verdict": f"integrable: {found.verdict_in_words}"}
    rows = [f"- {text if topic == 'verdict' else f'{topic}: {text}'}" for topic in TOPICS if (text := said.get(topic))]
    first = found.nearest[0]
    page = f"[{first.loss.name}](generated/catalog/{first.loss.name}.md)"
    words = first.in_words
    rows.append(f"- nearest: {words.replace(first.loss.name, page, 1) if first.loss in catalog else words}")
    return "\n".join([f"### {shipped.title}", "", *rows, ""])


def source(library: str) -> str:
    """Which edition of a library was measured."""
    if library == "open_clip":
        return "open_clip, its published formulas with a scale of 10 and a bias of −10"
    return f"{library} {version(library).partition('+')[0]}"


def page() -> str:
    """The page."""
    found, library = [TEXT], ""
    for shipped in SHIPPED:
        if shipped.library != library:
            library = shipped.library
            found.append(f"## {source(library)}\n")
        found.append(section(shipped))
        print(found[-1], file=sys.stderr)
    return "\n".join(found)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
