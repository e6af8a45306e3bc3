"""The explore stage: maps of a data set with clusters, as a table and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from polyml.errors import unknown_name
from polyml.explore.clusters import Clusters, check_clustering, cluster
from polyml.explore.projections import METHODS, Projection, project, reduce_features
from polyml.settings import default_jobs

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from polyml.data.table import PolymerTable
    from polyml.tracking import Tracker

_TITLES = {"pca": "Principal components", "tsne": "t-SNE"}


def explore(
    table: PolymerTable,
    folder: str | Path,
    *,
    features: str = "ecfp_count",
    n_clusters: int | None = None,
    clustering: str = "kmeans",
    methods: Sequence[str] = ("pca", "tsne"),
    seed: int = 1,
    tracker: Tracker | None = None,
) -> pd.DataFrame:
    """Map the polymers of a table.

    Writes ``map.csv`` (key, psmiles, coordinates, cluster, properties), ``clusters.csv`` (size, representative and
    median properties of each cluster) and ``maps.html`` (one interactive map a method, coloured by cluster or by
    property), and logs them.

    Parameters
    ----------
    table : PolymerTable
    folder : str or Path
        Made if it is missing.
    features : str
        Catalog key of a featurizer that gives columns.
    n_clusters : int, optional
        Number of clusters; by silhouette if None. Not with "dbscan", which finds it itself.
    clustering : {"kmeans", "hierarchical", "dbscan"}
    methods : sequence of {"pca", "tsne"}
    seed : int
    tracker : Tracker, optional
        Gets a run of its own.

    Returns
    -------
    DataFrame
        What ``map.csv`` holds.
    """
    for method in methods:
        if method not in METHODS:
            raise unknown_name("projection", method, METHODS)
    check_clustering(clustering, n_clusters)
    from polyml.features.batch import featurize

    reduced = reduce_features(np.asarray(featurize(features, table.psmiles, jobs=default_jobs())), seed)
    found = cluster(reduced, n_clusters, seed, clustering)
    projections = {method: project(reduced, method, seed) for method in dict.fromkeys(methods)}
    frame = _map_frame(table, projections, found)
    summary = cluster_summary(table, found)
    figures = _figures(table, frame, projections)
    folder = Path(folder)
    _write(folder, frame, summary, figures, Path(table.source).stem)
    if tracker is not None:
        params = {"features": features, "clustering": clustering, "methods": list(projections), "seed": seed}
        _log(tracker, table, folder, found, params)
    return frame


def cluster_summary(table: PolymerTable, found: Clusters) -> pd.DataFrame:
    """Describe each cluster: its size, the polymer nearest to its centre, and the median of each property.

    Polymers in no cluster come last, as cluster 0 without a representative.

    Returns
    -------
    DataFrame
        cluster (0 for none), size, representative; for each property ``NAME`` (median in user units, the most
        frequent class) and ``NAME_count`` (values measured).
    """
    rows = []
    names = [*(table.psmiles[row] for row in found.representatives), *([""] if (found.labels == 0).any() else [])]
    for place, representative in enumerate(names, start=1):
        label = place if place <= len(found.representatives) else 0
        members = table.frame[found.labels == label]
        row = {"cluster": label, "size": len(members), "representative": representative}
        for item in table.properties:
            known = members[item.name].dropna()
            # Of a class the most frequent label stands where numbers have their median.
            middle = known.median() if not item.is_class else known.mode().iloc[0] if len(known) else None
            row |= {item.name: middle, f"{item.name}_count": len(known)}
        rows.append(row)
    return pd.DataFrame(rows)


def _map_frame(table: PolymerTable, projections: dict[str, Projection], found: Clusters) -> pd.DataFrame:
    columns: dict[str, Any] = {"key": table.keys, "psmiles": table.psmiles}
    for method, projection in projections.items():
        columns |= {f"{method}_1": projection.coordinates[:, 0], f"{method}_2": projection.coordinates[:, 1]}
    columns["cluster"] = found.labels
    return pd.DataFrame(columns | {name: table.frame[name].to_numpy() for name in table.names})


def _figures(table: PolymerTable, frame: pd.DataFrame, projections: dict[str, Projection]) -> dict[str, Figure]:
    from polyml.report.maps import projection_map

    return {
        _TITLES[method]: projection_map(
            frame, f"{method}_1", f"{method}_2", table.properties, _TITLES[method], projection.note
        )
        for method, projection in projections.items()
    }


def _write(folder: Path, frame: pd.DataFrame, summary: pd.DataFrame, figures: dict[str, Figure], name: str) -> None:
    from polyml.data.files import whole_file
    from polyml.report.html import figures_page

    for file, table in (("map.csv", frame), ("clusters.csv", summary)):
        with whole_file(folder / file) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    with whole_file(folder / "maps.html") as temporary:
        temporary.write_text(figures_page(f"Maps of {name or 'the data'}", figures), encoding="utf-8")


def _log(tracker: Tracker, table: PolymerTable, folder: Path, found: Clusters, params: dict[str, object]) -> None:
    params |= {"clusters": len(found.representatives), "polymers": len(table)}
    tags = {"polyml.stage": "explore", "polyml.data_digest": table.digest}
    with tracker.parent_run(f"explore {Path(table.source).stem}".strip(), params, tags):
        tracker.log_dataset(table.frame[["psmiles", *table.names]], Path(table.source).stem or "data", table.digest)
        tracker.log_metrics({"silhouette": found.silhouette})
        tracker.log_files([folder / name for name in ("map.csv", "clusters.csv", "maps.html")])
