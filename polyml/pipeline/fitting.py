"""Steps that fit something: train a model, search its parameters; with what each logs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.config import ModelSpec, TrackingSpec, TuneSpec
from polyml.errors import UserError
from polyml.models.catalog import with_task
from polyml.pipeline.steps import open_tracker

if TYPE_CHECKING:
    from polyml.data.table import PolymerTable
    from polyml.models.base import PolymerModel
    from polyml.tracking import Tracker
    from polyml.tuning import SearchSettings
    from polyml.tuning.trials import SearchResult


def train_model(
    table: PolymerTable,
    model: ModelSpec,
    folder: Path,
    *,
    seed: int,
    tracking: TrackingSpec,
    register: str | None = None,
    scores: dict[str, Any] | None = None,
    calibrate: bool = False,
) -> str:
    """Fit a model on the whole table, save it as a bundle with the reports of the table, and log and register it.

    With ``calibrate`` its intervals are made to hold, where :func:`takes_calibration`. ``scores`` is the row of a
    leaderboard that the model was chosen by, with the protocol of the comparison.

    Returns
    -------
    str
        Name of the model in MLflow, ``models:/NAME/VERSION`` when registered; empty without tracking.

    Raises
    ------
    UserError
        A name to register under is given, but tracking is off; or there are too few values to calibrate on.
    """
    from polyml.bundle import Bundle, check_folder
    from polyml.evaluation.protocol import run_tags
    from polyml.models.catalog import make_model, model_class

    check_folder(folder)  # before the model is trained, not after
    calibrate = calibrate and takes_calibration(model.key, table.task)
    plain = model.wrapped()
    model = model.calibrated() if calibrate else plain
    if register:
        check_register(register, tracking)  # before the model is trained, not after
    params = with_task(model.params, table.task)
    if "random_state" in model_class(model.key)._get_param_names():
        params.setdefault("random_state", seed)
    estimator = make_model(model.key, **params)
    fit = _checked_fit(estimator, table)
    tracker = open_tracker(tracking, folder.name)
    told = with_task(plain.params, table.task)
    described = {"model": plain.key, "seed": seed, "params": told, "polymers": len(table)}
    tags = {"polyml.stage": "train", "polyml.model": plain.key, "polyml.data_digest": table.digest}
    tags["polyml.fitted"] = estimator.called()
    tags |= run_tags(scores) if scores else {}  # what the scores behind the choice are worth
    with tracker.parent_run(f"train {model.label}", described, tags):
        tracker.log_dataset(table.frame[["psmiles", *table.names]], Path(table.source).stem, table.digest, table.source)
        fit()
        history = getattr(estimator, "history_", None)
        if history is not None:
            log_training(tracker, history)
        log_search(tracker, estimator)
        bundle = Bundle(
            model=estimator,
            properties=table.properties,
            keys=tuple(table.keys),
            psmiles=tuple(table.psmiles),
            values=table.values,
            data_digest=table.digest,
            seed=seed,
            scores=scores,
        )
        bundle.save(folder)
        table.save_reports(folder)
        return tracker.log_bundle(folder, bundle.output_columns, table.psmiles[:3], registered_name=register)


def takes_calibration(key: str, task: str) -> bool:
    """Return whether the intervals of a model can be calibrated: not of classes, of what else is known, or twice."""
    from polyml.models.catalog import model_class

    return task == "regression" and key != "conformal" and not model_class(key).uses_known


def _checked_fit(model: PolymerModel, table: PolymerTable) -> Callable[[], object]:
    """Return what fits a model on a table, once it is known that the data allow it."""
    from polyml.models.conformal import ConformalModel
    from polyml.progress import track

    if isinstance(model, ConformalModel):
        steps = model.fit_steps(table.psmiles, table.y, table.names)
        return lambda: deque(track(steps, "fitting and calibrating", model.n_fits), maxlen=0)
    y = table.y[:, 0] if table.task == "classification" else table.y
    return lambda: model.fit(table.psmiles, y)


def check_register(name: str, tracking: TrackingSpec) -> None:
    """Check that a model can be registered under a name.

    Raises
    ------
    UserError
        Tracking is off, or the name is none for MLflow.
    """
    from polyml.tracking.registry import check_registered_name

    if not tracking.enabled:
        raise UserError(
            "a model is registered in MLflow, and tracking is off", fix="switch tracking on, or leave out register"
        )
    check_registered_name(name)


def log_training(tracker: Tracker, history: Sequence[Mapping[str, Any]]) -> None:
    """Log learning curves, their picture, and what they say in plain words."""
    import pandas as pd

    from polyml.report.plots import learning_curves
    from polyml.training.diagnosis import diagnose, diagnosis_text

    tracker.log_history(history)
    frame = pd.DataFrame(history)
    findings = diagnose(frame)
    if findings:
        tracker.set_tags({"polyml.diagnosis": ", ".join(findings)})
        tracker.log_text(diagnosis_text(findings), "diagnosis.txt")
    if len(frame):
        parts = frame.groupby("member") if "member" in frame else [(0, frame)]
        tracker.log_figures(
            {f"Learning curves {n}": learning_curves(part) for n, part in parts}, "learning_curves.html"
        )


def log_search(tracker: Tracker, model: PolymerModel) -> None:
    """Log what a tuned model found in its search; nothing for any other model."""
    import pandas as pd

    trials = getattr(model, "trials_", None)
    if trials is not None:
        tracker.log_table(pd.DataFrame(trials), "tuning_trials.csv")
        tracker.log_params({"tuned": model.best_params_})


def with_tuning(models: Sequence[ModelSpec], trials: int) -> list[ModelSpec]:
    """Return the models with a search of their parameters, where they declare what to search.

    Raises
    ------
    UserError
        None of them does.
    """
    from polyml.models.catalog import model_class

    tuned = [
        spec.model_copy(update={"tune": TuneSpec(trials=trials)}) if model_class(spec.key).search_space else spec
        for spec in models
    ]
    if not any(spec.tune for spec in tuned):
        keys = ", ".join(spec.key for spec in models)
        raise UserError(f"nothing to tune: no search space is declared by {keys}", fix="name other models")
    return tuned


def tune_model(
    table: PolymerTable,
    model: ModelSpec,
    folder: Path,
    *,
    search: TuneSpec,
    seed: int,
    tracking: TrackingSpec,
    study: str | None = None,
    storage: str | None = None,
    resume: bool = False,
    force: bool = False,
    jobs: int = 1,
    timeout: float | None = None,
) -> SearchResult:
    """Search the parameters of a model on a whole table; see :func:`polyml.tuning.tune.tune`."""
    from polyml.tuning.tune import tune

    found = tune(
        model.key,
        table,
        table.y[:, 0] if table.task == "classification" else table.y,
        folder,
        tracker=open_tracker(tracking, folder.name),
        params=with_task(model.params, table.task),
        space=search.space,
        settings=search_settings(search, seed),
        study=study,
        storage=storage,
        resume=resume,
        force=force,
        jobs=jobs,
        timeout=timeout,
    )
    table.save_reports(folder)
    return found


def check_search(model: ModelSpec, search: TuneSpec, task: str) -> None:
    """Check model, sampler and ranges of a search before anything is read."""
    from polyml.tuning.space import make_space

    space = make_space(model.key, with_task(model.params, task), search.space)
    search_settings(search, 0).check(space)


def search_settings(search: TuneSpec, seed: int) -> SearchSettings:
    """Return the settings of a search that a recipe or the options describe."""
    from polyml.tuning import SearchSettings

    return SearchSettings(search.trials, search.sampler, search.pruner, search.folds, search.repeats, seed)
