"""The light end of the pipeline on a Ray cluster: the shelf of chunks under way, and the tasks that read them."""

from __future__ import annotations

import asyncio
import pickle
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from polyml.data.blocks import Stamp
from polyml.data.chunks import CandidateChunk
from polyml.data.parquet_index import ParquetChunk, read_parquet_chunk
from polyml.data.places import DataFile
from polyml.errors import PolymlError, UserError
from polyml.screening.pool import sendable


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
            content = read_parquet_chunk(chunk) if isinstance(chunk, ParquetChunk) else chunk
        except PolymlError as error:  # goes on to the driver in place of the chunk
            content = sendable(error)
        cells = pa.array([pickle.dumps(content)], pa.large_binary())
        yield pa.table({"number": pa.array([number], pa.int64()), "chunk": cells})


def have_files(files: list[tuple[DataFile, Stamp]]) -> bool:
    """Tell whether this machine has files of these names that look the same."""
    try:
        return all(Stamp.of(path) == stamp for path, stamp in files)
    except UserError:
        return False
