"""Progress bars on standard error; an occasional line where nobody watches, nothing when asked."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from time import monotonic
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")
LINE_EVERY = 60.0
"""Seconds between the lines that stand for a bar where standard error is no terminal: a log shows signs of life."""
_state = {"quiet": False}


def set_quiet(quiet: bool) -> None:
    """Switch all progress bars off (``--quiet``) or on."""
    _state["quiet"] = quiet


def is_quiet() -> bool:
    """Return whether progress bars are off."""
    return _state["quiet"]


class _Bar(Progress):
    """A bar on a terminal, elsewhere a line a minute."""

    def __init__(self, *columns: Any, **options: Any) -> None:
        super().__init__(*columns, **options)
        self._begun = self._told = monotonic()

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Count what was done; say so where it is time for a line."""
        super().advance(task_id, advance)
        now = monotonic()
        if self.console.is_terminal or is_quiet() or now - self._told < LINE_EVERY:
            return
        self._told, task = now, self.tasks[self.task_ids.index(task_id)]
        of = f" of {task.total:.0f}" if task.total is not None else ""
        minutes = f"{(now - self._begun) / 60:.0f} min"
        print(f"{task.description}: {task.completed:.0f}{of} after {minutes}", file=sys.stderr, flush=True)


@contextmanager
def progress_bar(description: str, total: int | None = None) -> Iterator[Progress]:
    """Open a bar with one task; call ``bar.advance(bar.task_ids[0], n)`` as rows are done."""
    console = Console(file=sys.stderr)
    bar = _Bar(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=_state["quiet"] or not console.is_terminal or total == 0,
    )
    with bar:
        bar.add_task(description, total=total)
        yield bar


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield ``items`` under a progress bar.

    Examples
    --------
    >>> list(track([1, 2], "counting"))
    [1, 2]
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress_bar(description, total) as bar:
        for item in items:
            yield item
            bar.advance(bar.task_ids[0])
