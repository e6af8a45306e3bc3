"""Bytes of text files and standard input, decompressed where need be, in parts of constant size."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

from polyml.data.places import DataFile
from polyml.errors import UserError

TEXT_FORMATS = {".csv": "csv", ".tsv": "tsv", ".smi": "smi", ".smiles": "smi", ".txt": "guess"}
PARQUET_ENDINGS = (".parquet", ".pq")
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}
FORMATS = "*.csv, *.tsv, *.smi, *.txt (also with .gz, .bz2, .xz or .zst), *.parquet, or - for standard input"
PART = 1 << 18
"""Bytes of text that are read at once."""
_STEP = 8192  # bytes that are decompressed at once
_HEAD = 6
_MAGIC = {
    re.compile(rb"\x1f\x8b"): "gzip",
    re.compile(rb"BZh[1-9](1A|\x17r)"): "bz2",
    re.compile(rb"\xfd7zXZ\x00"): "xz",
    re.compile(rb"\x28\xb5\x2f\xfd"): "zstd",
}
_FOREIGN = {
    b"PAR1\x15": ("this is a Parquet file", "let its name end in .parquet; Parquet cannot come by standard input"),
    b"PK\x03\x04": ("this is a zip archive or a workbook", "unpack it, or save the sheet as CSV"),
    b"\xff\xfe": ("this is text in UTF-16", "save the file as UTF-8"),
    b"\xfe\xff": ("this is text in UTF-16", "save the file as UTF-8"),
}
_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)


def text_format(path: DataFile) -> tuple[str, str] | None:
    """Return the kind of a text file and its compression ("" for none) by the end of its name; None for no text.

    Examples
    --------
    >>> from pathlib import Path
    >>> text_format(Path("a.csv.zst")), text_format(Path("a.v2.smi")), text_format(Path("a.xlsx"))
    (('csv', 'zstd'), ('smi', ''), None)
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = COMPRESSIONS.get(suffixes.pop(), "") if suffixes and suffixes[-1] in COMPRESSIONS else ""
    kind = TEXT_FORMATS.get(suffixes[-1]) if suffixes else None
    return (kind, compression) if kind else None


class Stream:
    """Bytes of an open file, decompressed; an error ends the stream and is kept.

    Parameters
    ----------
    handle : binary file
    where : str
        Its name in messages.
    compression : str
        As the file's name has it; without one the first bytes tell.
    close : callable, optional
        What closes the file; nothing for standard input.

    Attributes
    ----------
    error : str
        Why the stream ended early; empty while all is well.

    Raises
    ------
    UserError
        The first bytes are those of no text.
    """

    def __init__(self, handle: BinaryIO, where: str, compression: str = "", close: Callable[[], object] = bool) -> None:
        self.where, self.error, self.close = where, "", close
        self._handle, self._start = handle, handle.tell() if handle.seekable() else -1
        if not compression:
            head = _head(handle)
            compression = next((name for magic, name in _MAGIC.items() if magic.match(head)), "")
            _check_head(head, where)
            handle = _Again(head, handle)  # type: ignore[assignment]
        self._read = _reader(handle, compression)
        self._compression, self._size, self._done = compression, _STEP if compression else PART, 0

    def part(self) -> bytes:
        """Return the next bytes, at most ``PART``; none at the end, and after an error."""
        pieces: list[bytes] = []
        size = 0
        while size < PART and not self.error:
            try:
                piece = self._read(self._size)
            except _ERRORS as error:
                self.error = _reason(error)
                pieces.append(self._rescued())
                break
            pieces.append(piece)
            size += len(piece)
            self._done += len(piece)
            if not piece or self._size == PART:  # what stands ready: a slow pipe is not waited for
                break
        return b"".join(pieces)

    def _rescued(self) -> bytes:
        """Return what the step that failed would have given before the damage: go there again, byte by byte."""
        rescued = bytearray()
        if not self._compression or self._start < 0:
            return b""
        try:
            self._handle.seek(self._start)
            read, left = _reader(self._handle, self._compression), self._done
            while left and (piece := read(min(left, _STEP))):
                left -= len(piece)
            while len(rescued) < _STEP and (piece := read(1)):
                rescued += piece
        except _ERRORS:
            pass
        return bytes(rescued)


def open_stream(path: DataFile, compression: str = "") -> Stream:
    """Open a file or a pipe.

    Raises
    ------
    UserError
        It cannot be opened.
    """
    try:
        handle = path.open("rb")
    except OSError as error:
        fix = "check the path and its permissions"
        raise UserError(f"cannot be read: {error.strerror}", where=str(path), fix=fix) from error
    return Stream(handle, str(path), compression, handle.close)


class _Again:
    """A file whose first bytes have been looked at, from its beginning."""

    def __init__(self, head: bytes, handle: BinaryIO) -> None:
        self._first, self._handle = head, handle
        self.closed = False

    def read(self, size: int) -> bytes:
        head, self._first = self._first[:size], self._first[size:]
        return head + self._handle.read(size - len(head)) if len(head) < size else head

    def read1(self, size: int) -> bytes:
        head, self._first = self._first[:size], self._first[size:]
        return head or getattr(self._handle, "read1", self._handle.read)(size)

    def close(self) -> None:
        """Leave the file open: who opened it closes it."""


def _reason(error: Exception) -> str:
    reason = str(error) or type(error).__name__
    cut_short = isinstance(error, EOFError) or "Truncated" in reason
    return reason if cut_short else f"{reason}; lines before it may be wrong"


def _head(handle: BinaryIO) -> bytes:
    head = b""
    try:
        while len(head) < _HEAD and (more := handle.read(_HEAD - len(head))):
            head += more
    except OSError:
        return head  # the next read tells
    return head


def _check_head(head: bytes, where: str) -> None:
    for magic, (what, fix) in _FOREIGN.items():
        if head.startswith(magic):
            raise UserError(what, where=where, fix=fix)


def _reader(handle: Any, compression: str) -> Callable[[int], bytes]:
    """Return what reads some bytes in a single step, so that an error takes no more with it."""
    if compression == "gzip":
        return gzip.GzipFile(fileobj=handle, mode="rb").read1
    if compression == "bz2":
        return bz2.BZ2File(handle).read1
    if compression == "xz":
        return lzma.LZMAFile(handle).read1
    if compression == "zstd":
        return _zstd(handle)
    return handle.read1


def _zstd(handle: Any) -> Callable[[int], bytes]:
    import pyarrow as pa

    stream = pa.CompressedInputStream(pa.PythonFile(handle, mode="r"), "zstd")

    def read(size: int) -> bytes:
        try:
            return bytes(stream.read(size))
        except pa.ArrowException as error:
            raise OSError(str(error)) from error

    return read
