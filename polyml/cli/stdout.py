"""Rows on standard output, for the next program in a pipe: UTF-8 whatever the terminal, and no error when it stops."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def until_closed(write: Callable[[], object]) -> None:
    """Run something that writes to standard output; a reader that stops early (``| head``) is no error."""
    try:
        write()
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes standard output again at exit; give it a place where that succeeds.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_text(text: str) -> None:
    """Write text now, as bytes in UTF-8: a file that is redirected must not depend on the locale."""
    if not hasattr(sys.stdout, "buffer"):
        sys.stdout.write(text)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", errors="backslashreplace"))
    sys.stdout.buffer.flush()


def table_writer() -> Callable[[pd.DataFrame], None]:
    """Return a function that writes tables as CSV, one below the other under one header."""
    begun: list[bool] = []

    def write(frame: pd.DataFrame) -> None:
        write_text(frame.to_csv(index=False, header=not begun, lineterminator="\n"))
        begun.append(True)

    return write
