"""One model on one fold: train, predict, and keep the outcome in a file of its own.

A finished fold is one Parquet file under ``folds/``: the out-of-fold predictions as rows, and the fingerprint, the
times and the training history as JSON in the file's metadata. Files appear whole or not at all, so that a comparison
that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import re
import traceback
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from polyml.bundle import NOVELTY
from polyml.data.files import whole_file
from polyml.errors import UserError
from polyml.evaluation.metrics import probability_columns
from polyml.models.base import PolymerModel, Prediction
from polyml.models.catalog import ModelFactory, make_seeded, with_task
from polyml.models.conformal import ConformalModel
from polyml.models.inspect import features_of
from polyml.models.neural import NeuralModel
from polyml.workers import limited_threads

_META = b"polyml"


@dataclass(frozen=True)
class FoldTask:
    """All that a process needs to train and score one model on one fold.

    Attributes
    ----------
    model : str
        Label of the model within the comparison.
    key, params : str, dict
        Model of the catalog and its parameters.
    repeat, fold, seed : int
    train, test : DataFrame
        Rows with columns key and psmiles.
    y_train, y_test : ndarray of shape (n, t)
        Modelled scale, NaN where not measured. ``y_test`` is only written beside the predictions.
    properties : tuple of str
    classes : tuple of str
        The labels behind the codes of ``y`` in a classification; none for a regression.
    path : Path
        The file of this fold.
    fingerprint : str
        Digest of everything the outcome depends on.
    factory : callable
        ``make_model`` of the catalog.
    threads : int
        Threads the model may use.
    known : bool
        Property completion: the model is given the other measured properties of each test polymer.
    watched : bool
        A network keeps the epoch that is best on the test polymers, as some published work does.
    """

    model: str
    key: str
    params: Mapping[str, Any]
    repeat: int
    fold: int
    seed: int
    train: pd.DataFrame
    test: pd.DataFrame
    y_train: np.ndarray
    y_test: np.ndarray
    properties: tuple[str, ...]
    path: Path
    fingerprint: str
    factory: ModelFactory
    threads: int = 1
    classes: tuple[str, ...] = ()
    known: bool = False
    watched: bool = False


@dataclass(frozen=True)
class FoldRecord:
    """What is known of a finished fold besides its predictions.

    ``chosen`` are the parameters that a search found. ``train_score`` and ``test_score`` (R², mean over properties, or
    the share of right classes) are there for networks that set no polymers aside: what tells overfitting.
    """

    fingerprint: str
    seed: int
    features: str
    fit_seconds: float
    predict_seconds: float
    history: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    chosen: dict[str, Any] = field(default_factory=dict)
    train_score: float | None = None
    test_score: float | None = None


@dataclass(frozen=True)
class Failure:
    """Why a model could not be scored: one line for the leaderboard, and the file with the traceback."""

    model: str
    repeat: int
    fold: int
    error: str
    traceback: str


def fold_seed(seed: int, repeat: int, fold: int) -> int:
    """Derive the random state of a fold: the same for every model, different for every fold.

    Examples
    --------
    >>> fold_seed(1, 0, 0) == fold_seed(1, 0, 0) != fold_seed(1, 0, 1)
    True
    """
    return int(np.random.SeedSequence([seed, repeat, fold]).generate_state(1)[0] % (2**31))


def file_stem(name: str) -> str:
    """Turn a label into a file name, unique even where characters had to go.

    Examples
    --------
    >>> file_stem("svm")
    'svm'
    >>> file_stem("SVM (RBF)")
    'SVM_RBF-c4a1de'
    """
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_.")[:60]
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return name if safe == name else f"{safe}-{digest}".lstrip("-")


def fingerprint(**parts: object) -> str:
    """Digest named parts; any order of keys gives the same digest."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def run_fold(task: FoldTask) -> Failure | None:
    """Train and predict one fold and write its file; a failure of the model is returned, not raised.

    Raises
    ------
    UserError
        If the file cannot be written (a full or read-only disk).
    """
    try:
        with limited_threads(task.threads), _recorded_warnings() as messages:
            record, columns = _fit_predict(task)
    except Exception as error:  # whatever goes wrong inside a model belongs to that model alone
        return Failure(task.model, task.repeat, task.fold, _one_line(error), traceback.format_exc())
    record.warnings.extend(messages)
    write_fold(task.path, _tidy(task, columns), record)
    return None


def _fit_predict(task: FoldTask) -> tuple[FoldRecord, dict[str, np.ndarray]]:
    params = with_task(task.params, "classification" if task.classes else "regression")
    model = make_seeded(task.factory, task.key, params, task.seed)
    test = list(task.test["psmiles"])
    model.load_libraries()
    started = perf_counter()
    if task.watched and isinstance(model, NeuralModel):
        model.fit_watching(list(task.train["psmiles"]), task.y_train, test, task.y_test)
    elif isinstance(model, ConformalModel):  # whose messages name the property that has too few values
        deque(model.fit_steps(list(task.train["psmiles"]), task.y_train, task.properties), maxlen=0)
    else:
        model.fit(list(task.train["psmiles"]), task.y_train)
    fitted = perf_counter()
    columns = _classified(model, test, task.classes) if task.classes else _regressed(model, test, task)
    predicted = perf_counter()
    if model.gives_novelty:
        columns[NOVELTY] = np.repeat(model.novelty(test)[:, None], task.y_test.shape[1], axis=1)
    random_state = model.get_params(deep=False).get("random_state")
    history = [dict(step) for step in getattr(model, "history_", None) or []]
    scores: dict[str, Any] = {}
    if history and not any(np.isfinite(step.get("val_loss", np.nan)) for step in history):
        known = np.asarray(model.predict(list(task.train["psmiles"])), dtype=float).reshape(task.y_train.shape)
        scores = {"train_score": _share_explained(task.y_train, known, task.classes)}
        scores["test_score"] = _share_explained(task.y_test, columns["y_pred"], task.classes)
    record = FoldRecord(
        fingerprint=task.fingerprint,
        seed=task.seed if random_state is None else int(random_state),
        features=features_of(model),
        fit_seconds=round(fitted - started, 4),
        predict_seconds=round(predicted - fitted, 4),
        history=history,
        chosen=dict(getattr(model, "best_params_", None) or {}),
        **scores,
    )
    return record, columns


def _share_explained(y: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> float:
    """Return R², the mean over properties, or the share of classes that are right; NaN where neither is defined."""
    if classes:
        known = ~np.isnan(y)
        return float((predicted[known] == y[known]).mean())
    residual, total = np.nansum((y - predicted) ** 2, axis=0), np.nansum((y - np.nanmean(y, axis=0)) ** 2, axis=0)
    defined = total > 0
    return float((1 - residual[defined] / total[defined]).mean()) if defined.any() else float("nan")


def _regressed(model: PolymerModel, psmiles: list[str], task: FoldTask) -> dict[str, np.ndarray]:
    """Predict numbers; each column has shape (n, t)."""
    # A model that takes known properties uses none for its own prediction, as the contract test checks.
    given: dict[str, Any] = {"known": task.y_test} if task.known else {}
    prediction = model.predict_dist(psmiles, **given)
    _check_prediction(prediction, task.y_test.shape)
    return {"y_pred": prediction.mean, "std": prediction.std, "lower": prediction.lower, "upper": prediction.upper}


def _classified(model: PolymerModel, psmiles: list[str], classes: Sequence[str]) -> dict[str, np.ndarray]:
    """Predict the codes of classes and their probabilities, 0 for a class the training part lacks; each (n, 1)."""
    found = np.asarray(model.predict_proba(psmiles), dtype=float)
    codes = np.asarray(model.classes_, dtype=int)
    if found.shape != (len(psmiles), len(codes)) or not np.isfinite(found).all():
        raise ValueError(f"predicted probabilities of shape {found.shape}, expected {(len(psmiles), len(codes))}")
    probability = np.zeros((len(psmiles), len(classes)))
    probability[:, codes] = found
    nothing = np.full((len(psmiles), 1), np.nan)
    columns = {"y_pred": probability.argmax(axis=1)[:, None].astype(float)}
    columns |= {"std": nothing, "lower": nothing, "upper": nothing}
    names = probability_columns(classes)
    return columns | {name: probability[:, [i]] for i, name in enumerate(names)}


def _check_prediction(prediction: Prediction, shape: tuple[int, ...]) -> None:
    if np.shape(prediction.mean) != shape:
        raise ValueError(f"predicted an array of shape {np.shape(prediction.mean)}, expected {shape}")
    bad = int((~np.isfinite(prediction.mean)).sum())
    if bad:
        raise ValueError(f"{bad} of {prediction.mean.size} predictions are not finite numbers")


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[:2])[:300]
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}".rstrip(": ")


def _tidy(task: FoldTask, columns: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Lay predictions of shape (n, t) out as one row a polymer and property."""
    n, t = task.y_test.shape
    columns = {"y_true": task.y_test, **columns}
    frame = pd.DataFrame(
        {
            "model": task.model,
            "repeat": task.repeat,
            "fold": task.fold,
            "key": np.repeat(task.test["key"].to_numpy(object), t),
            "psmiles": np.repeat(task.test["psmiles"].to_numpy(object), t),
            "property": np.tile(np.array(task.properties, dtype=object), n),
        }
    )
    return frame.assign(**{name: np.asarray(values, dtype=float).ravel() for name, values in columns.items()})


@contextmanager
def _recorded_warnings() -> Iterator[list[str]]:
    """Collect distinct warnings instead of printing them across the progress bar."""
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            yield messages
        finally:
            texts = (f"{w.category.__name__}: {' '.join(str(w.message).split())[:200]}" for w in caught)
            messages.extend(list(dict.fromkeys(texts))[:20])


def write_fold(path: Path, predictions: pd.DataFrame, record: FoldRecord) -> None:
    """Write the file of a fold, whole or not at all."""
    table = pa.Table.from_pandas(predictions, preserve_index=False)
    meta = json.dumps(record.__dict__, default=float).encode()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _META: meta})
    with whole_file(path) as temporary:
        pq.write_table(table, temporary)


def read_fold(path: Path) -> tuple[pd.DataFrame, FoldRecord]:
    """Read what :func:`write_fold` wrote."""
    table = pq.read_table(path)
    return table.to_pandas(), FoldRecord(**json.loads(table.schema.metadata[_META]))


def is_finished(task: FoldTask) -> bool:
    """Tell whether the file of a fold is there and was made with the same options, data and version."""
    try:
        metadata = pq.read_schema(task.path).metadata or {}
        return bool(json.loads(metadata[_META])["fingerprint"] == task.fingerprint)
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return False  # not there, damaged, or of another program: the fold is computed anew
