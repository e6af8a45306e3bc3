"""Histograms of what passes by: counts in bins that are fixed before the first value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from polyml.data.properties import Property
from polyml.errors import DAMAGED, PolymlError, UserError

BINS = 40
_MARGIN = 0.25  # of the range of the training values, at each end


class StreamedHistogram:
    """Counts of the values of one property, in bins of its modelled scale.

    The bins never change and the counts are integers, so that the histogram of a whole is the sum of those of its
    parts, in whatever order they come.

    Parameters
    ----------
    edges : array_like of shape (bins + 1,)
        In the modelled scale, rising. A bin holds its lower edge and not its upper one.
    transform : {"identity", "log10"}
        From user units to the modelled scale.

    Attributes
    ----------
    counts : ndarray of int, shape (bins + 2,)
        Values below the first edge, in each bin, and from the last edge on.
    missing : int
        Values that are NaN, or that have no logarithm.

    Examples
    --------
    >>> oxygen = StreamedHistogram([0.0, 1.0, 2.0], "log10")
    >>> oxygen.add(np.array([0.5, 3.0, 5.0, 10.0, 1e6, np.nan, -1.0]))
    >>> oxygen.counts.tolist(), oxygen.missing
    ([1, 2, 1, 1], 2)
    """

    def __init__(self, edges: Any, transform: Literal["identity", "log10"] = "identity") -> None:
        self.edges = np.asarray(edges, dtype=float)
        self.transform = transform
        if self.edges.ndim != 1 or len(self.edges) < 2 or not (np.diff(self.edges) > 0).all():
            raise PolymlError("the edges of a histogram must rise, and be two or more")
        if transform not in ("identity", "log10"):
            raise PolymlError(f"no histogram of a property with transform: {transform}")
        self.counts = np.zeros(len(self.edges) + 1, dtype=np.int64)
        self.missing = 0

    @classmethod
    def of_training(cls, item: Property, values: np.ndarray, bins: int = BINS) -> StreamedHistogram:
        """Return an empty histogram for predictions: ``bins`` equal ones over the range of the training values (n,).

        The range is given a margin of a quarter at each end; predictions beyond are counted as such. ``values`` are in
        user units; those that are NaN, or have no logarithm, are not looked at.

        Raises
        ------
        PolymlError
            The property is a class.

        Examples
        --------
        >>> item = Property(name="Tg", unit="K")
        >>> StreamedHistogram.of_training(item, np.array([200.0, 400.0]), bins=4).edges.tolist()
        [150.0, 225.0, 300.0, 375.0, 450.0]
        """
        histogram = cls([0.0, 1.0], item.transform)  # type: ignore[arg-type]  # a class is refused there
        known = histogram._modelled(values)
        known = known[np.isfinite(known)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        margin = _MARGIN * (high - low) or max(0.5, 0.05 * abs(low))
        return cls(np.linspace(low - margin, high + margin, bins + 1), histogram.transform)

    def add(self, values: np.ndarray) -> None:
        """Count values in user units, of any shape."""
        modelled = self._modelled(values)
        known = modelled[~np.isnan(modelled)]
        self.missing += modelled.size - known.size
        self.counts += np.bincount(np.searchsorted(self.edges, known, side="right"), minlength=len(self.counts))

    def merge(self, other: StreamedHistogram) -> None:
        """Add the counts of another histogram with the same bins.

        Raises
        ------
        PolymlError
            It has other bins.
        """
        if self.transform != other.transform or not np.array_equal(self.edges, other.edges):
            raise PolymlError("histograms with different bins cannot be merged")
        self.counts += other.counts
        self.missing += other.missing

    def to_dict(self) -> dict[str, Any]:
        """Return the histogram as plain data, for a JSON file."""
        counts = {"counts": self.counts.tolist(), "missing": self.missing}
        return {"transform": self.transform, "edges": self.edges.tolist(), **counts}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> StreamedHistogram:
        """Read what :meth:`to_dict` gave, exactly.

        Raises
        ------
        UserError
            Something is missing or is no number.

        Examples
        --------
        >>> first = StreamedHistogram([0.0, 0.1])
        >>> first.add(np.array([0.05]))
        >>> StreamedHistogram.from_dict(first.to_dict()).to_dict() == first.to_dict()
        True
        """
        try:
            histogram = cls(content["edges"], content["transform"])
            counts = np.array(content["counts"], dtype=np.int64)
            histogram.missing = int(content["missing"])
        except (KeyError, TypeError, ValueError, PolymlError) as error:
            raise UserError(f"a histogram cannot be read: {error}", where="histogram", fix=DAMAGED) from error
        if counts.shape != histogram.counts.shape or (counts < 0).any():
            raise UserError("the counts of a histogram do not fit its bins", where="histogram", fix=DAMAGED)
        histogram.counts = counts
        return histogram

    def _modelled(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, dtype=float).ravel()
        if self.transform == "identity":
            return values
        return np.log10(np.where(values > 0, values, np.nan))
