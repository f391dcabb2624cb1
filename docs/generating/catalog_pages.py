"""A page for every loss of the catalog, made from its value: nothing in it is written by hand but its docstring."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import sympy as sp

import goal_analysis as ga
from generating.at_once import over_cores
from generating.catalog_formulas import block, to_latex
from generating.catalog_index import gallery_page, table_page
from generating.catalog_pictures import KINDS, kinds_of
from generating.neighbours import neighbours
from generating.shipped import classes_of, comparisons
from goal_analysis.numeric.characteristics import (
    FLAT,
    LONG,
    Characteristics,
    Effect,
    Growth,
    characteristics_page,
    number,
)
from goal_analysis.numeric.measurement.measurement import DEAD
from goal_analysis.pictures.weight_frames import field_frame, surface_frame
from goal_analysis.symbolic.typesetting import latex, plain
from goal_analysis.symbolic.typesetting.pages import (
    integrability_page,
    latex_label,
    loss_page,
    to_markdown,
    weights_page,
)
from losses_catalog import catalog, families
from losses_catalog.table import BIBLIOGRAPHY

Near = Callable[[ga.Objective, Sequence[ga.Objective]], list[dict[str, Any]]]

SAMPLES = 120  # along each side of the plane, where it is asked which share of it is dead
EXPLODES = ("unbounded", "pole", "no real value")
"""How a characteristic begins that says where a weight has no bound."""


@dataclass(frozen=True)
class Entry:
    """What the pages say of a loss."""

    loss: ga.Objective
    family: str
    decomposition: ga.Decomposition
    verdict: ga.Integrability
    characteristics: Characteristics

    @property
    def name(self) -> str:
        """The loss's."""
        return self.loss.name

    @property
    def year(self) -> str:
        """Of the publication whose formula it is."""
        return bibliography()[self.loss.reference[0]]["year"] if self.loss.reference else ""

    @property
    def classes(self) -> dict[str, list[str]]:
        """What libraries call it, by library."""
        return classes_of(self.loss)

    @property
    def integrable(self) -> str:
        """The verdict in a word."""
        return {True: "yes", False: "no", None: "open"}[self.verdict.integrable]


def catalog_pages(losses: Iterable[ga.Objective] = catalog, near: Near | None = None) -> dict[str, str]:
    """The page of every loss, the gallery and the table, by their paths.

    Args:
        losses: of which pages are made.
        near: what finds the nearest losses; by default `neighbours`, which takes the longest of all, over all cores.
    """
    entries = [entry_of(loss) for loss in losses]
    of_all = [entry.loss for entry in entries]
    nearest = over_cores(_neighbours, of_all) if near is None else [near(loss, catalog) for loss in of_all]
    found = {f"catalog/{e.name}.md": loss_text(e, near) for e, near in zip(entries, nearest, strict=True)}
    found["catalog/index.md"] = gallery_page(entries)
    found["catalog/table.md"] = table_page(entries)
    return found


def _neighbours(loss: ga.Objective) -> list[dict[str, Any]]:
    return neighbours(loss, catalog)


def entry_of(loss: ga.Objective) -> Entry:
    """What is derived of a loss."""
    decomposition = ga.decompose(loss)
    family = next(name for name, members in families.items() if loss in members)
    return Entry(loss, family, decomposition, ga.integrability(decomposition), ga.characteristics(decomposition))


def loss_text(entry: Entry, near: Sequence[Mapping[str, Any]]) -> str:
    """The page of one loss.

    Args:
        entry: of the loss.
        near: what `neighbours` returns.
    """
    loss = entry.loss
    docstring = inspect.getdoc(importlib.import_module(f"losses_catalog.{loss.name}")) or ""
    written = block(docstring)
    before, _, after = docstring.partition(written)
    of_names = [f"`{name}`" for name in dict.fromkeys([loss.name, *chain.from_iterable(entry.classes.values())])]
    shown = [kind for kind in kinds_of(loss) if kind != "small"]
    pictures = "\n\n".join(f"![{KINDS[kind]}: {loss.title}]({loss.name}-{kind}.png)" for kind in shown)
    sections = [
        f"# {loss.title}",
        " · ".join([*of_names, entry.family, entry.year]),
        _linked(before, loss),
        f"$$\n{to_latex(written, [h.name for h in loss.hyperparameters])}\n$$",
        _linked(after, loss),
        f"```{{container}} pictures\n{pictures}\n```",
        "## What each part does",
        "\n\n".join(_parts(entry)),
        "## Is it the gradient of a loss?",
        "\n\n".join(_verdict(entry)),
        "## Where it goes wrong",
        "\n".join(f"- **{what}**: {where}" for what, where in troubles(entry).items()),
        "## What is nearest",
        _nearest(near),
        "## As libraries ship it",
        "\n".join(comparisons(loss)),
        "## Train with it",
        _training(loss),
        "## As it is declared",
        _without_title(to_markdown([loss_page(loss)])),
        "## Cite it",
        "```bibtex\n" + "\n\n".join(bibtex()[key] for key in loss.reference) + "\n```",
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _parts(entry: Entry) -> Iterator[str]:
    """The formula of every weight with two sentences; the rest stands under `troubles`."""
    formulas = {row.key: row for row in weights_page(entry.decomposition).rows}
    if entry.decomposition.separable:
        keys = {"triplet": "triplet_weight", "positive": "positive_pair_weight", "negative": "negative_pair_weight"}
    else:
        keys = {"positive": "positive_weight", "negative": "negative_weight"}
        yield f"The weights do not separate: {entry.decomposition.reason}."
    said = {row.key: str(row.value).split("; ") for row in characteristics_page(entry.characteristics).rows}
    for part, key in keys.items():
        growth, *others = [text for text in said[part] if not text.startswith(("within", *EXPLODES))]
        sentences = [growth, *([" ".join(("It is", ", ".join(others)))] if others else [])]
        row = formulas[key]
        yield f"$$\n{latex_label(row)} = {latex(row.value)}\n$$\n\n{_capital('. '.join(sentences))}."
    right = [(label, said[key][0]) for label, key, action in _actions(entry) if action.effect is Effect.RIGHT]
    if right:
        yield " ".join(f"{label} {text}." for label, text in right)
    if "others" in said:
        yield f"Other pairs: {said['others'][0]}."


def _actions(entry: Entry):
    found = entry.characteristics
    return ("w⁺", "pull", found.pull), ("w⁻", "push", found.push)


def _verdict(entry: Entry) -> Iterator[str]:
    verdict = entry.verdict
    answer = {True: "Yes", False: "No", None: "Open"}[verdict.integrable]
    yield f"**{answer}**: {verdict.reason}."
    said = {"potential": "The potential U of the pair weights, −∂U/∂s_p = P⁺ and ∂U/∂s_n = P⁻:", "loss": "The loss:"}
    for row in integrability_page(verdict).rows:
        if isinstance(row.value, sp.Expr):
            yield f"{said[row.key]}\n\n$$\n{latex_label(row)} = {latex(row.value)}\n$$"


def troubles(entry: Entry) -> dict[str, str]:
    """Where a loss attracts what it should repel, saturates, explodes, and where both of its weights vanish."""
    said = {
        row.key: (row.label, str(row.value).split("; ")) for row in characteristics_page(entry.characteristics).rows
    }
    wrong = [
        f"{label} {said[key][1][0]}" for label, key, action in _actions(entry) if action.effect is not Effect.RIGHT
    ]
    flat, unbounded = ([], [])
    for key in ("triplet", "positive", "negative"):
        label, texts = said.get(key, ("", []))
        flat += [f"{label} is {text}" for text in texts if text.startswith("within")]
        unbounded += [f"{label}: {text}" for text in texts if text.startswith(EXPLODES)]
    return {
        "pulls or pushes the wrong way": "; ".join(wrong) or "nowhere",
        "saturates": "; ".join([*saturated(entry), *flat]) or "nowhere over a twentieth of the range",
        "explodes": "; ".join(unbounded) or "nowhere, all weights are bounded",
        "is dead": dead(entry.decomposition),
    }


def saturated(entry: Entry) -> Iterator[str]:
    """On which share of the plane a weight of both similarities is near one of its two limits."""
    found = entry.characteristics
    surfaces = {"T": found.triplet} if found.triplet else {"w⁺": found.positive, "w⁻": found.negative}
    for label, shape in surfaces.items():
        if shape.answer.growth is Growth.CONSTANT or not np.isfinite(shape.bounds.scale):
            continue
        weight = {"T": "T", "w⁺": "w_p", "w⁻": "w_n"}[label]
        values = surface_frame(entry.decomposition, weight, count=SAMPLES)["value"]
        apart = abs(shape.easiest - shape.hardest) > FLAT * shape.bounds.scale
        for end in sorted([shape.easiest, shape.hardest])[: 1 + apart]:
            share = ((values - end).abs() <= FLAT * shape.bounds.scale).mean()
            if share >= LONG:
                yield f"{label} is within {FLAT:.0%} of {number(end)} on {share:.0%} of the plane"


def dead(decomposition: ga.Decomposition) -> str:
    """The share of the plane of a triplet on which both weights vanish, and which part that is."""
    frame = field_frame(decomposition, count=SAMPLES)
    sizes = np.hypot(frame["w_p"], frame["w_n"]).to_numpy()
    there = sizes <= DEAD * np.nanmax(sizes)
    if not there.any():
        return "nowhere"
    small = f"below {DEAD:g} of the largest" if sizes[there].any() else "zero"
    share = f"both weights are {small} on {np.mean(there):.0%} of the plane"
    readings = {"s_n − s_p": frame["s_n"] - frame["s_p"], "s_n": frame["s_n"], "−s_p": -frame["s_p"]}
    for name, values in readings.items():
        low, high = values[there].max(), values[~there].min()
        if low < high:
            edge = (low + high) / 2
            where = f"s_p > {-edge:.2f}" if name == "−s_p" else f"{name} < {edge:.2f}"
            return f"{share}, about where {where}"
    return share


def _nearest(near: Sequence[Mapping[str, Any]]) -> str:
    if not near:
        return "No other loss of the catalog could be fitted to it."
    rows = [f"| [`{one['name']}`]({one['name']}.md) | {one['text']} | {one['distance']:.2g} |" for one in near]
    return "\n".join(
        [
            "Other losses of the catalog with the hyperparameters that bring their weights nearest to these, at random "
            "cosines of an anchor with two positives and three negatives. A distance of 0 is the same up to the "
            "factor, of 1 is nothing in common.\n",
            "| loss | fitted | distance |",
            "| --- | --- | --- |",
            *rows,
        ]
    )


def line_of(loss: ga.Objective) -> str:
    """The text that stands for a loss at its defaults, with every hyperparameter.

    >>> from losses_catalog.vse_pp import vse_pp_loss
    >>> line_of(vse_pp_loss)
    'vse_pp(margin=0.2)'
    """
    values = loss.values()
    settings = ", ".join(f"{h.name}={plain(values[h.symbol])}" for h in loss.hyperparameters)
    return f"{loss.name}({settings})" if settings else loss.name


def _training(loss: ga.Objective) -> str:
    line = line_of(loss)
    if "not of embeddings" in loss.note:
        scores = loss.note.partition(" of ")[0].removeprefix("scores are ")
        return (
            f"Its scores are {scores} of completions, of which no embeddings are trained: `goal-analyze train` is not "
            "for it. Hand the scores over, a prompt a row; the first completion is the chosen one.\n\n"
            "```python\nimport torch\nimport goal_analysis as ga\n\n"
            f'objective = ga.objective("{line}")\n'
            "scores = torch.tensor([[0.3, -0.1], [1.2, 1.4]], requires_grad=True)\n"
            "chosen = torch.tensor([[True, False], [True, False]])\n"
            "objective.from_scores(scores, ga.Matches(chosen, ~chosen)).backward()\n```"
        )
    command = f'```console\n$ goal-analyze train --data f30k_precomp --objective "{line}"\n```'
    if loss.reads_carried:
        command = "It reads what every pair carries, a teacher's score or a grade, which no data set of `train` has."
    rows, columns, ids = ("images", "texts", "")
    if loss.proxies:
        rows, columns, ids = "embeddings", "proxies", ", labels, torch.arange(4)"
    if loss.reads_carried:
        ids = ", carried=torch.rand(8, 8)"
    lines = ["import torch", "import goal_analysis as ga", "", f'objective = ga.objective("{line}")']
    sizes = {rows: 8, columns: 4 if loss.proxies else 8}
    lines += [
        f"{what} = torch.nn.functional.normalize(torch.randn({size}, 32)).requires_grad_()"
        for what, size in sizes.items()
    ]
    lines += ["labels = torch.arange(8) % 4"] * loss.proxies
    lines.append(f"objective({rows}, {columns}{ids}).backward()")
    aside = "Its columns are class proxies; over images and texts, every text is the proxy of its image.\n\n"
    code = "\n".join(lines)
    return f"{aside * loss.proxies}{command}\n\n```python\n{code}\n```"


@cache
def bibtex() -> dict[str, str]:
    """Every entry of the bibliography as it stands, by its key."""
    return {
        entry[1]: entry[0]
        for entry in re.finditer(r"^@\w+\{(\w+),\n.*?\n\}", BIBLIOGRAPHY.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    }


@cache
def bibliography() -> dict[str, dict[str, str]]:
    """The fields of every BibTeX entry, by its key.

    >>> bibliography()["sun2020circle"]["year"]
    '2020'
    """
    return {key: dict(re.findall(r"^\s*(\w+)\s*=\s*\{(.*)\},?$", text, re.MULTILINE)) for key, text in bibtex().items()}


def _linked(prose: str, loss: ga.Objective) -> str:
    """A docstring's text with its addresses and the names of other losses as links."""
    names = {other.name for other in catalog} - {loss.name}
    found = re.sub(r"https?://[^\s,;)]*[^\s,;).]", r"<\g<0>>", prose.strip())
    return re.sub(r"`(\w+)`", lambda m: f"[{m[0]}]({m[1]}.md)" if m[1] in names else m[0], found)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _without_title(markdown: str) -> str:
    return markdown.split("\n\n", 1)[1]
