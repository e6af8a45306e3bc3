"""Error against distance from the training polymers: does a model know less where it has seen less?

Every out-of-fold prediction stands beside the domain score of its polymer (:mod:`polyml.domain`), taken to the training
polymers of its own fold: what another fold trained on has no part in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from polyml.bundle import NOVELTY
from polyml.domain import VERDICTS, ApplicabilityDomain, elements, fingerprints
from polyml.evaluation.one_fold import FoldTask

SCORES = ["nearest_similarity", "domain_score", "domain"]
"""Columns of tidy predictions that tell how near a test polymer is to the training polymers of its fold."""
COLUMNS = [
    "model", "property", "by", "group", "score_from", "score_to", "n", "rmse", "mae", "coverage", "accuracy",
    "rank_correlation",
]  # fmt: skip
_BINS = 5
_PER_BIN = 10  # values at least: the error of fewer says little


def scores_of_folds(tasks: Sequence[FoldTask]) -> pd.DataFrame:
    """Compare the test polymers of each fold with its training polymers.

    Returns
    -------
    DataFrame
        Columns repeat, fold, key, and :data:`SCORES`; one row a test polymer of a fold.
    """
    bits: dict[str, np.ndarray] = {}
    present: dict[str, np.ndarray] = {}
    parts = []
    for task in {(task.repeat, task.fold): task for task in tasks}.values():
        new = [text for part in (task.train, task.test) for text in part["psmiles"] if text not in bits]
        bits.update(zip(new, fingerprints(new), strict=True))
        present.update(zip(new, elements(new), strict=True))
        train, test = (
            [np.stack([table[text] for text in part["psmiles"]]) for table in (bits, present)]
            for part in (task.train, task.test)
        )
        domain = ApplicabilityDomain(train[0], list(task.train["key"]), known=np.logical_or.reduce(train[1]))
        found = domain.judge_fingerprints(*test)
        columns: list[Any] = [found.similarity, found.score, found.verdict]
        head = {"repeat": task.repeat, "fold": task.fold, "key": task.test["key"].to_numpy(object)}
        parts.append(pd.DataFrame(head | dict(zip(SCORES, columns, strict=True))).drop_duplicates("key"))
    return pd.concat(parts, ignore_index=True)


def with_scores(predictions: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Return tidy predictions with the columns :data:`SCORES` from :func:`scores_of_folds`."""
    return predictions.merge(scores, on=["repeat", "fold", "key"], how="left", validate="many_to_one")


def error_by_domain(predictions: pd.DataFrame, *, classes: bool = False) -> pd.DataFrame:
    """Score groups of polymers: fifths by domain score, which are the same for all models, by verdict, and by novelty.

    Parameters
    ----------
    predictions : DataFrame
        Tidy out-of-fold predictions, of one repeat or several, with :data:`SCORES`.
    classes : bool
        Whether codes of classes are predicted.

    Returns
    -------
    DataFrame
        Columns model, property; by ("score" or "domain", and "novelty" for a model that gives it), group (its number
        from the lowest scores up, or the verdict), score_from, score_to (of "novelty", its ends), n; rmse, mae and
        coverage (share of the measured values inside the 90 % interval, NaN without intervals), or accuracy;
        rank_correlation, Spearman's, of domain score (or novelty) and absolute error over all of the model's
        predictions of the property: below zero (above it) where errors fall towards the training polymers.
    """
    if predictions.empty:
        return pd.DataFrame(columns=COLUMNS)
    known = predictions.dropna(subset=["y_true", "y_pred", "domain_score"])
    rows = []
    for prop, part in known.groupby("property", sort=False):
        edges = bin_edges(part.drop_duplicates(["repeat", "fold", "key"])["domain_score"].to_numpy())
        for model, own in part.groupby("model", sort=False):
            head = {"model": model, "property": prop}
            correlation = {"rank_correlation": _rank_correlation(own, "domain_score", classes)}
            rows += [head | row | correlation for row in _groups(own, edges, classes)]
            rows += [head | row for row in _by_novelty(own, classes)]
    return pd.DataFrame(rows, columns=COLUMNS).dropna(axis="columns", how="all")


def bin_edges(scores: np.ndarray) -> np.ndarray:
    """Return the inner edges between fifths of scores; fewer where there are few scores, or many that are equal.

    Examples
    --------
    >>> bin_edges(np.arange(101) / 100).tolist()
    [0.2, 0.4, 0.6, 0.8]
    """
    bins = int(np.clip(len(scores) // _PER_BIN, 1, _BINS))
    inner = np.quantile(scores, np.arange(1, bins) / bins)
    return np.unique(inner[(inner > scores.min()) & (inner <= scores.max())]) if len(scores) else inner


def _groups(own: pd.DataFrame, edges: np.ndarray, classes: bool) -> Iterator[dict[str, Any]]:
    number = np.digitize(own["domain_score"].to_numpy(), edges)
    for index in range(len(edges) + 1):
        yield {"by": "score", "group": str(index + 1), **_scores(own[number == index], classes)}
    for verdict in VERDICTS:
        part = own[own["domain"] == verdict]
        if len(part):
            yield {"by": "domain", "group": verdict, **_scores(part, classes)}


def _by_novelty(own: pd.DataFrame, classes: bool) -> Iterator[dict[str, Any]]:
    """Score fifths by how strange polymers were to the autoencoder of their fold; nothing for another model."""
    if NOVELTY not in own or own[NOVELTY].isna().all():
        return
    edges = bin_edges(own[NOVELTY].to_numpy())
    number = np.digitize(own[NOVELTY].to_numpy(), edges)
    correlation = _rank_correlation(own, NOVELTY, classes)
    for index in range(len(edges) + 1):
        row = _scores(own[number == index], classes, NOVELTY)
        yield {"by": NOVELTY, "group": str(index + 1), **row, "rank_correlation": correlation}


def _scores(part: pd.DataFrame, classes: bool, by: str = "domain_score") -> dict[str, Any]:
    error = (part["y_pred"] - part["y_true"]).to_numpy()
    row = {"score_from": part[by].min(), "score_to": part[by].max(), "n": len(part)}
    if classes:
        return row | {"accuracy": float((error == 0).mean())}
    row |= {"rmse": float(np.sqrt((error**2).mean())), "mae": float(np.abs(error).mean())}
    bounded = part.dropna(subset=["lower", "upper"])
    inside = (bounded["lower"] <= bounded["y_true"]) & (bounded["y_true"] <= bounded["upper"])
    return row | {"coverage": float(inside.mean()) if len(bounded) else np.nan}


def _rank_correlation(own: pd.DataFrame, by: str, classes: bool) -> float:
    from scipy.stats import spearmanr

    error = (own["y_pred"] - own["y_true"]).abs()
    error = (error > 0).astype(float) if classes else error
    if own[by].nunique() < 2 or error.nunique() < 2:
        return float("nan")
    return float(spearmanr(own[by], error).statistic)
