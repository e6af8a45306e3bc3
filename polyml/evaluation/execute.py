"""Run the folds of a comparison, one after another or in a pool of processes."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator, Sequence

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from polyml.errors import UserError
from polyml.evaluation.folds import Failure, FoldTask, run_fold

Outcome = tuple[FoldTask, Failure | None]


def run_tasks(tasks: Sequence[FoldTask], jobs: int) -> Iterator[Outcome]:
    """Run folds and yield each as it ends; the numbers are the same for any number of jobs.

    A model that failed on one fold gets no further folds. Folds start in the order of ``tasks``, so the first failing
    fold of a model is the same however many run at once.

    Parameters
    ----------
    tasks : sequence of FoldTask
        Ordered by model, repeat and fold.
    jobs : int
        Processes; 1 runs in this process.

    Raises
    ------
    UserError
        If a worker process was killed (out of memory, as a rule) or a file cannot be written.
    """
    failed: set[str] = set()
    waiting = (task for task in tasks if task.model not in failed)
    outcomes = _run_here(waiting) if jobs == 1 or len(tasks) <= 1 else _run_in_pool(waiting, min(jobs, len(tasks)))
    for task, failure in outcomes:
        if failure is not None:
            failed.add(task.model)
        yield task, failure


def _run_here(tasks: Iterator[FoldTask]) -> Iterator[Outcome]:
    for task in tasks:
        yield task, run_fold(task)


def _run_in_pool(tasks: Iterator[FoldTask], jobs: int) -> Iterator[Outcome]:
    # One fold at a time is handed out, so that folds of a model that failed meanwhile are not started.
    pool = Parallel(
        n_jobs=jobs,
        backend="loky",
        return_as="generator_unordered",
        batch_size=1,
        pre_dispatch=jobs,
        initializer=_leave_interrupts_to_parent,
    )
    try:
        with warnings.catch_warnings():
            # loky replaces a worker that has grown; the folds it was given are run by the next.
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs", category=UserWarning)
            started: dict[int, FoldTask] = {}
            for number, failure in pool(delayed(_run_numbered)(n, _noted(started, n, t)) for n, t in enumerate(tasks)):
                yield started.pop(number), failure
    except TerminatedWorkerError as error:
        raise UserError(
            "a worker process was stopped from outside, most likely for lack of memory",
            fix="run again with one job; finished folds are kept",
        ) from error


def _noted(started: dict[int, FoldTask], number: int, task: FoldTask) -> FoldTask:
    # Workers send back a number: the rows of the task need not travel twice.
    started[number] = task
    return task


def _run_numbered(number: int, task: FoldTask) -> tuple[int, Failure | None]:
    return number, run_fold(task)


def _leave_interrupts_to_parent() -> None:
    # Ctrl-C reaches every process of the terminal; the parent alone decides, and stops its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
