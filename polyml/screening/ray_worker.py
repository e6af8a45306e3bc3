"""The actors that screen on a Ray cluster."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from polyml.data.readers import CandidateChunk
from polyml.errors import PolymlError
from polyml.screening.local import Chunks, screen_in_processes
from polyml.screening.pool import WatchedPool
from polyml.screening.shards import ShardStore
from polyml.screening.shipping import Parcel, unpacked
from polyml.screening.spec import ScreenSpec
from polyml.screening.worker import screen_in_worker, start_worker

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
    spec : ScreenSpec
    store : ShardStore
    """

    models: Sequence[Any]
    quick: Sequence[Any]
    run: str
    spec: ScreenSpec
    store: ShardStore


class Screener:
    """An actor that screens chunks in a process of its own, which it watches: the third operator.

    A candidate that takes the process down, or holds it up, costs its own row, as on one machine. The models are loaded
    once, by that process.
    """

    def __init__(self, duty: Duty, shelf: Any) -> None:
        self._duty, self._shelf = duty, shelf
        self._pool: WatchedPool | None = None

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Screen chunks and write their shards; yield the number and the length of each, or the error that ended it."""
        for number, content in zip(batch["number"].to_pylist(), batch["chunk"].to_pylist(), strict=True):
            rows, failure = 0, b""
            try:
                rows = self._screen(number, pickle.loads(content))
            except Exception as error:  # it is raised by the driver, who knows what to say
                failure = pickle.dumps(_sendable(error))
            cells = {"number": [number], "rows": [rows]}
            yield pa.table({**cells, "failure": pa.array([failure], pa.large_binary())})

    def __del__(self) -> None:
        if self._pool is not None:
            with suppress(Exception):
                self._pool.close()

    def _screen(self, number: int, chunk: CandidateChunk | PolymlError | None) -> int:
        import ray

        if isinstance(chunk, PolymlError):
            raise chunk
        if chunk is None:
            return 0
        times, floor = ray.get(self._shelf.begin.remote(number))
        if times > _BEGINNINGS:
            last = chunk.first_row + len(chunk)
            what = f"nodes or workers die again and again in the rows {chunk.first_row + 1} to {last} of the input"
            raise PolymlError(f"{what}, perhaps for lack of memory: go on with fewer --jobs and --resume")
        if self._pool is None:
            self._pool = self._start()
        tasks = Chunks(iter([(number, chunk)]), lambda: floor, self._duty.spec.time_limit)
        return sum(rows for _, rows in screen_in_processes(tasks, self._pool))

    def _start(self) -> WatchedPool:
        import ray

        duty = self._duty
        parcels: list[Parcel] = ray.get([*duty.models, *duty.quick])
        folders = unpacked(parcels, duty.run)
        first = len(duty.models)
        given = (folders[:first], folders[first:], duty.spec, duty.store)
        return WatchedPool(1, start_worker, given, screen_in_worker, duty.spec.time_limit, keep=True)


def _sendable(error: Exception) -> Exception:
    """Return an error of polyml itself, of any other its words."""
    return error if isinstance(error, PolymlError) else PolymlError(f"{type(error).__name__}: {error}")
