"""One polymer under several spellings, within a file and across files; polymers that differ in configurations alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from polyml.audit.findings import Finding, counted
from polyml.audit.sources import AuditedFile
from polyml.audit.spec import AuditSpec
from polyml.audit.spelling import HIDDEN, KINDS, relation
from polyml.progress import track

ALL = "all files"
_WHY = "A split that shuffles rows, or groups them by SMILES, puts one polymer on both sides: the score is too good."


def spellings(files: Sequence[AuditedFile]) -> pd.DataFrame:
    """List every other spelling of a polymer beside the first one, within each file and across all files.

    Returns
    -------
    DataFrame
        Columns scope (the file, or ``ALL`` where the first spelling stands in another file), kind, rows, file, line,
        text, first_file, first_line, first_text, key. One row for each text of a polymer in a file but for the first
        one; that too, as identical, where it stands in several rows.
    """
    rows = pd.concat([item.frame[["line", "text", "key"]].assign(file=item.name) for item in files], ignore_index=True)
    parts = [_beside_first(rows[rows["file"] == item.name]).assign(scope=item.name) for item in files]
    across = _beside_first(rows).assign(scope=ALL)
    parts.append(across[across["file"] != across["first_file"]])
    table = pd.concat(parts, ignore_index=True)
    pairs = list(dict.fromkeys(zip(table["first_text"], table["text"], strict=True)))
    kinds = {pair: relation(*pair) for pair in track(pairs, "Comparing spellings")}
    table["kind"] = [kinds[pair] for pair in zip(table["first_text"], table["text"], strict=True)]
    columns = ["scope", "kind", "rows", "file", "line", "text", "first_file", "first_line", "first_text", "key"]
    return table[columns]


def _beside_first(rows: pd.DataFrame) -> pd.DataFrame:
    repeated = rows[rows["key"].duplicated(keep=False)]
    grouped = repeated.groupby(["key", "file", "text"], sort=False)["line"].agg(line="first", rows="size").reset_index()
    first = grouped.groupby("key", sort=False)[["file", "line", "text"]].transform("first").add_prefix("first_")
    table = grouped.join(first)
    is_first = (table["text"] == table["first_text"]) & (table["file"] == table["first_file"])
    table["rows"] -= is_first.astype(int)
    return table[table["rows"] > 0]


def identity_counts(files: Sequence[AuditedFile], table: pd.DataFrame) -> pd.DataFrame:
    """Count the rows and polymers of each file, and of all together.

    Parameters
    ----------
    files : sequence of AuditedFile
    table : DataFrame
        What :func:`spellings` returns.

    Returns
    -------
    DataFrame
        Columns file, rows, refused, texts, canonical and polymers (different texts, RDKit canonical SMILES and keys),
        frame_duplicates (``canonical - polymers``: repeats that RDKit canonical SMILES do not see), and how many texts
        are of each kind beside the first text of their polymer.
    """
    records = [_counts(item.name, [item], table[table["scope"] == item.name]) for item in files]
    if len(files) > 1:
        records.append(_counts(ALL, files, table))
    return pd.DataFrame(records)


def _counts(name: str, files: Sequence[AuditedFile], table: pd.DataFrame) -> dict[str, object]:
    frame = pd.concat([item.frame[["text", "canonical", "key"]] for item in files])
    texts, canonical, polymers = (int(frame[level].nunique()) for level in ("text", "canonical", "key"))
    other = table.drop_duplicates(["key", "text"])["kind"].value_counts().to_dict() | {"identical": len(frame) - texts}
    return {
        "file": name,
        "rows": len(frame),
        "refused": sum(item.n_rows - len(item.frame) for item in files),
        "texts": texts,
        "canonical": canonical,
        "polymers": polymers,
        "frame_duplicates": canonical - polymers,
        **{kind.replace(" ", "_"): int(other.get(kind, 0)) for kind in KINDS},
    }


def identity_findings(files: Sequence[AuditedFile], table: pd.DataFrame, counts: pd.DataFrame) -> list[Finding]:
    """Say which polymers stand in several rows, within each file and across files."""
    found = []
    hidden = {str(row["file"]): int(row["frame_duplicates"]) for row in counts.to_dict("records")}
    for item in files:
        own = table[table["scope"] == item.name]
        if len(own):
            found += _within(item.name, own, hidden[item.name])
    across = table[table["scope"] == ALL]
    unseen = across[across["kind"].isin(HIDDEN)]
    if len(unseen):
        number = hidden[ALL]
        found.append(
            Finding(
                "frames across files", "warning", tuple(sorted({*unseen["file"], *unseen["first_file"]})),
                f"in all files together, {number:,} different RDKit canonical SMILES stand for polymers that are there "
                "already, in another frame or multiple",
                "Files compared by canonical SMILES seem to share fewer polymers than they do.",
                "compare files by the key (polyml canonicalize writes it); polyml does so everywhere",
                number, unseen.reset_index(drop=True),
            )
        )  # fmt: skip
    return found


def _within(name: str, own: pd.DataFrame, hidden: int) -> list[Finding]:
    found = []
    unseen, seen = own[own["kind"].isin(HIDDEN)], own[~own["kind"].isin(HIDDEN)]
    fix = "polyml merges these rows when it reads the file; with other software split by the key (polyml canonicalize)"
    if len(unseen):
        what = (
            f"{counted(len(unseen), 'text')} for a polymer of an earlier row, in another frame "
            f"({_kinds(unseen)}); hidden from RDKit canonical SMILES"
        )
        found.append(Finding("frames", "warning", (name,), what, _WHY, fix, hidden, unseen.reset_index(drop=True)))
    if len(seen):
        number = int(seen["rows"].sum())
        what = f"{counted(number, 'row')} with a polymer of an earlier row ({_kinds(seen)})"
        found.append(Finding("repeats", "info", (name,), what, _WHY, fix, number, seen.reset_index(drop=True)))
    return found


def _kinds(table: pd.DataFrame) -> str:
    counts = table.groupby("kind")["rows"].sum()
    return ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if kind in counts)


def stereo_findings(item: AuditedFile, spec: AuditSpec) -> list[Finding]:
    """Find polymers of a file that are equal once configurations are taken away, and how their labels differ."""
    frame = item.frame.join(pd.DataFrame({p.name: item.modelled(p) for p in item.measured}))
    names = [p.name for p in item.measured]
    polymers = frame.groupby("key", sort=False).agg(
        {"flat": "first", "line": "first", "text": "first", **dict.fromkeys(names, "mean")}
    )
    several = polymers[polymers["flat"].duplicated(keep=False)].reset_index()
    if several.empty:
        return []
    groups = several.groupby("flat", sort=False)
    rows = pd.DataFrame({
        "polymers": groups.size(),
        "lines": groups["line"].agg(lambda lines: ";".join(map(str, lines))),
        "texts": groups["text"].agg(" ; ".join),
        **{f"difference_{name}": _range(groups[name]) for name in names},
    }).reset_index()  # fmt: skip
    differences = {name: size for name in names if (size := _difference(rows, frame, name))}
    told = ", ".join(f"{name} {median:.3g} ({size:.1f} SD)" for name, (median, size) in differences.items())
    # Labels that hardly differ say that the configurations do not matter to these properties.
    alike = bool(differences) and max(size for _, size in differences.values()) <= spec.shift
    number = len(several) - len(rows)
    return [
        Finding(
            "stereo", "info" if alike else "warning", (item.name,),
            f"{counted(number, 'polymer')} unlike another one in configurations alone (R/S, E/Z)"
            + (f"; median difference of their labels: {told}" if told else ""),
            "No feature of polyml reads configurations: to a model these are repeats. Its folds keep them on one side.",
            "where tacticity was not controlled, write the units without @, / and \\, and they are merged",
            number, rows,
        )
    ]  # fmt: skip


def _range(groups: Any) -> pd.Series:
    """Return the largest less the smallest value of each group, NaN where it has not two."""
    return (groups.max() - groups.min()).where(groups.count() > 1)


def _difference(rows: pd.DataFrame, frame: pd.DataFrame, name: str) -> tuple[float, float] | None:
    """Return the median difference of a property, as it is and in SD; None where it cannot be told."""
    median, spread = float(rows[f"difference_{name}"].median()), float(frame[name].std())
    return (median, median / spread) if spread > 0 and median == median else None
