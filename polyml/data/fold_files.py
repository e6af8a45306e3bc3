"""Folds on disk: fixed by polymer, with a digest, so that a number can be made again on the same folds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from polyml.data.files import whole_file
from polyml.data.splits import Fold
from polyml.errors import RepeatUnitError, UserError

_FIX = "make the folds anew, or use the data they were made for"
_NAME = "name the splits.csv of a comparison, or a CSV file with the columns key (or psmiles) and fold"
_SHOWN = 3


def folds_frame(folds: Sequence[Fold], frame: pd.DataFrame) -> pd.DataFrame:
    """Return the folds as a tidy table: repeat, fold, part, line, key, psmiles.

    The rows of every test part; those of the training parts as well where these are not simply all other rows, or
    where not every row is tested.
    """
    columns = ["line", "key", "psmiles"]
    parts = []
    repeats = max((fold.repeat for fold in folds), default=0) + 1
    divided = sum(len(fold.test) for fold in folds) == repeats * len(frame)
    divided = divided and all(len(fold.train) + len(fold.test) == len(frame) for fold in folds)
    for fold in folds:
        for part, rows in (("test", fold.test),) if divided else (("test", fold.test), ("train", fold.train)):
            named = frame.iloc[rows][columns].assign(repeat=fold.repeat, fold=fold.fold, part=part)
            parts.append(named[["repeat", "fold", "part", *columns]])
    return pd.concat(parts, ignore_index=True)


def folds_digest(folds: pd.DataFrame) -> str:
    """Return the SHA-256 of which polymer is where, whatever the order of the rows.

    Where a polymer stands in several lines that folds may part, the lines count too.

    Parameters
    ----------
    folds : DataFrame
        As :func:`folds_frame` gives it.

    Examples
    --------
    >>> one = pd.DataFrame({"repeat": 0, "fold": [0, 1], "part": "test", "key": ["*CC*", "*CO*"]})
    >>> folds_digest(one) == folds_digest(one[::-1]), folds_digest(one)[:8]
    (True, '924f739f')
    """
    columns = [folds[name].astype(str) for name in ("repeat", "fold", "part", "key")]
    if _parts_lines(folds):
        columns.append(folds["line"].astype(str))
    rows = sorted("\t".join(row) for row in zip(*columns, strict=True))
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def save_folds(folds: Sequence[Fold], frame: pd.DataFrame, path: str | Path) -> None:
    """Write the folds as CSV; see :func:`folds_frame`."""
    with whole_file(path) as temporary:
        folds_frame(folds, frame).to_csv(temporary, index=False, lineterminator="\n")


def load_folds(
    path: str | Path, keys: Sequence[str], *, lines: Sequence[int] | None = None, digest: str | None = None
) -> list[Fold]:
    """Read folds and apply them to rows.

    Parameters
    ----------
    path : str or Path
        What :func:`save_folds` wrote, or a table of one's own: column key, or psmiles in any spelling, and fold;
        repeat and part ("test" or "train") where needed.
    keys : sequence of str
        Canonical keys of the rows.
    lines : sequence of int, optional
        Lines of the rows in their file: they tell several rows of one polymer apart where the folds name lines.
    digest : str, optional
        How the digest of the folds begins.

    Raises
    ------
    UserError
        The file is broken; it has another digest; it does not name exactly the polymers of the rows; a fold is
        missing; or a polymer is on both sides of a fold, or a row tested twice in a repeat.
    """
    frame = _read(path)
    if digest is not None and not folds_digest(frame).startswith(digest.lower()):
        what = f"the folds have the digest {folds_digest(frame)[:16]}, not {digest}"
        raise UserError(what, where=str(path), fix="use the file that the digest was taken of, or leave the digest out")
    folds = []
    for repeat, part in frame.groupby("repeat"):
        present = sorted(part["fold"].unique().tolist())
        if gaps := sorted(set(range(max(present) + 1)) - set(present)):
            what = f"repeat {repeat} has no fold {', '.join(map(str, gaps))}: the folds count from 0 to {max(present)}"
            raise UserError(what, where=str(path), fix="number the folds from 0" if gaps == [0] else _FIX)
        explicit = bool((part["part"] == "train").any())
        if not explicit:
            _check_one_fold(part, str(path))
        own = [
            _fold(int(str(repeat)), int(str(number)), rows, keys, lines, str(path))
            for number, rows in part.groupby("fold")
        ]
        _check_once(own, keys, str(path), explicit=explicit)
        folds += own
    return folds


def names_rows(path: str | Path) -> bool:
    """Tell whether folds name several rows of one polymer, as those of a split by a column do.

    Raises
    ------
    UserError
        It is no file of folds.
    """
    return _parts_lines(_read(path))


def _parts_lines(frame: pd.DataFrame) -> bool:
    return "line" in frame and bool((frame.groupby("key")["line"].nunique() > 1).any())


def _read(path: str | Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise UserError("there is no such file of folds", where=str(path), fix=_NAME) from error
    except (OSError, ValueError) as error:
        raise UserError(f"not a file of folds: {error}", where=str(path), fix=_NAME) from error
    if "fold" not in frame or not {"key", "psmiles"} & {*frame.columns} or frame.empty:
        what = f"not a file of folds: its columns are {', '.join(frame.columns)}" if len(frame) else "no fold is in it"
        raise UserError(what, where=str(path), fix="it needs the columns key (or psmiles) and fold")
    frame = frame.assign(**{name: "0" for name in ("repeat",) if name not in frame})
    frame = frame.assign(**{name: "test" for name in ("part",) if name not in frame})
    for name in ("repeat", "fold"):
        frame[name] = _numbers(frame[name], str(path))
    if strange := set(frame["part"]) - {"test", "train"}:
        what = f"not a file of folds: '{min(strange)}' in column 'part'"
        raise UserError(what, where=str(path), fix="every row names a polymer and its fold; part is test or train")
    return frame if "key" in frame else frame.assign(key=_keys(frame["psmiles"], str(path)))


def _numbers(column: pd.Series, where: str) -> pd.Series:
    """Return repeats or folds as numbers, which count from 0."""
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = ~((numbers >= 0) & (numbers % 1 == 0))
    if wrong.any():
        what = f"'{column[wrong].iloc[0]}' is no {column.name}: it stands in row {int(wrong.to_numpy().argmax()) + 1}"
        raise UserError(what, where=where, fix=f"write each {column.name} as a number, counted from 0")
    return numbers.astype(int)


def _keys(psmiles: Iterable[str], where: str) -> list[str]:
    from polyml.chem import canonicalize

    keys = []
    for row, text in enumerate(psmiles, start=1):
        try:
            keys.append(canonicalize(text))
        except RepeatUnitError as error:
            raise UserError(f"row {row}, '{text}': {error.what}", where=where, fix=error.fix) from error
    return keys


def _check_one_fold(part: pd.DataFrame, where: str) -> None:
    """Check that a repeat names every polymer in one fold alone."""
    several = part.groupby("key")["fold"].nunique()
    several = several[several > 1]
    if len(several):
        what = f"{len(several)} polymers are in two folds of one repeat: {_some(several.index)}"
        fix = "give every polymer one fold, however it is written; folds by rows are made anew by --split rows --seed N"
        raise UserError(what, where=where, fix=fix)


def _check_once(folds: Sequence[Fold], keys: Sequence[str], where: str, *, explicit: bool) -> None:
    """Check that a repeat tests no row twice, and leaves no polymer out.

    Every polymer is to be tested; where training parts are named (``explicit``), to be in some part.
    """
    names = np.asarray(keys, dtype=object)
    tested = np.concatenate([fold.test for fold in folds])
    rows, counts = np.unique(tested, return_counts=True)
    if twice := sorted(set(names[rows[counts > 1]])):
        what = f"{len(twice)} polymers are tested in two folds of one repeat: {_some(twice)}"
        raise UserError(what, where=where, fix="test every polymer in one fold, however it is written")
    used = np.concatenate([tested, *(fold.train for fold in folds)]) if explicit else tested
    if missing := sorted(set(names) - set(names[used])):
        what = f"the folds are incomplete: {len(missing)} polymers of the data are in none: {_some(missing)}"
        raise UserError(what, where=where, fix=_FIX)


def _fold(
    repeat: int, number: int, rows: pd.DataFrame, keys: Sequence[str], lines: Sequence[int] | None, where: str
) -> Fold:
    """Find the rows of one fold among the data."""
    test = _places(rows[rows["part"] == "test"], keys, lines, where)
    named = rows[rows["part"] == "train"]
    train = _places(named, keys, lines, where) if len(named) else np.setdiff1d(np.arange(len(keys)), test)
    names = np.asarray(keys, dtype=object)
    if both := sorted(set(names[train]) & set(names[test])):
        what = f"{len(both)} polymers are on both sides of fold {number}: {_some(both)}"
        raise UserError(what, where=where, fix="leave them in the training part or in the test part")
    for part, found in (("test", test), ("training", train)):
        if not len(found):
            raise UserError(f"the {part} part of fold {number} is empty", where=where, fix=_FIX)
    return Fold(repeat, number, train, test)


def _places(named: pd.DataFrame, keys: Sequence[str], lines: Sequence[int] | None, where: str) -> np.ndarray:
    """Return the rows of the data that a part of a fold names, sorted."""
    if unknown := sorted(set(named["key"]) - set(keys)):
        what = f"the folds name {len(unknown)} polymers that the data do not have: {_some(unknown)}"
        raise UserError(what, where=where, fix=_FIX)
    if lines is not None and "line" in named:
        wanted = set(zip(named["line"], named["key"], strict=True))
        exact = [i for i, row in enumerate(zip(map(str, lines), keys, strict=True)) if row in wanted]
        if len(exact) == len(wanted):
            return np.array(exact, dtype=int)
    return np.flatnonzero(np.isin(np.asarray(keys, dtype=str), named["key"].to_numpy(dtype=str)))


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(f"'{name}'" for name in listed[:_SHOWN]) + (" …" if len(listed) > _SHOWN else "")
