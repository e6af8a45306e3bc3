"""Folders that may lie anywhere: on this disk, or where an object store has them under a URL.

A file of a place is whole or not there. On a disk that takes a rename; an object appears when its last byte is stored.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from polyml.data.files import cannot_write, whole_file
from polyml.data.stores import FREE, LOCK, StoreFile, StorePlace
from polyml.errors import UserError

DataFile = Path | StoreFile
"""A file to read, on this disk or under a URL."""
_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):/+(.*)", re.DOTALL)  # a Path makes one slash of several


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


def place_of(location: str | Path) -> DiskPlace | StorePlace:
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


def data_file(location: str | DataFile) -> DataFile:
    """Return the file at a path or URL.

    Examples
    --------
    >>> data_file("s3://bucket/parts/1.csv.gz").suffixes, data_file("file:///data/a.csv").name
    (['.csv', '.gz'], 'a.csv')
    """
    if isinstance(location, StoreFile):
        return location
    place = place_of(location)
    return place.folder if isinstance(place, DiskPlace) else StoreFile(place.url)


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

        lock = FileLock(self.folder / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            where = str(self.folder.parent)
            raise UserError("another run is at work in this folder", where=where, fix=FREE) from None
        except OSError as error:
            raise cannot_write(error, self.folder) from error
        try:
            yield
        finally:
            lock.release()


@dataclass(frozen=True)
class Outputs:
    """A folder on this disk to write results into, and how they get to the place that they are meant for.

    Attributes
    ----------
    folder : Path
        The folder of the user, or a temporary one for what goes to a URL.
    """

    folder: Path
    _place: DiskPlace | StorePlace
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
        if self._temporary is None or isinstance(self._place, DiskPlace):
            return
        for path in sorted(item for item in self.folder.iterdir() if item.is_file()):
            self._place.upload(path)
        self._temporary.cleanup()
