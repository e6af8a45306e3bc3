"""What the command line says when something goes wrong, and the exit code it ends with."""

from __future__ import annotations

import errno
from dataclasses import dataclass

import typer
from rich.markup import escape

from polyml.errors import PolymlError, UserError

_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission denied",
    errno.EFBIG: "the file is larger than the system allows",
    errno.EPERM: "operation not permitted",
}


@dataclass(frozen=True)
class Failure:
    """Lines to print on standard error (Rich markup), and the exit code."""

    lines: tuple[str, ...]
    code: int


def explain(error: BaseException) -> Failure | None:
    """Turn an exception into a message without traceback; None for what Typer handles itself."""
    if isinstance(error, KeyboardInterrupt):
        detail = f": {error}" if str(error) else ""  # whoever keeps finished work says how to go on
        return Failure((f"[yellow]stopped{escape(detail)}[/]",), 130)
    if isinstance(error, UserError):
        return Failure((f"[bold red]error:[/] {escape(str(error))}",), 2)
    if isinstance(error, PolymlError):
        return Failure((f"[bold red]error:[/] {escape(str(error))}",), 1)
    if isinstance(error, typer.Exit | typer.Abort | BrokenPipeError) or _is_usage(error):
        return None
    if type(error).__name__ == "InvalidParameterError":  # scikit-learn's; it is not imported for this
        fix = "  → polyml models KEY lists the parameters of a model with their defaults"
        return Failure((f"[bold red]error:[/] {escape(str(error))}", fix), 2)
    if isinstance(error, OSError) and error.errno in _DISK:
        place = f"{error.filename}: " if error.filename else ""
        what = escape(f"{place}{_DISK[error.errno]}")
        return Failure((f"[bold red]error:[/] {what}", "  → choose another folder with -o, or free some space"), 2)
    if isinstance(error, MemoryError):
        return Failure(("[bold red]error:[/] out of memory", "  → use fewer processes (--jobs 1) or smaller chunks"), 1)
    kind = escape(f"{type(error).__name__}: {error}")
    return Failure(
        (f"[bold red]unexpected error:[/] {kind}", "  → to see where: polyml --debug VERB ... (please report it)"), 1
    )


def _is_usage(error: BaseException) -> bool:
    # Typer brings its own copy of click in some versions, so the class is known by its name.
    return any(kind.__name__ in ("ClickException", "Exit", "Abort") for kind in type(error).__mro__)
