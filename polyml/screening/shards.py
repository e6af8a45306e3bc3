"""The finished chunks of a screen on disk, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.data.files import sha256_file, whole_file
from polyml.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_MANIFEST = "manifest.json"
_LOCK = ".lock"
_TOLD = b"polyml.told"
_DIGEST = 32  # bytes
_SCRATCH = ".scratch"
# What a shard with records ends in: their digest, their bytes, and a word that no Parquet ends in.
_TAIL = struct.Struct(f"<{_DIGEST}sQ4s")
_RECORDS = b"KEYS"


@dataclass(frozen=True)
class ChunkResult:
    """What is kept of one chunk.

    Attributes
    ----------
    counts : dict of str to int
        ``read``, ``valid``, ``shortlisted`` (the prefilter; all valid ones without a quick model), ``passing`` (the
        constraints), ``no_value`` (passing, but the objective has no value), ``checked`` and ``checked_passing``
        (discarded by the quick model and predicted all the same).
    table : pyarrow.Table
        A row for each candidate that is kept: ``row`` (its number in the input, from 0), ``line``, ``psmiles``, ``key``
        (canonical), ``outcome``, ``reason`` and ``message`` (why it does not pass), ``copies`` (rows of the chunk that
        are the same polymer, where only the best are kept), ``value:<name>`` of what was predicted and derived, and
        ``input:<name>`` of what stood beside the SMILES. Outcomes: ``refused``, ``prefilter`` (discarded by the quick
        model), ``fails`` (a constraint), ``no value`` (of the objective), ``known`` (a training polymer), ``passes``.
    histograms : list of dict
        Of the predictions of each property for all valid candidates that the model proper has seen; see
        :class:`polyml.screening.histogram.StreamedHistogram`.
    checked : list of float
        Scores of the candidates that the quick model discards and that would have passed; see
        :mod:`polyml.screening.recall`. Those that cannot be in the ranked list may be left out.
    records : ndarray of uint64, shape (n, 3), optional
        What is kept of every valid row where each polymer is to be counted once; see
        :func:`polyml.screening.duplicates.key_records`. It is read by itself.
    """

    counts: dict[str, int]
    table: pa.Table
    histograms: list[dict[str, Any]]
    checked: list[float] = field(default_factory=list)
    records: np.ndarray | None = None


class ShardStore:
    """Shards below ``folder/shards``, each one file that is written whole, under a manifest of what they are made from.

    A shard that is there is complete: it is on the disk before it gets its name, and it begins with the digest of what
    follows: Parquet, and where each polymer is counted once, the records of its rows, which can be read alone.
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
        shutil.rmtree(self.scratch, ignore_errors=True)

    def discard_if_empty(self) -> None:
        """Leave no trace of a screen that failed before its first chunk was finished, so that its folder is free."""
        if not any(self.folder.glob("[0-9]*.shard")):
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):
                self.folder.parent.rmdir()

    def write(self, number: int, result: ChunkResult) -> None:
        """Keep one chunk, and the records of its valid rows (:func:`polyml.screening.duplicates.key_records`).

        Raises
        ------
        UserError
            The disk is full or read-only.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        told = json.dumps({"counts": result.counts, "histograms": result.histograms, "checked": result.checked})
        table = result.table.replace_schema_metadata({_TOLD: told.encode()})
        content = pa.BufferOutputStream()
        pq.write_table(table, content, compression="zstd")
        data = content.getvalue()
        if result.records is not None:
            raw = result.records.tobytes()
            data = b"".join([data, raw, _TAIL.pack(_digest(raw), len(raw), _RECORDS)])
        with whole_file(self.path(number), durable=True) as temporary, temporary.open("wb") as file:
            file.write(_digest(data))
            file.write(data)

    def read(self, number: int) -> ChunkResult | None:
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
        if data[-len(_RECORDS) :] == _RECORDS:
            data = data[: len(data) - _TAIL.size - _TAIL.unpack(data[-_TAIL.size :])[1]]
        table = pq.read_table(pa.BufferReader(data))
        return ChunkResult(table=table, **json.loads(table.schema.metadata[_TOLD]))

    def read_records(self, number: int) -> np.ndarray:
        """Return the records of a finished chunk, shape (n, 3), without reading the rest of it.

        Raises
        ------
        UserError
            There is none, or the disk has damaged it.
        """
        path = self.path(number)
        with suppress(OSError, struct.error), path.open("rb") as file:
            file.seek(-_TAIL.size, os.SEEK_END)
            digest, length, word = _TAIL.unpack(file.read())
            file.seek(-_TAIL.size - length, os.SEEK_END)
            raw = file.read(length)
            if word == _RECORDS and digest == _digest(raw):
                return np.frombuffer(raw, dtype="<u8").reshape(-1, 3)
        raise UserError("a finished chunk is gone or damaged", where=str(path), fix="run again with --resume")

    @property
    def scratch(self) -> Path:
        """A folder for what is needed for a while only; it is emptied when the screen is opened again."""
        return self.folder / _SCRATCH

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
