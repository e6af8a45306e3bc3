"""The finished chunks of a screen on disk, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import struct
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.data.places import DiskPlace, place_of
from polyml.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_SHARDS, _MANIFEST = "shards", "manifest.json"
_NAME = re.compile(r"([0-9]{8,})\.shard")
_HALF_WRITTEN = re.compile(r"\.(ranked|rejects|predictions|shortlist|report|robeson|summary)\.\w+\.\w+\.\w+")
_TOLD = b"polyml.told"
_DIGEST = 32  # bytes
_SHOWN = 200  # characters of a value in a message
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
        (discarded by the quick model and predicted all the same), and how many are left after each constraint
        (:attr:`polyml.screening.plan.ScreenPlan.steps`) and how many are refused for each reason.
    table : pyarrow.Table
        A row for each candidate that is kept: ``row`` (its number in the input, from 0), ``line``, ``psmiles``, ``key``
        (canonical), ``outcome``, ``reason`` and ``message`` (why it does not pass), ``copies`` (rows of the chunk that
        are the same polymer, where only the best are kept), ``value:<name>`` of what was predicted and derived, and
        ``input:<name>`` of what stood beside the SMILES. Outcomes: ``refused``, ``prefilter`` (discarded by the quick
        model), ``fails`` (a constraint), ``no value`` (of the objective), ``known`` (a training polymer), ``passes``.
    histograms : list of dict
        Of the predictions of each property for all valid candidates that the model proper has seen; see
        :class:`polyml.screening.histogram.StreamedHistogram`.
    checked : list of (float, str)
        Scores and keys of the candidates that the quick model discards and that would be ranked; see
        :mod:`polyml.screening.recall`. Those that cannot be in the ranked list may be left out.
    records : ndarray of uint64, shape (n, 3), optional
        What is kept of every valid row where each polymer is to be counted once; see
        :func:`polyml.screening.duplicates.key_records`.
    """

    counts: dict[str, int]
    table: pa.Table
    histograms: list[dict[str, Any]]
    checked: list[tuple[float, str]] = field(default_factory=list)
    records: np.ndarray | None = None


class ShardStore:
    """Shards below ``folder/shards``, each one file that is written whole, under a manifest of what they are made from.

    The folder is a path, or the URL of an object store; see :mod:`polyml.data.places`.

    A shard that is there is complete: it is on the disk before it gets its name, and it begins with the digest of what
    follows: Parquet, and where each polymer is counted once, the records of its rows.
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
        self._is_begun(manifest, resume=resume)  # nothing is written into a folder that is not ours, not even a lock
        with self.place.lock():
            if not self._is_begun(manifest, resume=resume):  # another run may have been quicker
                self.place.write(_MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
            self._sweep()
            yield

    def _is_begun(self, manifest: dict[str, Any], *, resume: bool) -> bool:
        """Return whether there is a screen in the folder, which is this one."""
        before = self.place.read(_MANIFEST)
        if before is not None:
            self._check(manifest, self._parsed(before), resume=resume)
        elif self._holds_anything():
            inside = {*self.output.names()}
            if "summary.json" in inside and {"ranked.csv", "ranked.parquet"} & inside:
                what = "the output folder holds the results of a screen whose folder 'shards' is gone"
                fix = "name another folder with -o: without it nothing can be added to them"
            else:
                what = "the output folder is not empty and holds no screen"
                fix = "name another folder with -o"
            raise UserError(what, where=self.where, fix=fix)
        return before is not None

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
            was = "; ".join(f"{name} was {_shown(before.get(name))}" for name in changed)
            raise UserError(
                f"cannot resume: the screen in this folder was begun with something else ({', '.join(changed)})",
                where=where,
                fix=f"screen into a new folder, or run exactly what was run before: {was}",
            )

    def _sweep(self) -> None:
        """Remove what a killed run left half-written."""
        for name in self.place.names():
            if name.startswith(".") and name.endswith(".shard"):
                self.place.remove(name)
        if isinstance(self.place, DiskPlace) and isinstance(self.output, DiskPlace):
            shutil.rmtree(self.scratch, ignore_errors=True)
            for name in filter(_HALF_WRITTEN.fullmatch, self.output.names()):
                self.output.remove(name)

    def discard_if_empty(self) -> None:
        """Leave no trace of a screen that failed before its first chunk was finished, so that its folder is free."""
        if not self.finished():
            self.place.clear()

    def finished(self) -> set[int]:
        """Return the numbers of the chunks that are there, by one listing; one of them may still be damaged."""
        return {int(found[1]) for name in self.place.names() if (found := _NAME.fullmatch(name))}

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
        self.place.write(self.name(number), b"".join([_digest(data), data]))

    def read(self, number: int) -> ChunkResult | None:
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
        if data[-len(_RECORDS) :] == _RECORDS:
            data = data[: len(data) - _TAIL.size - _TAIL.unpack(data[-_TAIL.size :])[1]]
        table = pq.read_table(pa.BufferReader(data))
        return ChunkResult(table=table, **json.loads(table.schema.metadata[_TOLD]))

    def read_records(self, number: int) -> np.ndarray:
        """Return the records of a finished chunk, shape (n, 3).

        Raises
        ------
        UserError
            There is none, or the disk has damaged it.
        """
        content = self.place.read(self.name(number)) or b""
        if content[-len(_RECORDS) :] == _RECORDS and len(content) >= _TAIL.size:
            digest, length, _ = _TAIL.unpack(content[-_TAIL.size :])
            raw = content[-_TAIL.size - length : -_TAIL.size]
            if digest == _digest(raw):
                return np.frombuffer(raw, dtype="<u8").reshape(-1, 3)
        raise UserError("a finished chunk is gone or damaged", where=self.path(number), fix="run again with --resume")

    @property
    def scratch(self) -> Path:
        """A folder for what is needed for a while: beside the shards, or on this machine where they are elsewhere."""
        if isinstance(self.place, DiskPlace):
            return self.place.folder / _SCRATCH
        return Path(tempfile.gettempdir()) / f"polyml-{uuid.uuid4().hex}"

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


def _shown(value: Any) -> str:
    """Return a value of the manifest for a message: of a digest, as much as tells it from another."""
    text = re.sub(r"([0-9a-f]{8})[0-9a-f]{56}", r"\1...", json.dumps(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _digest(data: Any) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()
