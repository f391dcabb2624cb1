"""What names stand for in declarations and on the command line: similarities, reductions and axes of anchors."""

from __future__ import annotations

from goal_analysis.symbolic.language.similarity import SIMILARITIES
from goal_analysis.symbolic.objective import Anchors, Reduction

SIMILARITY_OF = {similarity.name: similarity for similarity in SIMILARITIES}
"""Every similarity, by its name."""

REDUCTION_OF = {reduction.value: reduction for reduction in Reduction}
"""``sum`` and ``mean``."""

ANCHORS_OF = {anchors.name.lower(): anchors for anchors in Anchors}
"""``rows``, ``columns`` and ``both``."""
