"""Screen a library of candidates of any size: stream, predict, judge, rank.

Chunks go through a pool of processes, a few at a time, and each finished one is written to disk; memory does not grow
with the number of candidates. The ranked list is made from the finished chunks alone, so a run that was interrupted and
resumed gives the same bytes as one that was not.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.bundle import Bundle
from polyml.bundle_format import saved_digest
from polyml.data.catalog import data_path
from polyml.data.files import whole_file, write_json
from polyml.data.readers import CandidateChunk, cell_text, count_rows, read_candidates
from polyml.errors import PolymlError, UserError
from polyml.interrupts import deaf_children, interrupts_of_rdkit
from polyml.progress import progress_bar
from polyml.screening.outputs import robeson_figures, write_outputs
from polyml.screening.shards import ShardStore, source_fingerprint
from polyml.screening.spec import Objective, ScreenSpec
from polyml.screening.worker import ChunkResult, ChunkScreener, screen_in_worker, start_worker
from polyml.settings import default_jobs
from polyml.versions import installed_versions
from polyml.workers import limited_threads

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

__all__ = ["Objective", "ScreenSpec", "ScreenSummary", "screen"]

_IN_FLIGHT = 2  # chunks under way for each process: enough to keep it busy, few enough to keep memory small


@dataclass(frozen=True)
class ScreenSummary:
    """What came of a screen.

    Attributes
    ----------
    read, valid, rejected : int
        Candidates in the file; those that are repeat units the model can read; the others, all in ``rejects.csv``.
    shortlisted : int
        Valid candidates that the quick model passed on (all of them without one).
    passing : int
        Shortlisted candidates that meet every constraint.
    known, duplicate : int
        Passing candidates left out as polymers of the training set, or as another spelling of a better row, among
        those that came up while the ranked list was filled from the best score down.
    no_value : int
        Passing candidates without a score: the objective is not defined for what was predicted.
    ranked : int
        Rows of ``ranked.csv``.
    outside : int
        Of these, the candidates outside the applicability domain of the model.
    resumed : int
        Candidates whose chunks were finished by an earlier run.
    seconds, per_second : float
        Wall time of this run, and candidates predicted in it a second.
    """

    read: int
    valid: int
    rejected: int
    shortlisted: int
    passing: int
    known: int
    duplicate: int
    no_value: int
    ranked: int
    outside: int
    resumed: int = 0
    seconds: float = 0.0
    per_second: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        return asdict(self)


def screen(
    source: str | Path,
    bundle: Bundle | str | Path,
    spec: ScreenSpec,
    folder: str | Path,
    *,
    quick: Bundle | str | Path | None = None,
    jobs: int | None = 1,
    resume: bool = False,
    tracker: Any = None,
    smiles_column: str | None = None,
) -> ScreenSummary:
    """Rank the candidates of a file with a trained model.

    Parameters
    ----------
    source : str or Path
        CSV, TSV, .smi, Parquet, ``-`` for standard input, or the name of an embedded set.
    bundle : Bundle, str or Path
        The model, or its folder.
    spec : ScreenSpec
        What to derive, demand and rank by.
    folder : str or Path
        Where ``ranked.csv``, ``rejects.csv``, ``summary.json``, the Robeson plots and the finished chunks go.
    quick : Bundle, str or Path, optional
        A quicker model of the same properties. What fails ``spec.prefilter`` by its predictions is discarded without
        asking the model proper, which then ranks the rest.
    jobs : int, optional
        Processes; None takes one a core, 1 works in this process. More than one needs the usual
        ``if __name__ == "__main__":`` in a script.
    resume : bool
        Go on with the finished chunks in ``folder``.
    tracker : Tracker, optional
        An open tracker; gets the funnel as metrics, the tables and the figures.
    smiles_column : str, optional
        Column of the repeat units when its name does not tell.

    Raises
    ------
    UserError
        For a bad spec (before anything is read), input, or folder, and for a changed model, input or spec on resume.
    KeyboardInterrupt
        On Ctrl-C; the message says how to resume.
    """
    started = time.perf_counter()
    if spec.prefilter and quick is None:
        raise UserError(
            "a prefilter needs a quick model", where="prefilter", fix="name one, or leave the prefilter out"
        )
    folder, jobs = Path(folder), jobs or default_jobs()
    with ExitStack() as stack:
        loaded, bundle_folder = stack.enter_context(_bundle_on_disk(bundle))
        first, quick_folder = stack.enter_context(_bundle_on_disk(quick)) if quick is not None else (None, None)
        models = _Models(ChunkScreener(loaded, spec, first), bundle_folder, quick_folder)
        plan = models.screener.plan
        store = ShardStore(folder)
        chunks = read_candidates(source, smiles_column, chunk_size=spec.chunk_size)
        manifest = _manifest(source, loaded, first, spec, smiles_column, resume=resume)
        store.open(manifest, resume=resume)
        worked = _Progress()
        try:
            with progress_bar("screening", count_rows(source) if str(source) != "-" else None) as bar:
                for number, chunk, result in _results(chunks, store, models, jobs):
                    if result is not None:
                        store.write(number, _frame(chunk, result), result.counts, result.rejects)
                    worked.add(number, len(chunk), is_new=result is not None)
                    bar.advance(bar.task_ids[0], len(chunk))
            with limited_threads(jobs):
                outcome = write_outputs(store, worked.chunks, loaded, plan, folder)
        except KeyboardInterrupt as stop:
            done = f"{worked.rows:,} candidates are done in {folder}"
            raise KeyboardInterrupt(f"{done}; go on with the same command and --resume") from stop
        except UserError:
            store.discard_if_empty()
            raise
    figures = robeson_figures(outcome, loaded)
    seconds = time.perf_counter() - started
    summary = ScreenSummary(
        **outcome.counts,
        resumed=worked.resumed,
        seconds=round(seconds, 3),
        per_second=round((worked.rows - worked.resumed) / seconds, 1),
    )
    _report(summary, figures, folder, tracker)
    return summary


@dataclass
class _Progress:
    chunks: int = 0
    rows: int = 0
    resumed: int = 0

    def add(self, number: int, rows: int, *, is_new: bool) -> None:
        self.chunks = number + 1
        self.rows += rows
        self.resumed += 0 if is_new else rows


@contextmanager
def _bundle_on_disk(bundle: Bundle | str | Path) -> Iterator[tuple[Bundle, Path]]:
    """Give the model, and a folder from which the processes load it."""
    if not isinstance(bundle, Bundle):
        bundle = Bundle.load(bundle)
    if bundle.folder is not None and saved_digest(bundle.folder) == bundle.digest:
        yield bundle, bundle.folder
        return
    with tempfile.TemporaryDirectory(prefix="polyml-") as temporary:
        known = bundle.digest
        folder = bundle.save(Path(temporary) / "bundle")
        # An archive has times in it, so a second save of one model has another digest; the first one names the model.
        bundle.digest = known or bundle.digest
        yield bundle, folder


@dataclass(frozen=True)
class _Models:
    """A screener for this process, and the folders from which others load the same models."""

    screener: ChunkScreener
    folder: Path
    quick_folder: Path | None


def _manifest(
    source: str | Path,
    bundle: Bundle,
    quick: Bundle | None,
    spec: ScreenSpec,
    smiles_column: str | None,
    *,
    resume: bool,
) -> dict[str, Any]:
    if resume and str(source) == "-":
        raise UserError("standard input cannot be read a second time", where="--resume", fix="screen a file")
    return {
        "input": {**source_fingerprint(data_path(source)), "smiles_column": smiles_column},
        "model": bundle.digest,
        "quick model": quick.digest if quick else None,
        **spec.model_dump(mode="json"),
        "version of polyml or RDKit": {name: installed_versions()[name] for name in ("polyml", "rdkit")},
    }


_Result = tuple[int, CandidateChunk, ChunkResult | None]


def _results(chunks: Iterator[CandidateChunk], store: ShardStore, models: _Models, jobs: int) -> Iterator[_Result]:
    """Yield every chunk with its result, in order; None where a finished shard is on disk."""
    if jobs == 1:
        with limited_threads(1), interrupts_of_rdkit() as check:
            for number, chunk in enumerate(chunks):
                done = store.is_done(number)
                result = None if done else models.screener.screen(chunk.lines, chunk.psmiles, chunk.faults)
                check()
                yield number, chunk, result
        return
    with closing(_pooled(chunks, store, models, jobs)) as results:
        yield from results


def _pooled(
    chunks: Iterator[CandidateChunk], store: ShardStore, models: _Models, jobs: int
) -> Generator[_Result, None, None]:
    import multiprocessing

    # Not forked: a forked child of a process with running OpenMP threads can hang.
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        given = (models.folder, models.quick_folder, models.screener.plan.spec)
        pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=start_worker, initargs=given)
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        before = set(multiprocessing.active_children())
        numbered = enumerate(chunks)

        def submit(number: int, chunk: CandidateChunk) -> tuple[int, CandidateChunk, Future[ChunkResult] | None]:
            if store.is_done(number):
                return number, chunk, None
            return number, chunk, pool.submit(screen_in_worker, chunk.lines, chunk.psmiles, chunk.faults)

        try:
            with deaf_children():  # they start with the first chunk
                waiting = deque(submit(*item) for item in islice(numbered, _IN_FLIGHT * jobs))
            while waiting:
                number, chunk, future = waiting.popleft()
                result = future.result() if future is not None else None
                waiting.extend(submit(*item) for item in islice(numbered, 1))
                yield number, chunk, result
        except KeyboardInterrupt:
            # What they are at is not kept, so nothing is lost by not waiting for it.
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            raise
        except BrokenProcessPool as error:
            raise PolymlError(
                "a worker process died, perhaps for lack of memory; run again with --resume and fewer --jobs"
            ) from error


def _frame(chunk: CandidateChunk, result: ChunkResult) -> pd.DataFrame:
    """Put the kept candidates and their input columns into a table; column names carry what they are."""
    import pandas as pd

    rows = result.rows
    columns: dict[str, Any] = {
        "row": [chunk.first_row + row for row in rows],
        "line": [chunk.lines[row] for row in rows],
        "psmiles": [chunk.psmiles[row] for row in rows],
        "key": result.keys,
    }
    columns |= {f"value:{name}": values for name, values in result.columns.items()}
    columns |= {f"input:{name}": [cell_text(cells[row]) for row in rows] for name, cells in chunk.columns.items()}
    types = {name: "str" for name in columns if name in ("psmiles", "key") or name.startswith("input:")}
    return pd.DataFrame(columns).astype({"row": "int64", "line": "int64", **types})


def _report(summary: ScreenSummary, figures: dict[str, Figure], folder: Path, tracker: Any) -> None:
    """Write the summary and the plots, and log all that a reader of the run wants."""
    from polyml.report.html import figures_page

    write_json(folder / "summary.json", summary.to_dict())
    if figures:
        with whole_file(folder / "robeson.html") as temporary:
            temporary.write_text(figures_page("Robeson plots", figures), encoding="utf-8")
    if tracker is not None:
        tracker.log_metrics({f"screening/{name}": float(value) for name, value in summary.to_dict().items()})
        names = ("ranked.csv", "rejects.csv", "summary.json", "robeson.html")
        tracker.log_files([folder / name for name in names if (folder / name).is_file()], "screening")
