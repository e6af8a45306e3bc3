"""How far a model errs near a polymer, read off the errors it made on similar polymers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from polyml.chem import RepeatUnit, ensure_units
from polyml.models.kernels import tanimoto

_FEATURES = "ecfp"
_NEIGHBOURS = 20
_PRIOR = 2.0  # weight of the usual error at that distance, in neighbours of similarity one
_LEAST = 0.3  # of the mean error: the usual error is taken no smaller
_ROWS_AT_ONCE = 1024


class LocalError:
    """The mean absolute error among the twenty most similar polymers, drawn to what is usual for the nearest of them.

    Neighbours weigh by the square of their Tanimoto similarity (ECFP bits). Where none is similar the usual error
    counts, a straight line in the distance to the nearest polymer. Nearest neighbours as measures of difficulty:
    Papadopoulos, Vovk and Gammerman, J. Artif. Intell. Res. 40, 815 (2011).

    Parameters
    ----------
    bits : ndarray of bool, shape (n, d)
        Fingerprints of the polymers whose errors are known.
    errors : ndarray of shape (n, t)
        Errors of predictions by models that have not seen the polymer; NaN where there is none. Each target has some.
    usual : ndarray of shape (2, t)
        The usual error beside an equal polymer, and what is added to it beside one of similarity zero.
    """

    def __init__(self, bits: np.ndarray, errors: np.ndarray, usual: np.ndarray) -> None:
        self.bits, self.errors, self.usual = bits, np.abs(errors), usual

    @classmethod
    def learn(cls, bits: np.ndarray, errors: np.ndarray, keys: Sequence[str]) -> LocalError:
        """Learn the usual error from polymers and the errors on them; rows of one polymer have the same key."""
        local = cls(bits, errors, np.zeros((2, errors.shape[1])))
        nearest = np.empty(errors.shape)
        for rows, target, similarity in local._similarities(bits, np.asarray(keys, dtype=str)):
            nearest[rows, target] = similarity.max(axis=1)
        for target, column in enumerate(local.errors.T):
            known = ~np.isnan(column)
            local.usual[:, target] = _line(1.0 - nearest[known, target], column[known])
        return local

    def at(self, bits: np.ndarray) -> np.ndarray:
        """Return the error to expect at polymers, (m, t), by their fingerprints (m, d)."""
        return self._estimate(bits, None)

    def at_known(self, keys: Sequence[str]) -> np.ndarray:
        """Return the error to expect at the polymers whose errors are known, (n, t), each without its own rows.

        ``keys`` tells which rows are of one polymer.
        """
        return self._estimate(self.bits, np.asarray(keys, dtype=str))

    def _estimate(self, bits: np.ndarray, keys: np.ndarray | None) -> np.ndarray:
        out = np.empty((len(bits), self.errors.shape[1]))
        for rows, target, similarity in self._similarities(bits, keys):
            errors = self.errors[:, target]
            errors = errors[~np.isnan(errors)]
            usual = self.usual[0, target] + self.usual[1, target] * (1.0 - similarity.max(axis=1))
            usual = np.maximum(usual, _LEAST * errors.mean() if errors.any() else 1.0)  # no errors: any unit will do
            out[rows, target] = _weighted(similarity, errors, usual)
        return out

    def _similarities(self, bits: np.ndarray, keys: np.ndarray | None) -> Iterator[tuple[slice, int, np.ndarray]]:
        """Yield for some rows and a target the similarity to the polymers with a known error, (rows, known)."""
        for start in range(0, len(bits), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            similarity = tanimoto(bits[rows], self.bits).astype(np.float64)
            if keys is not None:
                similarity[np.equal.outer(keys[rows], keys)] = 0.0
            for target, errors in enumerate(self.errors.T):
                yield rows, target, similarity[:, ~np.isnan(errors)]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what :meth:`from_arrays` makes the same one of."""
        bits = np.packbits(self.bits, axis=1)
        return {"local_bits": bits, "local_errors": self.errors, "local_usual": self.usual}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> LocalError:
        """Make one from stored arrays."""
        bits = np.unpackbits(arrays["local_bits"], axis=1).astype(bool)
        return cls(bits, arrays["local_errors"], arrays["local_usual"])


def fingerprint_bits(items: Sequence[str | RepeatUnit]) -> np.ndarray:
    """Return the fingerprints that polymers are compared by, (n, d), bool."""
    from polyml.features.catalog import make_featurizer

    featurizer = make_featurizer(_FEATURES)
    if not len(items):
        return np.zeros((0, len(featurizer.get_feature_names_out())), dtype=bool)
    return np.asarray(featurizer.transform(ensure_units(items))) > 0


def _line(distance: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Return constant and slope of the errors over the distance; no slope where errors do not grow with it.

    Examples
    --------
    >>> [round(value, 6) for value in _line(np.array([0.0, 0.5, 1.0]), np.array([1.0, 2.0, 3.0]))]
    [1.0, 2.0]
    """
    slope, constant = np.polyfit(distance, errors, 1) if np.ptp(distance) > 0 else (0.0, 0.0)
    return (float(constant), float(slope)) if slope > 1e-9 * errors.mean() else (float(errors.mean()), 0.0)


def _weighted(similarity: np.ndarray, errors: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Return the mean of the errors of the nearest columns and of the usual error, shape (rows,)."""
    count = min(_NEIGHBOURS, similarity.shape[1])
    nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
    weights = np.take_along_axis(similarity, nearest, axis=1) ** 2
    total: np.ndarray = (weights * errors[nearest]).sum(axis=1) + _PRIOR * usual
    return total / (weights.sum(axis=1) + _PRIOR)
