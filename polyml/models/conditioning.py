"""Properties of one polymer that are expected together, and what some of them say about the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from polyml.errors import UserError

_PRIOR_ROWS = 2.0  # weight of the diagonal in the covariance, in polymers
_ITERATIONS = 100


@dataclass(frozen=True)
class Joint:
    """What is expected of ``t`` properties of each of ``n`` polymers, all at once.

    Attributes
    ----------
    mean : ndarray of shape (n, t)
    covariance : ndarray of shape (n, t, t)
        Of new measurements of one polymer, noise included.
    """

    mean: np.ndarray
    covariance: np.ndarray

    def given(self, known: np.ndarray, target: int) -> tuple[np.ndarray, np.ndarray]:
        """Condition the normal distribution on what is known of each polymer, but for one property.

        Parameters
        ----------
        known : ndarray of shape (n, t)
            Measured values, NaN where not known; those of ``target`` are not looked at.
        target : int

        Returns
        -------
        mean : ndarray of shape (n, t)
            The known values themselves, and what they make expected of the other properties and of the target.
        variance : ndarray of shape (n,)
            Of the target.

        Raises
        ------
        UserError
            ``known`` has another shape.

        Examples
        --------
        >>> joint = Joint(np.zeros((1, 2)), np.array([[[1.0, 0.5], [0.5, 1.0]]]))
        >>> mean, variance = joint.given(np.array([[np.nan, 2.0]]), target=0)
        >>> mean[0].tolist(), variance.tolist()
        ([1.0, 2.0], [0.75])
        """
        if known.shape != self.mean.shape:
            raise UserError(
                f"known properties of shape {known.shape} for predictions of shape {self.mean.shape}",
                fix="give one row a polymer and one column a property, NaN where not known",
            )
        mean, variance = self.mean.copy(), self.covariance[:, target, target].copy()
        measured = ~np.isnan(known)
        measured[:, target] = False
        for rows, given in patterns(measured):
            if not given.any():
                continue
            of_given = self.covariance[rows][:, given]
            weights = np.linalg.solve(of_given[:, :, given], of_given)
            errors = (known[rows] - self.mean[rows])[:, given]
            mean[rows] += (errors[:, None] @ weights)[:, 0]
            mean[np.ix_(rows, given)] = known[np.ix_(rows, given)]
            variance[rows] -= (of_given[:, :, target] * weights[:, :, target]).sum(axis=1)
        return mean, np.maximum(variance, 0.0)


@runtime_checkable
class JointPredictor(Protocol):
    """A fitted model that tells the covariance of the properties of each polymer itself."""

    def joint(self, psmiles: Sequence[str]) -> Joint:
        """Return mean and covariance of the properties of each polymer."""
        ...

    def leave_one_out(self) -> Joint:
        """Return those of each training polymer, as expected without it."""
        ...


def error_covariance(errors: np.ndarray) -> np.ndarray:
    """Return the covariance (t, t) of errors (n, t) with NaN, of mean zero, by expectation maximisation.

    The diagonal is given the weight of two polymers besides, so that few rows do not tie properties together by chance.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(2000, 1))
    >>> errors = np.hstack([x, -x])
    >>> errors[::3, 0] = np.nan
    >>> bool(np.abs(error_covariance(errors) - [[1, -1], [-1, 1]]).max() < 0.1)
    True
    """
    measured = ~np.isnan(errors)
    count = measured.sum(axis=0)
    squares = np.nansum(errors**2, axis=0)
    diagonal = np.diag(np.maximum(np.divide(squares, count, out=np.ones(len(count)), where=count > 0), 1e-12))
    covariance, groups = diagonal.copy(), list(patterns(measured))
    for _ in range(_ITERATIONS):
        total = _PRIOR_ROWS * diagonal
        for rows, given in groups:
            total += _expected_squares(errors[rows], given, covariance)
        new = total / (len(errors) + _PRIOR_ROWS)
        change = np.abs(new - covariance).max()
        covariance = new
        if change < 1e-6 * np.diag(covariance).max():
            break
    return covariance


def error_correlation(errors: np.ndarray) -> np.ndarray:
    """Return the correlation (t, t) of the errors of the properties, from errors (n, t) with NaN.

    That of :func:`error_covariance`: positive semidefinite, drawn towards zero where few polymers are measured for two
    properties at once, and zero where none is.

    Parameters
    ----------
    errors : ndarray of shape (n, t)
        Measured minus predicted, of polymers that the model has not seen, in the modelled scale. Divided by the
        predicted standard deviation each, where there is one, so that doubtful polymers do not decide alone.

    Examples
    --------
    >>> size = np.random.default_rng(0).normal(size=(500, 1))
    >>> error_correlation(np.hstack([3.0 * size, -size])).round(2).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    errors = np.asarray(errors, dtype=float)
    measured = ~np.isnan(errors)
    count = measured.sum(axis=0)
    usual = np.sqrt(np.divide(np.nansum(errors**2, axis=0), count, out=np.ones(len(count)), where=count > 0))
    usual[usual == 0.0] = 1.0
    covariance = error_covariance(errors[measured.any(axis=1)] / usual)
    width = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(width, width)
    correlation = (correlation + correlation.T) / 2.0
    np.fill_diagonal(correlation, 1.0)
    return correlation


def _expected_squares(errors: np.ndarray, given: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the expected sum of the outer products of some rows, all measured in the same columns."""
    if not given.any():
        return len(errors) * covariance
    filled = np.zeros(errors.shape)
    filled[:, given] = errors[:, given]
    left = ~given
    weights = np.linalg.solve(covariance[np.ix_(given, given)], covariance[np.ix_(given, left)])
    filled[:, left] = errors[:, given] @ weights
    total = filled.T @ filled
    rest = covariance[np.ix_(left, left)] - covariance[np.ix_(left, given)] @ weights
    total[np.ix_(left, left)] += len(errors) * rest
    return total


def patterns(measured: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows that are measured in the same columns, with these columns."""
    if not len(measured):
        return
    unique, number = np.unique(measured, axis=0, return_inverse=True)
    for place, given in enumerate(unique):
        yield np.flatnonzero(number.ravel() == place), given
