"""Join a Ray cluster, or start one on this machine, and leave it as it was."""

from __future__ import annotations

import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast, get_args

from polyml.cluster.nodes import Cluster, brief
from polyml.errors import UserError, unknown_name
from polyml.settings import default_jobs
from polyml.versions import NUMERICAL, installed_versions

Engine = Literal["local", "ray"]
REACH_SECONDS = 15.0
"""What a cluster may take to answer before it counts as not there."""
_STORE_BYTES = 300 * 2**20  # of the object store of a cluster that is started here
_HERE = (None, "local")  # addresses that start a cluster
# Ray's own bars and messages, and what it would report to its makers.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# Read when Ray is imported: whether a cluster that is started here can be reached from other machines.
_OPEN = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


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
    if not is_ours:
        yield _checked(ray, where)
        return
    with _hushed():
        _connect(ray, given, jobs)
        try:
            yield _checked(ray, where)
        finally:
            ray.shutdown()


def _checked(ray: Any, where: str) -> Cluster:
    cluster = Cluster(where, ray.get_runtime_context().get_node_id())
    _check_versions(cluster)
    return cluster


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
        fix = (
            "run polyml on a machine of the cluster, with the versions of Python and Ray that the cluster has; "
            "if it asks for a token, set RAY_AUTH_MODE=token, or name it auto"
        )
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


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep from standard output what Ray prints of lost workers: they are replaced, and it may be JSON there."""
    module = sys.modules.get("ray._private.worker")
    name = "print_to_stdstream"  # there is no public switch; without it the messages come, no more
    before = getattr(module, name, None)
    if before is None:
        yield
        return
    setattr(module, name, lambda *_, **__: None)
    try:
        yield
    finally:
        setattr(module, name, before)


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

    ours = {name: version for name, version in installed_versions().items() if name in NUMERICAL}
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
