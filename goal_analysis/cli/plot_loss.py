"""The pictures of ``goal-analyze plot`` of one loss, and of several beside each other, written to files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from goal_analysis.cli.options import named, of_formula, refuse
from goal_analysis.files import folder_name
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.weight import WeightField

if TYPE_CHECKING:  # torch and matplotlib are loaded when the command runs
    from goal_analysis.pictures.weight_frames import Objective


@dataclass(frozen=True)
class Wanted:
    """What is drawn, in words that another process can be told.

    Args:
        name: of a loss, or an objective such as ``nca/linear``; what pictures and files are called.
        formula: of a loss of one triplet, where there is no such name.
        own: a file of losses of the user's.
        settings: hyperparameters other than the defaults, by name.
    """

    name: str
    formula: str | None = None
    own: Path | None = None
    settings: tuple[tuple[str, float], ...] = ()

    def resolved(self) -> Objective | WeightField:
        """The loss, or the weights; ends with exit code 2 where there is none."""
        if self.formula is not None:
            return of_formula(self.formula, dict(self.settings))
        return _of_objective(self.name, self.own) if "/" in self.name else named(self.name, self.own)


def draw_one(wanted: Wanted, kinds: Sequence[str], folder: Path, form: str) -> list[Path]:
    """Draw and write the pictures of one loss."""
    what = wanted.resolved()
    title = what.title if isinstance(what, Objective) else wanted.name
    return draw_kinds(_taken_apart(what), wanted.name, title, dict(wanted.settings), folder, kinds, form)


def draw_kinds(
    objective: Objective,
    name: str,
    title: str,
    settings: Mapping[str, float],
    folder: Path,
    kinds: Sequence[str] | None = None,
    form: str = "png",
) -> list[Path]:
    """Draw and write the pictures of one objective, by default of every kind, to files called after it."""
    from goal_analysis.pictures.canvas import save
    from goal_analysis.pictures.weight_figures import KINDS, figures

    written = []
    for kind, figure in figures(objective, title, KINDS if kinds is None else kinds, settings):
        written.append(folder / f"{folder_name(name)}-{kind}.{form}")
        save(figure, written[-1])
    return written


def draw_beside(chosen: Sequence[Wanted], folder: Path, form: str) -> Path:
    """Draw and write the losses beside each other."""
    from matplotlib.figure import Figure

    from goal_analysis.pictures.canvas import save
    from goal_analysis.pictures.cosine_frames import comparison_frame
    from goal_analysis.pictures.style import style
    from goal_analysis.pictures.weight_figures import draw_comparison

    with style():
        figure = Figure()
    draw_comparison(comparison_frame([(_taken_apart(one.resolved()), dict(one.settings)) for one in chosen]), figure)
    path = folder / f"compare.{form}"
    save(figure, path)
    return path


def _taken_apart(what: Objective | WeightField) -> Objective:
    return decompose(what) if isinstance(what, Objective) else what


def _of_objective(text: str, own: Path | None) -> WeightField:
    """The weights of an objective, whose mining does not matter to one triplet."""
    from goal_analysis.cli.options import objective_of

    try:
        objective = objective_of(text, own)
    except (ValueError, TypeError, OSError) as problem:
        refuse(problem)
    defaults = tuple(
        replace(h, default=objective.settings.get(h.name, h.default)) for h in objective.field.hyperparameters
    )
    return replace(objective.field, name=text, hyperparameters=defaults)
