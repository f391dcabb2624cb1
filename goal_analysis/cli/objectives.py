"""Objectives of parts: `family`, `compose` and `export`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from goal_analysis.cli import options
from goal_analysis.cli.kept import kept
from goal_analysis.cli.options import Text, Texts, print_json, print_table, refuse, taking, written_to
from goal_analysis.files import json_text, write_whole

if TYPE_CHECKING:  # torch is loaded when a command runs
    from goal_analysis.recombination.description import Description


def family(
    integrable: Annotated[
        bool | None, Option("--integrable/--not-integrable", help="List only gradients of a loss, or only others.")
    ] = None,
    sign: Annotated[Text, Option(help="List those whose weights do this, such as 'pulls and pushes' or mixed.")] = None,
    using: Annotated[
        Texts, Option("--part", metavar="NAME", help="List those with one of these weights; may be repeated.")
    ] = None,
    minings: Annotated[
        Texts, Option("--mining", help="The mining, such as softmax:12; may be repeated. By default hardest.")
    ] = None,
    every: Annotated[bool, Option("--all", help="List every mining of the family.")] = False,
    names_alone: Annotated[bool, Option("--names", help="Print only names; nothing is judged.")] = False,
    own: options.CatalogOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """List the recombinations of the catalog's weights, and verdicts.

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
        chosen = members_of(options.parts(own), mined, integrable=integrable, sign=sign, using=using or ())
        if names_alone:
            return {"records": [{"objective": member.name} for member in chosen]}
        left_out = [isinstance(one, LeftOut) for one in combinations(options.parts(own), mined)]
        total = None if using or sign or integrable is not None else left_out.count(False)
        judged = options.with_progress(map(partial(_record, sign), chosen), "judging", total)
        return {"records": list(judged), "left_out": sum(left_out)}

    answer = kept(found, "family", own, integrable, sign, using, minings, every, names_alone)
    records = answer["records"]
    if names_alone:
        typer.echo("".join(f"{record['objective']}\n" for record in records), nl=False)
    elif as_json:
        print_json(records)
    else:
        print_table(("objective", "integrable", "loss"), records, wrapped=("loss",))
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


@taking(options.Choice)
def compose(
    choice: options.Choice,
    as_toml: Annotated[bool, Option("--as-toml", help="Print a declaration that --toml reads.")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Compose an objective, and print its weights and its verdict.

    \b
    goal-analyze compose "nca(tau=12)/linear@softmax:12"
    goal-analyze compose --triplet nca --pair linear --mining top_k:5 --set tau=12 --json
    goal-analyze compose --triplet-formula "sigmoid(a*(s_n - s_p))" --pair linear --set a=10
    goal-analyze compose nca/linear --as-toml > mine.toml
    goal-analyze compose --toml mine.toml
    """
    if as_toml and as_json:
        refuse("got --as-toml and --json but expected at most one")
    width = options.line_width()

    def said() -> str:
        chosen = options.chosen_objective(choice)
        from goal_analysis.recombination.text import line_of, to_toml

        if as_toml:
            return to_toml(chosen.objective, options.parts(choice.own)).removesuffix("\n")
        description = chosen.describe()
        if not as_json:
            return description.to_plain(width)
        name = line_of(chosen.objective, options.parts(choice.own)) or chosen.name
        return json_text({"objective": name, **description.to_json()}).rstrip()

    typer.echo(kept(said, "compose", *choice.question, as_toml, as_json, width))


@taking(options.Choice)
def export(
    choice: options.Choice,
    name: Annotated[Text, Option(help="The name of the objective in the file.")] = None,
    output: Annotated[
        Path, written_to(metavar="FILE", help="The file, or a model's folder; - prints an objective.")
    ] = Path("objective.py"),
    force: Annotated[bool, Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Export an objective as a Python file that needs torch alone.

    The file checks itself when it is run, and its gradients are the objective's, to the last bit. A run's folder
    exports the run's model instead, as transformers, sentence-transformers or open_clip read it.

    \b
    goal-analyze export "nca(tau=12)/linear@softmax:12" -o objective.py
    goal-analyze export --toml mine.toml -o - | less
    python objective.py
    goal-analyze export runs/mine -o mine
    """
    printed = output == Path("-")
    if not printed and output.exists() and not force:
        refuse(f"--output: got {output}, which is there already, but expected a new file, or --force")
    run = Path(choice.objective or "")
    if choice.objective and (run / "run.json").is_file():
        if printed:
            refuse("--output: got - but expected a folder to write the run's model into")
        from goal_analysis.vse.folder.run import load_model
        from goal_analysis.vse.models.exporting import export_model

        trained = load_model(run)
        typer.echo("\n".join(export_model(trained.model, trained.tokenizer, output)))
        return

    def exported() -> str:
        chosen = options.chosen_objective(choice)
        from goal_analysis.recombination.export import export as source_of

        return source_of(chosen, name)

    source = kept(exported, "export", *choice.question, name)
    if printed:
        typer.echo(source, nl=False)
        return
    write_whole(output, source)
    typer.echo(f"written to {output}; `python {output}` checks it")
