"""``polyml predict``: properties of every row of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyml.cli import common

EXAMPLES = common.examples(
    "polyml predict tg_model new_polymers.csv -o predicted.csv",
    "polyml predict models:/gas_membranes@champion new_polymers.smi -o predicted.csv",
)


def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder, run or models:/NAME@champion.")],
    file: common.DataFile,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT.csv", help="CSV or Parquet file to write.")],
    smiles_column: common.SmilesColumn = None,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Predict the properties of every row of a file.

    Every input row appears in the output, in order; a row that cannot be read as a repeat unit says why in the column
    error. Values are in the units the model was trained with.
    """
    from polyml.pipeline import steps

    counts = steps.predict_file(model, file, output, smiles_column=smiles_column)
    if as_json:
        common.print_json({"output": str(output), **counts})
        return
    refused = f", {counts['refused']} refused (see the column error)" if counts["refused"] else ""
    common.note(f"predicted {counts['predicted']} rows{refused}: {output}")
