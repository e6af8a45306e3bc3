"""``polyml data``: the data sets that come with polyml."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from polyml.cli import common, stdout

EXAMPLES = common.examples("polyml data", "polyml data gas_permeability -o gas.csv", "polyml data monomers | head")


def data(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Set to export; lists all sets if none.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT", help="File to write: .csv, .csv.gz or .parquet.")
    ] = None,
    as_json: common.AsJson = False,
) -> None:
    """List the data sets that come with polyml, or export one.

    Without -o the set is written to standard output as CSV.
    """
    if name is None:
        _list(as_json)
        return
    from polyml.data.catalog import embedded_path, load_embedded

    source = embedded_path(name)
    if output is None:
        stdout.until_closed(lambda: _print_csv(source))
        return
    from polyml.data.files import whole_file
    from polyml.data.writers import check_replaceable_table, write_frame

    check_replaceable_table(output, [str(column) for column in load_embedded(name)], "this set")

    if output.suffix == source.suffix:
        with whole_file(output) as temporary:
            shutil.copyfile(source, temporary)
    else:
        write_frame(load_embedded(name), output)
    common.note(f"written: {output}")


def _list(as_json: bool) -> None:
    from polyml.data.catalog import EMBEDDED, list_recipes

    if as_json:
        rows = [
            {
                "name": item.name,
                "rows": item.rows,
                "properties": [p.name for p in item.properties],
                "about": item.description,
            }
            for item in EMBEDDED.values()
        ]
        common.print_json({"sets": rows, "recipes": list_recipes()})
        return
    for item in EMBEDDED.values():
        typer.echo(f"{item.name:<18} {item.description}")
    typer.echo(f"\nrecipes (polyml run NAME): {', '.join(list_recipes())}")


def _print_csv(source: Path) -> None:
    if source.suffix == ".csv":
        stdout.write_text(source.read_text(encoding="utf-8"))
        return
    import pyarrow.parquet as pq

    write = stdout.table_writer()
    for batch in pq.ParquetFile(source).iter_batches(10_000):
        write(batch.to_pandas())
