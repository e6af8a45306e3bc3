"""``polyml models``: the models there are."""

from __future__ import annotations

from typing import Annotated

import typer

from polyml.cli import common

EXAMPLES = common.examples("polyml models", "polyml models extra_trees", "polyml models --json")


def models(
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="Show one model with its parameters.")] = None,
    as_json: common.AsJson = False,
) -> None:
    """List the models of the catalog, or show the parameters of one."""
    if key is None:
        from polyml.models.catalog import list_models

        rows = list_models()
        if as_json:
            common.print_json(rows)
        else:
            common.print_rows(rows)
        return
    from polyml.pipeline import steps

    info = steps.describe_model(key)
    if as_json:
        common.print_json(info)
        return
    typer.echo(f"{info['key']}: {info['title']} ({info['family']})")
    if info["citation"]:
        typer.echo(info["citation"])
    spread = "gives standard deviation and interval" if info["gives_std"] else "gives no uncertainty"
    tasks = "all targets in one model" if info["multi_task"] else "one model a target"
    typer.echo(f"reads {info['input']}; {tasks}; {spread}")
    typer.echo("\nparameters (--param NAME=VALUE):")
    for name, value in info["params"].items():
        typer.echo(f"  {name} = {value!r}")
