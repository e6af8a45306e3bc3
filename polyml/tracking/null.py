"""Tracking switched off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from polyml.tracking.tracker import Tracker


def make_tracker(experiment: str, *, enabled: bool = True, uri: str | None = None) -> Tracker:
    """Return a tracker, or one that records nothing when ``enabled`` is false."""
    return Tracker(experiment, uri=uri) if enabled else NullTracker(experiment)


class NullTracker(Tracker):
    """A tracker that records nothing and never imports mlflow."""

    @property
    def run_id(self) -> str:
        """Empty: there is no run."""
        return ""

    def has_run(self, run_id: str) -> bool:
        """Return True: there is nothing to look up, and nothing to refuse."""
        return True

    @contextmanager
    def parent_run(self, *args: Any, **kwargs: Any) -> Iterator[str]:
        """Run the block."""
        yield ""

    @contextmanager
    def child_run(self, *args: Any, **kwargs: Any) -> Iterator[str]:
        """Run the block."""
        yield ""

    def _nothing(self, *args: Any, **kwargs: Any) -> None:
        """Record nothing."""

    mark_failed = log_params = set_tags = log_metrics = log_history = log_dataset = _nothing
    log_figures = log_table = log_text = log_files = _nothing

    def log_bundle(self, *args: Any, **kwargs: Any) -> str:
        """Record nothing; there is no URI."""
        return ""
