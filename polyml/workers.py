"""Work in processes, each kept to a number of threads."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from polyml.errors import UserError
from polyml.interrupts import deaf_children
from polyml.settings import available_cores

T = TypeVar("T")
A = TypeVar("A")
_IN_FLIGHT = 4  # arguments handed out ahead for each process
_LOST = "a worker process was stopped from outside, most likely for lack of memory"
_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


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


_kept: list[threadpool_limits] = []


def keep_to_threads(threads: int) -> None:
    """Limit the libraries as :func:`limited_threads` does, for the rest of this process."""
    os.environ.update(dict.fromkeys(_VARIABLES, str(threads)))
    _kept.append(threadpool_limits(limits=threads))
    _set_torch_threads(threads)


def _torch_threads() -> int | None:
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else None


def _set_torch_threads(threads: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


@contextmanager
def collecting_later() -> Iterator[None]:
    """Put off the search for cyclic garbage: work that makes and keeps many objects spends a third of its time on it.

    Every few hundred new objects Python looks through all that are alive, parsed units among them. What is left over
    is found after the context.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def call_in_processes(
    call: Callable[[A], T], arguments: Iterator[A], jobs: int, *, fix: str
) -> Generator[T, None, None]:
    """Call in processes, and yield what is returned as it comes, in any order.

    One argument at a time is handed out, and taken from the iterator only then. Ctrl-C is left to this process.

    Parameters
    ----------
    call : callable
        It can be pickled, as the arguments can.
    arguments : iterator
    jobs : int
        Processes.
    fix : str
        What to do when a process was lost, for the message.

    Raises
    ------
    UserError
        A process was stopped from outside.
    """
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    pool = Parallel(
        n_jobs=jobs,
        backend="loky",
        return_as="generator_unordered",
        batch_size=1,
        pre_dispatch=jobs,
        initializer=leave_signals_to_parent,
    )
    try:
        with warnings.catch_warnings():
            # loky replaces a worker that has grown; what it was given is done by the next.
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs", category=UserWarning)
            # Who stops listening early has a reason.
            warnings.filterwarnings("ignore", message=".*still being processed", category=UserWarning)
            yield from pool(delayed(call)(argument) for argument in arguments)
    except TerminatedWorkerError as error:
        raise UserError(_LOST, fix=fix) from error


def leave_signals_to_parent() -> None:
    """Ignore Ctrl-C in this worker process, and end when its parent is gone.

    Ctrl-C reaches every process of a terminal; the parent alone decides, and stops its workers. The end of a parent
    that was killed is told by the kernel on Linux, whatever the worker is at: code in C++ that never returns keeps
    Python from running a thread. Elsewhere, and in the processes of joblib, a thread looks for it. On Windows a worker
    ends when it has finished what it is at.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A pipe in which nothing is ever written: the parent holds the other end, and it closes with the parent.
    lifeline = getattr(multiprocessing.parent_process(), "sentinel", None)
    if sys.platform == "linux" and lifeline is not None:
        _end_with(lifeline)
    elif sys.platform != "win32":
        threading.Thread(target=_end_without, args=(os.getppid(),), daemon=True).start()


def _end_with(lifeline: int) -> None:
    import fcntl
    import select

    signal.signal(signal.SIGIO, signal.SIG_DFL)  # which is to end
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # it was gone before
        os._exit(1)


def _end_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def call_in_order(
    call: Callable[[A], T],
    arguments: Iterable[A],
    jobs: int,
    *,
    start: Callable[..., None],
    given: tuple[Any, ...],
    fix: str,
) -> Generator[T, None, None]:
    """Call in processes, and yield what is returned in the order of the arguments.

    A few arguments for each process are taken ahead and no more, so that who listens slowly holds up the work and does
    not gather results. Close the generator to stop the processes. Ctrl-C is left to this process.

    Parameters
    ----------
    call : callable
        A function of a module; so is ``start``.
    arguments : iterable
    jobs : int
        Processes.
    start : callable
        Called once in each process, before the work.
    given : tuple
        Its arguments; they can be pickled.
    fix : str
        What to do when a process was lost, for the message.

    Raises
    ------
    UserError
        A process was stopped from outside.
    """
    # Not forked: a forked child of a process with running OpenMP threads can hang.
    context, rest, before = (
        multiprocessing.get_context("spawn"),
        iter(arguments),
        set(multiprocessing.active_children()),
    )
    with ExitStack() as stack:
        pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(start, given))
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        try:
            with deaf_children():  # they start with the first arguments
                waiting = deque(pool.submit(call, item) for item in islice(rest, _IN_FLIGHT * jobs))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(call, item) for item in islice(rest, 1))
                yield result
        except (KeyboardInterrupt, GeneratorExit):
            # What they are at is not wanted any more, so nothing is lost by not waiting for it.
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            raise
        except BrokenProcessPool as error:
            raise UserError(_LOST, fix=fix) from error


def _start(start: Callable[..., None], given: tuple[Any, ...]) -> None:
    leave_signals_to_parent()
    keep_to_threads(1)
    start(*given)
