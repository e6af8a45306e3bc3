"""Work in processes, and what it does to the interpreter."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker may end later")
@pytest.mark.parametrize("wait", [0.0, 2.0])
def test_no_worker_outlives_a_parent_that_is_killed(tmp_path: Path, wait: float, kill: Callable) -> None:
    """Not one that had just been started either, and that nobody will ever tell anything."""
    (tmp_path / "run.py").write_text(
        textwrap.dedent("""
            import time
            from polyml.workers import call_in_order

            def nothing():
                pass

            if __name__ == "__main__":
                list(call_in_order(time.sleep, [3600, 3600], 2, start=nothing, given=(), fix=""))
        """)
    )
    process = subprocess.Popen([sys.executable, tmp_path / "run.py"])
    while not psutil.Process(process.pid).children():
        time.sleep(0.01)
    time.sleep(wait)
    started, alive = kill(process)
    assert started
    assert not alive
