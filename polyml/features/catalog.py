"""The explicit list of featurizers."""

from __future__ import annotations

from typing import Any

from polyml.errors import UserError, unknown_name
from polyml.features.base import Featurizer
from polyml.features.descriptors import Descriptors
from polyml.features.electronic import ElectronicLevels
from polyml.features.fingerprints import AtomPairs, ECFPBits, ECFPCounts, MACCSKeys, Torsions
from polyml.features.graphs import PeriodicGraphs
from polyml.features.tokens import PsmilesTokens

FEATURIZERS: dict[str, type[Featurizer]] = {
    featurizer.key: featurizer
    for featurizer in (
        ECFPCounts,
        ECFPBits,
        AtomPairs,
        Torsions,
        MACCSKeys,
        Descriptors,
        ElectronicLevels,
        PeriodicGraphs,
        PsmilesTokens,
    )
}


def make_featurizer(key: str, **params: Any) -> Featurizer:
    """Build a featurizer by its catalog key.

    Examples
    --------
    >>> make_featurizer("ecfp", radius=3).radius
    3
    """
    if key not in FEATURIZERS:
        raise unknown_name("featurizer", key, FEATURIZERS)
    cls = FEATURIZERS[key]
    known = cls._get_param_names()
    for name in params:
        if name not in known:
            raise unknown_name("parameter", name, known, where=f"features '{key}'")
    try:
        return cls(**params)
    except TypeError as error:
        raise UserError(
            str(error), where=f"features '{key}'", fix="'polyml featurize --list' shows the featurizers"
        ) from error


def list_featurizers() -> dict[str, str]:
    """Return key and one line of description for each featurizer."""
    return {key: (cls.__doc__ or "").strip().splitlines()[0] for key, cls in FEATURIZERS.items()}
