"""The actors that screen on a Ray cluster: each watches a process, which alone loads what is heavy."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from polyml.data.readers import CandidateChunk
from polyml.errors import PolymlError
from polyml.screening.pool import Marks, WatchedPool, sendable
from polyml.screening.shards import ShardStore
from polyml.screening.shipping import Parcel, unpacked
from polyml.screening.tasks import Chunks, Task, screen_in_processes

_BEGINNINGS = 8
"""Times that a chunk may be begun. Each time but the last, an actor or its node was lost meanwhile."""


@dataclass(frozen=True)
class Duty:
    """What an actor needs: the models, what to do, and where finished chunks go.

    Attributes
    ----------
    models, quick : list
        References to the :class:`Parcel` of each bundle.
    run : str
        Name of the run; see :func:`polyml.screening.shipping.unpacked`.
    spec : bytes
        The pickled :class:`polyml.screening.spec.ScreenSpec`: only the process that screens has use for it.
    digests : list of str
        What the models must be; see :func:`polyml.screening.worker.load_screener`.
    time_limit : float
        Seconds for a candidate.
    store : ShardStore
    """

    models: Sequence[Any]
    quick: Sequence[Any]
    run: str
    spec: bytes
    digests: Sequence[str]
    time_limit: float
    store: ShardStore


class Screener:
    """An actor that screens chunks in a process of its own, which it watches: the third operator.

    A candidate that takes the process down, or holds it up, costs its own row, as on one machine. The models are loaded
    once, by that process.
    """

    def __init__(self, duty: Duty, shelf: Any) -> None:
        self._duty, self._shelf = duty, shelf
        self._pool = self._make_pool()
        self._pool.start()  # it loads the models while the first chunks are read

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Screen chunks and write their shards; yield the number and the length of each, or the error that ended it."""
        for number, content in zip(batch["number"].to_pylist(), batch["chunk"].to_pylist(), strict=True):
            rows, failure = 0, b""
            try:
                rows = self._screen(number, pickle.loads(content))
            except Exception as error:  # it is raised by the driver, who knows what to say
                failure = pickle.dumps(sendable(error))
            cells = {"number": [number], "rows": [rows]}
            yield pa.table({**cells, "failure": pa.array([failure], pa.large_binary())})

    def __del__(self) -> None:
        with suppress(Exception):
            self._pool.close()

    def _screen(self, number: int, chunk: CandidateChunk | Exception | None) -> int:
        import ray

        if isinstance(chunk, Exception):
            raise chunk
        if chunk is None:
            return 0
        times, floor = ray.get(self._shelf.begin.remote(number))
        if times > _BEGINNINGS:
            last = chunk.first_row + len(chunk)
            what = f"nodes or workers die again and again in the rows {chunk.first_row + 1} to {last} of the input"
            raise PolymlError(f"{what}, perhaps for lack of memory: go on with fewer --jobs and --resume")
        tasks = Chunks(iter([(number, chunk)]), lambda: floor, self._duty.time_limit)
        return sum(rows for _, rows in screen_in_processes(tasks, self._pool))

    def _make_pool(self) -> WatchedPool:
        import ray

        duty = self._duty
        parcels: list[Parcel] = ray.get([*duty.models, *duty.quick])
        folders = unpacked(parcels, duty.run)
        first = len(duty.models)
        given = (folders[:first], folders[first:], duty.spec, duty.store, duty.digests, bool(ray.get_gpu_ids()))
        # A process that is spawned runs the main module first, where there is a file of it: here that would be Ray's.
        vars(sys.modules["__main__"]).pop("__file__", None)
        return WatchedPool(1, _start, given, _screen, duty.time_limit, keep=True)


def _start(
    folders: list[Path],
    quick_folders: list[Path],
    spec: bytes,
    store: ShardStore,
    digests: Sequence[str],
    has_gpu: bool,
) -> None:
    from polyml.screening.worker import start_worker

    start_worker(folders, quick_folders, pickle.loads(spec), store, digests, has_gpu=has_gpu)


def _screen(task: Task, marks: Marks) -> int:
    from polyml.screening.worker import screen_in_worker

    return screen_in_worker(task, marks)
