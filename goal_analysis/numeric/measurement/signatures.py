"""What a loss takes, read off the names of its parameters; never off their number."""

from __future__ import annotations

import inspect

import torch

from goal_analysis.numeric.measurement.black_box import LossFunction, UnmeasurableLoss, accepted, name_of
from goal_analysis.numeric.measurement.constructed_embeddings import Inputs

LABELS = ("label", "target", "class", "ids")
TWO_SETS = ("embed", "feature", "image", "text", "query", "queries", "passage", "caption", "candidate", "key")
QUERIES = ("query", "queries", "embed")
REFERENCES = ("reference", "ref_", "galler", "proxies", "proxy", "passage", "key", "candidate", "document")
TRIPLETS = (("anchor", "query"), ("pos",), ("neg",))
KNOBS = ("scale", "bias", "temperature", "margin", "tau")
"""Parameters that are no embeddings; one without a default has to be given by the user."""


def infer_inputs(loss_fn: LossFunction) -> Inputs:
    """What a loss takes, read off the names of its parameters; those with defaults are left alone.

    Raises:
        UnmeasurableLoss: the names do not tell, or a parameter without a default is no embedding.

    >>> infer_inputs(lambda embeddings, labels: ...).name, infer_inputs(lambda scores: ...).name
    ('ONE_SET', 'SCORES')
    >>> infer_inputs(lambda anchor, positive, negative, margin=1.0: ...).name
    'TRIPLETS'
    """
    function = loss_fn.forward if isinstance(loss_fn, torch.nn.Module) else loss_fn
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named_only = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    required = [p.name for p in positional if p.default is p.empty]
    given = ", ".join(str(p).partition(":")[0].partition("=")[0].strip() for p in parameters) or "unknown parameters"
    knobs = [name for name in [*required, *named_only] if _one_of(name, KNOBS)]
    if knobs:
        raise UnmeasurableLoss(
            f"{name_of(loss_fn)}: got a callable of ({given}), where {' and '.join(knobs)} has no default; "
            f"hand in a function that sets it, such as lambda {', '.join(n for n in required if n not in knobs)}: "
            f"loss({', '.join(n if n not in knobs else f'{n}=…' for n in [*required, *named_only])}), "
            f"and say what it takes by inputs=, one of {accepted()}"
        )
    kind = None if named_only else _kind(required, [p.name for p in positional])
    if kind is None:
        raise UnmeasurableLoss(
            f"{name_of(loss_fn)}: got a callable of ({given}), whose names do not tell what it takes; "
            f"say it by inputs=, one of {accepted()}"
        )
    return kind


def _kind(required: list[str], names: list[str]) -> Inputs | None:
    match required:
        case [name] if len(names) > 1 and _one_of(names[1], LABELS):
            return Inputs.ONE_SET
        case [name]:
            return None if _one_of(name, (*TWO_SETS, "anchor")) else Inputs.SCORES
        case [_, labels] if _one_of(labels, LABELS):
            return Inputs.ONE_SET
        case [first, second] if _one_of(first, TWO_SETS) and _one_of(second, TWO_SETS):
            return Inputs.TWO_SETS
        case [_, _, _] if all(_one_of(name, words) for name, words in zip(required, TRIPLETS, strict=True)):
            return Inputs.TRIPLETS
        case [queries, query_labels, references, reference_labels] if (
            _one_of(queries, QUERIES)
            and _one_of(references, REFERENCES)
            and _one_of(query_labels, LABELS)
            and _one_of(reference_labels, LABELS)
        ):
            return Inputs.QUERIES
    return None


def _one_of(name: str, words: tuple[str, ...]) -> bool:
    return any(word in name.lower() for word in words)
