"""``polyml predict``: properties of every row of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyml.cli import common, stdout
from polyml.errors import UserError

EXAMPLES = common.examples(
    "polyml predict tg_model new_polymers.csv -o predicted.csv",
    "polyml predict models:/gas_membranes@champion new_polymers.smi -o predicted.csv.gz",
    "echo '*CC(*)c1ccccc1' | polyml predict tg_model - -o -",
)


def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder, run or models:/NAME@champion.")],
    file: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="Polymers: file, folder, quoted pattern, URL of these, - (standard input), or embedded set.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="OUT", help="A .csv, .csv.gz or .parquet file; - is standard output."),
    ],
    smiles_column: common.SmilesColumn = None,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Predict the properties of every row of a file.

    Every input row appears in the output, in order; a row that cannot be read as a repeat unit says why in the column
    error. Values are in the units the model was trained with.
    """
    from polyml.pipeline import steps

    if str(output) == "-":
        if as_json:
            raise UserError("standard output holds the predictions", where="--json", fix="name a file with -o")
        write = stdout.table_writer()
        stdout.until_closed(
            lambda: _say(steps.predict_rows(model, file, write, smiles_column=smiles_column), "standard output")
        )
        return
    counts = steps.predict_file(model, file, output, smiles_column=smiles_column)
    if as_json:
        common.print_json({"output": str(output), **counts})
        return
    _say(counts, str(output))


def _say(counts: dict[str, int], where: str) -> None:
    refused = f", {counts['refused']} refused (see the column error)" if counts["refused"] else ""
    common.note(f"predicted {counts['predicted']} rows{refused}: {where}")
