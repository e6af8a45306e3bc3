"""``polyml run``: the stages of a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from polyml.cli import common

if TYPE_CHECKING:
    from polyml.config import Recipe

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
            "--stage", "-s", metavar="NAME", help="prepare, audit, featurize, explore, compare, train, screen; repeat."
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
        common.print_json(_as_json(loaded, done))
        return
    _show(loaded, done)


def _as_json(recipe: Recipe, done: dict[str, Path]) -> dict[str, Any]:
    from polyml.evaluation.summary import Summary
    from polyml.evaluation.text import as_json as comparison_json

    found: dict[str, Any] = {"recipe": recipe.name, "stages": {name: str(path) for name, path in done.items()}}
    if "compare" in done:
        found["comparison"] = comparison_json(Summary.read(done["compare"]))
    if "screen" in done:
        found["screen"] = _screen_summary(done["screen"])
    return found


def _screen_summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def _note_rejects(folder: Path) -> None:
    """Say how many rows or values of the data were refused."""
    import pandas as pd

    rejects = pd.read_csv(folder / "rejects.csv")
    if len(rejects):
        counts = ", ".join(f"{reason} ({n})" for reason, n in rejects["reason"].value_counts().items())
        common.note(f"[yellow]{len(rejects)} rows or values not used:[/] {escape(counts)}: {folder / 'rejects.csv'}")


def _show(recipe: Recipe, done: dict[str, Path]) -> None:
    """Print what people look at first: the leaderboard, the first candidates, and where the rest is."""
    from polyml.cli.tables import read_ranked
    from polyml.evaluation.summary import Summary
    from polyml.evaluation.text import render_leaderboard

    if "prepare" in done:
        _note_rejects(done["prepare"])
    if "compare" in done:
        common.show(render_leaderboard(Summary.read(done["compare"])), piped_width=160)
    if "screen" in done and recipe.screen is not None:
        ranked = done["screen"] / "ranked.csv"
        summary = _screen_summary(done["screen"])
        if summary["ranked"]:
            units = {item.name: item.unit for item in recipe.data.targets}
            common.show("")
            common.show(read_ranked(ranked, recipe.screen, units=units))
        common.note(f"{common.funnel(summary)}: {ranked}")
    if recipe.tracking.enabled:
        common.note("to see the runs, pictures and models: polyml ui")
