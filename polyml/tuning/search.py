"""Search the parameters of a model: the trials, and the loop over them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from polyml.chem import RepeatUnit
from polyml.errors import PolymlError, UserError
from polyml.tuning.inner import Problem, make_problem
from polyml.tuning.samplers import check_names, make_pruner, make_sampler, quiet_optuna
from polyml.tuning.space import Space, SpaceOption
from polyml.tuning.trials import SearchResult, collect, mean_score, no_success, read_trials, state_of

OnTrial = Callable[[int], None]
_GIVE_UP = 5  # trials that fail before any succeeds


@dataclass(frozen=True)
class SearchSettings:
    """How a search goes about it.

    Attributes
    ----------
    trials : int
        Trials in total, the first with the model's own parameters.
    sampler : str
        Name from :data:`polyml.tuning.samplers.SAMPLERS`; a grid takes at most ``trials`` points.
    pruner : str, optional
        Name from :data:`polyml.tuning.samplers.PRUNERS`; None for "median", with the sampler "gp" for "none".
    folds : int, optional
        Inner folds; None for as many as the number of polymers suggests.
    repeats : int
        How many times the folds are dealt anew.
    seed : int
        The same seed gives the same trials, in one process.
    """

    trials: int = 20
    sampler: str = "tpe"
    pruner: str | None = None
    folds: int | None = None
    repeats: int = 1
    seed: int = 0

    def check(self, space: Space, where: str = "tuning") -> None:
        """Check names and numbers, and that a grid over the space fits into the trials.

        Raises
        ------
        UserError
            A name does not exist, a number is too small, or the grid is too large.
        """
        check_names(self.sampler, self.pruner, where)
        for name, value, least in (("trials", self.trials, 1), ("folds", self.folds, 2), ("repeats", self.repeats, 1)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise UserError(
                    f"{name}={value!r} is not a whole number of at least {least}",
                    where=where,
                    fix="leave it out for the default",
                )
        self.grid(space)

    def grid(self, space: Space) -> list[dict[str, Any]]:
        """Return the points of the grid beside the defaults; none for another sampler."""
        return space.grid(max(self.trials - 1, 1)) if self.sampler == "grid" else []


def search(
    key: str,
    psmiles: Sequence[str | RepeatUnit],
    y: Any,
    *,
    params: Mapping[str, Any] | None = None,
    space: SpaceOption = None,
    settings: SearchSettings | None = None,
) -> SearchResult:
    """Search the parameters of a model on inner folds of the data, in memory.

    Nothing but ``psmiles`` and ``y`` is read: given the training part of a fold, the search is part of the training.
    The score of a trial is the mean over the inner folds of R² (one denominator for all folds, averaged over targets)
    or of the balanced accuracy. The first trial takes the model's own parameters, so that the best one is never worse
    than these on the inner score.

    Parameters
    ----------
    key : str
        Model of the catalog.
    psmiles, y
        Training data as for ``fit``.
    params : mapping, optional
        Parameters of the model that are fixed, ``task`` among them.
    space : mapping or sequence of str, optional
        See :func:`polyml.tuning.space.make_space`.
    settings : SearchSettings, optional

    Raises
    ------
    UserError
        Wrong names, data that cannot be divided, or every trial failed.

    Examples
    --------
    >>> polymers = ["*" + "C" * n + "O*" for n in range(1, 13)]
    >>> found = search("knn", polymers, range(12), space=["n_neighbors"], settings=SearchSettings(trials=3))
    >>> len(found.trials), found.best.score >= found.defaults.score
    (3, True)
    """
    import optuna

    settings = settings or SearchSettings()
    problem = make_problem(
        key, psmiles, y,
        params=params or {}, space=space, folds=settings.folds, repeats=settings.repeats, seed=settings.seed,
    )  # fmt: skip
    settings.check(problem.space)
    with quiet_optuna():
        study = optuna.create_study(
            study_name="search", direction="maximize", **make_parts(settings, len(problem.folds))
        )
        queue_first(study, problem.space, settings)
        run_trials(study, problem, settings)
        return collect(study, problem)


def make_parts(settings: SearchSettings, folds: int) -> dict[str, Any]:
    """Return sampler and pruner of a study with this many inner folds."""
    return {
        "sampler": make_sampler(settings.sampler, settings.seed, settings.trials),
        "pruner": make_pruner(settings.pruner, settings.sampler, folds),
    }


def queue_first(study: Any, space: Space, settings: SearchSettings) -> None:
    """Queue the model's own parameters, and all points of a grid; what a study has already is not queued again."""
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(space.first(), user_attrs={"defaults": True} if space.holds_defaults else {})
    for point in settings.grid(space):
        study.enqueue_trial(point, skip_if_exists=True)


def run_trials(
    study: Any,
    problem: Problem,
    settings: SearchSettings,
    *,
    most: int | None = None,
    deadline: float = math.inf,
    on_trial: OnTrial | None = None,
) -> None:
    """Run trials until as many as planned are finished or under way, or the time is up.

    Parameters
    ----------
    study : optuna.Study
    problem, settings
    most : int, optional
        Trials to run here at most.
    deadline : float
        No trial begins after this time (``time.time``).
    on_trial : callable, optional
        Told the number of each trial that ends here.
    """
    import optuna

    ended: list[int] = []

    def note(_: Any, trial: Any) -> None:
        ended.append(trial.number)
        if on_trial is not None:
            on_trial(trial.number)

    while left(study, settings) and time.time() < deadline and (most is None or len(ended) < most):
        try:
            study.optimize(partial(_evaluate, problem), n_trials=1, catch=(_TrialFailed,), callbacks=[note])
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError) as error:
            if isinstance(error, ValueError) and not str(error).startswith("Cannot tell a"):
                raise
            ended.append(-1)  # another process took this one for dead, has queued it again, or ran it as well
        _refuse_if_hopeless(study, problem)


def left(study: Any, settings: SearchSettings) -> int:
    """Count the trials that are still to begin."""
    states = [state_of(trial) for trial in study.get_trials(deepcopy=False)]
    if settings.sampler == "grid":
        return states.count("waiting")
    return max(0, settings.trials - sum(state not in ("waiting", "lost") for state in states))


class _TrialFailed(PolymlError):
    """The model could not be trained or scored with these parameters."""


def _evaluate(problem: Problem, trial: Any) -> float:
    """Score one trial; what is known of it stays with it, however it ends."""
    import optuna

    from polyml.tuning.storage import this_process

    trial.set_user_attr("process", this_process())
    scores: list[float] = []
    try:
        _score_folds(problem, trial, scores)
    finally:
        trial.set_user_attr("scores", [None if math.isnan(score) else score for score in scores])
    mean = mean_score(scores)
    if math.isnan(mean):
        trial.set_user_attr("error", "no inner fold has a value to score")
        raise _TrialFailed
    trial.set_user_attr("score", mean)
    if trial.user_attrs.get("defaults") and problem.space.outside:
        # Samplers cannot place values outside of their ranges, and leave a pruned trial without them alone.
        raise optuna.TrialPruned
    return mean


def _score_folds(problem: Problem, trial: Any, scores: list[float]) -> None:
    """Score fold by fold, and give the trial up when its pruner says so; the defaults see all folds."""
    import optuna

    fold_scores = problem.scores(problem.space.draw(trial))
    defaults = trial.user_attrs.get("defaults")
    for step in range(len(problem.folds)):
        scores.append(_next_score(fold_scores, trial))
        mean = mean_score(scores)
        if not math.isnan(mean):
            trial.report(mean, step)
        if step < len(problem.folds) - 1 and not defaults and trial.should_prune():
            raise optuna.TrialPruned


def _next_score(scores: Any, trial: Any) -> float:
    try:
        return float(next(scores))
    except Exception as error:  # whatever goes wrong inside a model belongs to this trial alone
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        text = " ".join(lines[:2])[:300]
        trial.set_user_attr("error", text if isinstance(error, UserError) else f"{type(error).__name__}: {text}")
        raise _TrialFailed from error


def _refuse_if_hopeless(study: Any, problem: Problem) -> None:
    """Stop when the first trials have all failed: more of them will not help."""
    states = [state_of(trial) for trial in study.get_trials(deepcopy=False)]
    if states.count("failed") >= _GIVE_UP and not {"complete", "pruned"} & set(states):
        raise no_success(read_trials(study, problem.space), problem.key)
