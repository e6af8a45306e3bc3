"""A Ray cluster: join one or start one here, see what it has, and ask something of each of its nodes."""

from __future__ import annotations

import logging
import os
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast, get_args

from polyml.errors import UserError, unknown_name
from polyml.settings import default_jobs
from polyml.versions import installed_versions

T = TypeVar("T")
Engine = Literal["local", "ray"]
REACH_SECONDS = 15.0
"""What a cluster may take to answer before it counts as not there."""
_NODE_SECONDS = 120.0  # for a node to answer a question; the first one imports polyml there
_STORE_BYTES = 300 * 2**20  # of the object store of a cluster that is started here
_HERE = (None, "local")  # addresses that start a cluster
_SHARE = 0.9  # of a CPU that a worker claims; the rest is for the small tasks around it
# Ray's own bars and messages, and what it would report to its makers.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# Read when Ray is imported: whether a cluster that is started here can be reached from other machines.
_OPEN = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
# Libraries that only report, store or search may differ between machines.
_NUMERICAL = ("polyml", "numpy", "scipy", "scikit-learn", "rdkit", "torch", "torch-geometric", "lightgbm", "xgboost")


@dataclass(frozen=True)
class Node:
    """A living node of a cluster: its id, how people call it, and what it has."""

    id: str
    name: str
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to.

    Attributes
    ----------
    where : str
        How messages call it.
    driver : str
        Id of the node that this process is on.
    """

    where: str
    driver: str

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that are alive now."""
        import ray

        return tuple(
            Node(
                item["NodeID"],
                f"{item['NodeManagerHostname']} ({item['NodeManagerAddress']})",
                float(item["Resources"].get("CPU", 0.0)),
                float(item["Resources"].get("GPU", 0.0)),
            )
            for item in ray.nodes()
            if item["Alive"]
        )

    def slots(self, *, cpus: int = 1, on_gpus: bool = False) -> int:
        """Count the workers that fit, each with so many CPUs, and with a GPU where that is asked for.

        Raises
        ------
        UserError
            No node fits one.
        """
        nodes = self.nodes
        fitting = [int(node.cpus) // cpus for node in nodes]
        if on_gpus:
            fitting = [min(count, int(node.gpus)) for count, node in zip(fitting, nodes, strict=True)]
        if sum(fitting):
            return sum(fitting)
        there = "; ".join(f"{node.name}: {node.cpus:g} CPUs, {node.gpus:g} GPUs" for node in nodes) or "no nodes"
        needed = f"{cpus} CPU{'s' if cpus > 1 else ''}{' and 1 GPU' if on_gpus else ''}"
        fix = f"add a node with at least {needed} (ray start --num-cpus), or use --engine local"
        raise UserError(f"no node fits a worker, which needs {needed}; there are: {there}", where=self.where, fix=fix)

    def ask_nodes(self, question: Callable[..., T], *arguments: Any, seconds: float = _NODE_SECONDS) -> dict[Node, T]:
        """Call a function on each node that has CPUs, and return the answers.

        Raises
        ------
        UserError
            A node does not answer in time, or the function raised there what is no error of polyml.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        remote = ray.remote(num_cpus=0, max_retries=2)(question)
        asked = {}
        for node in self.nodes:
            if node.cpus:
                there = NodeAffinitySchedulingStrategy(node.id, soft=False)
                asked[node] = remote.options(scheduling_strategy=there).remote(*arguments)
        answers = {}
        for node, answer in asked.items():
            try:
                answers[node] = ray.get(answer, timeout=seconds)
            except ray.exceptions.GetTimeoutError:
                fix = "look whether it is overloaded (ray status), or remove it"
                raise UserError(f"node {node.name} does not answer", where=self.where, fix=fix) from None
            except ray.exceptions.RayError as error:
                fix = "look at the logs of the node, or remove it"
                raise UserError(f"node {node.name} fails: {brief(error)}", where=self.where, fix=fix) from error
        return answers


@contextmanager
def ray_cluster(address: str | None = None, *, jobs: int | None = None) -> Iterator[Cluster]:
    """Connect to a Ray cluster, and leave it as it was.

    Parameters
    ----------
    address : str, optional
        ``host:port`` of the head node, or ``auto`` for the cluster that this machine is a node of. Without one,
        ``RAY_ADDRESS`` counts; where that is not set either, a cluster is started on this machine, and stopped at the
        end. Inside a program that has called ``ray.init`` its connection is used.
    jobs : int, optional
        CPUs of a cluster that is started here; one a core if not given.

    Raises
    ------
    UserError
        Ray is not installed; the cluster cannot be reached within :data:`REACH_SECONDS`, this machine is no node of it,
        or its nodes have other versions.
    """
    given = address or os.environ.get("RAY_ADDRESS", "").strip() or None
    ray = _imported(alone=given in _HERE)
    is_ours = not ray.is_initialized()
    where = given or "the cluster on this machine"
    if is_ours:
        _connect(ray, given, jobs)
    try:
        cluster = Cluster(where, ray.get_runtime_context().get_node_id())
        _check_versions(cluster)
        yield cluster
    finally:
        if is_ours:
            ray.shutdown()


def checked_engine(name: str) -> Engine:
    """Return the engine of a name.

    Raises
    ------
    UserError
        There is none.
    """
    if name not in get_args(Engine):
        raise unknown_name("engine", name, get_args(Engine))
    return cast(Engine, name)


@contextmanager
def chosen_cluster(engine: Engine, address: str | None, jobs: int | None) -> Iterator[Cluster | None]:
    """Connect to a cluster where the engine is ``ray``; see :func:`ray_cluster`.

    Raises
    ------
    UserError
        There is no such engine, or an address is given to one that has none.
    """
    if checked_engine(engine) == "local":
        if address is not None:
            fix = "add --engine ray, or leave the address out"
            raise UserError("the engine 'local' has no address", where=address, fix=fix)
        yield None
        return
    with ray_cluster(address, jobs=jobs) as cluster:
        yield cluster


def _imported(*, alone: bool) -> Any:
    for name, value in (_QUIET | ({_OPEN: "0"} if alone else {})).items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        fix = "install it: pip install 'polyml-chem[ray]', or use --engine local"
        raise UserError("Ray is not installed", where="--engine ray", fix=fix) from None
    return ray


def _connect(ray: Any, address: str | None, jobs: int | None) -> None:
    _check_reachable(address)
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"address": address}
    if address in _HERE:
        options = {"address": "local", "num_cpus": jobs or default_jobs(), "object_store_memory": _STORE_BYTES}
        options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        with warnings.catch_warnings(), _nothing_said():
            warnings.simplefilter("ignore")
            ray.init(**options, **quiet)
    except Exception as error:  # of many kinds: no cluster, another version, a wrong token, no node on this machine
        fix = "run polyml on a machine of the cluster, with the versions of Python and Ray that the cluster has"
        raise UserError(f"cannot join the cluster: {brief(error)}", where=address or "ray", fix=fix) from error


@contextmanager
def _nothing_said() -> Iterator[None]:
    """Keep from the terminal what Ray's C++ says while it starts; what matters is raised too."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _check_reachable(address: str | None) -> None:
    """Ask the head node at its port: Ray itself would wait for minutes."""
    if address in (*_HERE, "auto"):
        return
    assert address is not None
    fix = "write --address HOST:PORT as 'ray start --head' says it, or auto on a machine of the cluster"
    if "://" in address:
        what = "polyml does not work through a Ray client"
        raise UserError(what, where=address, fix=f"run it on a machine of the cluster; {fix}")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError("this is no address of a cluster", where=address, fix=fix)
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS) as connection:
            is_cluster = os.environ.get("RAY_USE_TLS", "0") != "0" or _speaks_http2(connection)
    except (OSError, OverflowError) as error:
        what = f"the cluster cannot be reached: {getattr(error, 'strerror', None) or error}"
        raise UserError(what, where=address, fix=fix) from error
    if not is_cluster:
        raise UserError("what answers at this address is no Ray cluster", where=address, fix=fix)


def _speaks_http2(connection: socket.socket) -> bool:
    """Greet as HTTP/2 does: a server of it, as that of a head node is, sends its settings first (RFC 9113, 3.4)."""
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    header = b""
    while len(header) < 4 and (part := connection.recv(9)):
        header += part
    return header[3:4] == b"\x04"


def _check_versions(cluster: Cluster) -> None:
    """Refuse nodes that would compute other numbers than this process."""

    def look() -> dict[str, str]:  # inside, so that it travels whole: the node may lack polyml
        try:
            from polyml.versions import installed_versions
        except ImportError as error:
            return {"lacking": str(error)}
        return installed_versions()

    ours = {name: version for name, version in installed_versions().items() if name in _NUMERICAL}
    for node, theirs in cluster.ask_nodes(look).items():
        if "lacking" in theirs:
            fix = f"install polyml {ours['polyml']} on every node"
            raise UserError(f"node {node.name} has no polyml: {theirs['lacking']}", where=cluster.where, fix=fix)
        other = [
            f"{name} {theirs.get(name, 'missing')}, here {own}" for name, own in ours.items() if theirs.get(name) != own
        ]
        if other:
            fix = "install the same versions on every node: the results would depend on which node did what"
            raise UserError(f"node {node.name} has {'; '.join(other)}", where=cluster.where, fix=fix)


def worker_share(cpus: int = 1) -> float:
    """Return the CPUs that a worker claims, a little less than it uses: reading and writing find room beside it."""
    return cpus * _SHARE


def brief(error: BaseException) -> str:
    """Return what an error says first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
