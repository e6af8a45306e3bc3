"""Files and folders in object stores, through pyarrow or fsspec: objects by name, each put at once."""

from __future__ import annotations

import glob
import io
import json
import os
import socket
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, BinaryIO

from polyml.data.store_urls import Stored, joined, told
from polyml.errors import UserError

LOCK = ".lock"
"""Name of the file that says that a run is at work."""
FREE = "wait for it, or stop it first"
"""What to do about it."""
_AT_ONCE = 1 << 20  # bytes that are fetched at least
_TAGS = ("ETag", "etag", "md5Hash", "crc32c", "checksum", "generation", "version_id", "Content-MD5")
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
_GONE = (404, 410)  # what a web server says of a file that it does not have
_BEAT = 20.0  # seconds between two signs of life of a run
_DEAD = 120.0  # seconds without one, after which nobody is at work any more


class StorePlace(Stored):
    """A folder under a URL that pyarrow or fsspec know: ``s3://``, ``gs://``, ``abfs://``, ``hdfs://`` and others."""

    @property
    def where(self) -> str:
        """The URL."""
        return self.shown

    def below(self, name: str) -> StorePlace:
        """Return a folder in this one."""
        return StorePlace(self.url, joined(self.inside, name))

    def names(self) -> list[str]:
        """Return the names in the folder, by one listing."""
        system = self.system
        with told("read", self.shown):
            try:
                system.invalidate_cache()
                found = system.ls(self.path, detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return []
        own = self.path.rstrip("/")
        return [path.rstrip("/").rpartition("/")[2] for path in found if path.rstrip("/") != own]

    def read(self, name: str) -> bytes | None:
        """Return the content of an object."""
        with told("read", self.shown):
            try:
                return bytes(self.system.cat_file(f"{self.path}/{name}"))
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Put an object."""
        with told("write", self.shown):
            self._put(lambda: self.system.pipe_file(f"{self.path}/{name}", content))

    def upload(self, path: Path) -> None:
        """Put a file into the folder.

        Raises
        ------
        UserError
            The store refuses it.
        """
        with told("write", self.shown):
            self._put(lambda: self.system.put_file(str(path), f"{self.path}/{path.name}"))

    def _put(self, put: Callable[[], object]) -> None:
        """Put something into the folder, which is made first where folders are more than parts of a name."""
        try:
            put()
        except FileNotFoundError:
            self.system.makedirs(self.path, exist_ok=True)
            put()

    def remove(self, name: str) -> None:
        """Remove an object."""
        with told("write", self.shown), suppress(FileNotFoundError):
            self.system.rm_file(f"{self.path}/{name}")

    def clear(self) -> None:
        """Remove all objects below."""
        with suppress(Exception):
            self.system.rm(self.path, recursive=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Leave a sign of life in the folder, again and again: no store locks, so two that start at once may both pass.

        A run that has died leaves its last sign, which counts for two minutes.
        """
        own = {"run": uuid.uuid4().hex, "host": socket.gethostname(), "process": os.getpid()}
        other = _sign(self.read(LOCK))
        if time.time() - other.get("time", 0.0) < _DEAD:
            what = f"another run is at work in this folder, on {other.get('host')}"
            raise UserError(what, where=self.shown, fix=f"{FREE}; what has died is forgotten after {_DEAD:g} s")
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


@dataclass(frozen=True)
class StoreFile(Stored):
    """A file under a URL, with as much of a ``Path`` as readers ask for.

    What it reads is what the store has: a request that fails ends the reading with a :class:`UserError`, and is not
    taken for damage of the file.

    Attributes
    ----------
    url, inside : str
        See :class:`StorePlace`.
    known : mapping, optional
        What a listing told about it, which need not be asked again.
    """

    known: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """Its last part."""
        return self.shown.rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The last ending of its name."""
        return PurePosixPath(self.name).suffix

    @property
    def suffixes(self) -> list[str]:
        """All endings of its name."""
        return PurePosixPath(self.name).suffixes

    def as_posix(self) -> str:
        """Return the URL."""
        return self.shown

    def asked(self) -> StoreFile:
        """Ask the store about it, and remember what it says."""
        return replace(self, known=self._info())

    def is_dir(self) -> bool:
        """Tell whether there is a folder of this name, or a file below it."""
        return bool(self._known().get("type") == "directory")

    def is_file(self) -> bool:
        """Tell whether it is there."""
        return bool(self._known().get("type") == "file")

    def exists(self) -> bool:
        """Tell whether it is there, as a file or a folder."""
        return bool(self._known())

    def stat(self) -> SimpleNamespace:
        """Return what tells whether it has changed, as a disk does: size (-1 where the store does not say), time, tag.

        ``FileNotFoundError`` where it is not there.
        """
        info = self._info()
        if not info:
            raise FileNotFoundError(f"there is no {self.shown}")
        size, tag = info.get("size"), [str(info[name]) for name in _TAGS if info.get(name)]
        seconds = _seconds(next((info[name] for name in _TIMES if info.get(name) is not None), None))
        return SimpleNamespace(
            st_size=-1 if size is None else int(size), st_ino=zlib.crc32(" ".join(tag).encode()), st_mtime=seconds
        )

    def open(self, mode: str = "rb") -> BinaryIO:
        """Open it for reading."""
        if mode != "rb":
            raise ValueError(f"a file under a URL is read, with mode 'rb' and not {mode!r}")
        with told("read", self.shown):
            return io.BufferedReader(_Fetched(self.system.open(self.path, "rb"), self.shown), _AT_ONCE)

    def below(self, pattern: str = "") -> list[tuple[StoreFile, str]]:
        """Return the files below a folder with their names relative to it, sorted: all, or those that fit a pattern."""
        system, root = self.system, self.path.rstrip("/")
        with told("read", self.shown):
            system.invalidate_cache()
            if pattern:
                found = system.glob(f"{glob.escape(root)}/{pattern}", detail=True)
            else:
                found = system.find(root, detail=True)
        files = []
        for path in sorted(path for path, info in found.items() if info["type"] == "file"):
            name = path.removeprefix(root).lstrip("/")
            files.append((StoreFile(self.url, joined(self.inside, name), found[path]), name))
        return files

    def _known(self) -> Mapping[str, Any]:
        return self._info() if self.known is None else self.known

    def _info(self) -> Mapping[str, Any]:
        system = self.system
        with told("read", self.shown):
            try:
                system.invalidate_cache()
                return dict(system.info(self.path))
            except (FileNotFoundError, NotADirectoryError) as error:
                cause = error.__cause__  # fsspec calls a server that does not answer a missing file
                if cause is None or isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) in _GONE:
                    return {}
                raise cause from None


def _seconds(time: Any) -> float:
    """Return a time as stores tell it, in seconds; 0 where they do not."""
    if isinstance(time, str):
        with suppress(ValueError):
            time = datetime.fromisoformat(time)
    if isinstance(time, datetime):
        return time.timestamp()
    return float(time) if isinstance(time, int | float) else 0.0


class _Fetched(io.RawIOBase):
    """An open file of a store, whose errors are told as those of the store."""

    def __init__(self, handle: Any, url: str) -> None:
        self._handle, self._url = handle, url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return getattr(self._handle, "size", 0) is not None  # what comes without its length comes once

    def readinto(self, buffer: Any) -> int:
        with told("read", self._url):
            content = self._handle.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with told("read", self._url):
            self._handle.seek(offset, whence)
            return int(self._handle.tell())

    def tell(self) -> int:
        return int(self._handle.tell()) if self.seekable() else 0

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
