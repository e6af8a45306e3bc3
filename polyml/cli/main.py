"""The ``polyml`` command. Verbs import what they need when they run, so that ``polyml --help`` is instant."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from polyml import __version__
from polyml.cli import (
    audit,
    benchmark,
    candidates,
    canonicalize,
    compare,
    data,
    explore,
    featurize,
    learning_curve,
    models,
    predict,
    pretrain,
    run,
    screen,
    train,
    tune,
    ui,
)
from polyml.cli.common import note, say
from polyml.cli.failures import explain
from polyml.progress import set_quiet


class Verbs(TyperGroup):
    """The group of verbs; the one place where an error becomes a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; 2 for a user's error, 130 for Ctrl-C, 1 for anything else."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, Exception) as error:
            if ctx.params.get("debug") or os.environ.get("POLYML_DEBUG"):
                raise
            failure = explain(error)
            if failure is None:  # Typer's own: usage errors, exits
                raise
            for line in failure.lines:
                say(line)
            raise typer.Exit(failure.code) from error


app = typer.Typer(
    cls=Verbs,
    name="polyml",
    help="Predict polymer properties from repeat units, compare models honestly, screen candidates.",
    epilog="Start with: polyml run gas_membranes · polyml VERB --help shows examples.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"polyml {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars, no messages.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Predict polymer properties from repeat units, compare models honestly, screen candidates."""
    set_quiet(quiet)


VERBS = (
    *(run, audit, compare, benchmark, learning_curve, tune, pretrain, train, predict, screen),
    *(candidates, explore, featurize, canonicalize, data, models, ui),
)
for verb in VERBS:
    name = verb.__name__.rpartition(".")[2]
    app.command(name.replace("_", "-"), epilog=verb.EXAMPLES)(getattr(verb, name))


def show_warning(otherwise: Callable[..., None]) -> Callable[..., None]:
    """Return what shows a warning of polyml as a note, one line without its place in the code, and others as before."""
    own = str(Path(__file__).parents[1])

    def show(message: Warning | str, category: type[Warning], filename: str, *args: Any, **kwargs: Any) -> None:
        if issubclass(category, UserWarning) and filename.startswith(own):
            note(f"note: {escape(str(message))}")
        else:
            otherwise(message, category, filename, *args, **kwargs)

    return show


def main() -> None:
    """Entry point of the ``polyml`` command."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not UTF-8 gets question marks for arrows, not a crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    warnings.showwarning = show_warning(warnings.showwarning)
    app()
