"""What an exported file says of itself: its formulas, how they follow, whether there is a loss, its settings."""

from __future__ import annotations

import textwrap
import unicodedata

from goal_analysis.numeric.mining import DistanceWeighted, Softmax
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.symbolic.typesetting import latex, plain

WIDTH = 116


def harmless(text: str) -> str:
    r"""Text that cannot end a docstring or show as what it is not: no double quote, no character without a shape.

    >>> harmless("a\x00b" + '"' * 3)
    "a b'''"
    """
    shapeless = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    seen = (" " if c != "\n" and unicodedata.category(c) in shapeless else c for c in text)
    return "".join(seen).replace('"', "'")


def one_line(text: str) -> str:
    """The same for text in a docstring that is not raw: on one line, without backslashes."""
    return " ".join(harmless(text).replace("\\", "/").split())


def class_docstring(objective: GradientObjective) -> str:
    """The docstring of the class, indented."""
    weights = one_line(f"{objective.triplet_weight.name} × {objective.pair_weights.name}")
    lines = [
        *textwrap.wrap(f"The weights {weights} instead of a loss; mining {objective.mining.name}.", WIDTH - 10),
        "",
        "The value is the surrogate ⟨stop_gradient(W), S⟩: its gradient trains, multiplied by the upstream gradient as",
        "that of any loss, and no curve of it means anything.",
    ]
    return "\n".join([f'"""{lines[0]}', *(f"    {line}".rstrip() for line in lines[1:]), '    """'])


def module_docstring(objective: GradientObjective) -> str:
    """The docstring of the file."""
    found = objective.describe()
    paragraphs = [
        _filled(f"{one_line(found.name)}: a gradient objective for pairs of embeddings, such as images and texts."),
        _filled(
            "What trains is the weight matrix W, which takes the place of a loss's gradient by the scores S "
            "(images × texts). " + ("Softmax mining aggregates first:" if _soft(objective) else _SUM)
        ),
        *([_SOFT] if _soft(objective) else []),
        "\n".join(_formulas(objective)),
        "How the weights follow, in LaTeX:\n\n" + "\n".join(_derivation(objective)),
        *_verdict(objective),
        "\n".join(_settings(objective)),
        *_notes(objective),
        _filled(
            "Written by goal-analysis, of which nothing is needed here: torch is all. On a CPU the gradients are those "
            "of its GradientObjective to the last bit. Run as a program, this file compares itself with loops over "
            "triplets and with recorded numbers."
        ),
    ]
    text = harmless("\n\n".join(paragraphs))
    return f'r"""{text}\n"""'


_SUM = "Every mined triplet (a, p, n) adds −m·T(s_p, s_n)·P⁺(s_p) to W_ap and m·T(s_p, s_n)·P⁻(s_n) to W_an:"
_SOFT = """\
    x_n = log Σ exp(β⁻·s_n)/β⁻          q_n = softmax(β⁻·s)_n
    x_p = −log Σ exp(−β⁺·s_p)/β⁺        q_p = softmax(−β⁺·s)_p
    W_ap = −T(x_p, x_n)·q_p·P⁺(s_p)     W_an = T(x_p, x_n)·q_n·P⁻(s_n)"""


def _soft(objective: GradientObjective) -> bool:
    return isinstance(objective.mining, Softmax)


def _filled(text: str) -> str:
    return "\n".join(textwrap.wrap(text, WIDTH))


def _entry(label: str, text: str) -> str:
    return "\n".join(textwrap.wrap(f"    {label}{text}", WIDTH, subsequent_indent=" " * (len(label) + 4)))


def _formulas(objective: GradientObjective) -> list[str]:
    t, pairs = objective.triplet_weight, objective.pair_weights
    lines = [
        _entry("T(s_p, s_n) = ", plain(t.expression)),
        _entry("P⁺(s_p)     = ", plain(pairs.positive)),
        _entry("P⁻(s_n)     = ", plain(pairs.negative)),
    ]
    for r in pairs.relative:
        over = f"the mean over other pairs with {plain(r.member)} ≥ 0 of {plain(r.contribution)} ({r.counting.value})"
        lines.append(_entry(f"{r.symbol} = ", over))
    if pairs.relative:
        read = "o_p: another anchor's positive; o_n: another negative; l_p: the batch's least positive"
        lines.append(_entry("", read))
    return lines


def _derivation(objective: GradientObjective) -> list[str]:
    field, factors = objective.field, objective.field.factors
    assert factors is not None
    rows = [
        ("T(s_p, s_n)", latex(factors.triplet)),
        ("P^{+}(s_p)", latex(factors.positive)),
        ("P^{-}(s_n)", latex(factors.negative)),
        ("w^{+} = T\\,P^{+}", latex(field.positive)),
        ("w^{-} = T\\,P^{-}", latex(field.negative)),
        (_LEFT, _RIGHT),
    ]
    body = [_entry("  ", f"{left} &= {right} \\\\") for left, right in rows[:-1]]
    body.append(_entry("  ", f"{rows[-1][0]} &\\qquad {rows[-1][1]}"))
    return ["    \\begin{aligned}", *body, "    \\end{aligned}"]


_LEFT = "\\frac{\\partial L}{\\partial s_p} \\leftarrow -w^{+}"
_RIGHT = "\\frac{\\partial L}{\\partial s_n} \\leftarrow w^{-}"


def _verdict(objective: GradientObjective) -> list[str]:
    found = objective.describe()
    reason = found.reason.rstrip(".")
    if found.integrable is None:
        return [_filled(f"Whether it is the gradient of a loss was neither proved nor refuted: {reason}.")]
    if not found.integrable:
        return [_filled(f"It is not the gradient of a loss: {reason}.")]
    lines = [_filled(f"It is the gradient of a loss: {reason}.")]
    if found.loss is not None:
        lines += ["", _entry("L = ", plain(found.loss)), "", _entry("L = ", latex(found.loss))]
    if found.potential is not None:
        lines += ["", _entry("U(s_p, s_n) = ∫P⁻ds_n − ∫P⁺ds_p = ", plain(found.potential))]
    return ["\n".join(lines)]


def _settings(objective: GradientObjective) -> list[str]:
    found = objective.describe()
    meanings = {h.name: f", {one_line(h.meaning)}" for h in objective.field.hyperparameters if h.meaning}
    lines = ["Settings:", ""]
    lines += [_entry(f"{name} = {value:g}", meanings.get(name, "")) for name, value in found.settings.items()]
    lines += [
        _entry("mining: ", found.mining),
        _entry("similarity: ", f"{objective.similarity.name}, {objective.similarity.formula}"),
        _entry("direction: ", found.direction),
        _entry("reduction: ", f"{found.reduction} over the anchors that have a triplet"),
        _entry("anchors: ", found.anchors.replace("rows", "rows (images)").replace("columns", "columns (texts)")),
        _entry("the weights' signs: ", found.sign),
    ]
    return lines


def _notes(objective: GradientObjective) -> list[str]:
    lines = []
    for part in (objective.triplet_weight, objective.pair_weights):
        if part.note:
            lines.append(_filled(f"{one_line(part.name)}: {one_line(part.note)}."))
    keys = dict.fromkeys((*objective.triplet_weight.reference, *objective.pair_weights.reference))
    if keys:
        lines.append(_filled(f"References: {', '.join(map(one_line, keys))}."))
    if isinstance(objective.mining, DistanceWeighted) and objective.mining.generator is not None:
        lines.append(_filled("The miner drew from a generator of its own; here torch's random numbers are used."))
    return ["\n".join(lines)] if lines else []
