"""The finished chunks of a screen on disk, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.data.files import sha256_file, whole_file
from polyml.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_MANIFEST = "manifest.json"
_COUNTS = b"polyml.counts"


@dataclass(frozen=True)
class Shard:
    """One finished chunk: its counts and its kept candidates."""

    counts: dict[str, int]
    frame: pd.DataFrame


class ShardStore:
    """Shards below ``folder/shards``, each written whole, under a manifest of what they were made from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "shards"

    def open(self, manifest: dict[str, Any], *, resume: bool) -> None:
        """Start a screen, or go on with one.

        Raises
        ------
        UserError
            When the folder holds something and ``resume`` is not asked for, or when it holds the shards of another
            model, input or spec.
        """
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
            with whole_file(path) as temporary:
                temporary.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")

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

    def discard_if_empty(self) -> None:
        """Leave no trace of a screen that failed before its first chunk was finished, so that its folder is free."""
        if not any(self.folder.glob("*.parquet")):
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):
                self.folder.parent.rmdir()

    def is_done(self, number: int) -> bool:
        """Return whether a chunk is finished."""
        return self._path(number).is_file()

    def write(self, number: int, frame: pd.DataFrame, counts: dict[str, int], rejects: str) -> None:
        """Keep one chunk. The file with the candidates comes last: where it is, the chunk is whole."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with whole_file(self.rejects_path(number)) as temporary:
            temporary.write_text(rejects, encoding="utf-8", errors="backslashreplace", newline="")
        table = pa.Table.from_pandas(frame, preserve_index=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _COUNTS: json.dumps(counts).encode()})
        with whole_file(self._path(number)) as temporary:
            pq.write_table(table, temporary)

    def read(self, count: int) -> Iterator[Shard]:
        """Yield the first ``count`` shards in the order of the input."""
        import pyarrow.parquet as pq

        for number in range(count):
            try:
                table = pq.read_table(self._path(number))
                counts = json.loads(table.schema.metadata[_COUNTS])
            except (OSError, KeyError, ValueError) as error:
                fix = f"delete {self._path(number).name} and run again with --resume"
                raise UserError(f"a shard cannot be read: {error}", where=str(self._path(number)), fix=fix) from error
            yield Shard(counts, table.to_pandas())

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.parquet"

    def rejects_path(self, number: int) -> Path:
        """Return the file with the refused rows of a chunk: CSV lines without a header."""
        return self.folder / f"{number:06d}.rejects.csv"


def _holds_anything(folder: Path) -> bool:
    if folder.exists() and not folder.is_dir():
        raise UserError(
            "the output must be a folder, and this is a file", where=str(folder), fix="name a folder with -o"
        )
    with suppress(FileNotFoundError):
        # A temporary file that a killed run left behind is nothing of the user's.
        return any(not item.name.startswith(".") for item in folder.rglob("*") if item != folder / "shards")
    return False


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"the manifest cannot be read: {error}", where=str(path), fix="use a new folder") from error
    return content if isinstance(content, dict) else {}


def source_fingerprint(path: Path) -> dict[str, str]:
    """Return what identifies an input: the digest of its content, or nothing but its name for a stream."""
    return {"sha256": sha256_file(path)} if path.is_file() else {"stream": str(path)}
