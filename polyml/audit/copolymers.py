"""Copolymers: rows of several repeat units, identified by these with their shares and the arrangement.

The units of a copolymer are compared by RDKit canonical SMILES, not by the key of a homopolymer: where a unit meets
another one, ``*OC*`` and ``*CO*`` read from their ends are one, but a shifted frame or a doubled unit makes another
chain (an alternating copolymer with phenylene is not the one with biphenylene).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from polyml.audit.spelling import SEPARATOR, canonical_smiles, flat_smiles
from polyml.data.readers import cell_text, check_columns, find_smiles_column
from polyml.data.rows import plain_name
from polyml.errors import RepeatUnitError, UserError

_STRUCTURE = re.compile(r"(?:p?_?smiles|monomer|(?:repeat_)?unit|comonomer)(?:_smiles)?_?(?P<part>[a-d1-4])")
_SHARE = re.compile(
    r"(?:r|f|x|w|ratio|frac|fraction|mole_?frac(?:tion)?|mol_?ratio|share|composition|stoichiometry)_?(?P<part>[a-d1-4])"
)
_ARCHITECTURE = frozenset(
    {"type", "architecture", "chain_architecture", "arrangement", "sequence", "poly_type", "copolymer_type", "topology"}
)


def structure_columns(columns: Sequence[str], named: Sequence[str] = (), *, where: str) -> tuple[str, ...]:
    """Find the columns with repeat units: one, or those of the units of a copolymer.

    Parameters
    ----------
    columns : sequence of str
        The header.
    named : sequence of str
        Columns that the user names; those that the file has are taken.
    where : str
        The file, for messages.

    Raises
    ------
    UserError
        None is found.

    Examples
    --------
    >>> structure_columns(["smiles_A", "smiles_B", "rA", "rB", "type", "ea"], where="x.csv")
    ('smiles_A', 'smiles_B')
    """
    present = tuple(name for name in named if name in columns)
    if present:
        return present
    parts = [name for name in columns if _STRUCTURE.fullmatch(plain_name(name))]
    try:
        return (find_smiles_column(columns, None, where=where),)
    except UserError:
        if len(parts) < 2:
            if named:
                check_columns(named, columns, where=where)
            raise
        return tuple(parts)


def share_columns(columns: Iterable[str], structures: Sequence[str]) -> tuple[str, ...]:
    """Return the columns with the share of each unit, in the order of the structures; none where one is missing."""
    by_part = {match["part"]: name for name in columns if (match := _SHARE.fullmatch(plain_name(name)))}
    parts = [match["part"] if (match := _STRUCTURE.fullmatch(plain_name(name))) else "" for name in structures]
    return tuple(by_part[part] for part in parts) if all(part in by_part for part in parts) else ()


def architecture_columns(columns: Iterable[str]) -> tuple[str, ...]:
    """Return the columns that say how the units are arranged (block, random, alternating)."""
    return tuple(name for name in columns if plain_name(name) in _ARCHITECTURE)


def beside_columns(columns: Sequence[str], structures: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that are part of what a copolymer is: structures, shares, architecture.

    Examples
    --------
    >>> beside_columns(["smiles_A", "smiles_B", "rA", "rB", "type", "ea"], ["smiles_A", "smiles_B"])
    ('smiles_A', 'smiles_B', 'rA', 'rB', 'type')
    """
    if len(structures) < 2:
        return tuple(structures)
    return (*structures, *share_columns(columns, structures), *architecture_columns(columns))


def identify_copolymers(
    frame: pd.DataFrame, structures: Sequence[str], columns: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Identify the copolymer of each row; the order of its units does not matter, nor the direction of each.

    Parameters
    ----------
    frame : DataFrame
        Column line, and the columns of the file. A cell of a further unit may be empty: it is not there.
    structures, columns : sequence of str
        Columns of the repeat units, and those of the file.

    Returns
    -------
    frame : DataFrame
        Columns line, text, canonical, key (the same), flat, and units: those of the row, sorted. The index is that of
        the rows of ``frame`` that could be read.
    refused : DataFrame
        Columns line, psmiles, column, reason, detail.
    """
    shares, kinds = share_columns(columns, structures), architecture_columns(columns)
    found: list[dict[str, object]] = []
    index: list[int] = []
    refused: list[tuple[object, ...]] = []
    for place, row in enumerate(frame.to_dict("records")):
        texts = [(name, cell_text(row[name])) for name in structures]
        try:
            units = tuple(sorted(canonical_smiles(text) for _, text in texts if text))
        except RepeatUnitError:
            refused.append(_refusal(row, texts))
            continue
        amounts = _amounts([cell_text(row[name]) for name in shares] or [""] * len(texts))
        parts = [(text, amount) for (_, text), amount in zip(texts, amounts, strict=True) if text]
        tail = [cell_text(row[name]).lower() for name in kinds]
        levels: dict[str, Callable[[str], str]] = {
            "text": str, "canonical": canonical_smiles, "key": canonical_smiles, "flat": flat_smiles,
        }  # fmt: skip
        names = {level: _joined(parts, tail, name, ordered=level == "text") for level, name in levels.items()}
        found.append({"line": row["line"], **names, "units": units})
        index.append(place)
    columns_ = ["line", "text", "canonical", "key", "flat", "units"]
    refusals = pd.DataFrame(refused, columns=["line", "psmiles", "column", "reason", "detail"])
    return pd.DataFrame(found, columns=columns_, index=index), refusals


def _joined(parts: Sequence[tuple[str, str]], tail: Sequence[str], name: Callable[[str], str], *, ordered: bool) -> str:
    units = [f"{name(text)} ×{amount}" for text, amount in parts]
    return SEPARATOR.join([*(units if ordered else sorted(units)), *tail])


def _amounts(cells: Sequence[str]) -> list[str]:
    """Return the shares of the units, scaled to a sum of one where all are numbers, as text."""
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return list(cells)
    total = sum(numbers)
    return [f"{number / total:.4g}" for number in numbers] if total > 0 else list(cells)


def _refusal(row: dict, texts: Sequence[tuple[str, str]]) -> tuple[object, ...]:
    """Say which unit of a row cannot be read."""
    for column, text in ((column, text) for column, text in texts if text):
        try:
            canonical_smiles(text)
        except RepeatUnitError as error:
            return (row["line"], text, column, error.reason, error.what)
    raise AssertionError("one of the units was refused")
