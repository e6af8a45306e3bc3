"""What a split would do: polymers on both sides, folds that differ, how near test polymers are to training ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from polyml.audit.divisions import NEW_CHEMISTRY, SAVED, Folds
from polyml.audit.findings import Finding, counted
from polyml.audit.neighbours import Near
from polyml.audit.sources import AuditedFile
from polyml.audit.spec import AuditSpec
from polyml.data.groups import scaffold
from polyml.data.splits import BY_COLUMN
from polyml.progress import track

LEVELS = ("text", "canonical", "key", "flat")
"""Ways to tell that two rows are one polymer: the text, RDKit canonical SMILES, the key, the key without stereo."""
_BINS = np.linspace(0, 1, 21)
_CHUNK = 500  # polymers whose scaffolds are found at a time
_KS_LEVEL = 1e-3
_KS = 0.15
_ALIKE = 0.2  # share of test polymers with a near-identical training polymer that is worth a word
_UNEVEN = (*NEW_CHEMISTRY, *BY_COLUMN, "extrapolation", SAVED)  # kinds whose test parts are meant to differ


def split_tables(
    item: AuditedFile, divisions: Sequence[Folds], near: Near | None, jobs: int = 1
) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """Describe the splits of a file.

    Returns
    -------
    tables : dict of str to DataFrame
        leaks (test rows whose polymer is in training, by each level), folds (distribution of each property in the test
        and the training part), similarity (of test polymers to the nearest training polymer, and the share of them
        whose scaffold is in training) and histogram of these similarities.
    leaking : dict of str to DataFrame
        For each split the rows of polymers on both sides, and of those with a twin there (column same).
    """
    scaffolds = None if item.is_copolymer else _scaffolds(item, jobs)
    leaks, folds, similarity, histogram = [], [], [], []
    leaking: dict[str, pd.DataFrame] = {}
    for place, division in enumerate(divisions):
        leak, rows = _leaks(item, division)
        leaks.append({"file": item.name, "split": division.name, **leak})
        leaking[division.name] = rows
        folds += _fold_records(item, division)
        if near is not None and scaffolds is not None:
            values = near.train_similarity[place]
            record, counts = _similarity(values[~np.isnan(values)])
            seen = float(division.on_both_sides(scaffolds).sum() / max((division.number >= 0).sum(), 1))
            similarity.append({"file": item.name, "split": division.name, "scaffold_seen": seen, **record})
            for low, count in zip(_BINS[:-1], counts, strict=True):
                histogram.append(
                    {"file": item.name, "split": division.name, "from": round(low, 2), "count": int(count)}
                )
    tables = {"leaks": leaks, "folds": folds, "similarity": similarity, "histogram": histogram}
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}, leaking


def _scaffolds(item: AuditedFile, jobs: int) -> np.ndarray:
    keys = list(dict.fromkeys(item.frame["key"]))
    chunks = [keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK)]
    if jobs > 1 and len(chunks) > 2:
        from joblib import Parallel, delayed

        found = Parallel(n_jobs=jobs, return_as="generator")(delayed(_scaffolds_of)(chunk) for chunk in chunks)
    else:
        found = map(_scaffolds_of, chunks)
    texts = [text for part in track(found, "Scaffolds", total=len(chunks)) for text in part]
    return item.frame["key"].map(dict(zip(keys, texts, strict=True))).to_numpy()


def _scaffolds_of(keys: Sequence[str]) -> list[str]:
    return [_scaffold(key) for key in keys]


def _scaffold(key: str) -> str:
    try:
        return scaffold(key)
    except Exception:  # RDKit can fail in its own ways on a bare skeleton: such a polymer is a group of its own
        return key


def _leaks(item: AuditedFile, division: Folds) -> tuple[dict[str, object], pd.DataFrame]:
    marks = {level: division.on_both_sides(item.frame[level]) for level in LEVELS}
    tested = int((division.number >= 0).sum())
    record: dict[str, object] = {"kind": division.kind, "test_rows": tested}
    record |= {f"leaked_{level}": int(mark.sum()) for level, mark in marks.items()}
    record["leaked_share"] = float(marks["key"].sum() / max(tested, 1))
    if item.is_copolymer:
        record |= _units_seen(item, division)
    either = marks["key"] | marks["flat"]
    rows = item.frame.loc[either, ["line", "text", "key", "flat"]].assign(fold=division.number[either])
    rows["same"] = np.where(marks["key"][either], "polymer", "constitution")
    return record, rows.sort_values(["flat", "key", "line"], ignore_index=True).drop(columns="flat")


def _units_seen(item: AuditedFile, division: Folds) -> dict[str, float]:
    """Return the share of the test rows with all units, and with this set of units, in the training part."""
    units = item.frame["units"].to_numpy()
    single, pairs, tested = 0, 0, 0
    for fold in division.folds:
        training = [units[i] for i in np.flatnonzero(division.training(fold))]
        known, known_sets = {unit for parts in training for unit in parts}, set(training)
        tests = [units[i] for i in np.flatnonzero(division.number == fold)]
        single += sum(known.issuperset(parts) for parts in tests)
        pairs += sum(parts in known_sets for parts in tests)
        tested += len(tests)
    return {"units_seen": single / max(tested, 1), "unit_set_seen": pairs / max(tested, 1)}


def _fold_records(item: AuditedFile, division: Folds) -> list[dict[str, object]]:
    from scipy import stats

    records = []
    for p in item.properties:
        y = item.modelled(p)
        for fold in division.folds:
            test, train = y[division.number == fold], y[division.training(fold)]
            test, train = test[~np.isnan(test)], train[~np.isnan(train)]
            record: dict[str, object] = {"file": item.name, "split": division.name, "kind": division.kind}
            record |= {"property": p.name, "fold": fold, "n_test": len(test), "n_train": len(train)}
            if len(test) and len(train):
                ks = stats.ks_2samp(test, train, method="asymp")
                record |= {"mean_test": float(test.mean()), "sd_test": float(test.std()), "min_test": float(test.min())}
                record |= {"median_test": float(np.median(test)), "max_test": float(test.max())}
                record |= {"mean_train": float(train.mean()), "ks": float(ks.statistic), "ks_p": float(ks.pvalue)}
            records.append(record)
    return records


def _similarity(values: np.ndarray) -> tuple[dict[str, object], np.ndarray]:
    counts = np.histogram(np.minimum(values, 1.0), _BINS)[0]
    if not len(values):
        return {"compared": 0}, counts
    return {
        "compared": len(values), "median": float(np.median(values)), "above_0.9": float(np.mean(values > 0.9)),
        "above_0.7": float(np.mean(values > 0.7)), "below_0.4": float(np.mean(values < 0.4)),
    }, counts  # fmt: skip


def split_findings(
    item: AuditedFile, tables: dict[str, pd.DataFrame], leaking: dict[str, pd.DataFrame], spec: AuditSpec
) -> list[Finding]:
    """Say what is wrong with the splits of a file."""
    found = []
    for row in tables["leaks"].to_dict("records"):
        rows = leaking[str(row["split"])]
        if row["leaked_key"]:
            found.append(_leak_finding(item, row, rows[rows["same"] == "polymer"], spec))
        if row["leaked_flat"] > row["leaked_key"]:
            found.append(_twin_finding(item, row, rows[rows["same"] == "constitution"], spec))
    if not tables["folds"].empty:
        found += _uneven(item, tables["folds"])
    near = tables["similarity"].to_dict("records")
    found += [_near_finding(item, row) for row in near if row["compared"] and row["above_0.9"] > _ALIKE]
    if item.is_copolymer:
        found += [_units_finding(item, row) for row in tables["leaks"].to_dict("records")]
    return found


def _leak_finding(item: AuditedFile, row: dict, rows: pd.DataFrame, spec: AuditSpec) -> Finding:
    grouped = row["kind"] != "rows"
    seen = f"{row['leaked_text']} by their text, {row['leaked_canonical']} by RDKit canonical SMILES"
    what = (
        f"split {row['split']}: polymers of {row['leaked_key']} of {row['test_rows']} test rows "
        f"({row['leaked_share']:.1%}) are in the training part too; one would see {seen}"
    )
    return Finding(
        f"leak {row['split']}", "error" if grouped or spec.asked else "warning", (item.name,), what,
        "The model is scored on polymers it was trained on.", "group the folds by the key: --split kfold",
        int(row["leaked_key"]), rows,
    )  # fmt: skip


def _twin_finding(item: AuditedFile, row: dict, rows: pd.DataFrame, spec: AuditSpec) -> Finding:
    number = int(row["leaked_flat"] - row["leaked_key"])
    what = (
        f"split {row['split']}: {number} of {row['test_rows']} test rows ({number / max(row['test_rows'], 1):.1%}) "
        "have a polymer in the training part that is unlike theirs in configurations alone (R/S, E/Z)"
    )
    return Finding(
        f"leak configurations {row['split']}", "error" if spec.asked else "warning", (item.name,), what,
        "No feature of polyml reads configurations: the model is scored on what it was trained on.",
        "let polyml divide the polymers, which keeps them on one side: --split kfold", number, rows,
    )  # fmt: skip


def _uneven(item: AuditedFile, folds: pd.DataFrame) -> list[Finding]:
    found = []
    empty = folds[(folds["n_test"] == 0) | (folds["n_train"] == 0)]
    for split, rows in empty.groupby("split", sort=False):
        what = f"split {split}: {counted(len(rows), 'fold')} without a value of a property in the test or training part"
        why, fix = "These folds cannot be scored.", "use fewer folds or another seed, or leave the property out"
        found.append(Finding(f"empty folds {split}", "warning", (item.name,), what, why, fix, len(rows), rows))
    if "ks" not in folds:
        return found
    tested = folds.groupby("split")["fold"].transform("size")
    uneven = folds[(folds["ks_p"] * tested < _KS_LEVEL) & (folds["ks"] > _KS)]
    for (name, kind), rows in uneven.groupby(["split", "kind"], sort=False):
        intended = kind in _UNEVEN
        parts = counted(len(rows), "test part")
        what = f"split {name}: {parts} unlike the training part (KS up to {rows['ks'].max():.2f})"
        found.append(
            Finding(
                f"uneven folds {name}", "info" if intended else "warning", (item.name,), what,
                "Scores of such folds are not comparable with each other, and R² is with none.",
                "as such a split is meant to be: report RMSE or MAE" if intended else "look at the order of the file",
                len(rows), rows.reset_index(drop=True),
            )
        )  # fmt: skip
    return found


def _near_finding(item: AuditedFile, row: dict) -> Finding:
    what = (
        f"split {row['split']}: the nearest training polymer of a test polymer has a median similarity of "
        f"{row['median']:.2f}; {row['above_0.9']:.0%} are above 0.9, {row['above_0.7']:.0%} above 0.7; "
        f"{row['scaffold_seen']:.0%} have a scaffold that is in training"
    )
    return Finding(
        f"similarity {row['split']}", "info", (item.name,), what,
        "The score holds for polymers as near to the training data as these.",
        "for new chemistry look at --split scaffold and --split cluster", int(row["compared"]),
    )  # fmt: skip


def _units_finding(item: AuditedFile, row: dict) -> Finding:
    what = (
        f"split {row['split']}: {row['units_seen']:.0%} of the test copolymers have all their units in training, "
        f"{row['unit_set_seen']:.0%} this very combination of units"
    )
    return Finding(
        f"shared monomers {row['split']}", "warning" if row["units_seen"] > 0.5 else "info", (item.name,), what,
        "The score says how well ratios and arrangements are filled in, not how well new monomers are predicted.",
        "leave whole monomers out for a score on new ones", int(row["test_rows"]),
    )  # fmt: skip
