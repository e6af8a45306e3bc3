"""The chunks that are to be screened, and what is tried when one of them takes its process down.

A candidate that takes its process down twice, or that is not done within the time limit, is refused, alone, and its
chunk is screened without it. Where it cannot be told which one it was, parts of the chunk are tried, ever smaller.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

from polyml.data.chunks import CandidateChunk
from polyml.data.parquet_index import ParquetChunk
from polyml.errors import PolymlError
from polyml.screening.pool import WHOLE, Done, Lost, WatchedPool

Numbered = tuple[int, CandidateChunk | ParquetChunk]
_STRIKES = 2  # once may be a matter of the machine; the second time it is the candidate
_LOSSES = 8  # times that a chunk may take its process down without a candidate to blame
_READY = 2  # chunks that are read ahead


@dataclass(frozen=True)
class Task:
    """One chunk to be screened, or some of its rows to be tried.

    Attributes
    ----------
    number : int
    chunk : CandidateChunk or ParquetChunk
        Its rows, or where they lie.
    excluded : mapping of int to (str, str)
        Rows that must not be touched, with the reason and the message they are refused with.
    tried : (int, int), optional
        Only these rows are screened, and nothing is kept: to find the one that takes its process down.
    floor : float
    """

    number: int
    chunk: CandidateChunk | ParquetChunk
    excluded: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    tried: tuple[int, int] | None = None
    floor: float = float("-inf")


@dataclass
class _Case:
    """A chunk whose process was lost: what is known about it."""

    task: Task
    losses: int = 0
    suspects: dict[int, int] = field(default_factory=dict)
    trials: int = 0  # parts that are still to be tried
    culprits: dict[int, tuple[str, str]] = field(default_factory=dict)


class Chunks:
    """The chunks that are still to be screened, and those that come back because they took a process down.

    Parameters
    ----------
    numbered : iterator of (int, CandidateChunk or ParquetChunk)
    floor : callable
        Returns the score below which no candidate is of interest any more.
    time_limit : float
        Seconds, for the message.
    """

    def __init__(self, numbered: Iterator[Numbered], floor: Callable[[], float], time_limit: float) -> None:
        self._numbered, self._floor, self._limit = numbered, floor, time_limit
        self._ready: deque[Task] = deque()
        self._back: deque[Task] = deque()
        self._cases: dict[int, _Case] = {}
        self.check: Callable[[], None] = _all_is_well

    def take(self) -> Task | None:
        """Return the next task: what came back first."""
        if self._back:
            return self._back.popleft()
        if not self._ready:
            self._read()
        return replace(self._ready.popleft(), floor=self._floor()) if self._ready else None

    def prepare(self) -> None:
        """Read the next chunk while the processes are at work; ``check`` may end the run."""
        self.check()
        if len(self._ready) < _READY:
            self._read()

    def _read(self) -> None:
        item = next(self._numbered, None)
        if item is not None:
            self._ready.append(Task(*item))

    def done(self, task: Task) -> bool:
        """Hear that a task was finished; return whether it was a whole chunk."""
        if task.tried is None:
            self._cases.pop(task.number, None)
            return True
        self._end_trial(self._cases[task.number])
        return False

    def lost(self, news: Lost) -> None:
        """Hear that a task took its process down, or stood still, and decide what is tried next.

        Raises
        ------
        PolymlError
            It happens again and again, and no candidate is to blame.
        """
        task: Task = news.task
        case = self._cases.setdefault(task.number, _Case(replace(task, tried=None)))
        reason, known = self._words(news.code), len(case.culprits)
        if news.item != WHOLE:
            case.suspects[news.item] = case.suspects.get(news.item, 0) + 1
            if case.suspects[news.item] >= _STRIKES or news.code is None:
                case.culprits[news.item] = reason
        if task.tried is not None:
            if news.item == WHOLE:
                self._split(case, task.tried, reason)
                self._end_trial(case)
            else:
                self._back.append(replace(task, excluded={**task.excluded, **case.culprits}))
        elif len(case.culprits) > known:
            case.losses = 0
            self._again(case)
        else:
            self._lost_without_culprit(case, news, reason)

    def _lost_without_culprit(self, case: _Case, news: Lost, reason: tuple[str, str]) -> None:
        case.losses += 1
        chunk = case.task.chunk
        if case.losses > _LOSSES:
            last = chunk.first_row + len(chunk)
            what = f"worker processes die again and again in the rows {chunk.first_row + 1} to {last} of the input"
            raise PolymlError(f"{what} ({reason[1]}), perhaps for lack of memory: go on with fewer --jobs and --resume")
        if news.item != WHOLE or (case.losses < _STRIKES and news.code is not None):
            self._again(case)
        else:
            self._split(case, (0, len(chunk)), reason)

    def _again(self, case: _Case) -> None:
        case.task = replace(case.task, excluded={**case.task.excluded, **case.culprits})
        self._back.append(case.task)

    def _split(self, case: _Case, part: tuple[int, int], reason: tuple[str, str]) -> None:
        first, last = part
        if last - first == 1:
            case.culprits.setdefault(first, reason)
            return
        middle = (first + last) // 2
        for tried in ((first, middle), (middle, last)):
            case.trials += 1
            self._back.append(replace(case.task, tried=tried))

    def _end_trial(self, case: _Case) -> None:
        case.trials -= 1
        if case.trials == 0:
            case.losses = 0 if case.culprits.keys() - case.task.excluded.keys() else case.losses
            self._again(case)

    def _words(self, code: int | None) -> tuple[str, str]:
        if code is None:
            return "time limit", f"not done after {self._limit:g} s"
        try:
            how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        except ValueError:
            how = f"exit code {code}"
        return "crash", f"the process that worked on it died ({how})"


def _all_is_well() -> None:
    """Raise nothing."""


def screen_in_processes(chunks: Chunks, pool: WatchedPool) -> Generator[tuple[int, int], None, None]:
    """Screen in watched processes; yield the number and the length of each finished chunk, in any order."""
    with closing(pool.run(chunks)) as news:
        for item in news:
            if isinstance(item, Lost):
                chunks.lost(item)
            elif isinstance(item, Done) and chunks.done(item.task):
                yield item.task.number, item.result
