"""Folds that never put one polymer on both sides."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from polyml.data.files import whole_file
from polyml.errors import UserError

if TYPE_CHECKING:
    from polyml.data.table import PolymerTable

_NEEDED = 3  # values of a property in the smallest training part

SplitKind = Literal["kfold", "repeated_kfold", "scaffold", "cluster", "rows"]


class SplitSpec(BaseModel):
    """How polymers are divided into folds.

    Parameters
    ----------
    kind : {"kfold", "repeated_kfold", "scaffold", "cluster", "rows"}
        Where the target is a class, every kind gives the folds the same share of each class as far as it can.
        ``kfold`` shuffles polymers: how well a model fills gaps. ``scaffold`` keeps polymers of one ring skeleton
        together and ``cluster`` keeps similar ones together: how well it reaches new chemistry. ``rows`` shuffles the
        rows of the file as published work does (scikit-learn's ``KFold`` with this seed), to compare with its numbers:
        it is the only kind that may put one polymer on both sides of a fold.
    folds : int
        Number of folds.
    repeats : int
        How many times to divide anew; one for ``kfold``.
    seed : int
        Same seed and same polymers give the same folds, whatever the order of the rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: SplitKind = "kfold"
    folds: int = Field(5, ge=2)
    repeats: int = Field(1, ge=1)
    seed: int = Field(1, ge=0)

    @model_validator(mode="after")
    def _check_repeats(self) -> SplitSpec:
        if self.kind in ("kfold", "rows") and self.repeats > 1:
            raise ValueError(f"a split of kind {self.kind} has one repeat; use kind: repeated_kfold")
        return self


@dataclass(frozen=True, eq=False)
class Fold:
    """Row indices of one fold, two sorted arrays of int; ``repeat`` and ``fold`` count from 0."""

    repeat: int
    fold: int
    train: np.ndarray
    test: np.ndarray


def make_folds(polymers: PolymerTable | Sequence[str], spec: SplitSpec) -> list[Fold]:
    """Divide polymers into folds; all rows of one polymer fall on the same side.

    Parameters
    ----------
    polymers : PolymerTable or sequence of str
        A table, or pSMILES in any spelling.
    spec : SplitSpec

    Returns
    -------
    list of Fold
        ``spec.repeats * spec.folds`` of them. In each repeat every row is in exactly one test part.

    Raises
    ------
    UserError
        There are fewer groups than folds.

    Examples
    --------
    >>> folds = make_folds(["*CC*", "*CO*", "*OC*", "*CS*"], SplitSpec(folds=3))
    >>> sum(len(fold.test) for fold in folds)
    4
    """
    if spec.kind == "rows":
        return _row_folds(polymers, spec)
    keys = np.asarray(_keys_of(polymers), dtype=object)
    unique, first, position = np.unique(keys.astype(str), return_index=True, return_inverse=True)
    labels = _labels_of(polymers)
    labels = None if labels is None else labels[first]
    folds = []
    for repeat in range(spec.repeats):
        seed = int(np.random.SeedSequence([spec.seed, repeat]).generate_state(1)[0])
        groups = _groups([str(key) for key in unique], spec, seed)
        _check_count(groups, spec, len(keys), len(unique))
        number = _assign(groups, spec, seed, labels)[position]
        for fold in range(spec.folds):
            folds.append(Fold(repeat, fold, np.flatnonzero(number != fold), np.flatnonzero(number == fold)))
    return folds


def _row_folds(polymers: PolymerTable | Sequence[str], spec: SplitSpec) -> list[Fold]:
    """Shuffle rows as they stand in the file."""
    from sklearn.model_selection import KFold

    from polyml.data.table import PolymerTable

    if isinstance(polymers, PolymerTable):
        left_out = len(polymers.rejects) + sum(polymers.duplicates["count"] - 1) - sum(polymers.frame.duplicated("key"))
        if left_out:
            raise UserError(
                f"{left_out} rows of the file were refused or merged, and a split by rows counts all of them",
                where=polymers.source or None,
                fix="mend or remove these rows, or split by polymer (kind kfold)",
            )
    if len(polymers) < spec.folds:
        raise UserError(f"{spec.folds} folds need at least as many rows, there are {len(polymers)}", fix="use fewer")
    parts = KFold(spec.folds, shuffle=True, random_state=spec.seed).split(np.zeros(len(polymers)))
    return [Fold(0, fold, train, test) for fold, (train, test) in enumerate(parts)]


def _keys_of(polymers: PolymerTable | Sequence[str]) -> list[str]:
    from polyml.chem import RepeatUnit
    from polyml.data.table import PolymerTable

    if isinstance(polymers, PolymerTable):
        return polymers.keys
    return [RepeatUnit.parse(item).key for item in polymers]


def _labels_of(polymers: PolymerTable | Sequence[str]) -> np.ndarray | None:
    """Return the code of each row's class, -1 where there is none; None for a table without classes."""
    from polyml.data.table import PolymerTable

    if not isinstance(polymers, PolymerTable) or polymers.task != "classification":
        return None
    return np.nan_to_num(polymers.y[:, 0], nan=-1.0).astype(int)


def _groups(keys: list[str], spec: SplitSpec, seed: int) -> np.ndarray:
    """Return a group number for each sorted unique key."""
    if spec.kind == "scaffold":
        from polyml.data.groups import scaffold

        return np.unique([scaffold(key) for key in keys], return_inverse=True)[1]
    if spec.kind == "cluster":
        from polyml.data.groups import cluster_numbers

        return cluster_numbers(keys, folds=spec.folds, seed=seed)
    return np.arange(len(keys))


def _check_count(groups: np.ndarray, spec: SplitSpec, rows: int, polymers: int) -> None:
    count = len(np.unique(groups))
    if count >= spec.folds:
        return
    name = {"scaffold": "different scaffolds", "cluster": "clusters"}.get(spec.kind, "different polymers")
    what = f"{spec.folds} folds need at least {spec.folds} {name}, the {rows} rows ({polymers} polymers) have {count}"
    raise UserError(
        what, fix=f"use at most {count} folds" if count > 1 else "add polymers, or use another kind of split"
    )


def _assign(groups: np.ndarray, spec: SplitSpec, seed: int, labels: np.ndarray | None) -> np.ndarray:
    """Return the fold number of each unique key."""
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold

    number = np.empty(len(groups), dtype=int)
    if labels is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes with fewer polymers than folds, which read_table tells
            common = max(np.unique(labels, return_counts=True)[1])
            if common < spec.folds:
                what = f"no class has {spec.folds} polymers, one for each fold; the commonest has {common}"
                raise UserError(what, where="split.folds", fix="use fewer folds, or a column with fewer classes")
            stratified = StratifiedGroupKFold(spec.folds, shuffle=True, random_state=seed)
            parts = list(stratified.split(groups, labels, groups))
    elif spec.kind in ("kfold", "repeated_kfold"):
        parts = KFold(spec.folds, shuffle=True, random_state=seed).split(groups)
    else:
        # GroupKFold balances sizes and breaks ties by group number: shuffled numbers bring in the seed.
        shuffled = np.random.default_rng(seed).permutation(groups.max() + 1)[groups]
        parts = GroupKFold(spec.folds).split(groups, groups=shuffled)
    for fold, (_, test) in enumerate(parts):
        number[test] = fold
    return number


def thin_folds(folds: Sequence[Fold], keys: Sequence[str], y: np.ndarray, size: int, seed: int) -> list[Fold]:
    """Leave ``size`` polymers in the training part of each fold, drawn at random; the test parts stay.

    A larger size has the polymers of a smaller one and more. Those that make up three values of each property (or three
    polymers of each class) come first, so that a small part has something to learn for each.

    Parameters
    ----------
    folds : sequence of Fold
    keys : sequence of str
        Canonical keys of the rows.
    y : ndarray of shape (n, t)
        NaN where not measured.
    size : int
        A fold with fewer polymers keeps all.
    seed : int

    Examples
    --------
    >>> folds = [Fold(0, 0, np.arange(2, 8), np.arange(2))]
    >>> thin = thin_folds(folds, list("abcdefgh"), np.ones((8, 1)), 4, seed=1)
    >>> len(thin[0].train), len(thin[0].test)
    (4, 2)
    """
    names = np.asarray(keys, dtype=str)
    thinned = []
    for fold in folds:
        rng = np.random.default_rng([seed, fold.repeat, fold.fold])
        order = rng.permutation(np.unique(names[fold.train]))
        chosen = _needed_first(order, names[fold.train], y[fold.train])[:size]
        thinned.append(Fold(fold.repeat, fold.fold, fold.train[np.isin(names[fold.train], chosen)], fold.test))
    return thinned


def _needed_first(order: np.ndarray, names: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Move the polymers to the front that give each column of ``y`` three values, the rarest column first."""
    measured = pd.DataFrame(~np.isnan(y)).groupby(names).any().loc[order].to_numpy()
    first: list[int] = []
    for column in np.argsort(measured.sum(axis=0), kind="stable"):
        having = np.flatnonzero(measured[:, column])
        missing = _NEEDED - len(set(first) & set(having.tolist()))
        first += [i for i in having.tolist() if i not in first][: max(missing, 0)]
    rest = np.setdiff1d(np.arange(len(order)), first)
    result: np.ndarray = order[np.concatenate([np.array(first, dtype=int), rest])]
    return result


def check_folds(folds: Sequence[Fold], y: np.ndarray, names: Sequence[str] | None = None) -> None:
    """Check that each fold has measured values of each property on both sides.

    Parameters
    ----------
    folds : sequence of Fold
    y : ndarray of shape (n, t)
        NaN where not measured.
    names : sequence of str, optional
        Names of the ``t`` properties, for the message.

    Raises
    ------
    UserError
        A part of a fold has no value of a property.
    """
    measured = ~np.isnan(np.asarray(y, dtype=float).reshape(len(y), -1))
    names = list(names) if names is not None else [str(i) for i in range(measured.shape[1])]
    for fold in folds:
        for part, rows in (("training", fold.train), ("test", fold.test)):
            for name, found in zip(names, measured[rows].any(axis=0), strict=True):
                if not found:
                    what = f"the {part} part has no value of '{name}'"
                    where = f"repeat {fold.repeat + 1}, fold {fold.fold + 1}"
                    raise UserError(what, where=where, fix="use fewer folds, another seed, or leave this target out")


def folds_frame(folds: Sequence[Fold], frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of every test part as a tidy table: repeat, fold, line, key, psmiles."""
    columns = ["line", "key", "psmiles"]
    parts = [
        frame.iloc[fold.test][columns].assign(repeat=fold.repeat, fold=fold.fold)[["repeat", "fold", *columns]]
        for fold in folds
    ]
    return pd.concat(parts, ignore_index=True)


def save_folds(folds: Sequence[Fold], frame: pd.DataFrame, path: str | Path) -> None:
    """Write the folds as CSV; see :func:`folds_frame`."""
    with whole_file(path) as temporary:
        folds_frame(folds, frame).to_csv(temporary, index=False, lineterminator="\n")


def load_folds(path: str | Path, keys: Sequence[str]) -> list[Fold]:
    """Read folds and apply them to rows.

    Parameters
    ----------
    path : str or Path
        What :func:`save_folds` wrote.
    keys : sequence of str
        Canonical keys of the rows.

    Raises
    ------
    UserError
        The file is broken, or does not name exactly the polymers of the rows once in each repeat.
    """
    fix = "make the folds anew, or use the data they were made for"
    try:
        frame = pd.read_csv(path, dtype={"key": str, "repeat": int, "fold": int}, keep_default_na=False)
        frame = frame[["key", "repeat", "fold"]]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"not a file of folds: {error}", where=str(path), fix=fix) from error
    folds = []
    for repeat, part in frame.groupby("repeat"):
        number = dict(zip(part["key"], part["fold"], strict=True))
        odd = sorted(set(number) ^ set(keys))
        if odd or len(number) != len(part):
            what = f"the polymers differ, such as '{odd[0]}'" if odd else "a polymer is in two folds of one repeat"
            raise UserError(what, where=str(path), fix=fix)
        rows = np.array([number[key] for key in keys])
        for fold in sorted(set(number.values())):
            folds.append(Fold(int(str(repeat)), int(fold), np.flatnonzero(rows != fold), np.flatnonzero(rows == fold)))
    return folds
