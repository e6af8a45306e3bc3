"""Work in processes, and what it does to the interpreter."""

from __future__ import annotations

import gc

import pytest

from polyml.workers import collecting_later


def test_garbage_is_collected_again_after_the_work() -> None:
    with collecting_later():
        assert not gc.isenabled()
        with collecting_later():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ValueError, match="work"), collecting_later():
        raise ValueError("work")
    assert gc.isenabled()
