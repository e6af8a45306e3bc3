"""``polyml run``: the stages of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyml.cli import common

EXAMPLES = common.examples(
    "polyml run gas_membranes",
    "polyml run gas_membranes --stage compare --set split.folds=3",
    "polyml run my_recipe.yaml --set train.model=extra_trees --set screen.top=200",
)


def run(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A YAML file, or a recipe that comes with polyml.")],
    stage: Annotated[
        list[str] | None,
        typer.Option(
            "--stage", "-s", metavar="NAME", help="prepare, featurize, explore, compare, train, screen; repeat."
        ),
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a recipe key: split.folds=3; repeat.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run stages even when nothing changed.")] = False,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Run the stages of a recipe, from data to a ranked list.

    A stage is skipped when nothing it depends on has changed; a stage that another one needs is run first. Files go to
    outputs/RECIPE/STAGE.
    """
    from polyml.config import load_recipe
    from polyml.pipeline import run_recipe

    loaded = load_recipe(recipe, override or ())
    done = run_recipe(
        loaded, stage or (), force=force, report=lambda name, message: common.note(f"[bold]{name}[/]: {message}")
    )
    if as_json:
        common.print_json({"recipe": loaded.name, "stages": {name: str(path) for name, path in done.items()}})
        return
    _show(done)
    if loaded.tracking.enabled:
        common.note("the runs are in MLflow: polyml ui")


def _show(done: dict[str, Path]) -> None:
    """Print what people look at first: the leaderboard and the first candidates."""
    import pandas as pd

    from polyml.pipeline.frames import summarize_leaderboard, summarize_ranked

    if "compare" in done:
        path = done["compare"] / "leaderboard.csv"
        common.print_table(summarize_leaderboard(pd.read_csv(path)), title=f"Leaderboard ({path})")
    if "screen" in done:
        path = done["screen"] / "ranked.csv"
        common.print_table(summarize_ranked(pd.read_csv(path, nrows=10)), title=f"Top candidates ({path})")
