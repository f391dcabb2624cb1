"""What commands share: their options, losses and objectives by name or by parts, and tables on the terminal."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial, wraps
from importlib.util import find_spec
from inspect import Parameter, Signature, signature
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar, get_type_hints
from unicodedata import category

import typer
from typer import Argument, Option

import goal_analysis as ga
from goal_analysis import declarations
from goal_analysis.declarations import MOST, MOST_BYTES, naming, number_of, one_of, read_toml, text_of_file
from goal_analysis.extras import unmet
from goal_analysis.files import json_text
from goal_analysis.recombination import names
from goal_analysis.vse.loop.interrupts import signals_handled

if TYPE_CHECKING:  # SymPy and torch are loaded when a command needs them
    from rich.status import Status

    from goal_analysis.recombination.parts import Parts

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO)
INTERRUPTED = 130  # the exit code after Ctrl-C, as shells have it
WIDTH = 120  # characters a line where neither a terminal nor COLUMNS says how many
BASELINES = ("vse_pp", "info_nce(tau=12)")  # the triplet loss on hardest negatives, and InfoNCE
KNOWN = (
    "info_nce(tau=12)",
    "dcl(scale=12, anchors=both)",
    "hardness_weighted_info_nce(scale=9, strength=5, anchors=both)",
    "siglip(scale=12, bias=-6)",
    "vse_pp",
    "multi_similarity(beta=20, lam=0.3, anchors=both)",
    "circle(gamma=32, anchors=both)",
    "sup_con(scale=12, anchors=both)",
)
"""What people train with: where every objective's tuning begins, at the scales of about 12 that small models like."""
WHOLE_WORDS: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
NEEDS_VALUE = "A hyperparameter of a formula needs a value: --set NAME=VALUE"

Text = str | None
Texts = list[str] | None
Number = int | None
File = Path | None
Files = list[Path] | None
T = TypeVar("T")

counted = partial(Option, min=1, max=MOST)
written_to = partial(Option, "--output", "-o")  # the option that says where a command writes

CatalogOption = Annotated[File, Option("--catalog", metavar="FILE", help="Your own losses, in a TOML file.")]
SetOption = Annotated[Texts, Option("--set", metavar="NAME=VALUE", help="A hyperparameter's value; may be repeated.")]
FormulaOption = Annotated[Text, Option("--formula", help="Show this loss of one triplet, a formula of s_p and s_n.")]
JsonOption = Annotated[bool, Option("--json", help="Print JSON.")]
DataOption = Annotated[
    Text, Option(metavar="DIR/NAME", help="Train on these data, or on `scenes`; by default on the experiment's.")
]
OtherDataOption = Annotated[
    Text, Option(metavar="DIR/NAME", help="Use these data; by default those that the run was trained on.")
]
SkipBadOption = Annotated[
    bool, Option("--skip-bad", help="Leave out bad rows and count them; this decodes every picture once.")
]
AssignmentsOption = Annotated[
    Texts, Option("--set", metavar="KEY=VALUE", help="Set a value, such as training.epochs=15; repeatable.")
]


# --- what is refused ------------------------------------------------------------------------------


def refuse(problem: object) -> NoReturn:
    """End with the exit code of a command that was not understood."""
    said = f"{problem.filename}: {problem.strerror}" if isinstance(problem, OSError) and problem.filename else problem
    said = shown(str(said))
    typer.echo(f"{said}\n{NEEDS_VALUE}" if "unknown name" in said else said, err=True)
    raise typer.Exit(2)


def expect_among(what: str, given: object, accepted: Iterable[str]) -> None:
    """Refuse what is given, if it is, and is not among these."""
    if given is not None:
        declarations.expect_among(what, given, accepted)


@contextmanager
def interruptible(output: Path) -> Iterator[None]:
    """After Ctrl-C, or a SIGTERM or SIGHUP that would end the process, say that the command goes on; end with 130."""
    try:
        with signals_handled(signal.default_int_handler):
            yield
    except KeyboardInterrupt:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # of several ranks one says it
            typer.echo(
                f"Interrupted; what is done stays in {output}/, and the same command goes on from there", err=True
            )
        raise typer.Exit(INTERRUPTED) from None


def expect_one(given: Mapping[str, object]) -> None:
    """Refuse two options, by what they are called, of which not exactly one was given."""
    count = sum(value is not None for value in given.values())
    if count != 1:
        said = f"both {' and '.join(given)}" if count else f"neither {' nor '.join(given)}"
        refuse(f"got {said} but expected one of them")


def refusing(command: Callable[..., None]) -> Callable[..., None]:
    """The command, which refuses what its values cannot be, and says which extra it needs."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except BrokenPipeError:  # nobody reads on
            raise
        except KeyboardInterrupt:  # of which typer before 0.16 makes a 1
            raise typer.Exit(INTERRUPTED) from None
        except (ImportError, AttributeError) as problem:
            if (said := unmet(problem)) is None:
                raise
            refuse(said)
        except (ValueError, TypeError, OSError, MemoryError) as problem:
            if isinstance(problem, OSError) and problem.filename is None and problem.errno in FULL:
                raise  # that of the standard output: every other names its file
            refuse(problem)

    return run


def check_names(presets: Iterable[str | None] = (), objectives: Iterable[str] = ()) -> None:
    """Refuse unknown presets, and lines with unknown names or settings, before torch is loaded; names before SymPy."""
    from goal_analysis.vse.loop.experiment import preset

    for name in presets:
        if name and not name.endswith((".toml", ".json")):
            preset(name)
    lines = ((text, names.LINE.fullmatch(text)) for text in objectives if not re.search(r"\b(s_p|s_n|gap)\b", text))
    read = [(text, line.groups()) for text, line in lines if line is not None]
    for check in (_check_parts, _check_settings):
        for text, parts in read:
            with naming(f"objective {text!r}"):
                check(*parts)


def _check_parts(head: str, _: str | None, pair: str | None, __: str | None, mining: str | None) -> None:
    folder = Path(str(find_spec("losses_catalog").origin)).parent  # pyright: ignore[reportOptionalMemberAccess]
    weights = re.findall(r'(Triplet|Pair)Weights?\(\s*name="(\w+)"', (folder / "weights.py").read_text("utf-8"))
    triplets, pairs = ([name for of, name in weights if of == kind] for kind in ("Triplet", "Pair"))
    sources = {path.stem: path.read_text("utf-8") for path in sorted(folder.glob("*.py"))}
    titles = {
        name: title[1] for name, text in sources.items() if (title := re.search(r'^    title="(.+)",$', text, re.M))
    }
    libraries = json.loads((folder / "libraries.json").read_text("utf-8"))
    classes = [named for of_library in libraries.values() for named in of_library.items()]
    classes += [(title, name) for name, title in titles.items()]
    names.check_names(head, pair, titles, triplets, pairs, classes)
    check_mining(mining)


def check_mining(text: str | None) -> None:
    """Refuse a mining of an unknown name, before torch is loaded."""
    if text is not None:
        source = (Path(ga.__file__).parent / "recombination" / "minings.py").read_text("utf-8")
        known, (name, *_) = re.findall(r'^    "(\w+)": \w+,$', source, re.MULTILINE), re.split(r"[:(]", text)
        if name.strip() not in known:
            raise ValueError(f"mining: got {name.strip()!r} but expected one of {one_of(known, name)}")


def _check_settings(head: str, of_head: str | None, pair: str | None, of_pair: str | None, _: str | None) -> None:
    if not (of_head or of_pair) or ":" in head:
        return
    from losses_catalog import catalog, pair_weights, triplet_weights

    def of(name: str | None, *values: Sequence[Any]) -> dict[str, Any]:
        return {h.name: h for some in values for one in some if one.name == name for h in one.hyperparameters}

    behind = of(pair, pair_weights, catalog)
    own = of(head.removesuffix(names.TWIN), triplet_weights, catalog) | of(head, catalog)
    both = {name + names.OF_PAIR: h for name, h in behind.items() if name in own} | behind | own
    said = [(name, value) for name, value in names.said_in(of_head, head) if name not in names.IN_LINE]
    list(names.settings_in(said, both, head))
    list(names.settings_in(names.said_in(of_pair, pair or ""), both, pair or ""))


def check_runs(paths: Sequence[Path]) -> None:
    """Refuse folders of which none holds a run, before torch is loaded."""
    from goal_analysis.vse.folder.run_folder import RunError, run_folders

    faults = []
    for path in paths:
        try:
            run_folders(path)
        except RunError as problem:
            faults.append(str(problem))
    if len(faults) == len(paths):
        refuse("\n".join(faults))


# --- losses and objectives ------------------------------------------------------------------------


def settings_of(assignments: Sequence[str] | None) -> dict[str, float]:
    """Read ``NAME=VALUE`` arguments; a value may be a fraction such as 1/3."""
    settings: dict[str, float] = {}
    for assignment in assignments or ():
        name, _, value = (part.strip() for part in assignment.partition("="))
        try:
            number = number_of(value)
        except ValueError:
            refuse(f"--set: got {assignment!r} but expected NAME=VALUE with a number, such as tau=10 or tau=1/3")
        if name in settings:
            refuse(f"--set: got {name} twice but expected every name once")
        settings[name] = number
    return settings


def read_text(path: str) -> str:
    """The text of a file, or of the standard input for a dash."""
    text = sys.stdin.read(MOST_BYTES + 1) if path == "-" else text_of_file(Path(path))
    if len(text) > MOST_BYTES:
        raise ValueError(f"{path}: got more than {MOST_BYTES:,} characters but expected a declaration")
    return text


@lru_cache(maxsize=8)
def losses(own: Path | None = None) -> tuple[ga.Objective, ...]:
    """The catalog, with the losses of the user's file in front."""
    from goal_analysis.symbolic.parsing.declaration import losses_from_mapping
    from losses_catalog import catalog

    if own is None:
        return catalog
    with naming(own):
        read = losses_from_mapping(read_toml(read_text(str(own))))
        known = {loss.name for loss in catalog}
        for name in (loss.name for loss in read if loss.name in known):  # the first of the file is named
            raise ValueError(f"got the loss {name!r}, which the catalog has; expected another name")
    return (*read, *catalog)


def parts(own: Path | None = None) -> Parts:
    """What names stand for: the weights and losses of the catalog, and the losses of a user's file."""
    from goal_analysis.api.objectives import parts_with

    return parts_with(losses(own))


def objective_of(text: str, own: Path | None = None, **keywords: Any) -> ga.Objective:
    """The objective of a text, as `goal_analysis.api.objectives.value_of` reads it, with a file of losses."""
    if own is None:
        check_names(objectives=[text])
    from goal_analysis.api.objectives import value_of

    return value_of(text, parts(own), **keywords)


@dataclass(frozen=True)
class Choice:
    """The options that say an objective; None stands for an option that was not given."""

    objective: Annotated[
        Text, Argument(metavar="[OBJECTIVE]", help="Such as circle(gamma=80) or nca(tau=12)/linear@softmax:12.")
    ]
    triplet: Annotated[Text, Option(help="A triplet weight by name, or NAME_twin.")]
    pair: Annotated[Text, Option(help="Pair weights by name.")]
    triplet_formula: Annotated[Text, Option(help="A triplet weight as a formula of s_p and s_n.")]
    positive_formula: Annotated[Text, Option(help="P⁺ as a formula of s_p; needs --negative-formula.")]
    negative_formula: Annotated[Text, Option(help="P⁻ as a formula of s_n; needs --positive-formula.")]
    mining: Annotated[Text, Option(help="How pairs are chosen: hardest, softmax:12, top_k:5, ….")]
    direction: Annotated[Text, Option(help="The direction in which a weight moves an embedding.")]
    similarity: Annotated[Text, Option(help="The similarity of embeddings; cosine by default.")]
    reduction: Annotated[Text, Option(help="mean or sum over anchors; mean by default.")]
    anchors: Annotated[Text, Option(help="Which side has the anchors: rows, columns or both.")]
    toml: Annotated[
        Text, Option(metavar="FILE", help="Read the objective from a TOML file; - reads the standard input.")
    ]
    assignments: SetOption
    own: CatalogOption

    @property
    def question(self) -> tuple[Any, ...]:
        """What `kept` asks; of a file it is always answered anew."""
        return (self.toml and Path(self.toml), *vars(self).values())


def taking(*kinds: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for every field of these dataclasses; their values are its first arguments."""

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        options = {kind: get_type_hints(kind, include_extras=True) for kind in kinds}
        taken = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=getattr(kind, name, None), annotation=hint)
            for kind, hints in options.items()
            for name, hint in hints.items()
        ]
        own = list(signature(command, eval_str=True).parameters.values())[len(kinds) :]

        @wraps(command)
        def run(**given: Any) -> None:
            of = {kind: [name for name in hints if name in given] for kind, hints in options.items()}
            values = [kind(**{name: given.pop(name) for name in names}) for kind, names in of.items()]
            command(*values, **given)

        parameters = [*taken, *(parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in own)]
        run.__signature__ = Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorated


def chosen_objective(choice: Choice) -> ga.GradientObjective:
    """The objective that the options say."""
    own = (choice.triplet, choice.pair, choice.triplet_formula, choice.positive_formula, choice.negative_formula)
    in_parts = any(option is not None for option in own)
    ways = {"an objective": choice.objective is not None, "--toml": choice.toml is not None, "its parts": in_parts}
    given = [way for way, taken in ways.items() if taken]
    if len(given) != 1:
        expected = "an objective such as nca/linear@softmax:12, --triplet and --pair, --toml"
        refuse(f"got {' and '.join(given) or 'nothing'} but expected one of: {expected}")
    settings = settings_of(choice.assignments)
    check_mining(choice.mining)
    names = ("mining", "direction", "similarity", "reduction", "anchors")
    fields = {name: getattr(choice, name) for name in names if getattr(choice, name) is not None}
    if choice.toml is not None:
        if said := [*(f"--{name}" for name in fields), *(["--set"] if settings else [])]:
            refuse(f"got --toml and {' and '.join(said)} but expected it in the file")
        from goal_analysis.recombination.text import from_toml

        text = read_text(choice.toml)
        with naming(choice.toml):
            value = from_toml(text, parts(choice.own))
    elif choice.objective is None:
        from goal_analysis.recombination.text import from_mapping

        value = from_mapping({**_weights(choice, settings), **fields, "settings": settings}, parts(choice.own))
    elif "@" in choice.objective and "mining" in fields:
        refuse(f"got the mining twice, in {choice.objective!r} and as --mining, but expected it once")
    else:
        value = objective_of(choice.objective, choice.own, **settings, **fields)
    return ga.GradientObjective(value)


def _weights(choice: Choice, settings: Mapping[str, float]) -> dict[str, Any]:
    """The weights as a declaration has them: names, or formulas with the settings whose names occur in them."""
    halves = {"positive": choice.positive_formula, "negative": choice.negative_formula}
    expect_one({"--triplet": choice.triplet, "--triplet-formula": choice.triplet_formula})
    if list(halves.values()) != [None, None] if choice.pair is not None else None in halves.values():
        refuse("expected either --pair, or --positive-formula with --negative-formula")

    def declared(**formulas: str | None) -> dict[str, Any]:
        words = {word for text in formulas.values() for word in re.findall(r"[^\W\d]\w*", text or "")}
        return formulas | {"hyperparameters": {name: value for name, value in settings.items() if name in words}}

    return {
        "triplet": choice.triplet or declared(formula=choice.triplet_formula),
        "pair": choice.pair or declared(**halves),
    }


# --- the terminal ---------------------------------------------------------------------------------


def line_width() -> int:
    """How many characters a line has."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


def print_json(record: object) -> None:
    """Print a record, or a list of them."""
    typer.echo(json_text(record), nl=False)


def print_table(columns: Sequence[str], records: Iterable[Mapping[str, object]], wrapped: Sequence[str] = ()) -> None:
    """Print one line a record: yes and no for booleans, two digits for floats; those ``wrapped`` may take several.

    No word is cut: where a line has no room for the longest words, a record has lines of its own.
    """
    from rich.box import SIMPLE_HEAD
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    rows, table = [[_cell(record[column]) for column in columns] for record in records], Table(box=SIMPLE_HEAD)
    whole = [[column, *(row[i] for row in rows)] for i, column in enumerate(columns)]
    words = [" ".join(cells).split() if c in wrapped else cells for c, cells in zip(columns, whole, strict=True)]
    widths = [max(map(cell_len, cells)) for cells in words]
    room = line_width() - sum(widths) - 2 * len(widths) - 1
    if room < 0:
        for name, *others in rows:
            said = "; ".join(f"{c} {cell}" for c, cell in zip(columns[1:], others, strict=True) if cell)
            indented = textwrap.indent("\n".join(textwrap.wrap(said, max(1, line_width() - 3), **WHOLE_WORDS)), "   ")
            typer.echo(f" {name}\n{indented}")
        return
    wishes = {i: max(map(cell_len, cells)) - widths[i] for i, cells in enumerate(whole)}
    for left, (i, wish) in enumerate(sorted(wishes.items(), key=lambda one: one[1])):
        widths[i] += min(wish, room // (len(wishes) - left))
        room -= min(wish, room // (len(wishes) - left))
    table.padding = (0, 1, 0, 0)
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, width=width)
    for row in rows:
        table.add_row(*row)
    Console(width=line_width()).print(table)


def print_markdown(text: str) -> None:
    """Print a text of Markdown, and its tables with a head as `print_table` does."""
    for is_table, group in groupby(text.splitlines(), lambda line: line.startswith("|")):
        lines = list(group)
        head, *rows = ([cell.strip(" `") for cell in line[1:-1].split("|")] for line in lines)
        if is_table and all(head):
            print_table(head, [dict(zip(head, row, strict=True)) for row in rows[1:]], head[1:2])
        else:
            typer.echo("\n".join(lines))


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2g}" if isinstance(value, float) else shown(str(value))


def shown(text: str) -> str:
    r"""A text for a terminal: characters that would control it are written as Python writes them.

    >>> shown("red \x1b[31m dog")
    'red \\x1b[31m dog'
    """
    return "".join(repr(c)[1:-1] if category(c) == "Cc" and c != "\n" else c for c in text)


def with_progress(records: Iterable[T], doing: str, total: int | None = None) -> Iterable[T]:
    """The records as they come; on a terminal, how many there were and what the rest will take."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(records, doing, total, console=console, transient=True, disable=not console.is_terminal)


def status_line(doing: str) -> Status:
    """A line on a terminal that says what is done, as long as its context lasts."""
    from rich.console import Console

    return Console(stderr=True).status(doing)
