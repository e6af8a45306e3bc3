"""The finished chunks of a screen on disk, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.data.files import sha256_file, whole_file
from polyml.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_MANIFEST = "manifest.json"
_LOCK = ".lock"
_COUNTS = b"polyml.counts"
_DIGEST = 32  # bytes


@dataclass(frozen=True)
class Shard:
    """One finished chunk: its counts and its kept candidates."""

    counts: dict[str, int]
    table: pa.Table


class ShardStore:
    """Shards below ``folder/shards``, each one file that is written whole, under a manifest of what they are made from.

    A shard that is there is complete: it is on the disk before it gets its name, and it begins with the digest of the
    Parquet that follows.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "shards"

    @contextmanager
    def open(self, manifest: dict[str, Any], *, resume: bool) -> Iterator[None]:
        """Start a screen, or go on with one; no other process can do so meanwhile.

        Raises
        ------
        UserError
            When the folder holds something and ``resume`` is not asked for, when it holds the shards of another model,
            input or spec, or when another process is at work in it.
        """
        from filelock import FileLock, Timeout

        manifest = json.loads(json.dumps(manifest))
        path = self.folder / _MANIFEST
        if path.is_file():
            self._check(manifest, _read_json(path), resume=resume)
        elif _holds_anything(self.folder.parent):
            fix = "name another folder with -o, or remove this one"
            raise UserError(
                "the output folder is not empty and holds no screen", where=str(self.folder.parent), fix=fix
            )
        else:
            with whole_file(path, durable=True) as temporary:
                temporary.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        try:
            with FileLock(self.folder / _LOCK, timeout=0):
                self._sweep()
                yield
        except Timeout:
            fix = "wait for it, or stop it first"
            raise UserError("another run is at work in this folder", where=str(self.folder.parent), fix=fix) from None

    def _check(self, manifest: dict[str, Any], before: dict[str, Any], *, resume: bool) -> None:
        where = str(self.folder.parent)
        if not resume:
            fix = "go on with it with --resume, or name another folder with -o"
            raise UserError("the output folder already holds a screen", where=where, fix=fix)
        names = sorted({*before, *manifest})
        changed = [name for name in names if before.get(name) != manifest.get(name)]
        if changed:
            raise UserError(
                f"cannot resume: the screen in this folder was made with another {' and '.join(changed)}",
                where=where,
                fix="screen into a new folder, or run exactly what was run before",
            )

    def _sweep(self) -> None:
        """Remove what a killed run left half-written."""
        for item in self.folder.glob(".*.shard"):
            item.unlink(missing_ok=True)

    def discard_if_empty(self) -> None:
        """Leave no trace of a screen that failed before its first chunk was finished, so that its folder is free."""
        if not any(self.folder.glob("[0-9]*.shard")):
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):
                self.folder.parent.rmdir()

    def write(self, number: int, table: pa.Table, counts: dict[str, int]) -> None:
        """Keep one chunk.

        Raises
        ------
        UserError
            The disk is full or read-only.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = table.replace_schema_metadata({_COUNTS: json.dumps(counts).encode()})
        content = pa.BufferOutputStream()
        pq.write_table(table, content, compression="zstd")
        data = content.getvalue()
        with whole_file(self.path(number), durable=True) as temporary, temporary.open("wb") as file:
            file.write(_digest(data))
            file.write(data)

    def read(self, number: int) -> Shard | None:
        """Return a finished chunk; None where there is none, or where the disk has damaged it."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.path(number)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        data = memoryview(content)[_DIGEST:]
        if content[:_DIGEST] != _digest(data):
            path.unlink(missing_ok=True)
            return None
        table = pq.read_table(pa.BufferReader(data))
        return Shard(json.loads(table.schema.metadata[_COUNTS]), table)

    @property
    def where(self) -> str:
        """The output folder, as messages call it."""
        return str(self.folder.parent)

    def mark(self) -> bytes:
        """Return what tells that two machines see one store; empty where this one sees none."""
        try:
            return (self.folder / _MANIFEST).read_bytes()
        except OSError:
            return b""

    def path(self, number: int) -> Path:
        """Return the file of a chunk."""
        return self.folder / f"{number:08d}.shard"


def _holds_anything(folder: Path) -> bool:
    if folder.exists() and not folder.is_dir():
        raise UserError(
            "the output must be a folder, and this is a file", where=str(folder), fix="name a folder with -o"
        )
    with suppress(FileNotFoundError):
        # A temporary file that a killed run left behind is nothing of the user's.
        return any(not item.name.startswith(".") for item in folder.rglob("*") if item != folder / "shards")
    return False


def _digest(data: Any) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"the manifest cannot be read: {error}", where=str(path), fix="use a new folder") from error
    return content if isinstance(content, dict) else {}


def fingerprints(files: Sequence[Path]) -> list[str]:
    """Return what identifies each file of an input: the digest of its content, or nothing but its name for a stream."""
    return [sha256_file(path) if path.is_file() else f"stream {path}" for path in files]
