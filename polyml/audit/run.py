"""The whole audit: read files, look at each and at all together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from polyml.audit.divisions import Folds, make_divisions
from polyml.audit.findings import Audit, Finding, Severity, ordered
from polyml.audit.identity import identity_counts, identity_findings, spellings, stereo_findings
from polyml.audit.labels import conflict_findings, noise_findings, noise_table
from polyml.audit.neighbours import MOST_ROWS, SAMPLED, Near, find_near
from polyml.audit.overlap import overlap_findings, overlap_table, task_table
from polyml.audit.saved import saved_findings
from polyml.audit.shift import shift_table
from polyml.audit.sources import AuditedFile, read_files
from polyml.audit.spec import AuditSpec
from polyml.audit.splits import split_findings, split_tables
from polyml.audit.units import column_findings, neighbour_unit_findings, repeat_findings
from polyml.audit.values import neighbour_findings, value_findings
from polyml.data.properties import Property
from polyml.errors import UserError

_REFUSED = 0.05  # share of refused rows that is worth a warning


def audit(
    files: Sequence[str | Path],
    spec: AuditSpec | None = None,
    *,
    targets: Sequence[str] | None = None,
    properties: Sequence[Property] = (),
    smiles_columns: Sequence[str] = (),
    jobs: int = 1,
) -> Audit:
    """Audit data files before anything is trained on them.

    Within each file and across files: polymers that stand there under several spellings, labels that conflict, the
    noise floor that repeats tell of, polymers that differ in configurations alone, values that are implausible, in
    another unit or placeholders, polymers on both sides of a split, how near test polymers are to training polymers,
    polymers that several files share, and sources whose labels differ. The files are only read.

    Parameters
    ----------
    files : sequence of str or Path
        Data files or embedded sets.
    spec : AuditSpec, optional
        Splits and bounds.
    targets : sequence of str, optional
        Columns to audit; else those of an embedded set, else all that look like properties.
    properties : sequence of Property
        Unit, transform and plausible range of columns, as far as they are declared; the others are taken from
        :mod:`polyml.data.known_properties`.
    smiles_columns : sequence of str
        Where the repeat units stand, found by name when not given; several are those of a copolymer.
    jobs : int
        Processes for features and scaffolds.

    Returns
    -------
    Audit

    Raises
    ------
    UserError
        A file is missing, cannot be read or holds no repeat unit; a target is in none of them.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "tg.csv"
    >>> _ = path.write_text("psmiles,Tg\\n*OCC*,200\\n*COC*,201\\n*CC(*)C,260\\n")
    >>> found = audit([path])
    >>> found.files.loc[0, ["rows", "canonical", "polymers", "frame_duplicates"]].tolist()
    [3, 3, 2, 1]
    """
    spec = spec or AuditSpec()
    if spec.saved_splits is not None and len(files) != 1:
        raise UserError("saved folds are for one data file", where=str(spec.saved_splits), fix="audit that file alone")
    sources, notes = read_files(files, spec, targets=targets, properties=properties, smiles_columns=smiles_columns)
    findings: list[Finding] = []
    tables: dict[str, list[pd.DataFrame]] = {}
    divisions: dict[str, list[Folds]] = {}
    for item in sources:
        divisions[item.name], told = make_divisions(item, spec)
        notes += told
        near = _near(item, divisions[item.name], jobs, notes)
        findings += _of_one_file(item, near, spec)
        if spec.saved_splits is not None:
            findings += saved_findings(item, spec.saved_splits, divisions[item.name])
        made, leaking = split_tables(item, divisions[item.name], near, jobs)
        findings += split_findings(item, made, leaking, spec)
        for name, table in made.items():
            tables.setdefault(name, []).append(table)
    table = spellings(sources)
    counts = identity_counts(sources, table)
    noise, (shift, shifts) = noise_table(sources), shift_table(sources, spec)
    overlap, tasks = overlap_table(sources), task_table(sources, divisions)
    findings += [*identity_findings(sources, table, counts), *noise_findings(noise), *shifts]
    findings += overlap_findings(overlap, tasks)
    whole = {
        name: pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
        for name, parts in tables.items()
    }
    labels = {(item.name, p.name): p.item.model_label for item in sources for p in item.properties}
    if not whole["folds"].empty:
        places = zip(whole["folds"]["file"], whole["folds"]["property"], strict=True)
        whole["folds"]["label"] = [labels[place] for place in places]
    together = {"spellings": table, "overlap": overlap, "tasks": tasks, "noise": noise, "shift": shift, **whole}
    return Audit(counts, ordered(findings), together, tuple(notes))


def _near(item: AuditedFile, divisions: Sequence[Folds], jobs: int, notes: list[str]) -> Near | None:
    if item.is_copolymer:
        notes.append(f"{item.name}: copolymers are compared by their units, not by similarity")
        return None
    if len(item.frame) > MOST_ROWS:
        notes.append(f"{item.name}: similarity is that of {SAMPLED:,} rows drawn at random to all others")
    values = {p.name: item.plausible(p) for p in item.measured}
    return find_near(item.frame["text"].tolist(), item.frame["key"].tolist(), divisions, values, jobs=jobs)


def _of_one_file(item: AuditedFile, near: Near | None, spec: AuditSpec) -> list[Finding]:
    found = [*_refused(item), *conflict_findings(item, spec), *stereo_findings(item, spec)]
    found += [*value_findings(item, spec), *column_findings(item), *repeat_findings(item)]
    if near is not None:
        found += [*neighbour_findings(item, near, spec), *neighbour_unit_findings(item, near)]
    return found


def _refused(item: AuditedFile) -> list[Finding]:
    if item.rejects.empty:
        return []
    counts = ", ".join(f"{reason} ({n})" for reason, n in item.rejects["reason"].value_counts().items())
    rows = item.n_rows - len(item.frame)
    severity: Severity = "warning" if rows > _REFUSED * item.n_rows else "info"
    return [
        Finding(
            "refused", severity, (item.name,), f"not used, rows or single values: {counts}",
            "They are missing from every table and score.", "mend them in the file, or accept that they are left out",
            len(item.rejects), item.rejects,
        )
    ]  # fmt: skip
