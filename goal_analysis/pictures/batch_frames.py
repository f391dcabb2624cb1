"""What an objective does to one batch, in numbers: its pairs, triplets and anchors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from goal_analysis.numeric.functions import weights_of_scores
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import scores
from goal_analysis.symbolic.objective import Objective

TRIPLETS = 50_000  # how many triplets are drawn at random where there are more
PAIRS, DIM, NOISE = 256, 32, 1.0  # of a made-up batch; with so much noise a positive has a cosine around 0.7


def pairs_frame(
    scores: Float[torch.Tensor, "anchors candidates"],
    weights: Float[torch.Tensor, "anchors candidates"],
    matches: Matches,
) -> pd.DataFrame:
    """Every pair of a batch that is a positive or a negative: ``anchor``, ``candidate``, ``kind``, ``s``, ``weight``
    (w⁺ = −∂L/∂S or w⁻ = ∂L/∂S).

    >>> s, w = torch.tensor([[0.9, 0.1]]), torch.tensor([[-2.0, 1.0]])
    >>> pairs_frame(s, w, Matches(torch.tensor([[True, False]]), torch.tensor([[False, True]])))
       anchor  candidate      kind    s  weight
    0       0          0  positive  0.9     2.0
    1       0          1  negative  0.1     1.0
    """
    matches.check(scores, "pairs_frame")
    parts = []
    for kind, mask, sign in (("positive", matches.positives, -1.0), ("negative", matches.negatives, 1.0)):
        anchor, candidate = (index.cpu().numpy() for index in mask.nonzero(as_tuple=True))
        s, weight = (x.detach().cpu().double()[anchor, candidate].numpy() for x in (scores, weights))
        columns = {"anchor": anchor, "candidate": candidate, "kind": kind, "s": s, "weight": sign * weight + 0.0}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def made_up_pairs(objective: Objective, seed: int = 0) -> pd.DataFrame:
    """What the pairs of a made-up batch get of an objective, its mining included: the `pairs_frame` of `PAIRS` random
    unit vectors of `DIM` dimensions, each with a noisy copy of itself as its positive.
    """
    generator = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, PAIRS, DIM, generator=generator, dtype=torch.float64)
    unit = torch.nn.functional.normalize
    scored = scores(objective.similarity, unit(x), unit(x + NOISE * noise))
    matches = Matches.of_pairs(PAIRS)
    return pairs_frame(scored, weights_of_scores(objective, scored, matches), matches)


def triplets_frame(pairs: pd.DataFrame) -> pd.DataFrame:
    """Each positive of an anchor with each of its negatives, `TRIPLETS` at most: ``anchor``, ``s_p``, ``s_n``."""
    positives, negatives = (pairs.loc[pairs["kind"] == kind, ["anchor", "s"]] for kind in ("positive", "negative"))
    triplets = positives.merge(negatives, on="anchor", suffixes=("_p", "_n"))
    if len(triplets) > TRIPLETS:
        triplets = triplets.sample(TRIPLETS, random_state=0).sort_index()
    return triplets.reset_index(drop=True)


def anchors_frame(pairs: pd.DataFrame) -> pd.DataFrame:
    """A row an anchor: ``pull`` = Σ|w⁺|, ``push`` = Σ|w⁻|, ``push_share`` = push/(pull + push), NaN of an anchor
    without any weight, and ``effective_negatives``, the exponential of the entropy of its |w⁻|, NaN where nothing
    pushes.
    """
    sizes = pairs.assign(size=pairs["weight"].abs())
    totals = sizes.pivot_table(index="anchor", columns="kind", values="size", aggfunc="sum", fill_value=0.0)
    totals = totals.reindex(columns=["positive", "negative"], fill_value=0.0)
    pull, push = totals["positive"], totals["negative"]
    negatives = sizes[sizes["kind"] == "negative"]
    shares = negatives["size"] / negatives["anchor"].map(push)
    entropy = -(shares * np.log(shares.mask(shares == 0, 1.0))).groupby(negatives["anchor"]).sum(min_count=1)
    of_anchors = {
        "pull": pull,
        "push": push,
        "push_share": push / (pull + push),
        "effective_negatives": np.exp(entropy),
    }
    return pd.DataFrame(of_anchors, index=totals.index).reset_index()
