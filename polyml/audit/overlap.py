"""Polymers that several files share, and what that means where one model learns from several of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from polyml.audit.divisions import Folds
from polyml.audit.findings import Finding
from polyml.audit.sources import AuditedFile

OVERLAP_COLUMNS = [
    "first", "second", "shared_text", "shared_canonical", "shared_polymers", "share_of_first", "share_of_second"
]  # fmt: skip
TASK_COLUMNS = ["split", "test_file", "train_file", "test_rows", "in_training", "share"]
ANY = "any other"


def overlap_table(files: Sequence[AuditedFile]) -> pd.DataFrame:
    """Count what every two files share: different texts, RDKit canonical SMILES, and polymers.

    ``share_of_first`` is the share of the polymers of the first file that stand in the second.
    """
    levels = {item.name: {level: set(item.frame[level]) for level in ("text", "canonical", "key")} for item in files}
    records = []
    for first, second in combinations(levels, 2):
        shared = {level: len(levels[first][level] & levels[second][level]) for level in levels[first]}
        records.append([
            first, second, shared["text"], shared["canonical"], shared["key"],
            shared["key"] / len(levels[first]["key"]), shared["key"] / len(levels[second]["key"]),
        ])  # fmt: skip
    return pd.DataFrame(records, columns=OVERLAP_COLUMNS)


def task_table(files: Sequence[AuditedFile], divisions: Mapping[str, Sequence[Folds]]) -> pd.DataFrame:
    """Count the test polymers of each file that are in the training part of another file's fold of the same number.

    Each file is divided by itself, as where one file of folds is made for each task.

    Returns
    -------
    DataFrame
        One row for each split, test file and training file, and one with ``any other`` for all other files together.
    """
    records = []
    # Where training parts are chosen for each fold, by time say, the folds of two files have nothing in common.
    names = list(dict.fromkeys(folds.name for group in divisions.values() for folds in group if not folds.trained))
    for split in names:
        parted = {file: next((f for f in group if f.name == split), None) for file, group in divisions.items()}
        training = {item.name: _training(item, parted[item.name]) for item in files}
        for item in files:
            division = parted[item.name]
            if division is None:
                continue
            number = division.number
            hits = {
                other: _hits(item, number, training[other])
                for other in training
                if other != item.name and training[other]
            }
            if not hits:
                continue
            tested = int((number >= 0).sum())
            hits[ANY] = np.logical_or.reduce(list(hits.values()))
            for other, hit in hits.items():
                records.append([split, item.name, other, tested, int(hit.sum()), hit.sum() / max(tested, 1)])
    return pd.DataFrame(records, columns=TASK_COLUMNS)


def _training(item: AuditedFile, division: Folds | None) -> dict[int, set[str]]:
    """Return the polymers of the training part of each fold."""
    if division is None:
        return {}
    keys = item.frame["key"].to_numpy()
    return {fold: set(keys[division.training(fold)]) for fold in division.folds}


def _hits(item: AuditedFile, number: np.ndarray, training: Mapping[int, set[str]]) -> np.ndarray:
    keys = item.frame["key"]
    return np.array([key in training.get(fold, ()) for key, fold in zip(keys, number.tolist(), strict=True)])


def overlap_findings(overlap: pd.DataFrame, tasks: pd.DataFrame) -> list[Finding]:
    """Say which polymers are shared, and which test polymers another task would have seen in training."""
    found = []
    shared = overlap[overlap["shared_polymers"] > 0]
    if len(shared):
        most = shared.sort_values("shared_polymers").iloc[-1]
        what = (
            f"{len(shared)} pairs of files share polymers; most: {most['first']} and {most['second']} share "
            f"{most['shared_polymers']} ({most['shared_canonical']} by RDKit canonical SMILES)"
        )
        found.append(
            Finding(
                "shared polymers", "info", tuple(dict.fromkeys([*shared["first"], *shared["second"]])), what,
                "A model that learns from several files has seen a polymer where any of them has it.",
                "hold out by polymer, over all files at once", int(shared["shared_polymers"].sum()),
                shared.sort_values("shared_polymers", ascending=False, ignore_index=True),
            )
        )  # fmt: skip
    other = tasks[(tasks["train_file"] == ANY) & (tasks["in_training"] > 0)]
    for split, rows in other.groupby("split", sort=False):
        worst = rows.sort_values("share", ascending=False).iloc[0]
        what = (
            f"split {split}, each file divided by itself: test polymers of {len(rows)} files are in the training part "
            f"of another file; most in {worst['test_file']}: {worst['share']:.0%}"
        )
        found.append(
            Finding(
                f"tasks {split}", "error", tuple(rows["test_file"]), what,
                "A model of several tasks has seen these test polymers with another label: its scores are too good.",
                "divide the polymers of all files once: join the files, as a suite does, and split the whole by kfold",
                int(rows["in_training"].sum()), rows.sort_values("share", ascending=False, ignore_index=True),
            )
        )  # fmt: skip
    return found
