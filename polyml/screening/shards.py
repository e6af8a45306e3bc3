"""The finished chunks of a screen on disk, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.data.files import sha256_file
from polyml.data.places import place_of
from polyml.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_SHARDS, _MANIFEST = "shards", "manifest.json"
_NAME = re.compile(r"([0-9]{8,})\.shard")
_COUNTS = b"polyml.counts"
_DIGEST = 32  # bytes


@dataclass(frozen=True)
class Shard:
    """One finished chunk: its counts and its kept candidates."""

    counts: dict[str, int]
    table: pa.Table


class ShardStore:
    """Shards below ``folder/shards``, each one file that is written whole, under a manifest of what they are made from.

    The folder is a path, or the URL of an object store; see :mod:`polyml.data.places`.

    A shard that is there is complete: it is on the disk before it gets its name, and it begins with the digest of the
    Parquet that follows.
    """

    def __init__(self, folder: str | Path) -> None:
        self.output = place_of(folder)
        self.place = self.output.below(_SHARDS)

    @contextmanager
    def open(self, manifest: dict[str, Any], *, resume: bool) -> Iterator[None]:
        """Start a screen, or go on with one; no other process can do so meanwhile.

        Raises
        ------
        UserError
            When the folder holds something and ``resume`` is not asked for, when it holds the shards of another model,
            input or spec, or when another process is at work in it.
        """
        manifest = json.loads(json.dumps(manifest))
        before = self.place.read(_MANIFEST)
        if before is not None:
            self._check(manifest, self._parsed(before), resume=resume)
        elif self._holds_anything():
            fix = "name another folder with -o, or remove this one"
            raise UserError("the output folder is not empty and holds no screen", where=self.where, fix=fix)
        else:
            self.place.write(_MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
        with self.place.lock():
            self._sweep()
            yield

    def _holds_anything(self) -> bool:
        # A temporary file that a killed run left behind is nothing of the user's.
        inside = self.output.names()
        shards = self.place.names() if _SHARDS in inside else []
        return any(not name.startswith(".") for name in [*shards, *(name for name in inside if name != _SHARDS)])

    def _parsed(self, content: bytes) -> dict[str, Any]:
        try:
            found = json.loads(content)
        except ValueError as error:
            where = f"{self.place.where}/{_MANIFEST}"
            raise UserError(f"the manifest cannot be read: {error}", where=where, fix="use a new folder") from error
        return found if isinstance(found, dict) else {}

    def _check(self, manifest: dict[str, Any], before: dict[str, Any], *, resume: bool) -> None:
        where = self.where
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
        for name in self.place.names():
            if name.startswith(".") and name.endswith(".shard"):
                self.place.remove(name)

    def discard_if_empty(self) -> None:
        """Leave no trace of a screen that failed before its first chunk was finished, so that its folder is free."""
        if not self.finished():
            self.place.clear()

    def finished(self) -> set[int]:
        """Return the numbers of the chunks that are there, by one listing; one of them may still be damaged."""
        return {int(found[1]) for name in self.place.names() if (found := _NAME.fullmatch(name))}

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
        self.place.write(self.name(number), b"".join([_digest(data), data]))

    def read(self, number: int) -> Shard | None:
        """Return a finished chunk; None where there is none, or where the disk has damaged it."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        content = self.place.read(self.name(number))
        if content is None:
            return None
        data = memoryview(content)[_DIGEST:]
        if content[:_DIGEST] != _digest(data):
            self.place.remove(self.name(number))
            return None
        table = pq.read_table(pa.BufferReader(data))
        return Shard(json.loads(table.schema.metadata[_COUNTS]), table)

    @property
    def where(self) -> str:
        """The output folder, as messages call it."""
        return self.output.where

    def mark(self) -> bytes:
        """Return what tells that two machines see one store; empty where this one sees none."""
        return self.place.read(_MANIFEST) or b""

    def name(self, number: int) -> str:
        """Return the name of a chunk's file."""
        return f"{number:08d}.shard"

    def path(self, number: int) -> str:
        """Return where a chunk's file is, as messages call it."""
        return f"{self.place.where}/{self.name(number)}"


def _digest(data: Any) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


def fingerprints(files: Sequence[Path]) -> list[str]:
    """Return what identifies each file of an input: the digest of its content, or nothing but its name for a stream."""
    return [sha256_file(path) if path.is_file() else f"stream {path}" for path in files]
