"""Folders that may lie anywhere: on this disk, or where an object store has them under a URL.

A file of a place is whole or not there. On a disk that takes a rename; an object appears when its last byte is stored.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from polyml.data.files import whole_file
from polyml.errors import UserError

_LOCK = ".lock"
_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):/+(.*)", re.DOTALL)  # a Path makes one slash of several
_BEAT = 20.0  # seconds between two signs of life of a run that has locked an object store
_DEAD = 120.0  # seconds without one, after which nobody is at work any more
_FREE = "wait for it, or stop it first"


class Place(Protocol):
    """A folder with files by name."""

    @property
    def where(self) -> str:
        """How messages call it."""

    def below(self, name: str) -> Place:
        """Return a folder in this one; it need not exist."""

    def names(self) -> list[str]:
        """Return the names in it, of files and folders; none where it does not exist."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None where there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all; when this returns, not even a power cut loses it.

        Raises
        ------
        UserError
            The disk is full or read-only, or the store refuses it.
        """

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def clear(self) -> None:
        """Remove the folder and all in it, and the folder it lies in if that is empty then."""

    def lock(self) -> AbstractContextManager[None]:
        """Keep other runs out.

        Raises
        ------
        UserError
            Another run is at work in it.
        """


def place_of(location: str | Path) -> Place:
    """Return the place of a folder, by its path or URL.

    Examples
    --------
    >>> place_of("s3://bucket/run").below("shards").where
    's3://bucket/run/shards'
    >>> place_of("file:///data/run").where
    '/data/run'
    """
    url = url_of(location)
    if url is None:
        return DiskPlace(Path(location))
    parts = urlsplit(url)
    if parts.scheme == "file":
        return DiskPlace(Path(unquote(parts.path)))
    return StorePlace(url.rstrip("/"))


def url_of(location: str | Path) -> str | None:
    """Return the URL that a location is, None for a path.

    Examples
    --------
    >>> url_of(Path("s3://bucket/run")), url_of("runs/one")
    ('s3://bucket/run', None)
    """
    found = _URL.fullmatch(str(location))
    if found is None:
        return None
    scheme, rest = found[1].lower(), found[2]
    return f"{scheme}:///{rest}" if scheme in ("file", "local") else f"{scheme}://{rest}"


@dataclass(frozen=True)
class DiskPlace:
    """A folder on a disk of this machine, or one that looks so."""

    folder: Path

    @property
    def where(self) -> str:
        """The path."""
        return str(self.folder)

    def below(self, name: str) -> DiskPlace:
        """Return a folder in this one."""
        return DiskPlace(self.folder / name)

    def names(self) -> list[str]:
        """Return the names in the folder.

        Raises
        ------
        UserError
            It is a file.
        """
        try:
            return [item.name for item in self.folder.iterdir()]
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            what = "the output must be a folder, and this is a file"
            raise UserError(what, where=self.where, fix="name a folder with -o") from None

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None where it cannot be read."""
        try:
            return (self.folder / name).read_bytes()
        except OSError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file; see :func:`polyml.data.files.whole_file`."""
        with whole_file(self.folder / name, durable=True) as temporary:
            temporary.write_bytes(content)

    def remove(self, name: str) -> None:
        """Remove a file."""
        (self.folder / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder as long as this process lives."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            where = str(self.folder.parent)
            raise UserError("another run is at work in this folder", where=where, fix=_FREE) from None
        try:
            yield
        finally:
            lock.release()


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
        other = _sign(self.read(_LOCK))
        if time.time() - other.get("time", 0.0) < _DEAD:
            what = f"another run is at work in this folder, on {other.get('host')}"
            raise UserError(what, where=self.url, fix=f"{_FREE}; what has died is forgotten after {_DEAD:g} s")
        is_over = threading.Event()

        def beat() -> None:
            while not is_over.wait(_BEAT):
                with suppress(UserError):
                    self.write(_LOCK, json.dumps({**own, "time": time.time()}).encode())

        self.write(_LOCK, json.dumps({**own, "time": time.time()}).encode())
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            self.remove(_LOCK)


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

    if urlsplit(url).scheme in ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss"):
        with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError), _told("reach it", url):
            system, path = pyarrow.fs.FileSystem.from_uri(url)
            return ArrowFSWrapper(system), path
    try:
        return fsspec.core.url_to_fs(url)  # type: ignore[no-any-return]
    except ImportError as error:
        raise UserError(f"this URL needs more: {error}", where=url, fix="install it with pip") from None
    except ValueError as error:
        fix = "name a folder, or a URL such as s3://bucket/run"
        raise UserError(f"nothing is known of such a URL: {error}", where=url, fix=fix) from None


@dataclass(frozen=True)
class Outputs:
    """A folder on this disk to write results into, and how they get to the place that they are meant for.

    Attributes
    ----------
    folder : Path
        The folder of the user, or a temporary one for what goes to a URL.
    """

    folder: Path
    _place: Place
    _temporary: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def of(cls, location: str | Path) -> Outputs:
        """Find the folder to write into."""
        place = place_of(location)
        if isinstance(place, DiskPlace):
            return cls(place.folder, place)
        temporary = tempfile.TemporaryDirectory(prefix="polyml-")
        return cls(Path(temporary.name), place, temporary)

    def deliver(self) -> None:
        """Bring the files to their URL, where it is one, and remove them here.

        Raises
        ------
        UserError
            The store refuses one.
        """
        if self._temporary is None:
            return
        for path in sorted(item for item in self.folder.iterdir() if item.is_file()):
            _upload(self._place.where, path)
        self._temporary.cleanup()


def _upload(url: str, path: Path) -> None:
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
