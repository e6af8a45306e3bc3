"""Find the SMILES column of each file of a source, and stream the rows of all in chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from polyml.data.blocks import BlockSource, Stamp
from polyml.data.chunks import CandidateChunk, Layout, Piece, assemble, cell_text, check_columns, free_names
from polyml.data.parquet import open_file
from polyml.data.rows import SMILES_NAMES, open_blocks, plain_name
from polyml.data.sources import Source, SourceFile, candidate_files, is_parquet, source_files
from polyml.errors import UserError

__all__ = [
    "CandidateChunk",
    "candidate_files",
    "cell_text",
    "check_columns",
    "count_rows",
    "find_smiles_column",
    "free_names",
    "read_candidates",
]


def find_smiles_column(columns: Iterable[str], smiles_column: str | None = None, *, where: str | None = None) -> str:
    """Find the column that holds the repeat units.

    Parameters
    ----------
    columns : iterable of str
        The header.
    smiles_column : str, optional
        The column a user named; nothing is guessed then.
    where : str, optional
        The file, for the message.

    Raises
    ------
    UserError
        No column fits, or several do; the message lists the columns.

    Examples
    --------
    >>> find_smiles_column(["name", "SMILES", "Tg"])
    'SMILES'
    """
    columns = list(columns)
    if smiles_column is not None:
        check_columns([smiles_column], columns, where=where)
        return smiles_column
    for name in SMILES_NAMES:
        found = [column for column in columns if plain_name(column) == name]
        if len(found) > 1:
            fix = "choose one with --smiles-column"
            raise UserError(f"several columns may hold the SMILES: {', '.join(found)}", where=where, fix=fix)
        if found:
            return found[0]
    fix = f"name it with --smiles-column; the columns are: {', '.join(columns)}"
    raise UserError("no column of SMILES found", where=where, fix=fix)


def read_candidates(
    source: Source,
    smiles_column: str | None = None,
    *,
    chunk_size: int = 5000,
    keep_blank: bool = False,
    columns: Sequence[str] | None = None,
) -> Iterator[CandidateChunk]:
    """Stream the rows of candidates in chunks, in order, in constant memory.

    Chunk k holds the rows from k times ``chunk_size`` of the whole stream, whichever files they are in. All files are
    opened once before any work: each must have a SMILES column and a sound header (Parquet: footer). The other columns
    may differ: a chunk has those of all files, empty where a file lacks one. What is wrong below the header costs the
    rows that cannot be read, and each is a row with a fault; where the rest of a file is lost, one row stands for it.

    Parameters
    ----------
    source : str, Path, or list or tuple of these
        CSV, TSV, .smi (plain, .gz, .bz2, .xz or .zst) or Parquet; a folder, a pattern or several, see
        :func:`polyml.data.sources.candidate_files`; ``-`` for standard input, or the name of an embedded set.
    smiles_column : str, optional
        Where the repeat units stand; found by name in each file when not given.
    chunk_size : int
        Rows in a chunk; the last one may be shorter.
    keep_blank : bool
        Give blank lines too, as rows with a fault.
    columns : sequence of str, optional
        The other columns to give; all when not given.

    Yields
    ------
    CandidateChunk

    Raises
    ------
    UserError
        A file cannot be opened or holds no SMILES column, or there are no rows at all (all at once); a file changes or
        goes while it is read.
    """
    files = source_files(source)
    several = len(files) > 1
    hold = not several and (columns is None or not is_parquet(files[0].path))
    opened = [_open(file, smiles_column, keep_blank=keep_blank, hold=hold) for file in files]
    layout = Layout.of([(item.columns, item.smiles) for item in opened], columns)
    pieces = _pieces(opened, layout, smiles_column, keep_blank=keep_blank)
    first = next(pieces, None)
    if first is None:
        where = str(source) if several else opened[0].where
        raise UserError("there are no rows below the header", where=where, fix="add at least one repeat unit")
    return assemble(chain([first], pieces), layout.names, chunk_size)


@dataclass(frozen=True, eq=False)
class _Opened:
    """A file whose header has been read; open still where it can be read only once, or is the only one."""

    file: SourceFile
    where: str
    columns: tuple[str, ...]
    smiles: str
    stamp: Stamp | None
    source: BlockSource | None


def _open(file: SourceFile, smiles_column: str | None, *, keep_blank: bool, hold: bool) -> _Opened:
    stamp = Stamp.of(file.path) if file.path.is_file() else None
    source = open_blocks(file.path, smiles_column=smiles_column, keep_blank=keep_blank, stamp=stamp)
    smiles = find_smiles_column(source.columns, smiles_column, where=source.where)
    if stamp is not None and not hold:
        source.close()
    return _Opened(file, source.where, source.columns, smiles, stamp, source if hold or stamp is None else None)


def _pieces(
    opened: Sequence[_Opened], layout: Layout, smiles_column: str | None, *, keep_blank: bool
) -> Iterator[Piece]:
    for item in opened:
        source = item.source or open_blocks(
            item.file.path,
            smiles_column=smiles_column,
            keep_blank=keep_blank,
            stamp=item.stamp,
            columns=layout.read_of(item.columns, item.smiles),
        )
        name = item.file.name if len(opened) > 1 else ""
        smiles, others = source.columns.index(item.smiles), layout.places(source.columns, item.smiles)
        for block in source.blocks:
            yield Piece(block, smiles, others, name)


def count_rows(source: Source) -> int | None:
    """Return the number of rows where the files say it (all are Parquet), else None: nothing is read for it.

    Examples
    --------
    >>> count_rows("candidates")
    574837
    """
    files = [file.path for file in source_files(source)]
    if not all(is_parquet(path) and path.is_file() for path in files):
        return None
    total = 0
    for path in files:
        with open_file(path) as file:
            total += file.metadata.num_rows
    return total
