"""Ctrl-C and the libraries that get in its way."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rdkit import rdBase


class _Listener(logging.Handler):
    """Hears RDKit say that it took a Ctrl-C for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = False

    def emit(self, record: logging.LogRecord) -> None:
        """Note the message; it is written elsewhere."""
        self.heard |= "interrupted" in record.getMessage()


@contextmanager
def interrupts_of_rdkit() -> Iterator[Callable[[], None]]:
    """Hand on a Ctrl-C that comes while RDKit searches a substructure.

    RDKit takes the signal then, ends the search with what it has found so far, and Python hears nothing of it. What is
    yielded is to be called after each piece of work, before its result is used; it raises KeyboardInterrupt if any
    search behind the result was cut short.
    """
    listener, logger = _Listener(), logging.getLogger("rdkit")
    rdBase.LogToPythonLogger()
    logger.addHandler(listener)

    def check() -> None:
        if listener.heard:
            raise KeyboardInterrupt

    try:
        yield check
    finally:
        logger.removeHandler(listener)
        rdBase.LogToCppStreams()


@contextmanager
def deaf_children() -> Iterator[None]:
    """Let processes that are started meanwhile ignore Ctrl-C, from their first line on; their parent hears the next."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
