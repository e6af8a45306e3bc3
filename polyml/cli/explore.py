"""``polyml explore``: maps of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyml.cli import common

EXAMPLES = common.examples(
    "polyml explore gas_permeability -o maps",
    "polyml explore tg.csv --target Tg --clusters 12 --methods pca,tsne -o maps",
)


def explore(
    file: common.DataFile,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the maps.")],
    target: common.Targets = None,
    log10: common.Log10 = None,
    unit: common.Units = None,
    class_: common.Classes = None,
    smiles_column: common.SmilesColumn = None,
    features: Annotated[str, typer.Option("--features", metavar="KEY", help="Featurizer.")] = "ecfp_count",
    clusters: Annotated[int | None, typer.Option("--clusters", help="Number of clusters (else by silhouette).")] = None,
    clustering: Annotated[
        str, typer.Option("--clustering", metavar="KEY", help="kmeans, hierarchical or dbscan.")
    ] = "kmeans",
    methods: Annotated[str, typer.Option("--methods", metavar="A,B", help="Projections: pca, tsne.")] = "pca,tsne",
    seed: common.Seed = 1,
    no_track: common.NoTrack = False,
    experiment: common.Experiment = None,
    quiet: common.Quiet = False,
) -> None:
    """Draw maps of a data set: projections of its features with clusters, as an interactive HTML page.

    Writes maps.html, map.csv, clusters.csv, and what became of the other rows: rejects.csv, warnings.csv and
    duplicates.csv.
    """
    from polyml.config import ExploreSpec
    from polyml.data.files import check_replaceable
    from polyml.pipeline import steps
    from polyml.sections import check_section

    properties = common.make_properties(file, target, log10, unit, class_)
    chosen = {"clusters": clusters, "clustering": clustering, "methods": common.split_names(methods) or []}
    spec = check_section(ExploreSpec, features=features, **chosen)
    check_replaceable(output, "maps.html", "maps", begun=r"(map|clusters)\.csv")
    table = steps.read(file, properties, smiles_column=smiles_column)
    common.note_table(table)
    steps.explore_table(table, spec, output, seed=seed, tracking=common.make_tracking(not no_track, experiment, file))
    common.note("written: " + ", ".join(str(path) for path in sorted(output.glob("*"))))
