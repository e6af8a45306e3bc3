"""Folds that never put one polymer on both sides."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from polyml.errors import UserError

if TYPE_CHECKING:
    from polyml.data.table import PolymerTable

_UNEVEN = 0.5  # of an even share: a smaller test part is too small where groups of keys are put together
_NEEDED = 3  # values of a property in the smallest training part

SplitKind = Literal[
    "kfold", "repeated_kfold", "scaffold", "cluster", "leave_one_cluster_out", "leave_one_group_out", "time",
    "extrapolation", "fixed", "rows",
]  # fmt: skip
KINDS: tuple[str, ...] = get_args(SplitKind)
"""Names of all kinds."""
BY_COLUMN = ("leave_one_group_out", "time")
"""Kinds that divide rows by a column of the file."""
UNMERGED = ("rows", *BY_COLUMN)
"""Kinds for which the rows of one polymer are not merged: each has a place or a column of its own."""
_NEEDS = {"column": "the column that it divides by", "file": "the file with the folds"}
_ONCE = ("kfold", "rows", "leave_one_cluster_out", "leave_one_group_out", "time", "extrapolation", "fixed")


class SplitSpec(BaseModel):
    """How polymers are divided into folds.

    Parameters
    ----------
    kind : str
        ``kfold`` and ``repeated_kfold`` shuffle polymers: how well a model fills gaps. ``scaffold`` keeps polymers of
        one ring skeleton together and ``cluster`` keeps similar ones together: how well it reaches new chemistry.
        ``leave_one_cluster_out`` tests each of ``folds`` clusters as a whole. ``leave_one_group_out`` tests each value
        of ``column`` (a source, a laboratory) on models that have seen none of its polymers. ``time`` tests later rows
        on models of earlier ones, by ``column``. ``extrapolation`` tests the highest values of ``target`` in one fold,
        the lowest in the other: how well a model reaches beyond what it has seen. ``fixed`` takes folds from ``file``.
        ``rows`` shuffles the rows of the file as published work does (scikit-learn's ``KFold`` with this seed), to
        compare with its numbers: it is the only kind that may put one polymer on both sides of a fold.
        Where the target is a class, shuffled and grouped folds get the same share of each class as far as they can.
    folds : int
        Number of folds; ``leave_one_group_out`` has one a value and ``fixed`` those of its file. ``extrapolation`` has
        two, each testing one part in ``folds``; ``time`` divides the rows into one part more.
    repeats : int
        How many times to divide anew; one for most kinds.
    seed : int
        Same seed and same polymers give the same folds, whatever the order of the rows.
    column : str, optional
        For ``leave_one_group_out`` and ``time`` (numbers or dates).
    target : str, optional
        For ``extrapolation``; the first property if not given.
    file : str, optional
        For ``fixed``: a ``splits.csv`` that a comparison has written, or one of your own with columns key (or psmiles)
        and fold.
    digest : str, optional
        For ``fixed``: how :func:`polyml.data.fold_files.folds_digest` of these folds begins; other folds are refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: SplitKind = "kfold"
    folds: int = Field(5, ge=2)
    repeats: int = Field(1, ge=1)
    seed: int = Field(1, ge=0)
    column: str | None = None
    target: str | None = None
    file: str | None = None
    digest: str | None = Field(None, min_length=8)

    @model_validator(mode="after")
    def _check(self) -> SplitSpec:
        if self.kind in _ONCE and self.repeats > 1:
            own = "the folds of a file have repeats of their own"
            what = own if self.kind == "fixed" else f"a split of kind {self.kind} has one repeat"
            instead = ", or use kind repeated_kfold" if self.kind == "kfold" else ""
            raise ValueError(f"{what}: leave 'repeats' out{instead}")
        owners = {"column": BY_COLUMN, "target": ("extrapolation",), "file": ("fixed",), "digest": ("fixed",)}
        for name, kinds in owners.items():
            if getattr(self, name) is not None and self.kind not in kinds:
                raise ValueError(f"'{name}' is for a split of kind {' or '.join(kinds)}, not {self.kind}")
        for name in ("column", "file"):
            if getattr(self, name) is None and self.kind in owners[name]:
                raise ValueError(f"a split of kind {self.kind} needs '{name}': {_NEEDS[name]}")
        return self


@dataclass(frozen=True, eq=False)
class Fold:
    """Row indices of one fold, two sorted arrays of int; ``repeat`` and ``fold`` count from 0."""

    repeat: int
    fold: int
    train: np.ndarray
    test: np.ndarray


def make_folds(polymers: PolymerTable | Sequence[str], spec: SplitSpec) -> list[Fold]:
    """Divide polymers into folds; all rows of one polymer fall on the same side, and of those of one constitution.

    Parameters
    ----------
    polymers : PolymerTable or sequence of str
        A table, or pSMILES in any spelling.
    spec : SplitSpec

    Returns
    -------
    list of Fold
        In each repeat every row is in exactly one test part, but for ``time`` and ``extrapolation``, which leave rows
        in none, and ``fixed``, which does as its file says.

    Raises
    ------
    UserError
        There are fewer groups than folds, a column is missing or does not divide the rows, or the folds of a file are
        not those of these polymers.

    Examples
    --------
    >>> folds = make_folds(["*CC*", "*CO*", "*OC*", "*CS*"], SplitSpec(folds=3))
    >>> sum(len(fold.test) for fold in folds)
    4
    """
    if spec.kind == "rows":
        return _row_folds(polymers, spec)
    if spec.kind in (*BY_COLUMN, "extrapolation"):
        from polyml.data.held_out import held_out_folds

        return held_out_folds(polymers, spec)
    if spec.kind == "fixed":
        from polyml.data.fold_files import load_folds
        from polyml.data.table import PolymerTable

        lines = polymers.frame["line"].tolist() if isinstance(polymers, PolymerTable) else None
        return load_folds(str(spec.file), _keys_of(polymers), lines=lines, digest=spec.digest)
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
    from polyml.chem import constitution_names
    from polyml.data.groups import CLUSTERS_PER_FOLD, cluster_numbers, scaffold

    if spec.kind == "scaffold":
        return np.unique([scaffold(key) for key in keys], return_inverse=True)[1]
    if spec.kind == "cluster":
        return cluster_numbers(keys, clusters=CLUSTERS_PER_FOLD * spec.folds, seed=seed)
    if spec.kind == "leave_one_cluster_out":
        return cluster_numbers(keys, clusters=spec.folds, seed=seed)
    return np.unique(constitution_names(keys), return_inverse=True)[1]


def _check_count(groups: np.ndarray, spec: SplitSpec, rows: int, polymers: int) -> None:
    count = len(np.unique(groups))
    if count >= spec.folds:
        return
    name = "different polymers" if spec.kind in ("kfold", "repeated_kfold") else "clusters"
    name = "different scaffolds" if spec.kind == "scaffold" else name
    what = f"{spec.folds} folds need at least {spec.folds} {name}, the {rows} rows ({polymers} polymers) have {count}"
    raise UserError(
        what, fix=f"use at most {count} folds" if count > 1 else "add polymers, or use another kind of split"
    )


def _assign(groups: np.ndarray, spec: SplitSpec, seed: int, labels: np.ndarray | None) -> np.ndarray:
    """Return the fold number of each unique key."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    number = np.empty(len(groups), dtype=int)
    if spec.kind == "leave_one_cluster_out":
        return groups
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
        return _kfold(groups, spec.folds, seed)
    else:
        # GroupKFold balances sizes and breaks ties by group number: shuffled numbers bring in the seed.
        shuffled = np.random.default_rng(seed).permutation(groups.max() + 1)[groups]
        parts = GroupKFold(spec.folds).split(groups, groups=shuffled)
    for fold, (_, test) in enumerate(parts):
        number[test] = fold
    return number


def _kfold(groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Deal unique keys by shuffled k-fold, and put those of one group where the first of them is.

    So few groups of several keys leave all others where they are. Where folds would become uneven, groups are dealt.
    """
    from sklearn.model_selection import GroupKFold, KFold

    number = np.empty(len(groups), dtype=int)
    for fold, (_, test) in enumerate(KFold(folds, shuffle=True, random_state=seed).split(groups)):
        number[test] = fold
    number = number[np.unique(groups, return_index=True)[1]][groups]
    if np.bincount(number, minlength=folds).min() < _UNEVEN * (len(groups) // folds):
        shuffled = np.random.default_rng(seed).permutation(groups.max() + 1)[groups]
        for fold, (_, test) in enumerate(GroupKFold(folds).split(groups, groups=shuffled)):
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
