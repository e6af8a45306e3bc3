"""Run the folds of a comparison on a Ray cluster: each model on each fold is a task, and the data travels once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polyml.cluster import Cluster
from polyml.data.files import whole_file
from polyml.errors import PolymlError, UserError
from polyml.evaluation.one_fold import Failure, FoldTask, run_fold

_RETRIES = 3  # times that a fold is begun anew when its process or its node is lost
_Places = tuple[np.ndarray, np.ndarray]  # of the rows that train and test, among all rows


class Rows:
    """The rows of many folds, each once.

    Parameters
    ----------
    tasks : sequence of FoldTask
        Those of one repeat and fold have the same rows, whatever the model.
    """

    def __init__(self, tasks: Sequence[FoldTask]) -> None:
        known: dict[tuple[str, str, bytes], int] = {}
        self._places: dict[tuple[int, int], _Places] = {}
        for task in tasks:
            if (task.repeat, task.fold) not in self._places:
                parts = ((task.train, task.y_train), (task.test, task.y_test))
                train, test = (_places_of(frame, y, known) for frame, y in parts)
                self._places[task.repeat, task.fold] = train, test
        first = tasks[0]
        self.y = np.frombuffer(b"".join(y for *_, y in known), dtype=first.y_train.dtype)
        self.y = self.y.reshape(len(known), first.y_train.shape[1])
        frame = pd.DataFrame({"key": [key for key, *_ in known], "psmiles": [text for _, text, _ in known]})
        self.frame = frame.astype(first.train.dtypes.to_dict())

    def without(self, task: FoldTask) -> tuple[FoldTask, _Places]:
        """Return a task without its rows, and where they are."""
        empty, y = task.train.iloc[:0], task.y_train[:0]
        return replace(task, train=empty, test=empty, y_train=y, y_test=y), self._places[task.repeat, task.fold]


def with_rows(task: FoldTask, frame: pd.DataFrame, y: np.ndarray, places: _Places) -> FoldTask:
    """Return a task with its rows again."""
    (train, y_train), (test, y_test) = ((frame.iloc[part].reset_index(drop=True), y[part]) for part in places)
    return replace(task, train=train, test=test, y_train=y_train, y_test=y_test)


def _places_of(frame: pd.DataFrame, y: np.ndarray, known: dict[tuple[str, str, bytes], int]) -> np.ndarray:
    rows = zip(frame["key"], frame["psmiles"], np.ascontiguousarray(y), strict=True)
    return np.array([known.setdefault((key, text, row.tobytes()), len(known)) for key, text, row in rows], dtype=int)


def run_on_cluster(
    tasks: Iterator[FoldTask], rows: Rows, cluster: Cluster, slots: int, on_gpus: frozenset[str]
) -> Iterator[tuple[FoldTask, Failure | None]]:
    """Run folds and yield each as it ends; its file is written here.

    Parameters
    ----------
    tasks : iterator of FoldTask
        A task is taken when there is room for it.
    rows : Rows
    cluster : Cluster
    slots : int
        Folds under way at a time.
    on_gpus : frozenset of str
        Labels of the models that get a GPU, if the cluster has some.

    Raises
    ------
    UserError
        A fold was lost again and again, or a file cannot be written.
    """
    import ray

    data = [ray.put(rows.frame), ray.put(rows.y)]
    has_gpus = any(node.gpus >= 1 for node in cluster.nodes)
    call: Any = ray.remote(max_retries=_RETRIES)(_run_there)
    running: dict[Any, FoldTask] = {}
    while True:
        while len(running) < slots and (task := next(tasks, None)) is not None:
            claim = {"num_cpus": task.threads, "num_gpus": 1 if has_gpus and task.model in on_gpus else 0}
            running[call.options(**claim).remote(*rows.without(task), *data)] = task
        if not running:
            return
        for done in ray.wait(list(running), num_returns=1)[0]:
            task = running.pop(done)
            yield task, _kept(task, _received(ray, done))


def _run_there(task: FoldTask, places: _Places, frame: pd.DataFrame, y: np.ndarray) -> tuple[Failure | None, bytes]:
    """Run a fold on the machine that got it, and return its file."""
    with tempfile.TemporaryDirectory(prefix="polyml-") as folder:
        path = Path(folder) / task.path.name
        failure = run_fold(replace(with_rows(task, frame, y, places), path=path))
        return failure, b"" if failure is not None else path.read_bytes()


def _received(ray: Any, done: Any) -> tuple[Failure | None, bytes]:
    try:
        failure, content = ray.get(done)
        return failure, content
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, PolymlError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        what = f"a fold was lost {_RETRIES + 1} times with its worker, most likely for lack of memory"
        raise UserError(what, fix="run again with fewer --jobs; finished folds are kept") from error


def _kept(task: FoldTask, outcome: tuple[Failure | None, bytes]) -> Failure | None:
    failure, content = outcome
    if failure is None:
        with whole_file(task.path) as temporary:
            temporary.write_bytes(content)
    return failure
