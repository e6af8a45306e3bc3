"""Folders in object stores, through pyarrow or fsspec: objects by name, each put at once."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from polyml.errors import UserError

LOCK = ".lock"
"""Name of the file that says that a run is at work."""
FREE = "wait for it, or stop it first"
"""What to do about it."""
_BEAT = 20.0  # seconds between two signs of life of a run
_DEAD = 120.0  # seconds without one, after which nobody is at work any more


@dataclass(frozen=True)
class StorePlace:
    """A folder under a URL that pyarrow or fsspec know: ``s3://``, ``gs://``, ``abfs://``, ``hdfs://`` and others."""

    url: str

    @property
    def where(self) -> str:
        """The URL."""
        return self.url

    def below(self, name: str) -> StorePlace:
        """Return a folder in this one."""
        return StorePlace(f"{self.url}/{name}")

    def names(self) -> list[str]:
        """Return the names in the folder, by one listing."""
        system, root = _system(self.url)
        with _told("read", self.url):
            try:
                system.invalidate_cache()
                found = system.ls(root, detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return []
        return [path.rstrip("/").rpartition("/")[2] for path in found if path.rstrip("/") != root.rstrip("/")]

    def read(self, name: str) -> bytes | None:
        """Return the content of an object."""
        system, root = _system(self.url)
        with _told("read", self.url):
            try:
                return bytes(system.cat_file(f"{root}/{name}"))
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Put an object."""
        system, root = _system(self.url)
        with _told("write", self.url):
            _with_folder(system, root, lambda: system.pipe_file(f"{root}/{name}", content))

    def remove(self, name: str) -> None:
        """Remove an object."""
        system, root = _system(self.url)
        with _told("write", self.url), suppress(FileNotFoundError):
            system.rm_file(f"{root}/{name}")

    def clear(self) -> None:
        """Remove all objects below."""
        system, root = _system(self.url)
        with suppress(Exception):
            system.rm(root, recursive=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Leave a sign of life in the folder, again and again: no store locks, so two that start at once may both pass.

        A run that has died leaves its last sign, which counts for two minutes.
        """
        own = {"run": uuid.uuid4().hex, "host": socket.gethostname(), "process": os.getpid()}
        other = _sign(self.read(LOCK))
        if time.time() - other.get("time", 0.0) < _DEAD:
            what = f"another run is at work in this folder, on {other.get('host')}"
            raise UserError(what, where=self.url, fix=f"{FREE}; what has died is forgotten after {_DEAD:g} s")
        is_over = threading.Event()

        def beat() -> None:
            while not is_over.wait(_BEAT):
                with suppress(UserError):
                    self.write(LOCK, json.dumps({**own, "time": time.time()}).encode())

        self.write(LOCK, json.dumps({**own, "time": time.time()}).encode())
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            self.remove(LOCK)


def _sign(content: bytes | None) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(content or b"{}")
        return found if isinstance(found, dict) else {}
    return {}


@contextmanager
def _told(what: str, url: str) -> Iterator[None]:
    """Say what a store refuses."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # every store has errors of its own
        first = (str(error).splitlines() or [type(error).__name__])[0]
        fix = "check the URL, the credentials, and what they allow"
        raise UserError(f"cannot {what}: {first}", where=url, fix=fix) from error


@cache
def _system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, as fsspec has it, and the path in it.

    pyarrow comes first: it reads the common stores without anything else to install.

    Raises
    ------
    UserError
        Neither knows the URL.
    """
    import fsspec
    import pyarrow as pa
    import pyarrow.fs
    from fsspec.implementations.arrow import ArrowFSWrapper

    system: Any
    if urlsplit(url).scheme in ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss"):
        with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError), _told("reach it", url):
            system, path = pyarrow.fs.FileSystem.from_uri(url)
            return ArrowFSWrapper(system), path
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise UserError(f"this URL needs more: {error}", where=url, fix="install it with pip") from None
    except ValueError as error:
        fix = "name a folder, or a URL such as s3://bucket/run"
        raise UserError(f"nothing is known of such a URL: {error}", where=url, fix=fix) from None
    return system, str(path)


def upload(url: str, path: Path) -> None:
    """Put a file into the folder under a URL.

    Raises
    ------
    UserError
        The store refuses it.
    """
    system, root = _system(url)
    with _told("write", url):
        _with_folder(system, root, lambda: system.put_file(str(path), f"{root}/{path.name}"))


def _with_folder(system: Any, folder: str, put: Callable[[], object]) -> None:
    """Put something into a folder, which is made first where folders are more than parts of a name."""
    try:
        put()
    except FileNotFoundError:
        system.makedirs(folder, exist_ok=True)
        put()
