"""A user's list of monomers: read, checked, each molecule once, with the classes the rules know it by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rdkit import Chem, rdBase

from polyml.chem.repeat_unit import MAX_CHARACTERS, why_invalid
from polyml.data.readers import CandidateChunk, cell_text, check_columns, read_candidates
from polyml.data.rows import plain_name
from polyml.data.sources import source_files
from polyml.design.rules import CARBON_MONOXIDE, monomer_classes
from polyml.errors import UserError
from polyml.progress import track

if TYPE_CHECKING:
    import pandas as pd

NAME_COLUMNS = (
    "name",
    "monomer_name",
    "monomer",
    "title",
    "common_name",
    "iupac_name",
    "id",
    "monomer_id",
    "cid",
    "cas",
)
"""Columns that may name a monomer, the first that is there."""
NO_CLASS = "no class"
DUPLICATE = "duplicate"
_AT_A_TIME = 1000


@dataclass(frozen=True)
class Reject:
    """A row that is not used, and why."""

    line: int
    smiles: str
    reason: str
    detail: str


@dataclass(eq=False)
class Monomers:
    """Monomers that at least one rule takes, in the order of the file.

    Attributes
    ----------
    smiles : list of str
        RDKit's canonical SMILES.
    names : list of str
        Empty texts where the file has none.
    classes : list of tuple of str
        The monomer classes of each.
    rejects : list of Reject
        The other rows: refused, in no class, or a molecule of an earlier row.
    read : int
        Rows of the file.
    source : str
        The file, for messages.
    named : bool
        Whether the file has a column of names.
    """

    smiles: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    classes: list[tuple[str, ...]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    read: int = 0
    source: str = ""
    named: bool = False

    def __len__(self) -> int:
        return len(self.smiles)

    def with_carbon_monoxide(self) -> Monomers:
        """Return the list with carbon monoxide at its end, unless it is there."""
        if CARBON_MONOXIDE in self.smiles:
            return self
        return Monomers(
            [*self.smiles, CARBON_MONOXIDE],
            [*self.names, "carbon monoxide" if self.named else ""],
            [*self.classes, ("CO",)],
            self.rejects,
            self.read,
            self.source,
            self.named,
        )

    def class_counts(self) -> dict[str, int]:
        """Count the monomers of each class, the largest first; one may be of several."""
        return dict(Counter(name for classes in self.classes for name in classes).most_common())

    def counts(self) -> dict[str, int]:
        """Count the rows: read, used, duplicates, without a class, refused."""
        reasons = Counter(item.reason for item in self.rejects)
        others = {"duplicates": reasons.pop(DUPLICATE, 0), "without_class": reasons.pop(NO_CLASS, 0)}
        return {"read": self.read, "used": self.read - len(self.rejects), **others, "refused": reasons.total()}

    def reject_frame(self) -> pd.DataFrame:
        """The rows that are not used: line, smiles, reason, detail."""
        import pandas as pd

        return pd.DataFrame([vars(item) for item in self.rejects], columns=["line", "smiles", "reason", "detail"])


class _Refused(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(reason)


def read_monomers(path: str | Path, smiles_column: str | None = None, name_column: str | None = None) -> Monomers:
    """Read monomers from a file.

    Parameters
    ----------
    path : str or Path
        CSV, TSV, .smi, Parquet, ``-`` for standard input, or the embedded set ``monomers``.
    smiles_column : str, optional
        Found by name when not given.
    name_column : str, optional
        Found by name when not given (:data:`NAME_COLUMNS`); there need be none.

    Raises
    ------
    UserError
        The file cannot be read, or a column is missing.

    Examples
    --------
    >>> monomers = read_monomers("monomers")
    >>> monomers.smiles[0], monomers.names[0], monomers.classes[0]
    ('OCCO', 'ethane-1,2-diol', ('diol', 'diol_b'))
    """
    _one_file(path)
    found, lines = Monomers(source=str(path)), dict[str, int]()
    for chunk in track(read_candidates(path, smiles_column, chunk_size=_AT_A_TIME), "reading monomers"):
        names = _names(chunk, name_column, found)
        _take(chunk, names, found, lines)
    found.rejects.sort(key=lambda item: item.line)
    return found


def _one_file(path: str | Path) -> None:
    """Refuse several files: rejects are told by their line."""
    if len(source_files(path)) > 1:
        fix = "join the files, or run the command for each"
        raise UserError("monomers come from one file, and these are several", where=str(path), fix=fix)


def _names(chunk: CandidateChunk, name_column: str | None, found: Monomers) -> Sequence[str]:
    if name_column is not None:
        check_columns([name_column], chunk.columns, where=found.source)
    else:
        plain = {plain_name(column): column for column in reversed(chunk.columns)}
        name_column = next((plain[name] for name in NAME_COLUMNS if name in plain), None)
    if name_column is None:
        return [""] * len(chunk)
    names = [cell_text(value) for value in chunk.columns[name_column]]
    found.named |= any(names)
    return names


def _take(chunk: CandidateChunk, names: Sequence[str], found: Monomers, lines: dict[str, int]) -> None:
    """Add the rows of a chunk; ``lines`` holds the line of each molecule that was there before."""
    faults, fresh = chunk.fault_texts(), list[tuple[int, str]]()
    for row, (line, text) in enumerate(zip(chunk.lines, chunk.psmiles, strict=True)):
        found.read += 1
        try:
            if row in faults:
                raise _Refused("broken row", faults[row])
            smiles = _canonical(text)
            if smiles in lines:
                raise _Refused(DUPLICATE, f"the molecule of line {lines[smiles]}")
            lines[smiles] = line
            fresh.append((row, smiles))
        except _Refused as refused:
            found.rejects.append(Reject(line, text, refused.reason, refused.detail))
    if not fresh:
        return
    for (row, smiles), classes in zip(fresh, monomer_classes([smiles for _, smiles in fresh]), strict=True):
        if not classes:
            detail = "no polymerisation rule takes it"
            found.rejects.append(Reject(chunk.lines[row], chunk.psmiles[row], NO_CLASS, detail))
            continue
        found.smiles.append(smiles)
        found.names.append(names[row])
        found.classes.append(classes)


def _canonical(text: str) -> str:
    """Return the canonical SMILES of one monomer.

    Raises
    ------
    _Refused
        It is none.
    """
    if not text:
        raise _Refused("empty", "no SMILES")
    if len(text) > MAX_CHARACTERS:
        raise _Refused("too long", f"{len(text):,} characters; the limit is {MAX_CHARACTERS:,}")
    if not text.isascii() or len(text.split()) > 1:
        raise _Refused("invalid SMILES", "characters that no SMILES has (a blank, or one beyond ASCII)")
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(text)
    if mol is None:
        raise _Refused("invalid SMILES", why_invalid(text))
    if any(atom.GetAtomicNum() == 0 for atom in mol.GetAtoms()):
        raise _Refused("attachment points", "a repeat unit, not a monomer")
    if len(Chem.GetMolFrags(mol)) > 1:
        raise _Refused("mixture", "several molecules: a salt or a mixture")
    for atom in mol.GetAtoms():
        if atom.GetIsotope():
            raise _Refused("isotopes", "an atom is marked with its isotope")
        atom.SetAtomMapNum(0)
    return str(Chem.MolToSmiles(mol))


def check_any(monomers: Monomers, fix: str) -> None:
    """Check that a rule takes at least one of the monomers.

    Raises
    ------
    UserError
        There is none; the message counts why.
    """
    if len(monomers):
        return
    reasons = Counter(item.reason for item in monomers.rejects)
    counts = ", ".join(f"{reason} ({n})" for reason, n in reasons.most_common())
    raise UserError(
        f"none of the {monomers.read} rows is a monomer that a rule takes: {counts}", where=monomers.source, fix=fix
    )
