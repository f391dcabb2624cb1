"""Formulas as MathML, which browsers set by themselves: no script, no network."""

from __future__ import annotations

import re

from docutils import nodes
from latex2mathml.converter import convert


def formula(latex: str, display: str) -> str:
    """A formula as MathML.

    Args:
        latex: without dollars.
        display: ``inline`` or ``block``.
    """
    # Of the converter's environments, split is aligned and has no numbers; starred commands it does not know.
    text = re.sub(r"\\(begin|end)\{(aligned|gathered)\}", r"\\\1{split}", latex)
    text = text.replace(r"\mathbf{1}", r"\;𝟏")  # browsers have no bold but that of the letter itself
    text = text.replace(r"\operatorname*", r"\operatorname").replace(r"\tfrac", r"\frac").replace(r"\dfrac", r"\frac")
    return convert(text.strip(), display=display)


def setup(app) -> None:
    """Register the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))


def _inline(translator, node) -> None:
    translator.body.append(formula(node.astext(), "inline"))
    raise nodes.SkipNode


def _block(translator, node) -> None:
    translator.body.append(f'<div class="math">{formula(node.astext(), "block")}</div>')
    raise nodes.SkipNode
