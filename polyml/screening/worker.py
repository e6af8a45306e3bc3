"""What a worker process of a screen does: it loads the models, screens chunks, and writes their shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polyml.bundle import Bundle
from polyml.data.parquet_index import ParquetChunk, read_parquet_chunk
from polyml.data.readers import CandidateChunk
from polyml.screening.pool import Marks
from polyml.screening.predictors import Predictors
from polyml.screening.screener import ChunkScreener
from polyml.screening.shards import ShardStore
from polyml.screening.spec import ScreenSpec
from polyml.screening.tasks import Task


@dataclass(frozen=True)
class _Duty:
    screener: ChunkScreener
    store: ShardStore


# What a worker process does, made once when it starts.
_worker: dict[str, _Duty] = {}


def load_screener(folders: Sequence[Path], quick_folders: Sequence[Path], spec: ScreenSpec) -> ChunkScreener:
    """Load the models of a screen from their folders."""
    quick = Predictors([Bundle.load(folder) for folder in quick_folders]) if quick_folders else None
    return ChunkScreener(Predictors([Bundle.load(folder) for folder in folders]), spec, quick)


def start_worker(folders: Sequence[Path], quick_folders: Sequence[Path], spec: ScreenSpec, store: ShardStore) -> None:
    """Load the models into this process and keep its libraries to one thread."""
    from polyml.workers import keep_to_threads

    screener = load_screener(folders, quick_folders, spec)
    keep_to_threads(1)
    _worker["duty"] = _Duty(screener, store)


def screen_in_worker(task: Task, marks: Marks) -> int:
    """Screen one chunk with the process's own screener, write its shard, and return the number of its rows."""
    duty = _worker["duty"]
    chunk = loaded(task.chunk)
    excluded = dict(task.excluded)
    if task.tried is not None:
        first, last = task.tried
        excluded |= {row: ("", "") for row in range(len(chunk)) if not first <= row < last}
    result = duty.screener.screen(chunk, excluded=excluded, floor=task.floor, marks=marks)
    if task.tried is None:
        duty.store.write(task.number, result)
    return len(chunk)


def loaded(chunk: CandidateChunk | ParquetChunk) -> CandidateChunk:
    """Return a chunk itself, read from its file where it says only where it lies."""
    return chunk if isinstance(chunk, CandidateChunk) else read_parquet_chunk(chunk)
