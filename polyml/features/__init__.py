"""Features that depend on the polymer alone, never on how its repeat unit was written."""

from polyml.features.batch import featurize
from polyml.features.catalog import FEATURIZERS, make_featurizer

__all__ = ["FEATURIZERS", "featurize", "make_featurizer"]
