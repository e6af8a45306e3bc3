"""Divisions of the rows of a file into folds, as they are made or as they were saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from polyml.audit.sources import AuditedFile
from polyml.audit.spec import AuditSpec
from polyml.data.splits import BY_COLUMN, SplitSpec, make_folds
from polyml.errors import UserError

NEW_CHEMISTRY = ("scaffold", "cluster", "leave_one_cluster_out")
"""Kinds that keep similar polymers together."""
SAVED = "saved"


@dataclass(frozen=True, eq=False)
class Folds:
    """One division of the rows of a file.

    Attributes
    ----------
    name, kind : str
        What it is called, and its kind; "saved" for one that was read from a file.
    number : ndarray of shape (n,)
        The fold that tests the row, -1 for none.
    trained : mapping of int to ndarray of bool, shape (n,)
        The training part of the folds where it is not simply all rows that another fold tests.
    """

    name: str
    kind: str
    number: np.ndarray
    trained: Mapping[int, np.ndarray] = field(default_factory=dict)

    @property
    def folds(self) -> list[int]:
        """The folds that test a row."""
        return [int(fold) for fold in np.unique(self.number[self.number >= 0])]

    def training(self, fold: int) -> np.ndarray:
        """Return which rows are in the training part of a fold, (n,), bool."""
        if fold in self.trained:
            return self.trained[fold]
        result: np.ndarray = (self.number != fold) & (self.number >= 0)
        return result

    def on_both_sides(self, names: pd.Series | np.ndarray) -> np.ndarray:
        """Return which rows are tested while a row of the same name is in the training part, (n,), bool."""
        values, marks = pd.Series(np.asarray(names, dtype=object)), np.zeros(len(self.number), dtype=bool)
        for fold in self.folds:
            marks |= (self.number == fold) & values.isin(set(values[self.training(fold)])).to_numpy()
        return marks


def make_divisions(item: AuditedFile, spec: AuditSpec) -> tuple[list[Folds], list[str]]:
    """Divide the rows of a file by every split that is asked for.

    Returns
    -------
    folds : list of Folds
    notes : list of str
        Which splits cannot be made of this file, and why.
    """
    found: list[Folds] = []
    notes: list[str] = []
    for split in spec.splits:
        if item.is_copolymer and split.kind in NEW_CHEMISTRY:
            notes.append(f"{item.name}: a split of kind {split.kind} is not made for copolymers")
            continue
        try:
            found += _divide(item, split)
        except UserError as error:
            notes.append(f"{item.name}: no split of kind {split.kind}: {error.what}")
    if spec.saved_splits is not None:
        found += read_saved(spec.saved_splits, item)
    return found, notes


def _divide(item: AuditedFile, split: SplitSpec) -> list[Folds]:
    if split.kind == "fixed":
        return read_saved(Path(str(split.file)), item)
    if split.kind == "rows":
        # All rows of the file take part in the shuffle, as in published work, those that cannot be read too.
        folds = make_folds([""] * item.n_rows, split)
        number = np.empty(item.n_rows, dtype=int)
        for fold in folds:
            number[fold.test] = fold.fold
        return [Folds("rows", "rows", number[item.frame["position"].to_numpy()])]
    found = []
    folds = make_folds(item.table(modelled=split.kind == "extrapolation"), split)
    held_out = split.kind in (*BY_COLUMN, "extrapolation")
    for repeat in range(split.repeats):
        number = np.full(len(item.frame), -1)
        trained: dict[int, np.ndarray] = {}
        for fold in (fold for fold in folds if fold.repeat == repeat):
            number[fold.test] = fold.fold
            trained |= {fold.fold: np.isin(np.arange(len(number)), fold.train)} if held_out else {}
        name = split.kind if split.repeats == 1 else f"{split.kind} {repeat + 1}"
        found.append(Folds(name, split.kind, number, trained))
    return found


def read_saved(path: Path, item: AuditedFile) -> list[Folds]:
    """Read folds as they were saved, whether they are right or not: that is what is audited.

    The file has a column fold, maybe repeat and part ("test" or "train"), and says by line, psmiles or key which row it
    means: the first of these that it has, but for lines at which the data have other polymers.

    Raises
    ------
    UserError
        It is no such file, or none of its rows is in the data.
    """
    fix = "give a file with the columns fold and psmiles, as splits.csv of polyml compare"
    try:
        frame = pd.read_csv(path, dtype={"psmiles": str, "key": str}, keep_default_na=False)
        frame["fold"] = frame["fold"].astype(int)
        frame = as_in_data(frame, item)
        by = next(name for name in _names_by(frame, item))
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise UserError(
            f"not a file of folds ({error or 'no line, psmiles or key'})", where=str(path), fix=fix
        ) from error
    repeats = frame["repeat"] if "repeat" in frame else pd.Series(0, index=frame.index)
    trains = (frame["part"] == "train") if "part" in frame else pd.Series(False, index=frame.index)
    own = item.frame["text" if by == "psmiles" else by]
    found = []
    for repeat, rows in frame.groupby(repeats):
        number = _tested(own, rows[~trains[rows.index]], by)
        if (number < 0).all():
            raise UserError(f"none of its rows is in the data, by {by}", where=str(path), fix=fix)
        trained = {
            int(str(fold)): own.isin(part[by]).to_numpy() for fold, part in rows[trains[rows.index]].groupby("fold")
        }
        found.append(Folds(SAVED if repeats.nunique() == 1 else f"{SAVED} {repeat}", SAVED, number, trained))
    return found


def as_in_data(frame: pd.DataFrame, item: AuditedFile) -> pd.DataFrame:
    """Write a polymer that folds name in another spelling as the data do; the first, where they have several."""
    if "psmiles" not in frame or "key" in frame:
        return frame
    strange = frame.loc[~frame["psmiles"].isin(item.frame["text"]), "psmiles"].drop_duplicates()
    texts = dict(zip(item.frame["key"][::-1], item.frame["text"][::-1], strict=True))
    spelled = {text: texts[key] for text in strange if (key := _key(text)) in texts}
    return frame.assign(psmiles=frame["psmiles"].map(lambda text: spelled.get(text, text)))


def _key(psmiles: str) -> str | None:
    """Return the key of a text, None where it cannot be read: then it is in no data."""
    from polyml.data.table_reader import key_and_notes
    from polyml.errors import RepeatUnitError

    try:
        return key_and_notes(psmiles)[0]
    except RepeatUnitError:
        return None


def _names_by(frame: pd.DataFrame, item: AuditedFile) -> Iterator[str]:
    """Yield the columns by which folds may name the rows of the data, the most exact first."""
    if "line" in frame:
        keys = dict(zip(item.frame["line"], item.frame["key"], strict=True))
        here = frame[frame["line"].isin(set(keys))]
        if "key" not in frame or (here["line"].map(keys) == here["key"]).all():
            yield "line"
    yield from (name for name in ("psmiles", "key") if name in frame)


def _tested(own: pd.Series, tests: pd.DataFrame, by: str) -> np.ndarray:
    """Return the fold that tests each row, -1 for none."""
    folds = tests.groupby(by)["fold"].agg(["first", "nunique"])
    if (folds["nunique"] > 1).any():
        # One text in two folds: its rows take the folds in their order.
        return _in_order(own, tests.groupby(by)["fold"].agg(list).to_dict())
    return own.map(folds["first"]).fillna(-1).to_numpy(dtype=int)


def _in_order(own: pd.Series, folds: dict[object, list[int]]) -> np.ndarray:
    taken = own.groupby(own).cumcount()
    pairs = zip(own, taken, strict=True)
    return np.array([folds[name][min(place, len(folds[name]) - 1)] if name in folds else -1 for name, place in pairs])
