"""Features that all folds of a comparison read, computed once before them."""

from __future__ import annotations

from collections.abc import Sequence

from polyml.cluster import Cluster
from polyml.evaluation.one_fold import FoldTask
from polyml.evaluation.plan import Plan
from polyml.settings import default_jobs

_DAY = 86400.0


def warm_features(plan: Plan, waiting: Sequence[FoldTask], jobs: int, cluster: Cluster | None) -> None:
    """Compute the features of all polymers once, with all jobs, so that the folds find them in the cache.

    On a cluster each node has a cache. Features say nothing of the measured values, and each polymer's are its own: no
    test row leaks.
    """
    psmiles = [text for part in (plan.tasks[0].train, plan.tasks[0].test) for text in part["psmiles"]]
    models = {task.model for task in waiting}
    keys = list(dict.fromkeys(key for entry in plan.entries if entry.label in models for key in entry.features))
    if not keys:
        return
    if cluster is None:
        _featurize(keys, psmiles, jobs)
    else:
        cluster.ask_nodes(_featurize, keys, psmiles, None, seconds=_DAY)


def _featurize(keys: Sequence[str], psmiles: Sequence[str], jobs: int | None) -> None:
    from polyml.features.batch import featurize

    for key in keys:
        try:
            featurize(key, psmiles, jobs=default_jobs() if jobs is None else jobs)
        except Exception:  # the model that reads them will fail on its folds and say why
            continue
