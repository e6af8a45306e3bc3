"""Processes that are watched: one that dies or stands still is replaced, and its task comes back with what is known.

A worker tells the item it is at through shared memory (:class:`Marks`), so that whoever hands out the tasks learns
which item took the process down with it. Every worker has a pipe of its own: nothing is shared that a dying process
could leave locked.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from polyml.errors import PolymlError
from polyml.interrupts import deaf_children
from polyml.workers import leave_signals_to_parent

WHOLE = -1
"""Mark of a worker that is at all items of its task at once."""
WAITING = -3
"""Mark of a worker that waits for another process; who goes back and forth between this and WHOLE stands not still."""
_IDLE = -2
_TICK = 0.5  # seconds between two looks at workers that say nothing
_PAUSE = 4 * _TICK  # seconds between two looks that tell that this process did not run meanwhile
_PATIENCE = 10  # to start, and for the first task, a worker has this many times the limit of a single item;
_SLOWEST = 5  # later a step on all items at once may take this many times the slowest task so far


_HEAVY = (
    "polyml.screening.worker",
    "pandas",
    "sklearn.ensemble",
    "sklearn.svm",
    "torch",
    "torch_geometric",
    "polyml.models.nn.module",
    "polyml.models.nn.serving",
    "lightgbm",
)


class Marks(Protocol):
    """Where a worker notes the item it is at; ``marks[0] = 17``."""

    def __setitem__(self, index: int, item: int) -> None:
        """Note an item, or :data:`WHOLE`."""


class NoMarks:
    """Marks that nobody reads, for work in this process."""

    def __setitem__(self, index: int, item: int) -> None:
        """Note nothing."""


@dataclass(frozen=True)
class Done:
    """A task that was finished, and what it returned."""

    task: Any
    result: Any


@dataclass(frozen=True)
class Lost:
    """A task whose process died or stood still.

    Attributes
    ----------
    task : object
    item : int
        The item it was at, or :data:`WHOLE`.
    code : int, optional
        Exit code of the process, the negative number of a signal; None where it was ended for standing still.
    """

    task: Any
    item: int
    code: int | None


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    marks: Any
    task: Any = None
    is_ready: bool = False  # has started, so that it listens: what is sent sooner could block this process
    is_new: bool = True
    given: float = 0.0
    seen: int = _IDLE
    since: float = 0.0


class WatchedPool:
    """A number of worker processes that call one function on tasks.

    Parameters
    ----------
    jobs : int
        Processes.
    start : callable
        Called once in every process with ``arguments``, before its first task.
    arguments : tuple
    call : callable
        ``call(task, marks)``: what is done with a task. All three can be pickled.
    limit : float
        Seconds that a worker may stay at one item before it counts as standing still.
    keep : bool
        Whether the workers live on after a run, for the next one; :meth:`close` ends them. They are children of this
        process then, each started anew, so that whoever ends this process finds them.

    Examples
    --------
    See ``polyml.screening.local``; more than one process needs ``if __name__ == "__main__":`` in a script.
    """

    def __init__(
        self,
        jobs: int,
        start: Callable[..., None],
        arguments: tuple[Any, ...],
        call: Callable[..., Any],
        limit: float,
        *,
        keep: bool = False,
    ) -> None:
        self._jobs, self._given, self._limit, self._keep = jobs, (start, arguments, call), limit, keep
        self._context = multiprocessing.get_context("spawn") if keep else process_context()
        self._workers: list[_Worker] = []
        self._slowest, self._unborn = 0.0, 0
        self._looked = time.monotonic()

    def start(self) -> None:
        """Start the processes that there are not yet; what they need for it they do while this process goes on."""
        with deaf_children():
            self._workers += [self._hire() for _ in range(self._jobs - len(self._workers))]

    def run(self, tasks: TaskSource) -> Generator[Done | Lost, None, None]:
        """Yield what became of every task, in any order; a lost one may be given to ``tasks`` again.

        Raises
        ------
        PolymlError
            Workers die before they take a task, or the function raised it.
        """
        is_kept = False
        try:
            self.start()
            while True:
                for worker in self._workers:
                    if worker.task is None:
                        self._give(worker, tasks)
                busy = [worker for worker in self._workers if worker.task is not None]
                if not busy:
                    is_kept = self._keep
                    return
                tasks.prepare()
                yield from self._listen(busy)
        finally:
            if not is_kept:
                self.close()

    def _hire(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        marks = self._context.RawArray("q", [_IDLE])
        process = self._context.Process(target=_serve, args=(theirs, marks, *self._given), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours, marks)

    def _give(self, worker: _Worker, tasks: TaskSource) -> None:
        task = tasks.take()
        if task is None:
            return
        worker.task, worker.seen, worker.given = task, _IDLE, time.monotonic()
        worker.since = worker.given
        worker.marks[0] = _IDLE
        if worker.is_ready:
            self._send(worker)

    def _send(self, worker: _Worker) -> None:
        with suppress(OSError):  # it is dead already, which is seen next
            worker.connection.send(worker.task)

    def _listen(self, busy: list[_Worker]) -> Iterator[Done | Lost]:
        """Wait a moment for news of the workers, and look whether those that say nothing get on."""
        told = set(wait([worker.connection for worker in busy], timeout=_TICK))
        self._make_good_a_pause()
        for worker in busy:
            if worker.connection in told:
                news = self._hear(worker)
                if news is not None:
                    yield news
            elif self._stands_still(worker):
                item, code = self._replace(worker)  # a code, where it has died by itself and nobody heard of it yet
                yield Lost(worker.task, item, code)

    def _make_good_a_pause(self) -> None:
        """Charge no worker with the time in which this process was stopped: they were too (Ctrl-Z, a debugger)."""
        now = time.monotonic()
        pause = now - self._looked
        if pause > _PAUSE:
            for worker in self._workers:
                worker.since += pause
                worker.given += pause
        self._looked = now

    def _hear(self, worker: _Worker) -> Done | Lost | None:
        """Return what became of the task of a worker; None where it only tells that it has started."""
        task = worker.task
        try:
            kind, result = worker.connection.recv()
        except (EOFError, OSError):
            item, code = self._replace(worker)
            return Lost(task, item, code)
        if kind == "error":
            raise result
        if kind == "ready":
            worker.is_ready = True
            self._send(worker)
            return None
        self._slowest = max(self._slowest, time.monotonic() - worker.given)
        worker.task, worker.is_new, self._unborn = None, False, 0
        return Done(task, result)

    def _stands_still(self, worker: _Worker) -> bool:
        item, now = worker.marks[0], time.monotonic()
        if item != worker.seen:
            worker.seen, worker.since = item, now
        allowed = self._limit
        if item < 0:
            is_first = not self._slowest or (worker.is_new and item == _IDLE)
            allowed = max(_PATIENCE * self._limit if is_first else self._limit, _SLOWEST * self._slowest)
        return now - worker.since > allowed

    def _replace(self, worker: _Worker) -> tuple[int, int | None]:
        """End a worker and put another in its place; return the item it was at and its exit code."""
        worker.process.join(timeout=0.2)
        code = worker.process.exitcode
        _end(worker)
        item = worker.marks[0]
        if worker.is_new and item == _IDLE:
            self._unborn += 1
            if self._unborn > 2 * self._jobs:
                what = f"worker processes die before they start to work (exit code {code}), perhaps for lack of memory"
                raise PolymlError(f"{what}; try fewer --jobs")
        with deaf_children():
            self._workers[self._workers.index(worker)] = self._hire()
        return (item if item >= 0 else WHOLE), code

    def close(self) -> None:
        """End all workers. What they are at is not kept, so nothing is lost by not waiting for it."""
        for worker in self._workers:
            _end(worker)
        self._workers = []


def process_context(libraries: Sequence[str] = ()) -> Any:
    """Return how processes are started: from a clean server that has read the heavy libraries once, where that is safe.

    Never forked from this process: a forked child of a process with running OpenMP threads can hang. The server reads
    the ``libraries`` and what this process has read, as far as it is known to be heavy.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["__main__", __name__, *(name for name in _HEAVY if name in sys.modules), *libraries]
    )
    return context


class TaskSource(Protocol):
    """Where tasks come from."""

    def take(self) -> Any:
        """Return the next task, or None where there is none now."""

    def prepare(self) -> None:
        """Make the next task ready; called while the workers work."""


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.connection.close()


def _serve(
    connection: Connection, marks: Any, start: Callable[..., None], arguments: tuple[Any, ...], call: Callable[..., Any]
) -> None:
    """Work in a process until its parent is gone."""
    leave_signals_to_parent()
    with closing(connection), suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            start(*arguments)
            connection.send(("ready", None))
            while True:
                task = connection.recv()
                result = call(task, marks)
                marks[0] = _IDLE
                connection.send(("done", result))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:
            connection.send(("error", sendable(error)))


def sendable(error: Exception) -> Exception:
    """Return the error itself where a process can be sent it, else its words."""
    import pickle

    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return PolymlError(f"{type(error).__name__}: {error}")
    return error
