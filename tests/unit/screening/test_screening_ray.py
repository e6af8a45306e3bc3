"""A real Ray cluster of two nodes on this machine: the same bytes as one process gives, whatever dies on the way."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time

import pandas as pd
import psutil
import pyarrow as pa
import pytest

from polyml.errors import UserError
from polyml.screening.pool import WatchedPool
from polyml.screening.ray_worker import Duty, Screener
from polyml.screening.screen import ScreenSpec, screen
from polyml.screening.shards import ShardStore
from polyml.versions import installed_versions

# Before Ray is imported: the nodes listen to this machine alone.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
ray = pytest.importorskip("ray")

# What the processes that screen are told, by a file that each of them reads when it starts.
POISON = """
import os, pathlib, signal, time
plan = dict(line.split("=") for line in pathlib.Path(os.environ["POLYML_POISON"]).read_text().splitlines())
if plan:
    from polyml.chem import RepeatUnit
    parse = RepeatUnit.parse

    @classmethod
    def poisoned(cls, text):
        if plan.get(text) == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(3600 if plan.get(text) == "hang" else float(plan.get("slow", 0)))
        return parse(text)

    RepeatUnit.parse = poisoned
"""
SPEC = ScreenSpec(objectives=["log10(O2)"], top=10, chunk_size=10, time_limit=20, keep="all", skip_known=False)
SIZE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the file that says what befalls which candidate, for the nodes that are started from here on."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(POISON)
    plan = folder / "plan.txt"
    plan.touch()
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setenv("POLYML_POISON", str(plan))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield plan


@pytest.fixture(scope="module")
def cluster(site):
    from ray.cluster_utils import Cluster

    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
    nodes = Cluster(initialize_head=True, head_node_args={**SIZE, "include_dashboard": False, "_system_config": quick})
    nodes.add_node(**SIZE, num_gpus=1)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture
def poison(site):
    """Return a function that makes candidates deadly, or all of them slow, to processes that are started from now."""
    yield lambda **plan: site.write_text("\n".join(f"{text}={what}" for text, what in plan.items()))
    site.write_text("")


@pytest.fixture
def many(write_many):
    return write_many(240)


def everything(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.csv")}


def shards(folder):
    return len(list((folder / "shards").glob("[0-9]*.shard")))


def meanwhile(folder, act, after=3):
    """Act once some chunks are finished, in a thread; return it."""

    def watch():
        while shards(folder) < after:
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def actors(node):
    """Return the processes of a node that screen, each with its own process below it."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return [item for item in raylet.children(recursive=True) if "MapWorker" in " ".join(item.cmdline())]


def remove_some(folder):
    """Remove every third finished chunk."""
    for path in sorted((folder / "shards").glob("[0-9]*.shard"))[::3]:
        path.unlink()


def test_the_bytes_are_those_of_one_process_which_can_go_on(cluster, bundle, library, tmp_path):
    spec = SPEC.model_copy(update={"keep": "ranked", "skip_known": True, "top": 5})
    expected = screen(library, bundle, spec, tmp_path / "here").to_dict()
    out = tmp_path / "there"
    found = screen(library, bundle, spec, out, engine="ray", address=cluster.address, jobs=None).to_dict()
    assert everything(out) == everything(tmp_path / "here")
    assert {**found, "seconds": 0, "per_second": 0} == {**expected, "seconds": 0, "per_second": 0}
    assert not ray.is_initialized()
    remove_some(out)
    assert 0 < screen(library, bundle, spec, out, resume=True).resumed < expected["read"]
    assert everything(out) == everything(tmp_path / "here")


def test_the_cluster_goes_on_with_what_one_process_has_begun(cluster, bundle, many, tmp_path, monkeypatch):
    # The one actor gets the one GPU: there is none in truth, and the model has no use for it.
    monkeypatch.setattr("polyml.screening.ray_engine.uses_gpu", lambda model: True)
    candidates = tmp_path / "many.parquet"
    pd.DataFrame({"psmiles": many.read_text().split()}).to_parquet(candidates, row_group_size=7)
    screen(candidates, bundle, SPEC, tmp_path / "whole")
    out = tmp_path / "out"
    url, source = f"local://{out}", f"local://{candidates}"  # as object stores, which every process reaches
    screen(source, bundle, SPEC, url)
    remove_some(out)
    summary = screen(source, bundle, SPEC, url, resume=True, engine="ray", address=cluster.address, jobs=None)
    assert summary.resumed == 160
    assert everything(out) == everything(tmp_path / "whole")


def test_what_dies_on_the_way_changes_nothing(cluster, bundle, many, tmp_path, poison):
    screen(many, bundle, SPEC, tmp_path / "here")
    poison(slow=0.05)
    node = cluster.add_node(**SIZE)
    gone = []

    def act():
        while not (found := [item for item in actors(cluster.head_node) if item.children()]):
            time.sleep(0.05)
        found[0].children()[0].kill()  # the process that screens
        time.sleep(0.5)
        found[0].kill()  # the actor that watches it
        cluster.remove_node(node, allow_graceful=False)
        gone.append(node)

    thread = meanwhile(tmp_path / "there", act)
    screen(many, bundle, SPEC, tmp_path / "there", engine="ray", address=cluster.address, jobs=None)
    thread.join(timeout=10)
    assert gone
    assert everything(tmp_path / "there") == everything(tmp_path / "here")


def test_a_candidate_that_crashes_or_hangs_costs_one_row(cluster, bundle, library, tmp_path, poison):
    deadly = {"*CC(*)OCC": "crash", "*C(CCC)O*": "hang"}
    poison(**deadly)
    spec = SPEC.model_copy(update={"time_limit": 3.0})
    screen(library, bundle, spec, tmp_path / "out", engine="ray", address=cluster.address, jobs=None)
    rejects = pd.read_csv(tmp_path / "out" / "rejects.csv").set_index("psmiles")
    assert rejects.loc[list(deadly), "reason"].tolist() == ["crash", "time limit"]
    refused = screen(library, bundle, spec, tmp_path / "here").rejected
    assert len(rejects) == refused + len(deadly)


def test_nodes_that_would_not_do_the_same_are_refused(cluster, bundle, library, tmp_path, monkeypatch):
    there = {"engine": "ray", "address": cluster.address}
    url = "memory://polyml-test/run"  # of each process for itself
    with pytest.raises(UserError, match="does not see the output folder"):
        screen(library, bundle, SPEC, url, **there)
    versions = {**installed_versions(), "rdkit": "1.2"}
    monkeypatch.setattr("polyml.cluster.connect.installed_versions", lambda: versions)
    with pytest.raises(UserError, match=rf"has rdkit {installed_versions()['rdkit']}, here 1\.2"):
        screen(library, bundle, SPEC, tmp_path / "out", **there)
    assert not (tmp_path / "out").exists()


def test_what_goes_wrong_with_the_input_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(Screener, "_make_pool", lambda self: WatchedPool(0, print, (), print, limit=1))
    fault = pickle.dumps(UserError("the file has changed", where="a.parquet", fix="run again"))
    batch = pa.table({"number": [3], "chunk": pa.array([fault], pa.large_binary())})
    duty = Duty([], [], "run", b"", [], 1.0, ShardStore(tmp_path))
    (table,) = Screener(duty, None)(batch)
    assert table["number"].to_pylist() == [3]
    assert str(pickle.loads(table["failure"][0].as_py())) == "a.parquet: the file has changed\n  → run again"


def test_a_cluster_without_room_is_an_error_of_the_user(cluster, bundle, library, tmp_path, monkeypatch):
    from polyml import cluster as room

    nothing = (room.Node("1", "small", 0.0, 0.0),)
    monkeypatch.setattr(room.Cluster, "nodes", property(lambda self: nothing))
    with pytest.raises(UserError, match="no node fits a worker, which needs 1 CPU; there are: small: 0 CPUs, 0 GPUs"):
        screen(library, bundle, SPEC, tmp_path / "out", engine="ray", address=cluster.address)
    assert not (tmp_path / "out").exists()


def test_nodes_with_gpus_are_counted_by_them():
    from polyml.cluster import Cluster, Node

    class Four(Cluster):
        nodes = (Node("1", "a", 8, 2), Node("2", "b", 1, 4), Node("3", "c", 16, 0), Node("4", "d", 0.5, 1))

    assert Four("x", "1").slots() == 25
    assert Four("x", "1").slots(on_gpus=True) == 3
    with pytest.raises(UserError, match="no node fits a worker, which needs 32 CPUs and 1 GPU"):
        Four("x", "1").slots(cpus=32, on_gpus=True)


def test_a_cluster_that_is_not_there_is_an_error_of_the_user(bundle, library, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UserError, match="the cluster cannot be reached: Connection refused"):
        screen(library, bundle, SPEC, tmp_path / "out", engine="ray", address=address)
    with pytest.raises(UserError, match="does not work through a Ray client"):
        screen(library, bundle, SPEC, tmp_path / "out", engine="ray", address="ray://host:10001")
    with pytest.raises(UserError, match="the engine 'local' has no address"):
        screen(library, bundle, SPEC, tmp_path / "out", address="auto")
    with pytest.raises(UserError, match="unknown engine 'rya'"):
        screen(library, bundle, SPEC, tmp_path / "out", engine="rya")
    assert not (tmp_path / "out").exists()


def test_a_port_that_is_no_cluster_does_not_hold_up(bundle, library, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def answer():
            with server.accept()[0] as connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(UserError, match="what answers at this address is no Ray cluster"):
            screen(library, bundle, SPEC, tmp_path / "out", engine="ray", address=address)


def test_ray_that_is_not_installed_is_an_error_of_the_user(bundle, library, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UserError, match=r"Ray is not installed\n.*polyml-chem\[ray\]"):
        screen(library, bundle, SPEC, tmp_path / "out", engine="ray")
