"""``goal-analyze presets``: the experiments that come with the package."""

from __future__ import annotations

import typer

from goal_analysis.cli.options import JsonOption, print_json, print_table


def presets(as_json: JsonOption = False) -> None:
    """List the experiments that come with the package, for `train --preset NAME` and others.

    \b
    goal-analyze presets
    goal-analyze train --preset scenes --as-toml
    """
    from goal_analysis.vse.loop.experiment import about_preset, preset
    from goal_analysis.vse.loop.experiment import presets as named

    records = []
    for name in named():
        tables = preset(name)
        encoders = {f"{side}s": tables["model"].get(side, {}).get("name", "") for side in ("image", "text")}
        records.append(
            {"preset": name, **encoders, "epochs": tables["training"]["epochs"], "about": about_preset(name)}
        )
    if as_json:
        print_json(records)
    else:
        print_table(tuple(records[0]), records, wrapped=("about",))
        typer.echo("goal-analyze train --preset NAME --as-toml prints one as a file")
