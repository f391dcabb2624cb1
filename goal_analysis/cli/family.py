"""``goal-analyze family``: every combination of weights and minings, with its verdict."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goal_analysis.cli.kept import kept
from goal_analysis.cli.options import CatalogOption, JsonOption, parts, print_json, print_table, refuse, with_progress

if TYPE_CHECKING:  # torch is loaded when the command runs
    from goal_analysis.recombination.description import Description

LONGEST = 60
"""Characters of a loss in the table; --json has it whole."""


def family(
    integrable: Annotated[
        bool | None,
        typer.Option("--integrable/--not-integrable", help="List gradients of a loss alone, or the others."),
    ] = None,
    sign: Annotated[
        str | None, typer.Option(help="List those whose weights do this, such as 'pulls and pushes' or mixed.")
    ] = None,
    using: Annotated[
        list[str] | None,
        typer.Option("--part", metavar="NAME", help="List those with one of these weights; may be repeated."),
    ] = None,
    minings: Annotated[
        list[str] | None,
        typer.Option("--mining", help="The mining, such as softmax:12; may be repeated. By default hardest."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="List every mining of the family.")] = False,
    names_alone: Annotated[bool, typer.Option("--names", help="Print only names; nothing is judged.")] = False,
    own: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the objectives that the weights of the catalog and of its losses make, and what they are.

    Every name is an objective for `compose`, `export` and `train`.

    \b
    goal-analyze family
    goal-analyze family --integrable --part linear --mining hardest --mining softmax:12
    goal-analyze family --all --names | wc -l
    goal-analyze family --part nca_twin --json
    """
    if every and minings:
        refuse("got --all and --mining but expected one of them")

    def found() -> dict[str, Any]:
        from goal_analysis.recombination.family import FAMILY_MININGS, LeftOut, combinations
        from goal_analysis.recombination.family import family as members_of
        from goal_analysis.recombination.minings import mining_of

        mined = FAMILY_MININGS if every else [mining_of(text) for text in minings or ("hardest",)]
        chosen = members_of(parts(own), mined, integrable=integrable, sign=sign, using=using or ())
        if names_alone:
            return {"records": [{"objective": member.name} for member in chosen]}
        left_out = [isinstance(one, LeftOut) for one in combinations(parts(own), mined)]
        total = None if using or sign or integrable is not None else left_out.count(False)
        judged = with_progress(map(partial(_record, sign), chosen), "judging", total)
        return {"records": list(judged), "left_out": sum(left_out)}

    answer = kept(found, "family", own, integrable, sign, using, minings, every, names_alone)
    records = answer["records"]
    if names_alone:
        typer.echo("".join(f"{record['objective']}\n" for record in records), nl=False)
    elif as_json:
        print_json(records)
    else:
        print_table(("objective", "integrable", "loss"), [{**one, "loss": _short(one["loss"])} for one in records])
        typer.echo(f"{len(records)} objectives; {answer['left_out']} combinations make none of their own")


def _record(sign: str | None, member: Description) -> dict[str, object]:
    from goal_analysis.symbolic.typesetting import plain

    found = member.verdict
    return {
        "objective": member.name,
        "triplet": member.parts[0],
        "pair": member.parts[1],
        "mining": member.mining,
        "integrable": "undecided" if found.integrable is None else found.integrable,
        "reason": found.reason,
        **({} if sign is None else {"sign": sign}),
        "loss": "" if found.loss is None else plain(found.loss),
    }


def _short(loss: object) -> str:
    text = str(loss)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
