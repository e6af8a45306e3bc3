"""Keep the numerical libraries of one process to a number of threads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def available_cores() -> int:
    """Count the cores this process may use (a container or ``taskset`` may grant fewer than the machine has)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Limit BLAS, OpenMP and torch to ``threads`` for the time of the context.

    The environment is set too, for libraries that a model imports only when it trains. torch is not imported for
    this: where it is not in use it costs seconds.
    """
    before = {name: os.environ.get(name) for name in _VARIABLES}
    torch_threads = _torch_threads()
    os.environ.update(dict.fromkeys(_VARIABLES, str(threads)))
    _set_torch_threads(threads)
    try:
        with threadpool_limits(limits=threads):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        _set_torch_threads(torch_threads or available_cores())


def _torch_threads() -> int | None:
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else None


def _set_torch_threads(threads: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
