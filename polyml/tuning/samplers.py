"""How the next parameters are chosen, and when a trial is given up."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np

from polyml.errors import UserError, unknown_name

SAMPLERS: Mapping[str, str] = MappingProxyType(
    {
        "tpe": "tree-structured Parzen estimator (Bergstra et al., NIPS 2011)",
        "gp": "Gaussian process with the logarithm of the expected improvement",
        "random": "independent random values (Bergstra and Bengio, JMLR 2012)",
        "grid": "every combination of evenly spread values",
    }
)
PRUNERS: Mapping[str, str] = MappingProxyType(
    {
        "median": "stops a trial below the median of the earlier ones after as many folds",
        "hyperband": "successive halving over folds (Li et al., JMLR 2018)",
        "none": "every trial sees all folds",
    }
)


def check_names(sampler: str, pruner: str | None, where: str = "tuning") -> None:
    """Check that sampler and pruner exist and go together.

    Raises
    ------
    UserError
        One does not exist (the message names the nearest), or they do not go together.
    """
    if sampler not in SAMPLERS:
        raise unknown_name("sampler", sampler, SAMPLERS, where=where)
    if pruner is not None and pruner not in PRUNERS:
        raise unknown_name("pruner", pruner, PRUNERS, where=where)
    if sampler == "gp" and pruner not in (None, "none"):
        # It sees complete trials alone, and would propose a place again where the last trial was pruned.
        raise UserError(
            "the sampler 'gp' learns nothing from pruned trials", where=where, fix="use pruner 'none', or sampler 'tpe'"
        )


def make_sampler(name: str, seed: int, trials: int) -> Any:
    """Return an Optuna sampler whose choice for trial k depends on the seed, k and the trials before it alone.

    So a continued study goes on as an uninterrupted one would, and processes that share one never draw the same.

    Parameters
    ----------
    name : str
        Name from :data:`SAMPLERS`. All points of a grid are queued beforehand; its sampler only fills gaps.
    seed : int
    trials : int
        Planned number of trials; at most ten, and a third of them at the beginning, are random.
    """
    from optuna.samplers import GPSampler, RandomSampler, TPESampler

    startup = min(10, max(4, trials // 3))

    def build(number: int) -> Any:
        own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0] % 2**31)
        if name == "tpe":
            return TPESampler(seed=own, n_startup_trials=startup, constant_liar=True)
        if name == "gp":
            return GPSampler(seed=own, n_startup_trials=startup)
        return RandomSampler(seed=own)

    with quiet_optuna():
        return _seeded_by_trial(build)


def _seeded_by_trial(build: Callable[[int], Any]) -> Any:
    from optuna.samplers import BaseSampler

    class SeededByTrial(BaseSampler):
        """Ask a new sampler for each trial, seeded by the trial's number."""

        def __init__(self) -> None:
            self._number, self._sampler = -1, build(0)

        def _of(self, trial: Any) -> Any:
            if trial.number != self._number:
                self._number, self._sampler = trial.number, build(trial.number)
            return self._sampler

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return dict(self._of(trial).infer_relative_search_space(study, trial))

        def sample_relative(self, study: Any, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
            found = dict(self._of(trial).sample_relative(study, trial, search_space))
            return {} if _was_tried(study, found) else found

        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

        def before_trial(self, study: Any, trial: Any) -> None:
            self._of(trial).before_trial(study, trial)

        def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
            self._of(trial).after_trial(study, trial, state, values)

    return SeededByTrial()


def _was_tried(study: Any, params: Mapping[str, Any]) -> bool:
    """Tell whether a trial had these parameters already: one that failed taught the sampler nothing."""
    if not params:
        return False
    for trial in study.get_trials(deepcopy=False):
        if params.keys() <= trial.params.keys() and all(
            np.isclose(value, trial.params[name], rtol=1e-3, atol=0.0)
            if isinstance(value, float)
            else value == trial.params[name]
            for name, value in params.items()
        ):
            return True
    return False


def make_pruner(name: str | None, sampler: str, folds: int) -> Any:
    """Return an Optuna pruner for trials of this many inner folds; None names the usual one of the sampler."""
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    name = name or ("none" if sampler == "gp" else "median")
    if name == "median":
        return MedianPruner(n_startup_trials=5, n_warmup_steps=1 if folds > 3 else 0)
    if name == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=max(folds, 2), reduction_factor=3)
    return NopPruner()


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's messages and hints from the terminal."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"optuna(\.|$)")
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
