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
        The file is broken; it has another digest; it does not name exactly the polymers of the rows, once in each
        repeat; a fold is missing; or a polymer is on both sides.
    """
    frame = _read(path)
    if digest is not None and not folds_digest(frame).startswith(digest.lower()):
        what = f"the folds have the digest {folds_digest(frame)[:16]}, not {digest}"
        raise UserError(what, where=str(path), fix="use the file that the digest was taken of, or leave digest out")
    folds = []
    for repeat, part in frame.groupby("repeat"):
        present = sorted(part["fold"].unique().tolist())
        if gaps := sorted(set(range(max(present) + 1)) - set(present)):
            what = f"repeat {repeat} has no fold {', '.join(map(str, gaps))}: the folds count from 0 to {max(present)}"
            raise UserError(what, where=str(path), fix=_FIX)
        explicit = set(part.loc[part["part"] == "train", "fold"])
        if not explicit:
            _check_complete(part, keys, str(path))
        for number, rows in part.groupby("fold"):
            folds.append(_fold(int(str(repeat)), int(str(number)), rows, keys, lines, str(path)))
    return folds


def _read(path: str | Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        frame = frame.assign(**{name: 0 for name in ("repeat",) if name not in frame})
        frame = frame.assign(**{name: "test" for name in ("part",) if name not in frame})
        if "key" not in frame:
            frame["key"] = _keys(frame["psmiles"])
        frame = frame.astype({"repeat": int, "fold": int})
    except (OSError, ValueError, KeyError, RepeatUnitError) as error:
        fix = "it needs the columns key (or psmiles) and fold"
        raise UserError(f"not a file of folds: {error}", where=str(path), fix=fix) from error
    if frame.empty or not set(frame["part"]) <= {"test", "train"}:
        fix = "every row names a polymer and its fold; part is test or train"
        raise UserError("not a file of folds", where=str(path), fix=fix)
    return frame


def _keys(psmiles: Iterable[str]) -> list[str]:
    from polyml.chem import canonicalize

    return [canonicalize(text) for text in psmiles]


def _check_complete(part: pd.DataFrame, keys: Sequence[str], where: str) -> None:
    """Check that a repeat tests every polymer, in one fold alone."""
    several = part.groupby("key")["fold"].nunique()
    several = several[several > 1]
    if len(several):
        what = f"{len(several)} polymers are in two folds of one repeat: {_some(several.index)}"
        raise UserError(what, where=where, fix="give every polymer one fold, however it is written")
    missing, unknown = sorted(set(keys) - set(part["key"])), sorted(set(part["key"]) - set(keys))
    if missing:
        what = f"the folds are incomplete: {len(missing)} polymers of the data are in none: {_some(missing)}"
        raise UserError(what, where=where, fix=_FIX)
    if unknown:
        what = f"the folds name {len(unknown)} polymers that the data do not have: {_some(unknown)}"
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
