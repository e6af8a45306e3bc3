"""Check what a model is given, once for all models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError

from polyml.chem import RepeatUnit, constitution_names, ensure_units
from polyml.errors import UserError


def as_psmiles(psmiles: Sequence[str | RepeatUnit]) -> list[str | RepeatUnit]:
    """Return the polymers as a list, or say what is wrong with them.

    Parsed repeat units pass as well as strings: screening parses each candidate once.

    Raises
    ------
    UserError
        One string instead of a sequence of strings, or an item that is neither a string nor a repeat unit.
    """
    if isinstance(psmiles, str):
        raise UserError("a model reads a sequence of pSMILES, got one string", fix="put it in a list: [psmiles]")
    shape = getattr(psmiles, "shape", None)
    if shape is not None and len(shape) != 1:
        raise UserError(f"pSMILES must come in one dimension, got shape {tuple(shape)}", fix="give one column")
    items = list(psmiles)
    for row, item in enumerate(items):
        if not isinstance(item, (str, RepeatUnit)):
            raise UserError(
                f"expected a pSMILES string, got {item!r}", where=f"row {row}", fix="give texts or repeat units"
            )
    return items


def fold_names(items: Sequence[str | RepeatUnit]) -> list[str]:
    """Return what rows are kept together by in folds inside the training data: the polymer, configurations apart.

    Examples
    --------
    >>> names = fold_names(["*OCC*", "*COC*", "*CC*"])
    >>> names[0] == names[1] != names[2]
    True
    """
    return constitution_names([unit.key for unit in ensure_units(items)])


def as_training_data(psmiles: Sequence[str | RepeatUnit], y: Any) -> tuple[list[str | RepeatUnit], np.ndarray, bool]:
    """Check training data.

    Returns
    -------
    psmiles : list of str or RepeatUnit, length n
    y : ndarray of shape (n, t), float64
        NaN where not measured.
    single : bool
        Whether ``y`` came with shape (n,).

    Raises
    ------
    UserError
        No rows, rows and targets of different number, an infinite value, or a target without a single value.
    """
    items = as_psmiles(psmiles)
    try:
        values = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"a target is not a number: {error}", fix="give numbers, or fit classes with task='classification'"
        ) from error
    if values.ndim not in (1, 2):
        raise UserError(
            f"y must have shape (n,) or (n, t), got {values.shape}",
            fix="give one row a polymer, and one column a target",
        )
    single = values.ndim == 1
    values = values[:, None] if single else values
    if len(items) == 0:
        raise UserError("no polymer to train on", fix="give at least one polymer with a measured value")
    if len(items) != len(values):
        raise UserError(f"{len(items)} polymers but {len(values)} rows of targets", fix="give one row of y a polymer")
    if values.shape[1] == 0:
        raise UserError("y has no target column", fix="give at least one")
    if np.isinf(values).any():
        row, column = np.argwhere(np.isinf(values))[0]
        raise UserError(
            "a target is infinite", where=f"row {row}, target {column}", fix="drop it, or NaN for not measured"
        )
    for column in np.flatnonzero(np.isnan(values).all(axis=0)):
        raise UserError(
            "a target has no measured value among the training polymers",
            where=f"target {column}",
            fix="leave this target out, or give polymers where it was measured",
        )
    return items, values, single


def as_labelled_data(
    psmiles: Sequence[str | RepeatUnit], y: Any
) -> tuple[list[str | RepeatUnit], np.ndarray, np.ndarray]:
    """Check training data with class labels.

    Returns
    -------
    psmiles : list of str or RepeatUnit, length n
    codes : ndarray of shape (n, 1), float64
        Place of each label among the classes, NaN where there is none.
    classes : ndarray of shape (k,)
        The different labels, sorted.

    Raises
    ------
    UserError
        No rows, rows and labels of different number, or fewer than two different labels.

    Examples
    --------
    >>> as_labelled_data(["*CC*", "*CO*", "*CN*"], ["polyolefin", "polyether", None])[1:]
    (array([[ 1.],
           [ 0.],
           [nan]]), array(['polyether', 'polyolefin'], dtype='<U10'))
    """
    items = as_psmiles(psmiles)
    labels = np.asarray(y, dtype=object)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise UserError(f"labels must have shape (n,), got {labels.shape}", fix="classify one property at a time")
    if len(items) == 0:
        raise UserError("no polymer to train on", fix="give at least one polymer of each class")
    if len(items) != len(labels):
        raise UserError(f"{len(items)} polymers but {len(labels)} labels", fix="give one label a polymer")
    known = np.array([label is not None and label == label for label in labels], dtype=bool)
    if known.any() and any(isinstance(label, (float, np.floating)) and np.isinf(label) for label in labels[known]):
        raise UserError("a label is infinite", fix="give None for a polymer without a label")
    try:
        classes = np.unique(np.asarray(labels[known].tolist())) if known.any() else np.empty(0)
    except TypeError as error:
        raise UserError(f"labels of different kinds: {error}", fix="give all as text or all as numbers") from error
    if len(classes) < 2:
        raise UserError(
            f"{len(classes)} different labels among the training polymers", fix="give polymers of at least two classes"
        )
    codes = np.full((len(items), 1), np.nan)
    codes[known, 0] = np.searchsorted(classes, np.asarray(labels[known].tolist()))
    return items, codes, classes


def class_indicators(codes: np.ndarray, n_classes: int, class_weight: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return one column a class, one for its members, and the weight of each row.

    Parameters
    ----------
    codes : ndarray of shape (n,)
        Place of each label among the classes, NaN where there is none.
    n_classes : int
    class_weight : {"balanced"}, optional
        Classes weigh the same, however many polymers they have; the mean weight is one.

    Examples
    --------
    >>> class_indicators(np.array([0.0, 1.0, np.nan]), 2, None)[0]
    array([[ 1.,  0.],
           [ 0.,  1.],
           [nan, nan]])
    """
    known = ~np.isnan(codes)
    labels = codes[known].astype(int)
    indicators = np.full((len(codes), n_classes), np.nan)
    indicators[known] = np.eye(n_classes)[labels]
    weights = np.ones(len(codes))
    if class_weight is not None:
        weights[known] = len(labels) / (n_classes * np.bincount(labels, minlength=n_classes)[labels])
    return indicators, weights


def check_is_trained(model: object) -> None:
    """Raise NotFittedError when ``fit`` has not run."""
    if not hasattr(model, "n_targets_"):
        raise NotFittedError(f"this {type(model).__name__} is not fitted; call fit first")


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Put numpy's global random state back afterwards: scikit-learn's SVR draws from it without using the number."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """Return one seed for the libraries that take an integer.

    Examples
    --------
    >>> draw_seed(7)
    7
    """
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    from sklearn.utils import check_random_state

    return int(check_random_state(random_state).randint(2**31 - 1))
