"""The models of a screen, seen as one: each predicts some of the properties."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.bundle import Bundle
from polyml.chem import RepeatUnit
from polyml.data.properties import Property
from polyml.domain import VERDICTS, DomainScores
from polyml.errors import UserError
from polyml.models.base import Prediction

if TYPE_CHECKING:
    import pandas as pd


class Predictors:
    """One model, or several of different properties, asked together.

    Parameters
    ----------
    bundles : sequence of Bundle
        Their properties stand in this order.

    Raises
    ------
    UserError
        Two of them predict a property of one name, or one predicts a class.
    """

    def __init__(self, bundles: Sequence[Bundle]) -> None:
        self.bundles = tuple(bundles)
        self.properties: tuple[Property, ...] = tuple(item for bundle in bundles for item in bundle.properties)
        self.names = [item.name for item in self.properties]
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            fix = "give one model for each property"
            raise UserError(f"two models predict {', '.join(twice)}", where="model", fix=fix)
        refuse_classes(self.properties)

    @property
    def gives_std(self) -> bool:
        """Whether every model tells how uncertain it is."""
        return all(bundle.model.gives_std for bundle in self.bundles)

    @property
    def gives_novelty(self) -> bool:
        """Whether there is one model, and it tells how strange a polymer is to it."""
        return len(self.bundles) == 1 and self.bundles[0].model.gives_novelty

    @cached_property
    def known(self) -> frozenset[str]:
        """Canonical keys of the polymers that every model was trained on: nothing about them is left to be told."""
        return frozenset.intersection(*(frozenset(bundle.keys) for bundle in self.bundles))

    @cached_property
    def error_correlation(self) -> np.ndarray:
        """Correlation of the errors of the properties, (t, t); the errors of different models are independent."""
        from scipy.linalg import block_diag

        return np.asarray(block_diag(*(bundle.error_correlation for bundle in self.bundles)))

    @property
    def digests(self) -> str | list[str]:
        """What names the models by content: the digest of one, a list of several."""
        found = [bundle.digest for bundle in self.bundles]
        return found[0] if len(found) == 1 else found

    def training_frame(self) -> pd.DataFrame:
        """Return the training polymers: columns ``psmiles`` and the properties, NaN where not measured."""
        import pandas as pd

        frames = [pd.DataFrame(b.values, columns=b.names).assign(key=b.keys, psmiles=b.psmiles) for b in self.bundles]
        return pd.concat(frames).groupby("key", sort=False).first().reset_index()[["psmiles", *self.names]]

    def some_training_units(self) -> list[RepeatUnit]:
        """Return two polymers that a model was trained on."""
        return self.bundles[0].some_training_units()

    def predict_mean(self, units: Sequence[RepeatUnit]) -> np.ndarray:
        """Predict all properties in user units, shape (n, t)."""
        return np.hstack([bundle.predict_mean(units) for bundle in self.bundles])

    def predict(self, units: Sequence[RepeatUnit]) -> Prediction:
        """Predict the distribution of all properties in user units; see :meth:`polyml.bundle.Bundle.predict`."""
        parts = [bundle.predict(units) for bundle in self.bundles]
        return Prediction(*(np.hstack([getattr(p, name) for p in parts]) for name in ("mean", "std", "lower", "upper")))

    def novelty(self, units: Sequence[RepeatUnit]) -> np.ndarray:
        """Return how strange polymers are to the model; only where :attr:`gives_novelty`."""
        return self.bundles[0].novelty(units)

    def judge(self, units: Sequence[RepeatUnit]) -> DomainScores:
        """Tell where polymers stand to the training polymers of the model that knows them least, by domain score."""
        return weakest([bundle.domain.judge(units) for bundle in self.bundles])[0]

    def judge_and_describe(self, units: Sequence[RepeatUnit]) -> tuple[DomainScores, list[str], list[str]]:
        """Return what :meth:`judge` returns, with text and warnings of the nearest training polymer of that model."""
        found = [bundle.domain.judge(units) for bundle in self.bundles]
        merged, which = weakest(found)
        told = [bundle.describe(units, scores) for bundle, scores in zip(self.bundles, found, strict=True)]
        texts = [told[k][0][i] for i, k in enumerate(which.tolist())]
        return merged, texts, [told[k][1][i] for i, k in enumerate(which.tolist())]


def weakest(found: Sequence[DomainScores]) -> tuple[DomainScores, np.ndarray]:
    """Merge the judgements of several models: the lowest score, with what goes with it, and the worst verdict.

    Returns
    -------
    merged : DomainScores
    which : ndarray of int, shape (n,)
        The model that each row's scores come from.
    """
    if len(found) == 1:
        return found[0], np.zeros(len(found[0].score), dtype=int)
    scores = np.stack([item.score for item in found])
    which = np.argmin(np.where(np.isnan(scores), np.inf, scores), axis=0)
    places = np.stack([np.searchsorted(_SORTED, item.verdict, sorter=_ORDER) for item in found])
    rows = np.arange(scores.shape[1])
    similarity, nearest = (
        np.stack([getattr(item, n) for item in found])[which, rows] for n in ("similarity", "nearest")
    )
    verdict = np.array(VERDICTS)[_ORDER[places].max(axis=0)]
    return DomainScores(similarity, nearest, scores[which, rows], verdict), which


_SORTED = np.array(VERDICTS)
_ORDER = np.argsort(_SORTED)


def as_list(models: Any) -> list[Any]:
    """Return one model or several, each a bundle or a folder, as a list; None is none."""
    if models is None:
        return []
    return [models] if isinstance(models, Bundle | str | Path) else list(models)


def refuse_classes(properties: Sequence[Property]) -> None:
    """Refuse properties that candidates cannot be ranked by.

    Raises
    ------
    UserError
        One is a class.
    """
    for item in properties:
        if item.is_class:
            fix = "predict the classes of candidates with: polyml predict"
            raise UserError(f"'{item.name}' is a class, and candidates are ranked by numbers", fix=fix)
