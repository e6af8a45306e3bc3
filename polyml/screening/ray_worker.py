"""What runs on a Ray cluster: the shelf of chunks under way, the tasks that read, and the actors that screen."""

from __future__ import annotations

import asyncio
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from polyml.data.parquet_index import ParquetChunk
from polyml.data.readers import CandidateChunk
from polyml.errors import PolymlError
from polyml.screening.local import Chunks, screen_in_processes
from polyml.screening.pool import WatchedPool
from polyml.screening.shards import ShardStore
from polyml.screening.shipping import Parcel, unpacked
from polyml.screening.spec import ScreenSpec
from polyml.screening.worker import loaded, screen_in_worker, start_worker

_BEGINNINGS = 8
"""Times that a chunk may be begun. Each time but the last, an actor or its node was lost meanwhile."""


class Shelf:
    """The chunks under way, on the node of the driver: what was handed out stays until it is done.

    It is an actor. A task that is done again because its node died finds its chunk here a second time, and places never
    change what they hold, so that Ray can repeat any part of the pipeline.
    """

    def __init__(self) -> None:
        self._chunks: dict[int, Any] = {}
        self._order: list[int] = []
        self._is_full = False
        self._floor = float("-inf")
        self._begun: Counter[int] = Counter()
        self._news = asyncio.Condition()

    async def put(self, number: int, chunk: CandidateChunk | ParquetChunk) -> None:
        """Add a chunk at the next place."""
        async with self._news:
            self._chunks[number] = chunk
            self._order.append(number)
            self._news.notify_all()

    async def end(self) -> None:
        """Say that no more chunks come."""
        async with self._news:
            self._is_full = True
            self._news.notify_all()

    async def number_at(self, place: int) -> int | None:
        """Wait for a place to be taken, and return the number of its chunk; None where no more chunks come."""
        async with self._news:
            await self._news.wait_for(lambda: place < len(self._order) or self._is_full)
        return self._order[place] if place < len(self._order) else None

    async def take(self, number: int) -> CandidateChunk | ParquetChunk | None:
        """Return a chunk; None where it is done."""
        return self._chunks.get(number)

    async def begin(self, number: int) -> tuple[int, float]:
        """Hear that an actor begins a chunk; return how often that has happened, and the score worth keeping now."""
        self._begun[number] += 1
        return self._begun[number], self._floor

    async def done(self, number: int, floor: float) -> None:
        """Forget a chunk; a better floor comes with it."""
        self._chunks.pop(number, None)
        self._begun.pop(number, None)
        self._floor = floor


def numbers(shelf: Any) -> Iterator[pa.Table]:
    """Yield the numbers of the chunks as they come, each in a table of its own: the first operator."""
    import ray

    place = 0
    while (number := ray.get(shelf.number_at.remote(place))) is not None:
        yield pa.table({"number": pa.array([number], pa.int64())})
        place += 1


def read(batch: pa.Table, shelf: Any) -> Iterator[pa.Table]:
    """Read chunks: the second operator, in many tasks at once."""
    import ray

    for number in batch["number"].to_pylist():
        content: Any
        try:
            chunk = ray.get(shelf.take.remote(number))
            content = None if chunk is None else loaded(chunk)
        except PolymlError as error:
            content = error
        cells = pa.array([pickle.dumps(content)], pa.large_binary())
        yield pa.table({"number": pa.array([number], pa.int64()), "chunk": cells})


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
