"""What an audit leaves in a folder: audit.json, audit.html, and the rows of every finding as CSV."""

from __future__ import annotations

import re
from pathlib import Path

from polyml.audit.findings import Audit
from polyml.audit.page import audit_page
from polyml.data.files import check_replaceable, replaced_folder, whole_file, write_json
from polyml.data.writers import write_frame

REPORT = "audit.json"
_OWN = (REPORT, "audit.html", "rows", "tables")
_WHAT = "the report of an audit"
_NAMES = 80  # characters of a file's name


def write_audit(audit: Audit, folder: str | Path) -> None:
    """Write an audit into a folder, in the place of an audit that is there.

    ``audit.json`` holds everything but the rows of the findings, which are CSV files in ``rows/``, listed there; the
    numbers behind them are CSV files in ``tables/``; ``audit.html`` is the page to read.

    Raises
    ------
    UserError
        The folder holds something else, or cannot be written.
    """
    folder = Path(folder)
    check_folder(folder)
    with replaced_folder(folder, _WHAT, _OWN) as new:
        write_into(audit, new)


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else than an audit.

    Raises
    ------
    UserError
    """
    check_replaceable(folder, REPORT, _WHAT, whole=True)


def write_into(audit: Audit, folder: Path) -> None:
    """Write the files of an audit into a folder that is there."""
    names = row_files(audit)
    for finding, name in zip(audit.findings, names, strict=True):
        if name:
            write_frame(finding.rows, folder / name)
    for name, table in audit.tables.items():
        write_frame(table, folder / "tables" / f"{name}.csv")
    write_frame(audit.files, folder / "tables" / "files.csv")
    tree = audit.to_json()
    tables = tree.pop("tables")
    for finding, name in zip(tree["findings"], names, strict=True):
        finding["rows_file"] = name
    write_json(folder / REPORT, {**tree, "tables": {name: f"tables/{name}.csv" for name in tables}})
    with whole_file(folder / "audit.html") as temporary:
        temporary.write_text(audit_page(audit, names), encoding="utf-8")


def row_files(audit: Audit) -> list[str]:
    """Name the CSV file of each finding's rows, in order; empty where it has none."""
    taken: set[str] = set()
    names = []
    for finding in audit.findings:
        if finding.rows.empty:
            names.append("")
            continue
        where = finding.files[0] if len(finding.files) == 1 else "several"
        stem = re.sub(r"[^\w.-]+", "_", f"{where}_{finding.check}")[:_NAMES].strip("_.")
        name = stem
        number = 2
        while name.lower() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.lower())
        names.append(f"rows/{name}.csv")
    return names
