"""Screen a library of candidates of any size: stream, predict, judge, rank.

Chunks go through a pool of watched processes, a few at a time, and each finished one is written to disk; memory does
not grow with the number of candidates. The ranked list is made from the finished chunks alone, so a run that was
interrupted and resumed gives the same bytes as one that was not.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.bundle import VERDICT, Bundle
from polyml.bundle_format import saved_digest
from polyml.cluster import Engine, chosen_cluster
from polyml.data.files import write_json
from polyml.data.parquet_index import ParquetChunk
from polyml.data.places import Outputs
from polyml.data.readers import CandidateChunk, count_rows
from polyml.data.sources import Source
from polyml.errors import UserError
from polyml.progress import progress_bar
from polyml.screening.best import BestList, FrontList
from polyml.screening.duplicates import Copies, counted_once
from polyml.screening.gpu import screen_watched, with_steady_batches
from polyml.screening.histogram import StreamedHistogram
from polyml.screening.inputs import check_streams, chunks_of, manifest_of
from polyml.screening.local import Chunks, Numbered, screen_here
from polyml.screening.outputs import write_predictions, write_ranked, write_rejects, write_shortlist
from polyml.screening.predictors import Predictors, as_list
from polyml.screening.ray_engine import RayScreen, wants_gpu
from polyml.screening.recall import recall_of
from polyml.screening.report import log_report, write_report
from polyml.screening.screener import REFUSED_FOR, ChunkScreener
from polyml.screening.shards import ShardStore
from polyml.screening.spec import PROBABILITY, Objective, ScreenSpec
from polyml.screening.warm import warm_up
from polyml.settings import default_jobs
from polyml.workers import limited_threads

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Objective", "ScreenSpec", "ScreenSummary", "screen"]

Model = Bundle | str | Path


@dataclass(frozen=True)
class ScreenSummary:
    """What came of a screen.

    Attributes
    ----------
    read, valid, rejected : int
        Candidates in the file; those that are repeat units the model can read; the others, all in ``rejects.csv``.
    refused : dict of str to int
        How many of the others there are for each reason, most first.
    shortlisted : int
        Valid candidates that the quick model passed on (all of them without one).
    passing : int
        Shortlisted candidates that meet every constraint.
    constraints : dict of str to int
        How many of them are left after each constraint, in the order in which they are looked at: what needs no more
        than the mean predictions comes first, the probability to meet all of them last.
    known, duplicate : int
        Passing candidates left out as polymers of the training set, or as another spelling of a better row, among
        those that came up while the ranked list was filled from the best score down.
    no_value : int
        Passing candidates without a score: the objective is not defined for what was predicted.
    ranked : int
        Rows of the ranked list.
    outside, edge : int
        Of these, the candidates outside the applicability domain of the model, and at its edge.
    front : int, optional
        Candidates on the Pareto front, where that is asked for.
    new, new_inside, new_inside_passing : int, optional
        Where all candidates are kept: those that no model was trained on, of these the ones inside the domain, and of
        these the ones that meet every constraint.
    shortlist : int, optional
        Rows of ``shortlist.csv``, where one is asked for.
    prefilter : dict, optional
        Behind a quick model, what its prefilter costs: candidates ``discarded``, how many of them were ``checked`` by
        the model proper, and the estimated recall of ``passing`` and of ``ranked`` candidates with its 95 % interval.
    distinct, distinct_passing : int, optional
        Different polymers among the valid candidates, and among those that meet every constraint; None where the spec
        does not ask for ``unique``.
    resumed : int
        Candidates whose chunks were finished by an earlier run.
    seconds, per_second : float
        Wall time of this run, and candidates predicted in it a second.
    """

    read: int
    valid: int
    rejected: int
    refused: dict[str, int]
    shortlisted: int
    passing: int
    constraints: dict[str, int]
    known: int
    duplicate: int
    no_value: int
    ranked: int
    outside: int
    edge: int
    front: int | None = None
    new: int | None = None
    new_inside: int | None = None
    new_inside_passing: int | None = None
    shortlist: int | None = None
    prefilter: dict[str, Any] | None = None
    distinct: int | None = None
    distinct_passing: int | None = None
    resumed: int = 0
    seconds: float = 0.0
    per_second: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        return asdict(self)


def screen(
    source: Source,
    bundle: Model | Sequence[Model],
    spec: ScreenSpec,
    folder: str | Path,
    *,
    quick: Model | Sequence[Model] | None = None,
    jobs: int | None = 1,
    watched: bool = False,
    resume: bool = False,
    tracker: Any = None,
    smiles_column: str | None = None,
    engine: Engine = "local",
    address: str | None = None,
) -> ScreenSummary:
    """Rank the candidates of a file with trained models.

    Parameters
    ----------
    source : str, Path, or list or tuple of these
        Files, folders, patterns, ``-`` for standard input, or the name of an embedded set; see
        :func:`polyml.data.readers.read_candidates`.
    bundle : Bundle, str or Path, or a sequence of these
        The model, or its folder; or several models of different properties.
    spec : ScreenSpec
        What to derive, demand and rank by.
    folder : str or Path
        Where the ranked list, ``rejects.csv``, ``summary.json``, ``report.html``, the Robeson plots and the finished
        chunks go; a shortlist and all predictions too, where the spec asks for them.
    quick : Bundle, str or Path, or a sequence of these, optional
        Quicker models of some of the properties. What fails ``spec.prefilter`` by their predictions is discarded
        without asking the models proper, which then rank the rest.
    jobs : int, optional
        Processes; None takes one a core, 1 works in this process. More than one needs the usual
        ``if __name__ == "__main__":`` in a script.
    watched : bool
        Work in another process even if ``jobs`` is 1. A candidate that crashes or holds up the process that works on it
        is refused then, as it always is with more than one; in this process it would end the run.
    resume : bool
        Go on with the finished chunks in ``folder``.
    tracker : Tracker, optional
        An open tracker; gets the funnel as metrics, the tables and the figures.
    smiles_column : str, optional
        Column of the repeat units when its name does not tell.
    engine : {"local", "ray"}
        Where the chunks are screened: on this machine, or on a Ray cluster; the results are the same. ``jobs`` are the
        workers on the cluster then, None for all that it has room for.
    address : str, optional
        The Ray cluster; see :func:`polyml.cluster.ray_cluster`.

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
    if resume:
        check_streams(source)
    asked, jobs, outputs = jobs, jobs or default_jobs(), Outputs.of(folder)
    if engine == "local" and (watched or jobs > 1):
        warm_up(item for item in (*as_list(bundle), *as_list(quick)) if not isinstance(item, Bundle))
    with ExitStack() as stack:
        cluster = stack.enter_context(chosen_cluster(engine, address, asked))
        models, folders, digests = stack.enter_context(_on_disk(as_list(bundle)))
        first, quick_folders, quick_digests = stack.enter_context(_on_disk(as_list(quick)))
        screener = ChunkScreener(models, spec, first if quick is not None else None)
        run = _Run(ShardStore(folder), screener, folders, quick_folders, [*digests, *quick_digests], jobs)
        run.watched = watched or jobs > 1
        if cluster is not None:
            on_gpus = wants_gpu(screener, cluster)
            run.on_ray = RayScreen(cluster, folders, quick_folders, run.digests, spec, run.store, asked, on_gpus)
        chunks = chunks_of(source, smiles_column, spec.chunk_size)
        manifest = manifest_of(source, screener, smiles_column)
        stack.enter_context(run.store.open(manifest, resume=resume))
        try:
            run.work(chunks, count_rows(source))
            with limited_threads(1):  # sums of other orders would give other digits
                ranked, counts = run.write(outputs.folder)
        except KeyboardInterrupt as stop:
            done = f"{run.rows:,} candidates are done in {folder}"
            raise KeyboardInterrupt(f"{done}; go on with the same command and --resume") from stop
        except UserError:
            run.store.discard_if_empty()
            raise
        title = f"Screen of {source if isinstance(source, str | Path) else f'{len(source)} files'}"
        report = outputs.folder / "report.html"
        write_report(report, ranked, models, screener.plan, counts, run.histograms, title, shortlist=run.shortlist)
    seconds = time.perf_counter() - started
    summary = ScreenSummary(
        **counts,
        resumed=run.resumed,
        seconds=round(seconds, 3),
        per_second=round((run.rows - run.resumed) / seconds, 1),
    )
    write_json(outputs.folder / "summary.json", summary.to_dict())
    if tracker is not None:
        log_report(tracker, outputs.folder, summary.to_dict())
    outputs.deliver()
    return summary


@dataclass
class _Run:
    """A screen under way: how far it is, and the best candidates so far."""

    store: ShardStore
    screener: ChunkScreener
    folders: list[Path]
    quick_folders: list[Path]
    digests: list[str]
    jobs: int
    watched: bool = False
    chunks: int = 0
    rows: int = 0
    resumed: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    on_ray: RayScreen | None = None
    checked: list[tuple[float, str]] = field(default_factory=list)
    shortlist: pd.DataFrame | None = None
    best: BestList | FrontList = field(init=False)
    histograms: list[StreamedHistogram] = field(init=False)

    def __post_init__(self) -> None:
        plan = self.screener.plan
        is_front = plan.spec.rank_by == "pareto"
        self.best = FrontList(plan.maximize, plan.spec.top) if is_front else BestList(plan.spec.top)
        self.histograms = self.screener.histograms()
        self._next, self._early = 0, set[int]()

    def work(self, chunks: Iterable[CandidateChunk | ParquetChunk], total: int | None) -> None:
        """Screen all chunks that are not finished yet."""
        with progress_bar("screening", total) as bar:

            def tell(rows: int) -> None:
                self.rows += rows
                bar.advance(bar.task_ids[0], rows)

            with closing(self._results(self._unfinished(chunks, tell))) as results:
                for number, rows in results:
                    self._finish(number)
                    tell(rows)

    def _unfinished(self, chunks: Iterable[CandidateChunk | ParquetChunk], tell: Any) -> Iterator[Numbered]:
        finished = self.store.finished()
        for number, chunk in enumerate(chunks):
            self.chunks = number + 1
            # Read before it is its turn too: what the disk has damaged is made again.
            if number in finished and self.store.read(number) is not None:
                self._finish(number)
                self.resumed += len(chunk)
                tell(len(chunk))
            else:
                yield number, chunk

    def _finish(self, number: int) -> None:
        """Take in a finished chunk as soon as all before it are: what is counted must not depend on who is quick."""
        self._early.add(number)
        while self._next in self._early:
            self._early.remove(self._next)
            self._take_in(self._next)
            self._next += 1

    def _take_in(self, number: int) -> None:
        """Count a finished chunk and rank its candidates."""
        shard = self.store.read(number)
        if shard is None:
            what, fix = "a finished chunk is gone or damaged", "run again with --resume"
            raise UserError(what, where=f"{self.store.where}, chunk {number}", fix=fix)
        self.counts.update(shard.counts)
        self.best.add(shard.table)
        self.checked = [item for item in (*self.checked, *shard.checked) if item[0] >= self.best.floor]
        for histogram, part in zip(self.histograms, shard.histograms, strict=True):
            histogram.merge(StreamedHistogram.from_dict(part))

    def _results(self, numbered: Iterator[Numbered]) -> Any:
        spec = self.screener.plan.spec
        if self.on_ray is not None:
            return self.on_ray.run(numbered, lambda: self.best.floor)
        models = [bundle.model for bundle in self.screener.bundles]
        if not self.watched:
            here = screen_here(numbered, self.store, self.screener, lambda: self.best.floor)
            return with_steady_batches(here, models)
        given = (self.folders, self.quick_folders, spec, self.store, self.digests)
        tasks = Chunks(numbered, lambda: self.best.floor, spec.time_limit)
        return screen_watched(tasks, models, self.jobs, given, spec.time_limit)

    def write(self, folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Write the tables; return the ranked list and what was counted."""
        with counted_once(self.store, self.chunks, self.counts, self.screener.plan.spec) as once:
            ranked, counts = self._write(folder, once.copies)
        return ranked, {**counts, **once.counts}

    def _write(self, folder: Path, copies: Copies | None) -> tuple[pd.DataFrame, dict[str, int]]:
        plan = self.screener.plan
        best, passed_over = self.best.result()
        ranked = write_ranked(best, self.screener.models, plan, folder / f"ranked.{plan.spec.format}")
        write_rejects(self.store, self.chunks, folder / "rejects.csv")
        if plan.spec.keep == "all":
            write_predictions(self.store, self.chunks, folder / f"predictions.{plan.spec.format}", copies)
        counts: dict[str, Any] = dict(self.counts) | passed_over
        counts |= {"rejected": counts["read"] - counts["valid"], "ranked": len(ranked)}
        counts |= {name: int((ranked[VERDICT] == name).sum()) for name in ("outside", "edge")}
        (folder / "shortlist.csv").unlink(missing_ok=True)  # of an earlier run that asked for another
        if plan.spec.shortlist:
            self.shortlist = write_shortlist(ranked, plan.spec, folder / "shortlist.csv")
            counts["shortlist"] = len(self.shortlist)
        if plan.spec.prefilter:
            counts["prefilter"] = recall_of(counts, self.checked, ranked, plan.spec)
        counts["constraints"] = {item.text: counts.pop(name) for name, item in plan.steps.items()}
        if plan.spec.min_probability is not None:
            counts["constraints"][f"{PROBABILITY} >= {plan.spec.min_probability:g}"] = counts["passing"]
        reasons = [name for name in counts if name.startswith(REFUSED_FOR)]
        refused = {name.removeprefix(REFUSED_FOR): counts.pop(name) for name in reasons}
        counts["refused"] = dict(sorted(refused.items(), key=lambda item: (-item[1], item[0])))
        return ranked, {name: value for name, value in counts.items() if not name.startswith("checked")}


@contextmanager
def _on_disk(models: list[Model]) -> Iterator[tuple[Predictors, list[Path], list[str]]]:
    """Give the models, the folders from which the processes load them, and the digests of what stands there."""
    with ExitStack() as stack:
        found = [stack.enter_context(_bundle_on_disk(model)) for model in models]
        yield Predictors([item[0] for item in found]), [item[1] for item in found], [item[2] for item in found]


@contextmanager
def _bundle_on_disk(bundle: Model) -> Iterator[tuple[Bundle, Path, str]]:
    if not isinstance(bundle, Bundle):
        bundle = Bundle.load(bundle)
    if bundle.folder is not None and saved_digest(bundle.folder) == bundle.digest:
        yield bundle, bundle.folder, bundle.digest
        return
    with tempfile.TemporaryDirectory(prefix="polyml-") as temporary:
        known = bundle.digest
        folder = bundle.save(Path(temporary) / "bundle")
        # An archive has times in it, so a second save of one model has another digest; the first one names the model.
        saved, bundle.digest = bundle.digest, known or bundle.digest
        yield bundle, folder, saved
