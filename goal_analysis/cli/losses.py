"""Losses: `list`, `show`, `measure` and `verify`."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

import goal_analysis as ga
from goal_analysis.cli import options
from goal_analysis.cli.kept import kept
from goal_analysis.cli.options import File, Number, Text, Texts, counted, print_json, print_table, refuse
from goal_analysis.declarations import named, naming, number_of
from goal_analysis.files import json_text

if TYPE_CHECKING:  # torch is loaded when a command runs
    from goal_analysis.numeric.batches import Batch

LISTED = ("name", "shape", "separable", "integrable", "reference")
NEAREST = ("loss", "distance", "on_triplet", "factor", "settings", "anchors", "ties")
ANSWERS = {"yes": True, "no": False, "open": None}
DTYPES = ("float64", "float32", "bfloat16", "float16")


def list_losses(
    own: options.CatalogOption = None,
    family: Annotated[Text, Option(help="triplets, pairs, softmax, sets, rankings, proxies …")] = None,
    integrable: Annotated[Text, Option(help="yes, no or open.")] = None,
    separable: Annotated[Text, Option(help="yes, no or open.")] = None,
    proxies: Annotated[Text, Option(help="yes or no: losses of class proxies.")] = None,
    year: Annotated[Text, Option(metavar="YEAR[-YEAR]", help="The paper's year, such as 2020-2024.")] = None,
    library: Annotated[Text, Option(help="A library that has the loss, or what one calls it.")] = None,
    as_json: options.JsonOption = False,
) -> None:
    """List the losses, and whether they separate and are integrable.

    \b
    goal-analyze list
    goal-analyze list --family softmax --integrable no
    goal-analyze list --library sentence-transformers --year 2024-2026
    goal-analyze list --catalog my_losses.toml --json
    """
    from losses_catalog.lookup import family_of, names_in, year_of

    chosen: Sequence[ga.Objective] = options.losses(own)
    if family is not None:
        options.expect_among("--family", family, dict.fromkeys(map(family_of, chosen)))
        chosen = [loss for loss in chosen if family_of(loss) == family]
    if year is not None:
        match = re.fullmatch(r"(\d{4})(?:-(\d{4}))?", year)
        if match is None:
            raise ValueError(f"--year: got {year!r} but expected a year such as 2020, or two such as 2020-2024")
        first, last = int(match[1]), int(match[2] or match[1])
        chosen = [loss for loss in chosen if first <= (year_of(loss) or -1) <= last]
    if library is not None:
        there = names_in(library)
        chosen = [loss for loss in chosen if loss.name in there]
    asked = {"integrable": integrable, "separable": separable, "proxies": proxies}
    wanted = {what: named(f"--{what}", value, ANSWERS) for what, value in asked.items() if value is not None}
    records = [one for one in summaries(chosen, own) if all(one[what] is answer for what, answer in wanted.items())]
    (print_json if as_json else print_summary)(records)


def summaries(losses: Sequence[ga.Objective], own: Path | None = None) -> list[dict[str, Any]]:
    """One record a loss of the catalog, and of a user's file, derived or as it was kept."""
    names = [loss.name for loss in losses]
    return kept(lambda: [*map(_summary, options.with_progress(losses, "deriving"))], "list", own, *names)


def _summary(loss: ga.Objective) -> dict[str, Any]:
    from goal_analysis.symbolic.typesetting.pages import shape, to_data, weights_page
    from losses_catalog.lookup import family_of, year_of

    decomposition = ga.decompose(loss)
    verdict = ga.integrability(decomposition)
    return {
        "name": loss.name,
        "title": loss.title,
        "family": family_of(loss),
        "year": year_of(loss),
        "proxies": loss.proxies,
        "shape": shape(loss),
        "separable": decomposition.separable,
        "integrable": verdict.integrable,
        "reason": verdict.reason,
        **to_data([weights_page(decomposition)]),
        "reference": ", ".join(loss.reference),
    }


def print_summary(records: list[dict[str, Any]]) -> None:
    """Print the records of every family as a table, each with its first reference."""
    said = [{key: "open" if value is None else value for key, value in record.items()} for record in records]
    for record in said:
        key = re.match(r"([a-z]+)(\d{4})", record["reference"])
        record["reference"] = f"{key[1].capitalize()} {key[2]}" if key else record["reference"]
    for family in dict.fromkeys(record["family"] for record in said):
        typer.echo(family)
        print_table(LISTED, [record for record in said if record["family"] == family], wrapped=("shape", "reference"))
    typer.echo(f"{len(records)} loss{'es' if len(records) != 1 else ''}")


def show(
    loss: Annotated[
        Text,
        Argument(
            metavar="[OBJECTIVE]", help="A name that `list` prints, or an objective such as nca/linear@softmax:12."
        ),
    ] = None,
    formula: options.FormulaOption = None,
    own: options.CatalogOption = None,
    assignments: options.SetOption = None,
    as_latex: Annotated[bool, Option("--latex", help="Print the formulas in LaTeX.")] = False,
    as_markdown: Annotated[bool, Option("--markdown", help="Print Markdown.")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Show an objective: formula, weights, integrability, effects.

    \b
    goal-analyze show circle
    goal-analyze show circle --set gamma=80 --latex
    goal-analyze show nca/linear
    goal-analyze show --formula "softplus(tau*(s_n - s_p))/tau" --set tau=10
    goal-analyze show mine --catalog my_losses.toml --json
    """
    options.expect_one({"a loss": loss, "--formula": formula})
    if as_latex + as_markdown + as_json > 1:
        refuse("got several of --latex, --markdown and --json but expected at most one")
    settings, width = options.settings_of(assignments), options.line_width()

    def shown() -> str:
        of = options.objective_of(loss, own).with_settings(settings) if loss else None
        from goal_analysis.symbolic.parsing.declaration import loss_of_formula

        pages = _pages(of or loss_of_formula(formula or "", settings))
        from goal_analysis.symbolic.typesetting.pages import to_data, to_latex, to_markdown, to_plain

        if as_json:
            return json_text(to_data(pages)).rstrip()
        return to_latex(pages) if as_latex else to_markdown(pages) if as_markdown else to_plain(pages, width)

    typer.echo(kept(shown, "show", loss, formula, own, settings, as_latex, as_markdown, as_json, width))


def _pages(objective: ga.Objective) -> list[Any]:
    if not objective.is_loss:
        return list(ga.describe(objective).pages)
    from goal_analysis.numeric.characteristics import characteristics_page
    from goal_analysis.symbolic.typesetting import pages

    decomposition = ga.decompose(objective)
    return [
        pages.loss_page(objective),
        pages.weights_page(decomposition),
        pages.integrability_page(ga.integrability(decomposition)),
        characteristics_page(ga.characteristics(decomposition)),
    ]


def measure(
    target: Annotated[str, Argument(metavar="LOSS", help="MODULE:NAME, FILE.py:NAME, or an objective.")],
    inputs: Annotated[
        Text,
        Option(
            help="The inputs: one_set, two_sets, views, scores, similarities, triplets, pairs, groups, multiview, "
            "queries or proxies; by default read off its names and tried."
        ),
    ] = None,
    assignments: Annotated[
        Texts, Option("--with", metavar="NAME=VALUE", help="An argument of its constructor or call; may be repeated.")
    ] = None,
    points: Annotated[int, Option(min=3, max=201, help="Grid points along each similarity.")] = 21,
    dim: Annotated[Number, counted(help="The dimension of its embeddings.")] = None,
    dtype: Annotated[Text, Option(help="float64 or float32.")] = None,
    own: options.CatalogOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Measure a torch loss: weights, verdict, faults, nearest loss.

    The loss takes (embeddings, labels), (image embeddings, text embeddings), a score matrix, (anchors, positives,
    negatives) or another kind of --inputs, and returns a scalar. A class is constructed first; if it wants a model of
    sentences, it gets a stand-in.

    \b
    goal-analyze measure pytorch_metric_learning.losses:CircleLoss --with gamma=80
    goal-analyze measure losses.py:my_loss --inputs two_sets --json
    goal-analyze measure info_nce:tau=12
    """
    how: dict[str, Any] = {"points": points, "dim": dim, "dtype": dtype}
    how["settings"] = dict(map(_assigned, assignments or ()))
    with options.status_line("measuring") as status:
        found = ga.measure(target, inputs, losses=options.losses(own), progress=status.update, **how)
    if as_json:
        print_json(found.record())
    else:
        print_measurement(found.record() | {"said": found.summary()})


def print_measurement(record: Mapping[str, Any]) -> None:
    """Print what a measurement says, and the nearest losses."""
    typer.echo(record["said"])
    if fitted := [row for row in record["nearest"] if not row["problem"]]:
        print_table(NEAREST, fitted, wrapped=("settings", "ties"))
    for row in record["nearest"]:
        if row["problem"]:
            typer.echo(f"{row['loss']} could not be fitted: {row['problem']}")


def _assigned(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        refuse(f"--with: got {text!r} but expected NAME=VALUE, such as margin=0.2")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, {"true": True, "false": False, "none": None}.get(value.lower(), value)


def weights(
    lines: Annotated[
        list[str], Argument(metavar="OBJECTIVE...", help="Objectives of `train`, such as info_nce:tau=10.")
    ],
    positives: Annotated[str, Option(metavar="S,…", help="The similarities of the anchor and its positives.")],
    negatives: Annotated[str, Option(metavar="S,…", help="The similarities of the anchor and its negatives.")],
    own: options.CatalogOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Print the weights that the pairs of one anchor get.

    A weight below zero pulls the pair together, one above zero pushes it apart. In formulas y_p is 1, y_n 0.

    \b
    goal-analyze weights info_nce:tau=1 info_nce:tau=100 --positives 0.6 --negatives 0.5,0.3,0.1
    """
    pairs: dict[str, float] = {}
    for s, option, text in (("s_p", "--positives", positives), ("s_n", "--negatives", negatives)):
        with naming(option):
            pairs |= {f"{s}{k} = {one.strip()}": number_of(one) for k, one in enumerate(text.split(","), 1)}
    chosen = {line: options.objective_of(line, own, anchors="rows") for line in lines}
    for line, objective in chosen.items():
        low, high = objective.similarity.opposite, objective.similarity.identical
        for pair in (pair for pair, value in pairs.items() if not low <= value <= high):
            refuse(f"{line}: got {pair} but expected a {objective.similarity.name} from {low} to {high}")
    import torch

    of_p = torch.tensor([[pair.startswith("s_p") for pair in pairs]])
    matches, scores = ga.Matches(of_p, ~of_p, of_p.double()), torch.tensor([[*pairs.values()]], dtype=torch.float64)
    records = []
    for line, objective in chosen.items():
        w = ga.GradientObjective(objective).weight_matrix(scores, matches)[0]
        records.append({"objective": line, **dict(zip(pairs, w.tolist(), strict=True))})
    print_json(records) if as_json else print_table(("objective", *pairs), records)


def verify_losses(
    names: Annotated[Texts, Argument(metavar="[LOSS]...", help="Names that `list` prints.")] = None,
    every: Annotated[bool, Option("--all", help="Verify every loss of the catalog.")] = False,
    device: Annotated[str, Option(help="The device that computes, such as cuda.")] = "cpu",
    dtypes: Annotated[Texts, Option("--dtype", help=f"One of {', '.join(DTYPES)}; may be repeated.")] = None,
    features: Annotated[
        File, Option(metavar="DIR", help="Verify on real features too: a folder with SPLIT_ims.npy.")
    ] = None,
    split: Annotated[str, Option(help="The SPLIT in that name.")] = "dev",
    own: options.CatalogOption = None,
    assignments: options.SetOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Compare the derived weights with autograd in every dtype.

    It prints the largest relative errors. The exit code is 1 where an error exceeds its bound, or where a number is not
    finite but the exact one is. The bound is 1e-10 in float64 and 1e-3 in narrower dtypes, but 0.5 for gradients of
    embeddings in half precision.

    \b
    goal-analyze verify circle multi_similarity
    goal-analyze verify circle --set gamma=80 --dtype float64
    goal-analyze verify --all --device cuda --json
    goal-analyze verify --all --features data/flickr8k_precomp --split dev
    """
    options.expect_one({"losses": names or None, "--all": every or None})
    kinds = dtypes or DTYPES[:3]
    for kind in kinds:
        options.expect_among("--dtype", kind, DTYPES)
    chosen = options.losses(own) if every else [options.objective_of(name, own) for name in names or ()]
    if len(chosen) > 1 and assignments:
        refuse("got --set for several losses but expected one loss: hyperparameters are a loss's own")
    chosen = [loss.with_settings(options.settings_of(assignments)) for loss in chosen]
    import torch

    from goal_analysis.numeric.batches import BATCHES, features_batches
    from goal_analysis.numeric.verification import check_device

    check_device(device, [getattr(torch, name) for name in kinds])
    batches = [*BATCHES, *(features_batches(features, split) if features is not None else ())]
    found = (verification(loss, batches, kinds, device) for loss in chosen)
    records = list(options.with_progress(found, "verifying", len(chosen)))
    if as_json:
        print_json(records)
    else:
        print_verifications(records)
    raise typer.Exit(0 if all(record["verified"] for record in records) else 1)


def verification(
    loss: ga.Objective, batches: Sequence[Batch], dtypes: Sequence[str] = DTYPES[:3], device: str = "cpu"
) -> dict[str, object]:
    """Whether a loss is verified, its problems line by line, and the largest relative error by dtype."""
    import torch

    from goal_analysis.numeric.verification import VerificationError, verify

    found: dict[str, object] = dict.fromkeys(dtypes, float("nan"))
    problems: list[str] = []
    for name in dtypes:
        try:
            errors = verify(ga.decompose(loss), batches, [getattr(torch, name)], device).frame["relative"]
            found[name] = float(errors.max())
        # What cannot be computed is as little verified as what is wrong.
        except (VerificationError, ValueError) as problem:
            said = str(problem)
            problems.append(said if said.startswith("loss ") else f"loss {loss.name!r}: {said}")
    record: dict[str, object] = {"loss": loss.name, "verified": not problems, "device": device}
    return record | {"problem": "\n".join(dict.fromkeys(problems))} | found


def print_verifications(records: Sequence[Mapping[str, object]]) -> None:
    """Print the records as a table, and the problems below."""
    print_table(("loss", "verified", *(name for name in DTYPES if name in records[0])), records)
    for record in records:
        if record["problem"]:
            typer.echo(record["problem"])
    count = sum(bool(record["verified"]) for record in records)
    typer.echo(f"{count} of {len(records)} losses verified; the errors are the largest relative ones")
