"""The weights of an objective as functions of tensors, operation for operation, and by their definition in floats."""

from __future__ import annotations

import keyword
import re
import textwrap
from collections.abc import Sequence

import sympy as sp

from goal_analysis.numeric.formula import formula
from goal_analysis.recombination.export.page import one_line
from goal_analysis.recombination.export.printing import float_lines, tensor_lines
from goal_analysis.recombination.relative import READ
from goal_analysis.recombination.weighting import Weighting
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import Counting, RelativeSimilarity, least_positive, other_positive
from goal_analysis.symbolic.proof.evaluation import program
from goal_analysis.symbolic.typesetting import plain

TAKEN = frozenset(["math", "torch", "s_p", "s_n", "o_p", "o_n", "l_p", "anchor", "positive", "negative", "scores"])


def formula_texts(weighting: Weighting) -> dict[str, str]:
    """The functions that stand where `fragments.formulas` has a place, by name."""
    t, pairs = weighting.triplet_weight.expression, weighting.pair_weights
    relative = tuple(r.symbol for r in pairs.relative)
    texts = {}
    for name, label, expression, inputs in (
        ("triplet_weight", "T(s_p, s_n)", t, (s_p, s_n)),
        ("positive_weight", "P⁺(s_p)", pairs.positive, (s_p, *relative)),
        ("negative_weight", "P⁻(s_n)", pairs.negative, (s_n, *relative)),
    ):
        names = local_names(inputs)
        code = tensor_lines(formula(expression, inputs, weighting.values), names, names[0])
        texts[name] = _function(name, names, "Tensor", _explained(label, expression, weighting), code)
        texts[f"defined_{name}"] = _definition(f"defined_{name}", label, expression, inputs, weighting)
    if relative:
        texts["relative_similarities"] = _relative(weighting)
        texts["defined_relative_similarities"] = _defined_relative(weighting)
    return texts


def local_names(symbols: Sequence[sp.Symbol]) -> list[str]:
    """A name for each symbol: its own where that is a plain identifier that means nothing else.

    >>> local_names(sp.symbols("tau math")), local_names([sp.Symbol("x; import os")])
    (['tau', 'v1'], ['v0'])
    """
    names: list[str] = []
    for i, symbol in enumerate(symbols):
        plain_name = re.fullmatch("[A-Za-z][A-Za-z0-9_]{0,39}", symbol.name) and not keyword.iskeyword(symbol.name)
        own = plain_name and not re.fullmatch(r"[zdv]\d+", symbol.name) and symbol.name not in names
        free = symbol in READ or symbol.name not in TAKEN
        names.append(symbol.name if own and free else f"v{i}")
    return names


def _function(name: str, arguments: Sequence[str], kind: str, text: str, code: tuple[list[str], str]) -> str:
    lines, value = code
    head = f"def {name}({', '.join(f'{a}: {kind}' for a in arguments)}) -> {kind}:"
    return "\n".join([head, *_docstring(text), *(f"    {line}" for line in lines), f"    return {value}"])


def _docstring(text: str) -> list[str]:
    wrapped = textwrap.wrap(one_line(text), 108) or ["."]
    if len(wrapped) == 1:
        return [f'    """{wrapped[0]}"""']
    return [f'    """{wrapped[0]}', *(f"    {line}" for line in wrapped[1:]), '    """']


def _explained(label: str, expression: sp.Expr, weighting: Weighting) -> str:
    settings = [f"{s} = {plain(v)}" for s, v in weighting.values if s in expression.free_symbols]
    return f"{label} = {plain(expression)}{', with ' if settings else ''}{', '.join(settings)}."


def _definition(name: str, label: str, expression: sp.Expr, inputs: tuple[sp.Symbol, ...], weighting: Weighting) -> str:
    used = [(s, v) for s, v in weighting.values if s in expression.free_symbols]
    names = local_names([*inputs, *(s for s, _ in used)])
    settings = [f"{n} = {float(v)!r}" for n, (_, v) in zip(names[len(inputs) :], used, strict=True)]
    lines, value = float_lines(program([expression], (*inputs, *(s for s, _ in used))), names)
    return _function(name, names[: len(inputs)], "float", f"{label} by its definition.", ([*settings, *lines], value))


def _relative(weighting: Weighting) -> str:
    """The function that computes what pair weights read from other pairs."""
    lines = [
        "def relative_similarities(",
        "    scores: Tensor, negatives: Tensor, anchor: Tensor, positive: Tensor, negative: Tensor",
        ") -> tuple[Tensor, ...]:",
        '    """What the pair weights of every triplet read besides: means over other pairs; 0 over none."""',
        "    of_p, of_n = scores[anchor, positive], scores[anchor, negative]",
        "    s_p, s_n = of_p[:, None], of_n[:, None]",
    ]
    relative = weighting.pair_weights.relative
    if _reads_least(weighting):
        lines.append("    l_p = of_p.min() if len(of_p) else scores.new_zeros(())")
    names = local_names([r.symbol for r in relative])
    for name, one in zip(names, relative, strict=True):
        across = one.other == other_positive
        other = "o_p" if across else "o_n"
        if across:
            lines += [
                "    o_p = of_p.expand(len(of_p), -1)  # the positives of other anchors' triplets",
                "    others = anchor[:, None] != anchor[None, :]",
            ]
        else:
            lines += [
                "    o_n = scores[anchor]  # the anchor's other negatives",
                "    others = negatives[anchor].scatter(1, negative[:, None], False)",
            ]
        before, value = tensor_lines(formula(one.contribution, READ, weighting.values), _read_names(), other)
        lines += [f"    {line}" for line in before] + [f"    contribution = ({value}).expand_as({other})"]
        before, value = tensor_lines(formula(one.member, READ, weighting.values), _read_names(), other)
        members = f"    members = others & (({value}) >= 0){_COUNTED[one.counting]}"
        lines += [*(f"    {line}" for line in before), members]
        lines += [f"    {name} = contribution.masked_fill(~members, 0).sum(1) / members.sum(1).clamp_min(1)"]
    return "\n".join([*lines, f"    return ({names[0]},)" if len(names) == 1 else f"    return {', '.join(names)}"])


_COUNTED = {
    Counting.ALL: "",
    Counting.NONZERO: " & (contribution != 0)",
    Counting.POSITIVE: " & (contribution > 0)",
}
_COUNTED_FLOAT = {
    Counting.ALL: "",
    Counting.NONZERO: " and contribution != 0",
    Counting.POSITIVE: " and contribution > 0",
}


def _reads_least(weighting: Weighting) -> bool:
    relative = weighting.pair_weights.relative
    return any(least_positive in (r.contribution.free_symbols | r.member.free_symbols) for r in relative)


def _read_names() -> list[str]:
    return [symbol.name for symbol in READ]


def _defined_relative(weighting: Weighting) -> str:
    lines = [
        "def defined_relative_similarities(",
        "    s: list[list[float]], match: list[list[bool]], triplets: list[tuple[int, int, int, float]], own: int",
        ") -> tuple[float, ...]:",
        '    """What the pair weights of one triplet read besides, by its definition."""',
        "    a, p, n, _ = triplets[own]",
        "    s_p, s_n = s[a][p], s[a][n]",
        *(["    l_p = min(s[b][q] for b, q, *_ in triplets)"] if _reads_least(weighting) else []),
        "    found = []",
    ]
    for one in weighting.pair_weights.relative:
        lines += _defined_mean(one, weighting)
    return "\n".join([*lines, "    return tuple(found)"])


def _defined_mean(one: RelativeSimilarity, weighting: Weighting) -> list[str]:
    across = one.other == other_positive
    other = "o_p" if across else "o_n"
    pool = "[s[b][q] for b, q, *_ in triplets if b != a]"
    if not across:
        pool = "[s[a][j] for j, matches in enumerate(match[a]) if not matches and j != n]"
    lines = ["    contributions = []", f"    for {other} in {pool}:"]
    for name, expression in (("contribution", one.contribution), ("member", one.member)):
        used = [(s, v) for s, v in weighting.values if s in expression.free_symbols]
        names = local_names([*READ, *(s for s, _ in used)])
        before, value = float_lines(program([expression], (*READ, *(s for s, _ in used))), names)
        settings = [f"{n} = {float(v)!r}" for n, (_, v) in zip(names[len(READ) :], used, strict=True)]
        lines += [f"        {line}" for line in (*settings, *before, f"{name} = {value}")]
    lines.append(f"        if member >= 0{_COUNTED_FLOAT[one.counting]}:")
    lines.append("            contributions.append(contribution)")
    return [*lines, "    found.append(math.fsum(contributions) / max(len(contributions), 1))"]
