"""How far a model errs near a polymer, read off the errors it made on similar polymers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from polyml.chem import RepeatUnit, ensure_units
from polyml.models.kernels import tanimoto

_FEATURES = "ecfp"
_NEIGHBOURS = 20
_PRIOR = 2.0  # weight of the mean error of all polymers, in neighbours of similarity one
_ROWS_AT_ONCE = 1024


class LocalError:
    """The mean absolute error among the twenty most similar polymers, drawn towards that of all.

    Neighbours weigh by the square of their Tanimoto similarity (ECFP bits): a polymer unlike all others is given the
    mean error. Nearest neighbours as a measure of difficulty: Papadopoulos, Vovk and Gammerman, J. Artif. Intell. Res.
    40, 815 (2011).

    Parameters
    ----------
    bits : ndarray of bool, shape (n, d)
        Fingerprints of the polymers whose errors are known.
    errors : ndarray of shape (n, t)
        Errors of predictions by models that have not seen the polymer; NaN where there is none. Each target has one.
    """

    def __init__(self, bits: np.ndarray, errors: np.ndarray) -> None:
        self.bits, self.errors = bits, np.abs(errors)

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
        for start in range(0, len(bits), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            similarity = tanimoto(bits[rows], self.bits).astype(np.float64)
            if keys is not None:
                similarity[np.equal.outer(keys[rows], keys)] = 0.0
            for target, errors in enumerate(self.errors.T):
                known = ~np.isnan(errors)
                out[rows, target] = _weighted(similarity[:, known], errors[known])
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what :meth:`from_arrays` makes the same one of."""
        return {"local_bits": np.packbits(self.bits, axis=1), "local_errors": self.errors}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> LocalError:
        """Make one from stored arrays."""
        return cls(np.unpackbits(arrays["local_bits"], axis=1).astype(bool), arrays["local_errors"])


def fingerprint_bits(items: Sequence[str | RepeatUnit]) -> np.ndarray:
    """Return the fingerprints that polymers are compared by, (n, d), bool."""
    from polyml.features.catalog import make_featurizer

    featurizer = make_featurizer(_FEATURES)
    if not len(items):
        return np.zeros((0, len(featurizer.get_feature_names_out())), dtype=bool)
    return np.asarray(featurizer.transform(ensure_units(items))) > 0


def _weighted(similarity: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return the mean of the errors of the nearest columns, shape (rows,)."""
    count = min(_NEIGHBOURS, similarity.shape[1])
    # A stable order: of equally similar polymers the same ones count whatever else is asked.
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
    weights = np.take_along_axis(similarity, nearest, axis=1) ** 2
    usual = errors.mean() if errors.any() else 1.0  # where a model makes no errors any unit will do
    total: np.ndarray = (weights * errors[nearest]).sum(axis=1) + _PRIOR * usual
    return total / (weights.sum(axis=1) + _PRIOR)
