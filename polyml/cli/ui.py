"""``polyml ui``: browse the runs."""

from __future__ import annotations

from typing import Annotated

import typer

from polyml.cli import common

EXAMPLES = common.examples("polyml ui", "polyml ui --port 5001 --no-browser")


def ui(
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port on this machine.")] = 5000,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Open no browser.")] = False,
) -> None:
    """Open the MLflow UI on 127.0.0.1 with the store of this folder, or of MLFLOW_TRACKING_URI."""
    from polyml.tracking import serve_ui

    serve_ui(port=port, open_browser=not no_browser)
