"""Folders on a disk and under a URL: files whole or not there, one run at a time."""

from __future__ import annotations

import json
import pickle
import time
import uuid

import pytest

from polyml.data.places import DiskPlace, Outputs, place_of
from polyml.data.stores import StorePlace
from polyml.errors import UserError


@pytest.fixture(params=["disk", "file", "local", "memory"])
def location(request, tmp_path):
    if request.param == "disk":
        return tmp_path / "run"
    return f"memory://{uuid.uuid4().hex}/run" if request.param == "memory" else f"{request.param}://{tmp_path}/run"


def test_files_come_and_go(location):
    place = pickle.loads(pickle.dumps(place_of(location)))
    inner = place.below("shards")
    assert inner.names() == []
    assert inner.read("a") is None
    inner.write("a", b"one")
    inner.write("a", b"two")
    inner.write("b", b"")
    assert (inner.read("a"), inner.read("b")) == (b"two", b"")
    assert sorted(inner.names()) == ["a", "b"]
    assert place.names() == ["shards"]
    inner.remove("a")
    inner.remove("a")
    assert inner.names() == ["b"]
    inner.clear()
    assert inner.names() == []


def test_one_run_at_a_time(location):
    place = place_of(location)
    place.write("a", b"")
    with place.lock(), pytest.raises(UserError, match="another run is at work in this folder"), place.lock():
        pass
    with place.lock():
        pass


def test_a_run_that_has_died_is_forgotten(tmp_path):
    place = StorePlace(f"local://{tmp_path}")
    place.write(".lock", json.dumps({"host": "gone", "time": time.time() - 100}).encode())
    with pytest.raises(UserError, match="at work in this folder, on gone"), place.lock():
        pass
    for old in (json.dumps({"time": time.time() - 130}).encode(), b"broken", b"[]"):
        place.write(".lock", old)
        with place.lock():
            assert json.loads(place.read(".lock"))["process"]
    assert place.names() == []


def test_results_reach_their_url(tmp_path, location):
    outputs = Outputs.of(location)
    outputs.folder.mkdir(exist_ok=True)
    (outputs.folder / "ranked.csv").write_bytes(b"1")
    outputs.deliver()
    assert place_of(location).read("ranked.csv") == b"1"
    assert outputs.folder.exists() == isinstance(place_of(location), DiskPlace)


def test_urls_that_cannot_be_used_are_errors_of_the_user(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="nothing is known of such a URL"):
        place_of("nosuch://bucket/run").names()
    with pytest.raises(UserError, match="must be a folder, and this is a file"):
        place_of(tmp_path / "file").names()
    with pytest.raises(UserError, match="cannot write"):
        place_of(f"local://{tmp_path}/file").write("a", b"")
