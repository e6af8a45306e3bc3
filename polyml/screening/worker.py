"""What a worker process of a screen does: it loads the models, screens chunks, and writes their shards."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from polyml.bundle import Bundle
from polyml.data.parquet_index import ParquetChunk, read_parquet_chunk
from polyml.data.readers import CandidateChunk
from polyml.errors import UserError
from polyml.screening.pool import WAITING, WHOLE, Marks
from polyml.screening.predictors import Predictors
from polyml.screening.screener import ChunkScreener
from polyml.screening.shards import ShardStore
from polyml.screening.spec import ScreenSpec
from polyml.screening.tasks import Task

if TYPE_CHECKING:
    from polyml.models.nn.serving import Address, Asker


@dataclass(frozen=True)
class _Duty:
    screener: ChunkScreener
    store: ShardStore
    asker: Asker | None = None


# What a worker process does, made once when it starts.
_worker: dict[str, _Duty] = {}


def load_screener(
    folders: Sequence[Path], quick_folders: Sequence[Path], spec: ScreenSpec, digests: Sequence[str] = ()
) -> ChunkScreener:
    """Load the models of a screen from their folders.

    Raises
    ------
    UserError
        What stands there has other digests than those that are given: a model may have been trained anew meanwhile.
    """
    quick = Predictors([Bundle.load(folder) for folder in quick_folders]) if quick_folders else None
    screener = ChunkScreener(Predictors([Bundle.load(folder) for folder in folders]), spec, quick)
    if digests and list(digests) != [bundle.digest for bundle in screener.bundles]:
        fix = "keep the models as they are until the end: screen into a new folder, or train into another one"
        raise UserError("a model was changed while candidates were screened with it", where="--model", fix=fix)
    return screener


def start_worker(
    folders: Sequence[Path],
    quick_folders: Sequence[Path],
    spec: ScreenSpec,
    store: ShardStore,
    digests: Sequence[str] = (),
    owner: Address | None = None,
    *,
    has_gpu: bool = False,
) -> None:
    """Load the models into this process and keep its libraries to one thread.

    Where another process owns a GPU, networks predict there; this one never opens it, unless it was given one for
    itself.
    """
    from polyml.workers import keep_to_threads

    if not has_gpu:
        os.environ |= {"POLYML_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    screener = load_screener(folders, quick_folders, spec, digests)
    keep_to_threads(1)
    gc.freeze()  # libraries and models stay: they need not be searched for garbage
    _worker["duty"] = _Duty(screener, store, None if owner is None else _ask_at(owner))


def _ask_at(owner: Address) -> Asker:
    from polyml.models.nn.predict import run_elsewhere
    from polyml.models.nn.serving import Asker

    asker = Asker(owner)
    run_elsewhere(asker)
    return asker


def _show_waiting(asker: Asker, marks: Marks) -> None:
    turns = cycle((WAITING, WHOLE))
    asker.waiting = lambda: marks.__setitem__(0, next(turns))


def screen_in_worker(task: Task, marks: Marks) -> int:
    """Screen one chunk with the process's own screener, write its shard, and return the number of its rows."""
    duty = _worker["duty"]
    if duty.asker is not None:
        _show_waiting(duty.asker, marks)
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
