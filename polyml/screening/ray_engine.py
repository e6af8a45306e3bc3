"""Screen on a Ray cluster: chunks through a pipeline of Ray Data, into the same shards as on one machine.

Three operators: the numbers of the chunks, one stream; tasks that read them; actors that screen them and write the
shards. A window of chunks is under way at a time, so that the memory is bounded whatever the length of the input.
"""

from __future__ import annotations

import logging
import pickle
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyml.cluster import Cluster, brief, worker_share
from polyml.data.blocks import Stamp
from polyml.data.parquet_index import ParquetChunk
from polyml.data.places import DataFile
from polyml.errors import PolymlError, UserError
from polyml.models.inspect import uses_gpu
from polyml.screening.ray_shelf import Shelf, have_files, numbers, read
from polyml.screening.ray_worker import Duty, Screener
from polyml.screening.screener import ChunkScreener
from polyml.screening.shards import ShardStore
from polyml.screening.shipping import Parcel, remove_unpacked
from polyml.screening.spec import ScreenSpec
from polyml.screening.tasks import Numbered
from polyml.screening.worker import loaded

_READ_SHARE, _NUMBER_SHARE = 0.05, 0.01  # CPUs that the small tasks claim: a worker leaves a tenth of each
_SERVED = 4  # actors that one task at a time reads for: it takes a hundredth of their time, more where files are far
_WINDOW = 4  # chunks under way for each actor: one at work, one waiting, two being read or on the way


@dataclass(frozen=True)
class RayScreen:
    """A screen on a cluster.

    Attributes
    ----------
    cluster : Cluster
    folders, quick_folders : list of Path
        The bundles, on this machine.
    digests : list of str
        Of what was loaded from them; see :func:`polyml.screening.worker.load_screener`.
    spec : ScreenSpec
    store : ShardStore
        It must be the same place on every node.
    jobs : int, optional
        Actors at most; as many as the cluster has room for if not given.
    on_gpus : bool
        Whether each actor gets a GPU.
    """

    cluster: Cluster
    folders: list[Path]
    quick_folders: list[Path]
    digests: list[str]
    spec: ScreenSpec
    store: ShardStore
    jobs: int | None = None
    on_gpus: bool = False

    def run(self, numbered: Iterator[Numbered], floor: Callable[[], float]) -> Generator[tuple[int, int], None, None]:
        """Screen chunks; yield the number and the length of each finished one, in any order.

        Raises
        ------
        UserError
            The cluster has no room for an actor, a node does not see the output folder, or what the workers raise.
        PolymlError
            Nodes or workers are lost again and again.
        """
        slots = self.cluster.slots(on_gpus=self.on_gpus)
        slots = min(slots, self.jobs or slots)
        self._check_nodes()
        run = uuid.uuid4().hex
        try:
            with closing(self._results(self._readable(numbered), floor, slots, run)) as results:
                yield from results
        finally:
            with suppress(Exception):  # the cluster may be gone; the folders are temporary anyway
                self.cluster.ask_nodes(remove_unpacked, run, seconds=10.0)

    def _check_nodes(self) -> None:
        """Check that every node sees the shards: each writes its own."""
        ours = self.store.mark()
        for node, theirs in self.cluster.ask_nodes(ShardStore.mark, self.store).items():
            if theirs != ours:
                fix = "name a folder on a disk that all nodes share, or a URL such as s3://bucket/run, with -o"
                raise UserError(f"node {node.name} does not see the output folder", where=self.store.where, fix=fix)

    def _readable(self, numbered: Iterator[Numbered]) -> Iterator[Numbered]:
        """Leave reading to the nodes where all of them see the files, else read here."""
        known: dict[tuple[DataFile, Stamp], bool] = {}
        for number, chunk in numbered:
            if isinstance(chunk, ParquetChunk):
                places = {(part.path, part.stamp) for part in chunk.parts}
                new = places - known.keys()
                if new:
                    answers = self.cluster.ask_nodes(have_files, list(new)).values()
                    known |= dict.fromkeys(new, all(answers))
                if not all(known[place] for place in places):
                    chunk = loaded(chunk)
            yield number, chunk

    def _results(
        self, numbered: Iterator[Numbered], floor: Callable[[], float], slots: int, run: str
    ) -> Generator[tuple[int, int], None, None]:
        """Keep a window of chunks under way, and yield what comes out at the other end."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self.cluster.driver, soft=False)
        shelf: Any = ray.remote(Shelf).options(num_cpus=0, scheduling_strategy=here).remote()
        under_way: set[int] = set()

        def feed(count: int) -> None:
            for _ in range(count):
                item = next(numbered, None)
                if item is None:
                    ray.get(shelf.end.remote())
                    return
                under_way.add(item[0])
                ray.get(shelf.put.remote(*item))

        feed(_WINDOW * slots)
        if not under_way:
            return
        models = (_shipped(self.folders), _shipped(self.quick_folders))
        duty = Duty(*models, run, pickle.dumps(self.spec), self.digests, self.spec.time_limit, self.store)
        try:
            for number, rows in _outcomes(shelf, duty, slots, self.on_gpus):
                if number in under_way:  # a chunk comes twice where a node died with the news of it
                    under_way.discard(number)
                    yield number, rows
                    shelf.done.remote(number, floor())
                    feed(1)
        except ray.exceptions.RayError as error:
            what = f"the cluster could not go on: {brief(error)}"
            raise PolymlError(f"{what}; finished chunks are kept, go on with --resume") from error
        if under_way:
            raise PolymlError(f"the cluster lost {len(under_way)} chunks; the others are kept, go on with --resume")


def wants_gpu(screener: ChunkScreener, cluster: Cluster) -> bool:
    """Tell whether a model of a screen predicts on a GPU, and the cluster has some."""
    models = [bundle.model for bundle in screener.bundles]
    return any(map(uses_gpu, models)) and any(node.gpus >= 1 for node in cluster.nodes)


def _outcomes(shelf: Any, duty: Duty, slots: int, on_gpus: bool) -> Iterator[tuple[int, int]]:
    """Run the pipeline; raise the first error of a worker."""
    pipeline = _pipeline(shelf, duty, slots, on_gpus)
    for batch in pipeline.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for row in batch.to_pylist():
            if row["failure"]:
                raise pickle.loads(row["failure"])
            yield row["number"], row["rows"]


def _pipeline(shelf: Any, duty: Duty, slots: int, on_gpus: bool) -> Any:
    """Lay out the operators; different claims keep Ray Data from fusing them into one."""
    import ray.data
    from ray.data import ActorPoolStrategy, DataContext

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray about settings of its own
        context = DataContext.get_current().copy()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.target_max_block_size = context.target_min_block_size = 1  # each row at once: one row is one chunk
    context.max_consecutive_actor_init_deaths = 2 * slots
    given: dict[str, Any] = {"batch_size": 1, "batch_format": "pyarrow"}
    with DataContext.current(context):
        chunks = ray.data.read_datasource(_source(shelf), num_cpus=_NUMBER_SHARE, override_num_blocks=1)
        readers = -(-slots // _SERVED)
        read_chunks = chunks.map_batches(
            read, fn_kwargs={"shelf": shelf}, num_cpus=_READ_SHARE, concurrency=readers, **given
        )
        return read_chunks.map_batches(
            Screener,
            fn_constructor_args=(duty, shelf),
            compute=ActorPoolStrategy(size=slots, max_tasks_in_flight_per_actor=2),
            num_cpus=worker_share(),
            num_gpus=1 if on_gpus else None,
            **given,
        )


def _source(shelf: Any) -> Any:
    """Return the first operator: one task that tells the numbers of the chunks as they come."""
    from ray.data import Datasource, ReadTask
    from ray.data.block import BlockMetadata

    class Numbers(Datasource):
        """The numbers of the chunks."""

        def get_name(self) -> str:
            """Name the operator."""
            return "Chunks"

        def estimate_inmemory_data_size(self) -> int | None:
            """Nobody knows how many there are."""
            return None

        def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
            """Return the one task."""
            nothing_known = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            return [ReadTask(lambda: numbers(shelf), nothing_known)]

    return Numbers()


def _shipped(folders: list[Path]) -> list[Any]:
    import ray

    return [ray.put(Parcel.pack(folder)) for folder in folders]
