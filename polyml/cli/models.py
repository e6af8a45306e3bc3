"""``polyml models``: the models there are."""

from __future__ import annotations

from textwrap import wrap
from typing import Annotated

import typer

from polyml.cli import common

_WIDTH = 100  # characters of a line of explanation
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
    from polyml.models.describe import describe_model

    info = describe_model(key)
    if as_json:
        common.print_json(info)
        return
    typer.echo(f"{info['key']}: {info['title']} ({info['family']})")
    if info["citation"]:
        typer.echo(info["citation"])
    does = " and ".join(info["tasks"])
    spread = "gives standard deviation and interval" if info["gives_std"] else "gives no uncertainty"
    tasks = "all targets in one model" if info["multi_task"] else "one model a target"
    typer.echo(f"{does}; reads {info['input']}; {tasks}; {spread}")
    typer.echo("\nparameters (--param NAME=VALUE):")
    for name, value in info["params"].items():
        typer.echo(f"  {name} = {value!r}")
        for line in wrap(info["meaning"].get(name, ""), _WIDTH):
            typer.echo(f"      {line}")
    presets = {name: " ".join(f"{k}={v}" for k, v in params.items()) for name, params in info["presets"].items()}
    _list("presets (--param preset=NAME)", presets)
    _list("searched by polyml tune", info["search_space"])


def _list(title: str, entries: dict[str, str]) -> None:
    if entries:
        typer.echo(f"\n{title}:")
    for name, value in entries.items():
        typer.echo(f"  {name} = {value}")
