"""The contract of every featurizer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from polyml.chem import RepeatUnit, ensure_units


class Featurizer(TransformerMixin, BaseEstimator):
    """Turn repeat units into features that depend on the polymer alone.

    Two spellings of one polymer (a shifted frame, the reversed unit, a doubled unit) get the same features. A subclass
    sets the class attributes and writes :meth:`featurize_unit` (or :meth:`featurize_units`, to work on many at once);
    this class reads the input, stacks the rows and names the columns.

    Attributes
    ----------
    key : str
        Name in the catalog.
    output_kind : {"array", "graph", "tokens"}
        What :meth:`transform` returns: an array ``(n, d)``, a list of ``torch_geometric.data.Data``, or a list of token
        codes ``(variants, length)``.
    costly : bool
        Whether rows are worth keeping on disk between runs.
    non_negative : bool
        Whether the columns are counts or bits, which can be compared by Tanimoto similarity.
    """

    key: ClassVar[str]
    output_kind: ClassVar[str] = "array"
    costly: ClassVar[bool] = False
    non_negative: ClassVar[bool] = False

    def featurize_unit(self, unit: RepeatUnit) -> Any:
        """Return the features of one repeat unit: a vector ``(d,)`` or one graph."""
        return self.featurize_units([unit])[0]

    def fit(self, units: Sequence[RepeatUnit | str], y: object = None) -> Featurizer:
        """Do nothing: a featurizer here learns nothing from data. Scaling belongs to the models."""
        return self

    def transform(self, units: Sequence[RepeatUnit | str]) -> Any:
        """Featurize repeat units, given parsed or as pSMILES.

        Returns
        -------
        ndarray of shape (n, d), float32, or list of Data or of token codes
        """
        rows = self.featurize_units(ensure_units(units))
        if self.output_kind != "array":
            return rows
        width = len(self.get_feature_names_out())
        return np.asarray(rows, dtype=np.float32).reshape(len(rows), width)

    def featurize_units(self, units: Sequence[RepeatUnit]) -> Any:
        """Return the features of several units; a featurizer that works on many at once overrides this."""
        return [self.featurize_unit(unit) for unit in units]

    @abstractmethod
    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return one name a column."""

    def __sklearn_is_fitted__(self) -> bool:
        return True
