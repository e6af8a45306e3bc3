"""Screen on one machine: chunks through watched processes, and nothing lost when one of them dies."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from polyml.interrupts import interrupts_of_rdkit
from polyml.screening.pool import WatchedPool
from polyml.screening.screener import ChunkScreener
from polyml.screening.shards import ShardStore
from polyml.screening.tasks import Chunks, Numbered, screen_in_processes
from polyml.screening.worker import loaded, screen_in_worker, start_worker
from polyml.workers import limited_threads

__all__ = ["Chunks", "Numbered", "make_pool", "screen_here", "screen_in_processes"]


def screen_here(
    numbered: Iterator[Numbered],
    store: ShardStore,
    screener: ChunkScreener,
    floor: Callable[[], float],
) -> Generator[tuple[int, int], None, None]:
    """Screen in this process, unwatched; yield the number and the length of each finished chunk."""
    with limited_threads(1), interrupts_of_rdkit() as check:
        for number, chunk in numbered:
            result = screener.screen(loaded(chunk), floor=floor())
            check()
            store.write(number, result)
            yield number, len(chunk)


def make_pool(jobs: int, arguments: tuple, limit: float) -> WatchedPool:
    """Return a pool whose processes load the models and write the shards."""
    return WatchedPool(jobs, start_worker, arguments, screen_in_worker, limit)
