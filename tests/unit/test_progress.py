"""Bars, and the lines that stand for them where nobody watches."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from polyml import progress


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    before = progress.is_quiet()
    progress.set_quiet(False)
    yield
    progress.set_quiet(before)


def test_away_from_a_terminal_long_work_prints_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, 30.0, 61.0, 100.0, 185.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(times))
    assert list(progress.track("abcd", "comparing")) == list("abcd")
    assert capsys.readouterr().err == "comparing: 2 of 4 after 1 min\ncomparing: 4 of 4 after 3 min\n"


def test_of_what_has_no_known_end_the_number_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    with progress.progress_bar("screening") as bar:
        bar.advance(bar.task_ids[0], 5000)
    assert capsys.readouterr().err == "screening: 5000 after 0 min\n"


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    progress.set_quiet(True)
    list(progress.track("abcd", "comparing"))
    assert capsys.readouterr().err == ""
