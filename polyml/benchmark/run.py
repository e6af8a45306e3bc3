"""Run a benchmark suite on a folder of files; what is finished is kept, fold by fold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from polyml.benchmark.suite import ComparisonSpec, SetSpec, Suite
from polyml.config import TrackingSpec
from polyml.data.files import whole_file
from polyml.data.rows import SMILES_NAMES, open_rows
from polyml.errors import UserError
from polyml.pipeline import steps

if TYPE_CHECKING:
    from polyml.data.table import PolymerTable
    from polyml.evaluation.results import Results

Report = Callable[[str], None]


@dataclass(frozen=True)
class Finished:
    """One comparison of a suite with its results by data set."""

    spec: ComparisonSpec
    results: dict[str, Results]


def run_suite(
    suite: Suite,
    data: Path,
    folder: Path,
    *,
    jobs: int | None = None,
    tracking: TrackingSpec | None = None,
    report: Report = lambda message: None,
) -> list[Finished]:
    """Run every comparison of a suite.

    Give the same folder again to continue: finished folds whose options, data and version are the same are reused.

    Parameters
    ----------
    suite : Suite
    data : Path
        Folder of the files that the suite names.
    folder : Path
        Gets ``COMPARISON/SET`` for each, as :func:`polyml.evaluation.compare.compare` writes it, and ``data/SET.csv``
        where a set is made from several files.
    jobs : int, optional
        Processes; None for what the comparison says, else one a core.
    tracking : TrackingSpec, optional
        Where the runs are filed; not tracked by default.
    report : callable, optional
        Gets a line of progress for each data set.

    Raises
    ------
    UserError
        A file is missing, a model does not exist, data cannot be split, or a pretrained encoder has learned labels of
        polymers that are tested. All is checked before anything trains.
    """
    for comparison in suite.comparisons:
        steps.check_models(comparison.models, where=f"suite {suite.name}, models of {comparison.name}")
    wanted = [suite.data_set(name) for item in suite.comparisons for name in item.sets]
    _check_files(suite, [file for item in wanted for file in item.files], data)
    tables = [
        {name: _read(suite.data_set(name), data, folder, item) for name in item.sets} for item in suite.comparisons
    ]
    for comparison, read in zip(suite.comparisons, tables, strict=True):
        for table in read.values() if not comparison.allow_leaks else ():
            steps.check_encoders(comparison.models, table)
    finished = []
    for comparison, read in zip(suite.comparisons, tables, strict=True):
        results = {}
        for name, table in read.items():
            refused = f", {len(table.rejects)} rows or values not used" if len(table.rejects) else ""
            report(f"{comparison.name}, {name}: {len(table)} polymers{refused}, {len(comparison.models)} models")
            results[name] = steps.compare_models(
                table,
                comparison.models,
                comparison.split,
                folder / comparison.name / name,
                seed=suite.seed,
                jobs=jobs or comparison.jobs,
                ratios=comparison.ratios,
                name=f"{suite.name} {comparison.name} {name}",
                tracking=tracking or TrackingSpec(enabled=False),
                known_properties=comparison.known_properties,
                protocol=comparison.protocol,
                allow_leaks=comparison.allow_leaks,
                rope=comparison.rope,
            )
        finished.append(Finished(comparison, results))
    return finished


def _check_files(suite: Suite, files: list[str], data: Path) -> None:
    if not data.is_dir():
        raise UserError("there is no such folder of benchmark data", where=str(data), fix="name another with --data")
    missing = sorted({file for file in files if not (data / file).is_file()})
    if missing:
        what = f"suite '{suite.name}' needs files that are missing: {', '.join(missing)}"
        fix = "put them there, or name another folder with --data or fewer data sets with --sets"
        raise UserError(what, where=str(data), fix=fix)


def _read(spec: SetSpec, data: Path, folder: Path, comparison: ComparisonSpec) -> PolymerTable:
    file, column = data / spec.files[0], spec.smiles_column
    if len(spec.files) > 1:
        file, column = _join(spec, data, folder / "data" / f"{spec.name}.csv"), SMILES_NAMES[0]
    return steps.read(str(file), spec.targets, smiles_column=column, split=comparison.split)


def _join(spec: SetSpec, data: Path, out: Path) -> Path:
    """Write the rows of several files one below the other; rows of one polymer are merged when it is read."""
    from polyml.data.readers import check_columns, find_smiles_column

    parts = []
    for file in spec.files:
        source = open_rows(data / file, smiles_column=spec.smiles_column)
        smiles = find_smiles_column(source.columns, spec.smiles_column, where=source.where)
        frame = pd.DataFrame((row.cells for row in source.rows), columns=list(source.columns))
        wanted = [item.name for item in spec.targets if item.name in frame.columns]
        parts.append(frame.rename(columns={smiles: SMILES_NAMES[0]})[[SMILES_NAMES[0], *wanted]])
    joined = pd.concat(parts, ignore_index=True)
    check_columns([item.name for item in spec.targets], joined.columns, where=", ".join(spec.files))
    with whole_file(out) as temporary:
        joined.to_csv(temporary, index=False, lineterminator="\n")
    return out
