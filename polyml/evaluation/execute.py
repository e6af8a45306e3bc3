"""Run the folds of a comparison: one after another, in a pool of processes, or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from polyml.cluster import Cluster
from polyml.evaluation.one_fold import Failure, FoldTask, run_fold
from polyml.evaluation.ray_execute import Rows, run_on_cluster
from polyml.workers import call_in_processes

Outcome = tuple[FoldTask, Failure | None]


def run_tasks(
    tasks: Sequence[FoldTask], jobs: int, *, cluster: Cluster | None = None, on_gpus: frozenset[str] = frozenset()
) -> Iterator[Outcome]:
    """Run folds and yield each as it ends; the numbers are the same for any number of jobs.

    A model that failed on one fold gets no further folds. Folds start in the order of ``tasks``, so the first failing
    fold of a model is the same however many run at once.

    Parameters
    ----------
    tasks : sequence of FoldTask
        Ordered by model, repeat and fold.
    jobs : int
        Processes; 1 runs in this process. On a cluster, the folds under way at a time.
    cluster : Cluster, optional
        Where to run them, in place of this machine.
    on_gpus : frozenset of str
        Models that get a GPU of the cluster, if it has some.

    Raises
    ------
    UserError
        If a worker process was killed (out of memory, as a rule) or a file cannot be written.
    """
    failed: set[str] = set()
    waiting = (task for task in tasks if task.model not in failed)
    if cluster is not None and tasks:
        outcomes = run_on_cluster(waiting, Rows(tasks), cluster, jobs, on_gpus)
    elif jobs == 1 or len(tasks) <= 1:
        outcomes = _run_here(waiting)
    else:
        outcomes = _run_in_pool(waiting, min(jobs, len(tasks)))
    for task, failure in outcomes:
        if failure is not None:
            failed.add(task.model)
        yield task, failure


def _run_here(tasks: Iterator[FoldTask]) -> Iterator[Outcome]:
    for task in tasks:
        yield task, run_fold(task)


def _run_in_pool(tasks: Iterator[FoldTask], jobs: int) -> Iterator[Outcome]:
    # One fold at a time is handed out, so that folds of a model that failed meanwhile are not started.
    started: dict[int, FoldTask] = {}
    numbered = ((number, _noted(started, number, task)) for number, task in enumerate(tasks))
    fix = "run again with one job; finished folds are kept"
    for number, failure in call_in_processes(_run_numbered, numbered, jobs, fix=fix):
        yield started.pop(number), failure


def _noted(started: dict[int, FoldTask], number: int, task: FoldTask) -> FoldTask:
    # Workers send back a number: the rows of the task need not travel twice.
    started[number] = task
    return task


def _run_numbered(numbered: tuple[int, FoldTask]) -> tuple[int, Failure | None]:
    number, task = numbered
    return number, run_fold(task)
