"""What a stage does, as functions of plain arguments, shared by the stages of a recipe and the command line."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polyml.cluster import Engine
from polyml.config import AuditSection, DataSpec, ExploreSpec, ModelSpec, TrackingSpec
from polyml.errors import UserError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

    from polyml.audit import Audit, AuditSpec
    from polyml.bundle import Bundle
    from polyml.data.properties import Property
    from polyml.data.sample import SampleSpec
    from polyml.data.splits import SplitSpec
    from polyml.data.table import PolymerTable
    from polyml.evaluation.compare import Compared
    from polyml.evaluation.learning_curve import LearningCurve
    from polyml.evaluation.results import Results
    from polyml.tracking import Tracker

QUICK_MODELS = {
    "regression": ("mean", "pca_ridge", "svm", "lightgbm", "extra_trees"),
    "classification": ("mean", "ridge", "svm", "lightgbm", "extra_trees"),
}
"""What ``polyml compare`` takes when no models are named, by task: one of each quick family."""


def read(
    file: str,
    properties: Sequence[Property],
    *,
    smiles_column: str | None = None,
    sample: SampleSpec | None = None,
    split: SplitSpec | None = None,
) -> PolymerTable:
    """Read polymers with measured properties and check that there is something to learn.

    The rows of one polymer are merged, but for splits by rows or by a column, in which each has a place of its own, and
    for folds in a file that come from these.
    """
    from polyml.data.fold_files import names_rows
    from polyml.data.splits import UNMERGED
    from polyml.data.table_reader import read_table

    merge = split is None or split.kind not in UNMERGED
    if split is not None and split.kind == "fixed":
        merge = not names_rows(str(split.file))
    table = read_table(file, properties, smiles_column=smiles_column, sample=sample, merge_duplicates=merge)
    table.check_targets()
    return table


def audit_files(
    files: Sequence[str],
    spec: AuditSpec,
    folder: Path | None,
    *,
    targets: Sequence[str] | None = None,
    properties: Sequence[Property] = (),
    smiles_columns: Sequence[str] = (),
    jobs: int | None = None,
) -> Audit:
    """Audit data files, and write what was found into a folder; see :func:`polyml.audit.run.audit`."""
    from polyml.audit import audit
    from polyml.audit.files import write_audit
    from polyml.settings import default_jobs

    found = audit(
        files, spec, targets=targets, properties=properties, smiles_columns=smiles_columns, jobs=jobs or default_jobs()
    )
    if folder is not None:
        write_audit(found, folder)
    return found


def audit_recipe(
    data: DataSpec, split: SplitSpec, folder: Path, *, section: AuditSection, files: Sequence[str]
) -> Audit:
    """Audit the data of a recipe by its split and by rows.

    Raises
    ------
    UserError
        The recipe is strict, and a finding is an error; the report stays in the folder.
    """
    from polyml.audit import AuditSpec
    from polyml.audit.findings import counted
    from polyml.data.splits import SplitSpec

    by_rows = () if split.kind == "rows" else (SplitSpec(kind="rows", folds=split.folds, seed=split.seed),)
    found = audit_files(
        files,
        AuditSpec(
            splits=(split, *by_rows), asked=split.kind == "rows", source_column=section.source, sample=data.sample
        ),
        folder,
        targets=[item.name for item in data.targets],
        properties=data.targets,
        smiles_columns=[data.smiles_column] if data.smiles_column else (),
    )
    if section.strict and found.has_errors:
        first = next(item for item in found.findings if item.severity == "error")
        raise UserError(
            f"the audit of the data found {counted(found.count('error'), 'error')}; the first: {first.what}",
            where=str(folder / "audit.html"),
            fix="mend the data, or go on all the same with --set audit.strict=false",
        )
    return found


def open_tracker(tracking: TrackingSpec, fallback: str) -> Tracker:
    """Open the tracker of a run."""
    from polyml.tracking import make_tracker

    return make_tracker(tracking.experiment or fallback, enabled=tracking.enabled)


def check_models(models: Iterable[ModelSpec], task: str = "regression", *, where: str | None = None) -> None:
    """Check names and parameters of models, and that they do the task, before anything is read or trained.

    ``where`` is told in messages about a name: the document that it stands in.
    """
    from polyml.models.catalog import MODELS, make_model, with_task

    for spec in map(ModelSpec.wrapped, models):
        if spec.key not in MODELS:
            raise unknown_name("model", spec.key, MODELS, where=where)
        make_model(spec.key, **with_task(spec.params, task))


def check_encoders(models: Iterable[ModelSpec], table: PolymerTable) -> None:
    """Check that no model starts from an encoder that has learned labels of the polymers of a table.

    Raises
    ------
    UserError
        One does; see :func:`polyml.models.pretrained.check_unseen`.
    """
    from polyml.models.pretrained import check_unseen

    for spec in models:
        check_unseen(encoders_in([spec], table.task), table.keys, where=f"model '{spec.label}'", source=table.source)


def encoders_in(models: Iterable[ModelSpec], task: str) -> list[str]:
    """Return the names of the pretrained encoders that models start from, or the models inside them."""
    from polyml.models.catalog import make_model, with_task
    from polyml.models.pretrained import encoders_of

    made = (make_model(spec.key, **with_task(spec.params, task)) for spec in map(ModelSpec.wrapped, models))
    return [name for model in made for name in encoders_of(model)]


def _compared(models: Iterable[ModelSpec]) -> list[Compared]:
    from polyml.evaluation.compare import Compared

    return [Compared(spec.key, spec.label, spec.params) for spec in map(ModelSpec.wrapped, models)]


def compare_models(
    table: PolymerTable,
    models: Sequence[ModelSpec],
    split: SplitSpec,
    folder: Path,
    *,
    seed: int,
    jobs: int | None,
    ratios: Iterable[Sequence[str] | str],
    name: str,
    tracking: TrackingSpec,
    known_properties: bool = False,
    protocol: str = "honest",
    allow_leaks: bool = False,
    rope: float | None = None,
    engine: Engine = "local",
    address: str | None = None,
) -> Results:
    """Compare models on the same folds, and write the pages of it; see :func:`polyml.evaluation.compare.compare`."""
    from polyml.evaluation import compare as evaluation
    from polyml.evaluation.pages import write_pages

    tracker = open_tracker(tracking, name)
    results = evaluation.compare(
        table, _compared(models), split, folder, tracker=tracker, jobs=jobs, ratios=ratios, seed=seed, name=name,
        known_properties=known_properties, protocol=protocol, allow_leaks=allow_leaks, rope=rope,
        engine=engine, address=address,
    )  # fmt: skip
    write_pages(results, folder)
    return results


def learning_curve(
    table: PolymerTable,
    models: Sequence[ModelSpec],
    split: SplitSpec,
    folder: Path,
    *,
    sizes: Sequence[int] | None,
    seed: int,
    jobs: int | None,
    name: str,
    tracking: TrackingSpec,
) -> LearningCurve:
    """Score models over the number of training polymers; see :mod:`polyml.evaluation.learning_curve`."""
    from polyml.evaluation import learning_curve as evaluation

    tracker = open_tracker(tracking, name)
    curve = evaluation.learning_curve(
        table, _compared(models), split, folder, sizes=sizes, tracker=tracker, jobs=jobs, seed=seed, name=name
    )
    table.save_reports(folder)
    return curve


def load_bundle(model: str) -> Bundle:
    """Load a trained model named by folder, run or registry URI."""
    from polyml.bundle import Bundle
    from polyml.tracking import resolve_model

    return Bundle.load(resolve_model(model))


def predict_file(model: str, file: str, output: Path, *, smiles_column: str | None = None) -> dict[str, int]:
    """Predict every row of a file with the model of a name; see :func:`polyml.prediction.predict_file`."""
    from polyml.data.writers import check_not_input, check_suffix
    from polyml.prediction import predict_file as predict

    check_not_input(output, file)
    check_suffix(output)  # before a model is fetched from a server
    bundle = load_bundle(model)
    warn_if_uncalibrated(bundle)
    return predict(bundle, file, output, smiles_column=smiles_column)


def predict_rows(
    model: str, file: str, write: Callable[[pd.DataFrame], None], *, smiles_column: str | None = None
) -> dict[str, int]:
    """Predict every row of a file and hand on the tables as they come; see :func:`polyml.prediction.predict_rows`."""
    from polyml.prediction import predict_rows as predict

    bundle = load_bundle(model)
    warn_if_uncalibrated(bundle)
    return predict(bundle, file, write, smiles_column=smiles_column)


def warn_if_uncalibrated(bundle: Bundle) -> None:
    """Warn that intervals are what a model says of itself, where it could have been calibrated and was not."""
    from polyml.pipeline.fitting import takes_calibration

    if not bundle.classes and takes_calibration(bundle.model.key, "regression"):
        what = "are what the model says of itself" if bundle.model.gives_std else "are missing: the model gives none"
        fix = "train it without --no-calibrate for intervals that hold 90 %"
        warnings.warn(f"the columns _std, _lower and _upper {what}; {fix}", UserWarning, stacklevel=2)


def explore_table(table: PolymerTable, spec: ExploreSpec, folder: Path, *, seed: int, tracking: TrackingSpec) -> None:
    """Draw maps of a table; see :func:`polyml.explore.explore`."""
    from polyml.explore import explore
    from polyml.pipeline.featurizing import check_array_features

    check_array_features(spec.features)
    tracker = open_tracker(tracking, folder.name)
    explore(
        table,
        folder,
        features=spec.features,
        n_clusters=spec.clusters,
        clustering=spec.clustering,
        methods=spec.methods,
        seed=seed,
        tracker=tracker,
    )
    table.save_reports(folder)


def check_ratios(ratios: Iterable[Sequence[str]], properties: Sequence[Property]) -> None:
    """Check the ratios of a comparison before anything is read."""
    from polyml.evaluation.metrics import make_ratios

    make_ratios(ratios, {item.name: item.transform for item in properties})
