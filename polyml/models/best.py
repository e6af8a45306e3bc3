"""The ensemble to take when the prediction matters more than the time: strong models of different kinds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from time import perf_counter
from types import MappingProxyType
from typing import Any

import numpy as np

from polyml.models.base import PolymerModel, Prediction
from polyml.models.ensembles import Voting
from polyml.models.inputs import draw_seed
from polyml.models.limits import seconds
from polyml.models.members import Member, member_params
from polyml.models.space import Choice

ARRAYS = ("ecfp_count", "descriptors", "electronic")
"""What members that read arrays read."""
_BESIDE = ("electronic", "descriptors")
MEMBERS: tuple[Mapping[str, Any], ...] = (
    {"key": "gradient_boosting", "features": ARRAYS},
    {"key": "gp", "features": ARRAYS},
    {"key": "gp_coregional", "features": ARRAYS},
    {"key": "svm", "features": ARRAYS},
    {"key": "extra_trees", "features": ARRAYS},
    {"key": "foundation", "features": _BESIDE},
    {"key": "foundation"},
)
"""The members, those that are worth their time most first."""
_PILOT = 48  # polymers of the trial fit that tells how long a member takes
_FOR_SEVERAL = ("gp_coregional",)  # with one target it is the model gp again
_GROWTH = MappingProxyType({"gp": 2.0, "gp_coregional": 2.0})
"""Time as a power of the number of polymers, where it is not 1."""


class BestModel(Voting):
    """The mean of strong models of different kinds: trees, kernels and graph networks.

    Models that err differently cancel each other's errors; on six properties by density functional theory the mean is
    closer than any of its members (docs/results.md). All read the chain's electronic levels besides fingerprints,
    descriptors or the graph. Hansen and Salamon: Neural network ensembles. IEEE Trans. Pattern Anal. Mach. Intell. 12,
    993 (1990).

    With a time budget the members are taken in order, as long as a trial fit on a few polymers says that there is time
    for them, and those left out are named in a warning: the result then depends on the speed of the machine. Without
    one all are fitted and the same seed gives the same numbers.

    Parameters
    ----------
    members : list of str or mapping
        Models of the catalog by key, or with parameters: ``{"key": "svm", "C": 10}``. Those that do no classification
        are left out where a class is the target, and ``gp_coregional`` where there is one target alone.
    budget : str or float, optional
        Time for the fit: seconds, or such as ``"5m"``.
    random_state : int or None
        The members' are derived from it.

    Attributes
    ----------
    chosen_ : tuple of int
        Which of the members were fitted.
    """

    key = "best"
    title = "Mean of the strongest models, in a time budget"
    citation = "Hansen and Salamon 1990; the members' own"
    search_space = {"members": Choice((MEMBERS[:2], MEMBERS[:4], MEMBERS))}
    toy_params = {"members": ({"key": "gp", "features": "ecfp_count"}, {"key": "extra_trees", "n_estimators": 10})}

    members: Sequence[Member] = MEMBERS
    budget: str | float | None = None

    def check_params(self) -> None:
        """Check the parameters, and those of every member."""
        super().check_params()
        seconds(self.budget)

    def _members_for_task(self) -> list[int]:
        from polyml.models.catalog import model_class

        where = f"members of model '{self.key}'"
        keys = [member_params(member, where)[0] for member in self.members]
        single = getattr(self, "n_targets_", 2) == 1
        fitting = [self.task in model_class(key).tasks and not (single and key in _FOR_SEVERAL) for key in keys]
        return [int(place) for place in np.flatnonzero(fitting)]

    def _make_members(self, seed: int) -> list[PolymerModel]:
        places = self._members_for_task()
        seeds = np.random.SeedSequence(seed).generate_state(len(places)) % (2**31)
        return [self._make_member(self.members[i], int(own)) for i, own in zip(places, seeds, strict=True)]

    def limit_to(self, chosen: Sequence[int]) -> BestModel:
        """Fit these of the members, whatever the budget: so that several fits are of the same ensemble."""
        self._only = tuple(chosen)
        return self

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> BestModel:
        """Fit the members, in order, as the budget allows."""
        end = perf_counter() + seconds(self.budget)
        self.check_params()
        items, values = self._training_data(psmiles, y)
        seed = draw_seed(self.random_state)
        places, fresh, trials = self._members_for_task(), self._make_members(seed), self._make_members(seed)
        only = vars(self).get("_only")
        self.members_: list[PolymerModel] = []
        chosen: list[int] = []
        late: list[int] = []
        for place, member, trial in zip(places, fresh, trials, strict=True):
            timed = only is None and self.budget is not None and bool(chosen)
            if place not in (only or places):
                continue
            if timed and not _has_time(trial, items, values, seed, end):
                late.append(place)
                continue
            self.members_.append(member.fit(items, values))
            chosen.append(place)
        if late:
            names = ", ".join(_name(self.members[place]) for place in late)
            what = f"left out, as a fit has {seconds(self.budget):.3g} s: {names}"
            warnings.warn(what, UserWarning, stacklevel=2)
        self.chosen_ = tuple(chosen)
        return self

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return mean, standard deviation and 90 % interval, each of shape (n, t).

        The variance is that of the members' means, and the mean of the variances that members give (the law of total
        variance over the members that give one).
        """
        self._check_regresses()
        found = [member.predict_dist(psmiles) for member in self.members_]
        shape = (len(psmiles), self.n_targets_)
        means = np.stack([item.mean.reshape(shape) for item in found])
        given = [item.std.reshape(shape) for member, item in zip(self.members_, found, strict=True) if member.gives_std]
        variance = means.var(axis=0) + (np.mean(np.square(given), axis=0) if given else 0.0)
        return Prediction.gaussian(self._combine(means), np.sqrt(variance))

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"chosen": np.array(self.chosen_)}

    def _load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.chosen_ = tuple(arrays["chosen"].tolist())


def _name(member: Member) -> str:
    """Return what to call a member in a message, so that two of one kind can be told apart."""
    key, params = member_params(member, "members")
    features = params.get("features", ())
    shown = [features] if isinstance(features, str) else features
    return f"{key} ({', '.join(shown)})" if shown else key


def _has_time(model: PolymerModel, items: Sequence[Any], y: np.ndarray, seed: int, end: float) -> bool:
    """Return whether a fit is likely to be done by then; without time for the trial it is not."""
    return perf_counter() < end and _estimate(model, items, y, seed) <= end - perf_counter()


def _estimate(model: PolymerModel, items: Sequence[Any], y: np.ndarray, seed: int) -> float:
    """Return how many seconds a fit is likely to take, from one on a few polymers."""
    n = len(items)
    if n <= _PILOT:
        return 0.0
    y = y.reshape(n, -1)
    # Those with most values first, in a random order: every target is to have some.
    order = np.random.default_rng(seed).permutation(n)
    rows = order[np.argsort(np.isnan(y[order]).sum(axis=1), kind="stable")][:_PILOT]
    columns = np.flatnonzero(~np.isnan(y[rows]).all(axis=0))
    few = y[np.ix_(rows, columns)]
    started = perf_counter()
    model.fit([items[row] for row in rows], few[:, 0] if y.shape[1] == 1 else few)
    return (perf_counter() - started) * (n / _PILOT) ** _GROWTH.get(model.key, 1.0)
