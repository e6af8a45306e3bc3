"""``polyml featurize``: a file of features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyml.cli import common

EXAMPLES = common.examples(
    "polyml featurize tg.csv --features ecfp_count -o features.parquet",
    "polyml featurize candidates --features maccs -o maccs.npz",
    "polyml featurize --list",
)


def featurize(
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="Data file, or an embedded set.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT", help="A .parquet, .csv or .npz file.")
    ] = None,
    features: Annotated[
        str, typer.Option("--features", metavar="KEY", help="Featurizer of the catalog.")
    ] = "ecfp_count",
    smiles_column: common.SmilesColumn = None,
    jobs: common.Jobs = None,
    list_: Annotated[bool, typer.Option("--list", help="List the featurizers and stop.")] = False,
    quiet: common.Quiet = False,
) -> None:
    """Compute periodic features of every row of a file.

    The features depend on the polymer alone: a shifted, reversed or doubled unit gets the same row. A row that cannot
    be read says why in the column error.
    """
    from polyml.errors import UserError

    if list_:
        from polyml.features.catalog import list_featurizers

        for key, title in list_featurizers().items():
            typer.echo(f"{key:<16} {title}")
        return
    if file is None or output is None:
        raise UserError(
            "a file to read and -o OUT to write are needed", fix="polyml featurize FILE -o features.parquet"
        )
    from polyml.pipeline.featurizing import featurize_file

    counts = featurize_file(file, features, output, smiles_column=smiles_column, jobs=jobs)
    refused = f", {counts['refused']} refused" if counts["refused"] else ""
    common.note(f"{counts['rows']} rows{refused}, {counts['columns']} features: {output}")
