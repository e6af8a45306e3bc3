"""``polyml candidates``: polymers that can be made of a list of monomers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyml.cli import common, stdout
from polyml.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from polyml.design.library import Tally
    from polyml.design.monomers import Monomers

EXAMPLES = common.examples(
    "polyml candidates --monomers my.csv -o candidates.parquet",
    "polyml candidates --monomers my.csv --classes polyimide,polyamide -o candidates.csv.gz",
    "polyml candidates --monomers my.csv -o - | polyml screen - --model tg_model --objective Tg -o screened",
    "polyml candidates --list-classes",
)


def candidates(
    monomers: Annotated[
        str | None,
        typer.Option(
            "--monomers",
            metavar="FILE",
            help="CSV, TSV, Parquet or .smi file of molecules, or the embedded set monomers.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="OUT", help="A .parquet, .csv or .csv.gz file; - is standard output."),
    ] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", metavar="A,B", help="Polymer classes to make (else all).")
    ] = None,
    list_classes: Annotated[
        bool, typer.Option("--list-classes", help="List the polymer classes with their monomers and stop.")
    ] = False,
    homopolymers: Annotated[
        bool, typer.Option("--homopolymers/--no-homopolymers", help="Also polymers of a single monomer.")
    ] = True,
    carbonates: Annotated[
        bool,
        typer.Option(
            "--carbonates/--no-carbonates", help="Also polycarbonates: diols with carbon monoxide, which is added."
        ),
    ] = True,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Stop after N candidates.")] = None,
    per_class: Annotated[
        int | None, typer.Option("--per-class", metavar="N", min=1, help="The first N candidates of each class.")
    ] = None,
    unique: Annotated[
        bool,
        typer.Option(
            "--unique", help="Drop polymers that came before, from other monomers. Takes 0.1 GB a million candidates."
        ),
    ] = False,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Keep all products: networks, and several texts for one polymer."),
    ] = False,
    smiles_column: Annotated[
        str | None, typer.Option("--smiles-column", metavar="COL", help="Column with the monomers (else detected).")
    ] = None,
    name_column: Annotated[
        str | None, typer.Option("--name-column", metavar="COL", help="Column with their names (else detected).")
    ] = None,
    jobs: common.Jobs = None,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Make candidate polymers of monomers by the polymerisation rules of smipoly.

    Columns: psmiles, monomer_1, monomer_2, polymer_class, and monomer_1_name, monomer_2_name where the file names its
    monomers. All pairs are tried, in the order of the rules and of the file, and written as they come: memory does not
    grow with their number. Networks and whatever else is no repeat unit are left out and counted. The rows of the file
    that are not used stand in OUT_rejects.csv with line and reason.
    """
    if list_classes:
        _print_classes(as_json)
        return
    if monomers is None or output is None:
        fix = "polyml candidates --monomers FILE -o candidates.parquet"
        raise UserError("--monomers FILE and -o OUT are needed", fix=fix)
    if output == "-" and as_json:
        raise UserError("standard output holds the candidates", where="--json", fix="name a file with -o")
    from polyml.design.polymerisation import CandidateSpec
    from polyml.design.rules import rules_for

    names = common.split_names(classes)
    rules_for(names)  # an unknown class is refused before anything is read
    spec = CandidateSpec(tuple(names) if names else None, homopolymers, raw, unique, limit, per_class)
    rejects = _check_output(output, monomers)
    found = _read(monomers, smiles_column, name_column, rejects)
    found = found.with_carbon_monoxide() if carbonates else found
    tally = _make(found, spec, output, jobs)
    if as_json:
        about = {"monomers": {**found.counts(), "classes": found.class_counts()}, **tally.as_json()}
        common.print_json({"output": output, "rejects": str(rejects), **about})
        return
    _say(found, tally, output, rejects)


def _check_output(output: str, monomers: str) -> Path | None:
    """Check that the output can be written, and return the file of the rejects beside it."""
    if output == "-":
        return None
    from polyml.data.writers import check_not_input, check_replaceable_table, check_suffix

    check_suffix(output)
    check_not_input(output, monomers)
    check_replaceable_table(output, ("psmiles", "monomer_1", "polymer_class"), "candidates")
    path = Path(output)
    rejects = path.with_name(f"{path.name.partition('.')[0]}_rejects.csv")
    check_not_input(str(rejects), monomers)
    check_replaceable_table(rejects, ("line", "smiles", "reason", "detail"), "rows that were not used")
    return rejects


def _read(file: str, smiles_column: str | None, name_column: str | None, rejects: Path | None) -> Monomers:
    from polyml.data.writers import write_frame
    from polyml.design.monomers import check_any, read_monomers

    found = read_monomers(file, smiles_column, name_column)
    if rejects is not None:
        write_frame(found.reject_frame(), rejects)
    hint = f"{rejects} says why for each" if rejects else "with -o FILE, FILE_rejects.csv says why for each"
    check_any(found, f"{hint}; is it the right column (--smiles-column)?")
    return found


def _make(found: Monomers, spec: Any, output: str, jobs: int | None) -> Tally:
    from contextlib import closing

    from polyml.data.writers import frame_writer
    from polyml.design.library import Tally, make_candidates
    from polyml.settings import default_jobs

    tally = Tally()
    # Whoever reads from a pipe gets rows soon; the row groups of Parquet should be large.
    rows = 1000 if output == "-" else 50_000

    def write_all(write: Callable[[pd.DataFrame], None]) -> None:
        made = make_candidates(found, spec, tally=tally, jobs=jobs or default_jobs(), rows_at_a_time=rows)
        with closing(made) as frames:
            for frame in frames:
                write(frame)

    if output == "-":
        stdout.until_closed(lambda: write_all(stdout.table_writer()))
        return tally
    with frame_writer(output) as write:
        write_all(write)
    return tally


def _say(found: Monomers, tally: Tally, output: str, rejects: Path | None) -> None:
    """Print what became of monomers and pairs, on standard error."""
    from rich.console import Console
    from rich.table import Table

    from polyml.progress import is_quiet

    if is_quiet():
        return
    counts = found.counts()
    text = "{read:,} monomers read, {used:,} used".format(**counts)
    parts = (("duplicates", "twice in the file"), ("without_class", "that no rule takes"), ("refused", "refused"))
    text += "".join(f", {counts[name]:,} {what}" for name, what in parts if counts[name])
    common.note(text + (f": {rejects}" if rejects and found.rejects else ""))
    for item in [] if rejects else found.rejects[:3]:
        common.note(f"  line {item.line}: {item.reason}, {item.detail}")
    table = Table("polymer class", *("pairs", "candidates", "left out"))
    for column in table.columns[1:]:
        column.justify = "right"
    plain = tally.as_json()["classes"]
    for name, row in plain.items():
        table.add_row(name, *(f"{row[key]:,}" for key in ("pairs", "candidates", "left_out")))
    Console(stderr=True, highlight=False).print(table)
    reasons = ", ".join(f"{reason} ({n:,})" for reason, n in tally.reasons().items())
    common.note(f"left out: {reasons}" if reasons else "nothing left out")
    tried = f", {tally.pairs.total():,} of {tally.all_pairs:,} pairs tried" if tally.stopped else ""
    common.note(f"{tally.candidates.total():,} candidates{tried}: {'standard output' if output == '-' else output}")


def _print_classes(as_json: bool) -> None:
    from polyml.design.rules import MONOMER_CLASSES, rules_for

    rows = [
        {
            "polymer_class": rule.polymer_class,
            "monomer_1": f"{rule.first}: {MONOMER_CLASSES[rule.first]}",
            "monomer_2": f"{rule.second}: {MONOMER_CLASSES[rule.second]}" if rule.second else "",
        }
        for rule in rules_for()
    ]
    if as_json:
        common.print_json(rows)
        return
    common.print_rows(rows)
