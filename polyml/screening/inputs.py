"""What a screen is made from: its chunks, and the manifest that tells whether it can go on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polyml.data.parquet_index import ParquetChunk, parquet_chunks
from polyml.data.readers import CandidateChunk, read_candidates
from polyml.data.sources import Source, candidate_files, file_digests, is_parquet, source_files
from polyml.errors import UserError
from polyml.screening.screener import ChunkScreener
from polyml.versions import NUMERICAL, installed_versions

_AT_THE_END = ("shortlist", "shortlist_by", "trade_offs")  # made from the ranked list; they may change on resume
_VERSION = 3  # of what a finished chunk holds
_SKIPPED = 200  # chunks in a row group: to read the last of them, the others are gone through


def chunks_of(source: Source, smiles_column: str | None, size: int) -> Iterable[CandidateChunk | ParquetChunk]:
    """Return the chunks of the input; of Parquet, only where they lie, so that each is read by who works on it."""
    files = candidate_files(source)
    if all(is_parquet(file) for file in files):
        found = parquet_chunks(source, smiles_column, chunk_size=size)
        if 0 < found.longest_group <= _SKIPPED * size:
            return found
    return read_candidates(source, smiles_column, chunk_size=size)


def check_streams(source: Source) -> None:
    """Refuse to go on with what can be read only once."""
    stream = next((file for file in source_files(source) if not file.path.is_file()), None)
    if stream is not None:
        what = "standard input" if stream.name == "-" else f"the stream {stream.name}"
        raise UserError(f"{what} cannot be read a second time", where="--resume", fix="screen a file")


def manifest_of(source: Source, screener: ChunkScreener, smiles_column: str | None) -> dict[str, Any]:
    """Return all that the finished chunks depend on."""
    files = source_files(source)
    digests = file_digests([file.path for file in files])
    # Of several files each row keeps the name of its own.
    named = [[file.name, digest] for file, digest in zip(files, digests, strict=True)]
    versions = installed_versions()
    return {
        "version of the finished chunks": _VERSION,
        "input": {"files": named if len(files) > 1 else digests, "smiles_column": smiles_column},
        "model": screener.models.digests,
        "quick model": screener.quick.digests if screener.quick else None,
        **screener.plan.spec.model_dump(mode="json", exclude=set(_AT_THE_END)),
        **{f"version of {name}": versions[name] for name in NUMERICAL if name in versions},
    }
