"""The ensemble to take for property completion: models of different kinds, each given what is known of a polymer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polyml.errors import UserError
from polyml.models.base import Prediction
from polyml.models.best import ARRAYS, BestModel
from polyml.models.catalog import model_class
from polyml.models.members import Member, member_params
from polyml.models.space import Choice

_BESIDE = ("descriptors", "electronic")
COMPLETIONS: tuple[Mapping[str, Any], ...] = (
    {
        "key": "completion",
        "base": {"key": "gp_coregional", "features": ARRAYS},
        "second": {"key": "extra_trees", "features": _BESIDE, "max_features": 0.5},
    },
    {"key": "completion", "base": {"key": "gp", "features": ARRAYS}},
    {"key": "completion", "base": {"key": "extra_trees", "features": ARRAYS, "max_features": 0.5}},
)
"""The members, those that are worth their time most first."""


class BestCompletion(BestModel):
    """The mean of strong models of different kinds, each given the other measured properties of a polymer.

    It is to property completion what ``best`` is to prediction from the structure: a Gaussian process over all
    properties, one for each, and trees, all conditioned on what is known (``completion``).
    Hansen and Salamon: Neural network ensembles. IEEE Trans. Pattern Anal. Mach. Intell. 12, 993 (1990).

    Parameters
    ----------
    members : list of str or mapping
        Models of the catalog that read known properties: ``{"key": "completion", "base": "svm"}``.
    budget : str or float, optional
        Time for the fit: seconds, or such as ``"5m"``; see :class:`polyml.models.best.BestModel`.
    random_state : int or None
        The members' are derived from it.
    """

    key = "best_completion"
    family = "property completion"
    title = "Mean of the strongest models, given the polymer's other measured properties"
    citation = "Hansen and Salamon 1990; the members' own"
    tasks = ("regression",)
    uses_known = True
    search_space = {"members": Choice((COMPLETIONS[:2], COMPLETIONS))}
    toy_params = {
        "members": (
            {"key": "completion", "base": {"key": "gp", "features": "ecfp_count"}, "folds": 3},
            {"key": "completion", "base": {"key": "extra_trees", "n_estimators": 10}, "folds": 3},
        )
    }

    members: Sequence[Member] = COMPLETIONS

    def check_params(self) -> None:
        """Check the parameters, and that every member reads known properties."""
        super().check_params()
        where = f"members of model '{self.key}'"
        for member in self.members:
            key = member_params(member, where)[0]
            if not model_class(key).uses_known:
                fix = f"write {{key: completion, base: {key}}}"
                raise UserError(f"'{key}' does not read what is known of a polymer", where=where, fix=fix)

    def predict(self, psmiles: Sequence[str], known: np.ndarray | None = None) -> np.ndarray:
        """Return the predicted mean, shape (n, t), or (n,) when ``y`` had shape (n,).

        Parameters
        ----------
        psmiles : sequence of str
        known : ndarray of shape (n, t), optional
            Measured values in the modelled scale, NaN where not known.
        """
        return self._as_given(self.predict_dist(psmiles, known).mean)

    def predict_dist(self, psmiles: Sequence[str], known: np.ndarray | None = None) -> Prediction:
        """Return mean, standard deviation and 90 % interval, each (n, t); ``known`` as in :meth:`predict`."""
        return self._mix(psmiles, known=known)
