"""Files and folders in object stores, through pyarrow or fsspec: objects by name, each put at once."""

from __future__ import annotations

import io
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
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from polyml.errors import UserError

LOCK = ".lock"
"""Name of the file that says that a run is at work."""
FREE = "wait for it, or stop it first"
"""What to do about it."""
_AT_ONCE = 1 << 20  # bytes that are fetched at least
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
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


@dataclass(frozen=True, order=True)
class StoreFile:
    """A file under a URL, with as much of a ``Path`` as readers ask for.

    What it reads is what the store has: a request that fails ends the reading with a :class:`UserError`, and is not
    taken for damage of the file.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """Its last part."""
        return PurePosixPath(urlsplit(self.url).path).name

    @property
    def suffix(self) -> str:
        """The last ending of its name."""
        return PurePosixPath(self.name).suffix

    @property
    def suffixes(self) -> list[str]:
        """All endings of its name."""
        return PurePosixPath(self.name).suffixes

    def with_suffix(self, suffix: str) -> StoreFile:
        """Return the file with another last ending."""
        return StoreFile(self.url.removesuffix(self.suffix) + suffix)

    def as_posix(self) -> str:
        """Return the URL."""
        return self.url

    def is_dir(self) -> bool:
        """Tell whether there is a folder of this name, or a file below it."""
        return bool(self._info().get("type") == "directory")

    def is_file(self) -> bool:
        """Tell whether it is there."""
        return bool(self._info().get("type") == "file")

    def exists(self) -> bool:
        """Tell whether it is there, as a file or a folder."""
        return bool(self._info())

    def stat(self) -> SimpleNamespace:
        """Return its size and time as a disk tells them; ``FileNotFoundError`` where it is not there."""
        info = self._info()
        if not info:
            raise FileNotFoundError(f"there is no {self.url}")
        written = next((info[name] for name in _TIMES if info.get(name) is not None), 0.0)
        seconds = written.timestamp() if hasattr(written, "timestamp") else written
        return SimpleNamespace(st_size=int(info["size"] or 0), st_ino=0, st_mtime=float(seconds))

    def open(self, mode: str = "rb") -> BinaryIO:
        """Open it for reading."""
        if mode != "rb":
            raise ValueError(f"a file under a URL is read, with mode 'rb' and not {mode!r}")
        system, path = _system(self.url)
        with _told("read", self.url):
            return io.BufferedReader(_Fetched(system.open(path, "rb"), self.url), _AT_ONCE)

    def below(self, pattern: str = "**") -> list[tuple[StoreFile, str]]:
        """Return the files below a folder whose names, relative to it, match a pattern; with these names, sorted."""
        system, root = _system(self.url)
        root = root.rstrip("/")
        with _told("read", self.url):
            system.invalidate_cache()
            found = system.glob(f"{root}/{pattern}", detail=True).items()
        paths = sorted(path for path, info in found if info["type"] == "file")
        names = [path.removeprefix(root).lstrip("/") for path in paths]
        return [(StoreFile(f"{self.url.rstrip('/')}/{name}"), name) for name in names]

    def _info(self) -> dict[str, Any]:
        system, path = _system(self.url)
        with _told("read", self.url):
            try:
                system.invalidate_cache()
                return dict(system.info(path))
            except (FileNotFoundError, NotADirectoryError):
                return {}


class _Fetched(io.RawIOBase):
    """An open file of a store, whose errors are told as those of the store."""

    def __init__(self, handle: Any, url: str) -> None:
        self._handle, self._url = handle, url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _told("read", self._url):
            content = self._handle.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _told("read", self._url):
            self._handle.seek(offset, whence)
            return int(self._handle.tell())

    def tell(self) -> int:
        return int(self._handle.tell())

    def close(self) -> None:
        if not self.closed:
            with suppress(Exception):
                self._handle.close()
        super().close()


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
