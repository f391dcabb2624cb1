"""From an objective to the text of its file: what it settles, which fragments it needs, what they are called there."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial

import torch

from goal_analysis.numeric.mining import (
    MINERS,
    All,
    DistanceWeighted,
    Hardest,
    SelectivelyHard,
    SemiHard,
    Softmax,
    TopK,
)
from goal_analysis.numeric.similarity import DIRECTIONS
from goal_analysis.recombination.export.assembly import closure, imports, used_names
from goal_analysis.recombination.export.formulas import formula_texts
from goal_analysis.recombination.export.fragments.definition import example
from goal_analysis.recombination.export.page import class_docstring, module_docstring
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.symbolic.language.similarity import COSINE, DOT, NEGATIVE_EUCLIDEAN, NEGATIVE_SQUARED_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Reduction

MINED = {
    Hardest: "hardest",
    SemiHard: "semi_hard",
    All: "all",
    TopK: "top_k",
    SelectivelyHard: "selectively_hard",
    DistanceWeighted: "distance_weighted",
    Softmax: "softmax",
}
"""Miners by the names of their fragments."""

SCORES = {
    COSINE: "dot_products",  # of unit vectors
    DOT: "dot_products",
    NEGATIVE_SQUARED_EUCLIDEAN: "negative_squared_distances",
    NEGATIVE_EUCLIDEAN: "negative_distances",
}
OWN = {COSINE: "dot", DOT: "dot", NEGATIVE_SQUARED_EUCLIDEAN: "squared", NEGATIVE_EUCLIDEAN: "euclidean"}
ALONG = {
    "cosine": "cosine",
    "dot": "dot",
    "negative_squared_euclidean": "squared",
    "negative_euclidean": "euclidean",
    "tangential": "tangential",
    "direction_regularized": "regularized",
}
"""Directions by the names of their fragments."""

ALWAYS_BELOW, ALWAYS_ABOVE = 39, 41
"""Scales of unit vectors, each up to a hundredth too long or too short, whose exponents stay below 40, or exceed it."""

MEANINGS = {
    "MARGIN": "How close is too close.",
    "K": "How many of the most similar negatives count.",
    "DIM": "The dimension of the embeddings whose distances are drawn from.",
    "CUTOFF": "The distance below which all are equally likely.",
    "REACH": "The distance from which none is drawn.",
    "EPSILON": "How close the hardest negative is to the hardest positive where the mean takes its place.",
    "POSITIVE_SCALE": "β⁺, how steep the softmin over an anchor's positives is.",
    "NEGATIVE_SCALE": "β⁻, how steep the softmax over an anchor's negatives is.",
    "STRENGTH": "How much of the movement along the line from anchor to positive is taken away.",
    "NEGATIVE_WEIGHT": "P⁻.",
}


def export(objective: GradientObjective, name: str | None = None) -> str:
    """The source of one Python file that is the objective, needs torch alone, and gives the same gradients.

    On a CPU they are the same to the last bit, in float32 and float64, for ``forward`` and for ``from_scores``. Run as
    a program, the file compares itself with loops over triplets, prints what it found, and exits with 1 if it differs.

    Args:
        objective: any of known minings and directions.
        name: of the class, an identifier, to which ``Objective`` is added; by default that of the weights.

    Raises:
        ValueError: a miner or a direction of your own, or a name that is no identifier.

    >>> from losses_catalog.weights import constant_pair, nca_triplet
    >>> text = export(GradientObjective(nca_triplet, constant_pair))
    >>> "class NcaConstantObjective(nn.Module):" in text, "goal_analysis" in text
    (True, False)
    """
    title = class_name(objective, name)
    mining, along = _miner(objective), _direction(objective)
    flags, numbers = _flags(objective), _numbers(objective)
    weighted = mining in ("top_k", "selectively_hard")
    soft = mining == "softmax"
    stand_for = {
        "Objective": title,
        "weights_of_rows": "softmax_weights_of_rows" if soft else "mined_weights_of_rows",
        "add_rows": "add_softmax_rows" if soft else "add_mined_rows",
        "weighted_triplets" if weighted else "unweighted_triplets": f"{mining}_triplets",
        "defined_triplets": f"defined_{mining}",
        "similarities": SCORES[objective.similarity],
        "embedding_gradients": f"{along}_gradients",
        "defined_gradients": f"defined_{along}",
    }
    own = formula_texts(objective.weighting)
    own["changed_settings"] = _changed_settings(numbers)
    found = closure(["Objective", "self_test"], own, flags, stand_for)
    found["Objective"] = found["Objective"].replace('"""CLASS_DOCSTRING."""', class_docstring(objective))
    tested = [n for n in found if n.startswith(("defined_", "add_m", "add_so")) or n in _TESTING]
    main = 'if __name__ == "__main__":\n    sys.exit(0 if self_test() else 1)'
    used = {n for text in (*found.values(), main) for n in used_names(text)}
    constants = [f'{n} = {v!r}\n"""{MEANINGS[n]}"""' for n, v in numbers.items() if n in used]
    test = [found.pop(n) for n in sorted(tested, key=lambda n: n != "self_test")]
    if "RECORDED" in used:
        test.insert(0, _recorded(objective))
        used |= used_names(test[0])
    code = "\n\n\n".join([*found.values(), _HEADING, *test, main])
    head = [module_docstring(objective), "from __future__ import annotations", imports(used), *constants]
    return "\n\n".join(head) + "\n\n\n" + code.replace(_HEADING + "\n\n\n", _HEADING + "\n\n") + "\n"


def class_name(objective: GradientObjective, name: str | None) -> str:
    """What the class is called: the given name, or that of the weights, with ``Objective`` at its end.

    Raises:
        ValueError: the given name is no identifier of ASCII letters, digits and underscores, or too long.
    """
    if name is None:
        words = re.findall("[A-Za-z0-9]+", f"{objective.triplet_weight.name} {objective.pair_weights.name}")
        name = "".join(word[0].upper() + word[1:] for word in words)[:60]
        name = name if name[:1].isalpha() else f"Composed{name}"
    elif not re.fullmatch("[A-Za-z][A-Za-z0-9_]{0,79}", name):
        raise ValueError(
            f"export: name: got {name[:100]!r} but expected a class's name, up to 80 letters, digits and underscores"
        )
    return name if name.endswith("Objective") and name != "Objective" else f"{name}Objective"


_TESTING = frozenset(
    {
        "self_test",
        "formula_difference",
        "example",
        "transposed",
        "soft",
        "drawn_triplets",
        "changed_settings",
        "log",
        "exp",
        "hinge",
        "step",
        "sigmoid",
        "softplus",
        "logsumexp",
    }
)
_HEADING = "# --- the self-test: the same by its definition, in Python's floats ".ljust(100, "-")


def _miner(objective: GradientObjective) -> str:
    mining = objective.mining
    if type(mining) not in MINED:
        raise ValueError(
            f"export: mining: got {mining!r} but expected one of {', '.join(m.name for m in MINERS)}: "
            "a miner of your own stays in your own code"
        )
    return MINED[type(mining)]


def _direction(objective: GradientObjective) -> str:
    if objective.direction is None:
        return OWN[objective.similarity]
    if objective.direction in DIRECTIONS or _strength(objective) is not None:
        return ALONG[objective.direction.name]
    raise ValueError(
        f"export: direction: got {objective.direction.name!r} but expected one of "
        f"{', '.join(d.name for d in DIRECTIONS)}: a direction of your own stays in your own code"
    )


def _strength(objective: GradientObjective) -> float | None:
    """That of a regularised direction; None of any other."""
    made, known = getattr(objective.direction, "gradients", None), DIRECTIONS[-1].gradients
    same = isinstance(made, partial) and isinstance(known, partial) and made.func is known.func
    return float(made.args[0]) if same and isinstance(made, partial) else None


def _flags(objective: GradientObjective) -> Mapping[str, bool]:
    mining, pairs = objective.mining, objective.pair_weights
    values = objective.weighting.values
    negative = pairs.negative.subs(values)
    scales = (mining.positive_scale, mining.negative_scale) if isinstance(mining, Softmax) else (1.0, 1.0)
    quick = objective.direction is None and objective.similarity in (COSINE, DOT) and not pairs.relative
    unit = objective.similarity == COSINE
    return {
        "COSINE": unit,
        "CHECK_FINITE": objective.refuse_nonfinite,
        "BOTH_ASK": objective.anchors is Anchors.BOTH,
        "IMAGES_ASK": objective.anchors is not Anchors.COLUMNS,
        "TEXTS_ASK": objective.anchors is not Anchors.ROWS,
        "MEAN": objective.reduction is Reduction.MEAN,
        "QUICK_HARDEST": quick and isinstance(mining, Hardest),
        "QUICK_SOFTMAX": quick and isinstance(mining, Softmax) and min(scales) > 0,
        "WEIGHTED": isinstance(mining, TopK | SelectivelyHard),
        "RELATIVE": bool(pairs.relative),
        "RANDOM": isinstance(mining, DistanceWeighted),
        "UNIFORM": 0 in scales,
        "HAS_SETTINGS": bool(_numbers(objective).keys() - {"NEGATIVE_WEIGHT"}),
        "NEGATIVE_IS_CONSTANT": bool(negative.is_number),
        "NEGATIVE_IS_ONE": bool(negative.is_number) and float(negative) == 1,
        "SMALL_OR_LARGE": not unit or ALWAYS_BELOW < scales[1] < ALWAYS_ABOVE,
        "ALWAYS_SMALL": unit and scales[1] <= ALWAYS_BELOW,
    }


def _numbers(objective: GradientObjective) -> dict[str, float | int]:
    """The constants of the file."""
    mining = objective.mining
    names = ("margin", "k", "dim", "cutoff", "reach", "epsilon", "positive_scale", "negative_scale")
    found: dict[str, float | int] = {
        name.upper(): getattr(mining, name) for name in names if isinstance(getattr(mining, name, None), float | int)
    }
    strength = _strength(objective)
    if strength is not None:
        found["STRENGTH"] = strength
    negative = objective.pair_weights.negative.subs(objective.weighting.values)
    if negative.is_number:
        found["NEGATIVE_WEIGHT"] = float(negative)
    return found


def _changed_settings(numbers: Mapping[str, float | int]) -> str:
    pairs = ", ".join(f'"{n}": ({n}, {value!r})' for n, value in numbers.items() if n != "NEGATIVE_WEIGHT")
    return (
        "def changed_settings() -> list[str]:\n"
        '    """Names of constants that are not what they were when the numbers below were recorded."""\n'
        f"    settings = {{{pairs}}}\n"
        "    return [name for name, (now, then) in settings.items() if now != then]"
    )


def _recorded(objective: GradientObjective) -> str:
    x, y, ids = example()
    total = torch.zeros(8, dtype=torch.float64)
    for image_ids in (None, ids):
        x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
        total += torch.cat([g.abs().sum(0) for g in torch.autograd.grad(objective(x, y, image_ids), (x, y))])
    texts = [f"{value:.10g}" if math.isfinite(value) else "math.nan" for value in total.tolist()]
    line = f"RECORDED = ({', '.join(texts)})"
    if len(line) > 120:
        line = "\n".join(["RECORDED = (", *(f"    {text}," for text in texts), ")"])
    return f'{line}\n"""Sums of the gradients of the example, as they were when this file was written."""'
