"""``polyml audit``: can these data, and scores on them, be trusted?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from polyml.cli import common

if TYPE_CHECKING:
    from polyml.audit import Audit, AuditSpec
    from polyml.data.properties import Property

EXAMPLES = common.examples(
    "polyml audit tg.csv -o tg_audit",
    "polyml audit tg.csv --target Tg --unit Tg=K --split kfold --split scaffold -o tg_audit",
    "polyml audit tasks/*.csv --strict",
    "polyml audit films.csv --target perm --log10 perm --source laboratory --json",
    "polyml audit tg.csv --target Tg --splits tg_comparison/splits.csv --strict",
    "polyml audit tg.csv --target Tg --split time --split-column year -o tg_audit",
)
_COLUMNS = 7  # of the table of files that fit a terminal
_SIMILARITY = "similarity "  # findings that are told in one row
_COLOURS = {"error": "bold red", "warning": "yellow", "info": "dim"}


def audit(
    files: Annotated[
        list[str], typer.Argument(metavar="FILES...", help="CSV, TSV, Parquet or .smi files, or embedded sets.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder for the page and the tables.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", metavar="COL", help="Column to audit; repeat. Else all numeric columns."),
    ] = None,
    log10: common.Log10 = None,
    unit: common.Units = None,
    class_: common.Classes = None,
    smiles_column: Annotated[
        list[str] | None,
        typer.Option(
            "--smiles-column",
            metavar="COL",
            help="Column with the repeat units (else detected); repeat for copolymers.",
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="COL", help="Column that says where a row comes from.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            "--split",
            metavar="KIND|FILE",
            help="kfold, repeated_kfold, scaffold, cluster, leave_one_cluster_out, leave_one_group_out, time, "
            "extrapolation or rows; repeat (else kfold and rows).",
        ),
    ] = None,
    split_column: common.SplitColumn = None,
    folds: Annotated[int, typer.Option("--folds", help="Number of folds.")] = 5,
    saved_splits: Annotated[
        Path | None, typer.Option("--splits", metavar="FILE", help="Folds that were saved, such as splits.csv.")
    ] = None,
    sample: common.Sample = None,
    seed: common.Seed = 1,
    strict: Annotated[bool, typer.Option("--strict", help="End with exit code 1 when a finding is an error.")] = False,
    jobs: common.Jobs = None,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Audit data files before anything is trained on them, each by itself and all together.

    Finds polymers written in several ways, labels that conflict, values in another unit, placeholders and outliers,
    polymers that several files share, sources whose labels differ, and what a split would leak. Writes audit.html,
    audit.json, and the rows of each finding as CSV.

    An error is a polymer on both sides of a fold that is meant to keep it on one, a test polymer in another file's
    training fold, labels in two units, impossible values, and labels of one polymer that are more than 2 SD apart.
    """
    from polyml.audit.files import check_folder
    from polyml.pipeline import steps

    spec = _spec(source, split, split_column, folds, saved_splits, sample, seed)
    if output is not None:
        check_folder(output)
    found = steps.audit_files(
        files, spec, output, targets=common.unique([*(target or ()), *(class_ or ())]) or None,
        properties=_declared(files, target, log10, unit, class_), smiles_columns=smiles_column or (), jobs=jobs,
    )  # fmt: skip
    if as_json:
        common.print_json({"folder": str(output) if output else None, **found.to_json()})
    else:
        _show(found)
        common.note(f"written to {output}" if output else "-o FOLDER writes a page, and the rows of each finding")
    if strict and found.has_errors:
        raise typer.Exit(1)


def _spec(
    source: str | None, split: list[str] | None, column: str | None, folds: int, saved: Path | None,
    sample: int | None, seed: int,
) -> AuditSpec:  # fmt: skip
    from polyml.audit import AuditSpec
    from polyml.data.splits import BY_COLUMN
    from polyml.errors import UserError

    kinds = split or (() if saved else ("kfold", "rows"))
    if column is not None and not {*kinds} & {*BY_COLUMN}:
        fix = f"add --split {' or --split '.join(BY_COLUMN)}"
        raise UserError("no split divides the rows by a column", where="--split-column", fix=fix)
    repeats = {"repeated_kfold": 3}
    return AuditSpec(
        splits=tuple(
            common.make_split(kind, folds, repeats.get(kind, 1), seed, column if kind in BY_COLUMN else None)
            for kind in common.unique(kinds)
        ),
        asked=bool(split),
        saved_splits=saved,
        source_column=source,
        sample=common.make_sample(sample, None, seed),
    )


def _declared(
    files: list[str],
    target: list[str] | None,
    log10: list[str] | None,
    unit: list[str] | None,
    class_: list[str] | None,
) -> list[Property]:
    """Return the properties that the options say something of; nothing is declared of the others."""
    from polyml.data.known_properties import check_unit

    for text in unit or ():
        check_unit(*common.split_pair(text, "--unit"))
    said = [*(log10 or ()), *(class_ or ()), *(common.split_pair(text, "--unit")[0] for text in unit or ())]
    if not said:
        return []
    named = common.unique([*(target or ()), *said])
    made = common.make_properties(files[0], named, log10, unit, class_)
    return [item for item in made if item.name in said]


def _show(found: Audit) -> None:
    """Print the headline counts and the findings."""
    from rich.markup import escape
    from rich.table import Table

    from polyml.audit.findings import files_table

    columns = list(files_table(found).columns)[:_COLUMNS]
    common.print_rows(cast("list[dict[str, Any]]", files_table(found)[columns].to_dict("records")))
    table = Table(title=_title(found), title_justify="left")
    for name in ("severity", "file", "check", "finding"):
        table.add_column(name, overflow="fold")
    told = [item for item in found.findings if not item.check.startswith(_SIMILARITY)]
    for item in told:
        where = item.files[0] if len(item.files) == 1 else f"{len(item.files)} files"
        colour = _COLOURS[item.severity]
        mend = "" if item.severity == "info" else f"\n[dim]→ {escape(item.fix)}[/]"
        table.add_row(f"[{colour}]{item.severity}[/]", escape(where), escape(item.check), escape(item.what) + mend)
    near = _nearness(found) if len(told) < len(found.findings) else None
    if near:
        table.add_row(f"[{_COLOURS['info']}]info[/]", near[0], "similarity", near[1])
    common.show(table, piped_width=160)
    for text in found.notes:
        common.note(f"[dim]{escape(text)}[/]")


def _nearness(found: Audit) -> tuple[str, str]:
    """Say in one row how near the test polymers of all files and splits are to the training ones."""
    from polyml.audit.findings import counted

    table = found.tables["similarity"].dropna(subset="above_0.9")
    words = []
    for split, rows in table.groupby("split", sort=False):
        low, high = f"{rows['above_0.9'].min():.0%}", f"{rows['above_0.9'].max():.0%}"
        words.append(f"{low if low == high else f'{low} to {high}'} (split {split})")
    files = list(dict.fromkeys(table["file"]))
    what = f"test polymers with a training polymer of similarity above 0.9: {', '.join(words)}"
    return files[0] if len(files) == 1 else counted(len(files), "file"), what


def _title(found: Audit) -> str:
    from polyml.audit.findings import SEVERITIES, severity_count

    return "Findings: " + ", ".join(severity_count(found.count(name), name) for name in SEVERITIES)
