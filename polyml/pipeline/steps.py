"""What a stage does, as functions of plain arguments, shared by the stages of a recipe and the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.config import ExploreSpec, ModelSpec, TrackingSpec
from polyml.errors import UserError
from polyml.screening.spec import ScreenSpec

if TYPE_CHECKING:
    import pandas as pd

    from polyml.bundle import Bundle
    from polyml.chem import RepeatUnit
    from polyml.data.properties import Property
    from polyml.data.readers import CandidateChunk
    from polyml.data.sample import SampleSpec
    from polyml.data.splits import SplitSpec
    from polyml.data.table import PolymerTable
    from polyml.evaluation.learning_curve import LearningCurve
    from polyml.evaluation.results import Results
    from polyml.tracking import Tracker

QUICK_MODELS = {
    "regression": ("mean", "pca_ridge", "svm", "lightgbm", "extra_trees"),
    "classification": ("mean", "ridge", "svm", "lightgbm", "extra_trees"),
}
"""What ``polyml compare`` takes when no models are named, by task: one of each quick family."""

_FEATURIZE_ROWS = 20_000  # at a time: enough to keep all processes busy


def read(
    file: str,
    properties: Sequence[Property],
    *,
    smiles_column: str | None = None,
    sample: SampleSpec | None = None,
    split: SplitSpec | None = None,
) -> PolymerTable:
    """Read polymers with measured properties and check that there is something to learn.

    The rows of one polymer are merged, but for a split by rows, which counts each.
    """
    from polyml.data.table import read_table

    merge = split is None or split.kind != "rows"
    table = read_table(file, properties, smiles_column=smiles_column, sample=sample, merge_duplicates=merge)
    table.check_targets()
    return table


def open_tracker(tracking: TrackingSpec, fallback: str) -> Tracker:
    """Open the tracker of a run."""
    from polyml.tracking import make_tracker

    return make_tracker(tracking.experiment or fallback, enabled=tracking.enabled)


def task_of(properties: Iterable[Property]) -> str:
    """Return "classification" when a class is among the targets, else "regression"."""
    return "classification" if any(item.is_class for item in properties) else "regression"


def with_task(params: Mapping[str, Any], task: str) -> dict[str, Any]:
    """Return the parameters of a model for a task."""
    return {**params, "task": task} if task == "classification" else dict(params)


def check_models(models: Iterable[ModelSpec], task: str = "regression") -> None:
    """Check names and parameters of models, and that they do the task, before anything is read or trained."""
    from polyml.models.catalog import make_model

    for spec in map(ModelSpec.wrapped, models):
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
    from polyml.models.catalog import make_model
    from polyml.models.pretrained import encoders_of

    made = (make_model(spec.key, **with_task(spec.params, task)) for spec in map(ModelSpec.wrapped, models))
    return [name for model in made for name in encoders_of(model)]


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
) -> Results:
    """Compare models on the same folds; see :func:`polyml.evaluation.compare.compare`."""
    from polyml.evaluation import compare as evaluation

    specs = [
        evaluation.ModelSpec(key=spec.key, name=spec.label, params=spec.params)
        for spec in map(ModelSpec.wrapped, models)
    ]
    tracker = open_tracker(tracking, name)
    return evaluation.compare(
        table, specs, split, folder, tracker=tracker, jobs=jobs, ratios=ratios, seed=seed, name=name,
        protocol="completion" if known_properties else "honest",
    )  # fmt: skip


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

    specs = [evaluation.ModelSpec(key=spec.key, name=spec.label, params=spec.params) for spec in models]
    tracker = open_tracker(tracking, name)
    return evaluation.learning_curve(
        table, specs, split, folder, sizes=sizes, tracker=tracker, jobs=jobs, seed=seed, name=name
    )


def read_structures(
    file: str, *, smiles_column: str | None = None, class_column: str | None = None, sample: SampleSpec | None = None
) -> tuple[list[str], int]:
    """Read repeat units without values, each polymer once; return them and how many rows were refused.

    Raises
    ------
    UserError
        The file cannot be read, or holds no repeat unit.
    """
    units, refused = _read_units(file, smiles_column, class_column, sample)
    return [unit.psmiles for unit in units.values()], refused


def _read_units(
    file: str, smiles_column: str | None, class_column: str | None = None, sample: SampleSpec | None = None
) -> tuple[dict[str, RepeatUnit], int]:
    """Return repeat units by canonical key, and how many rows were refused; see :func:`read_structures`."""
    from polyml.data.catalog import data_path
    from polyml.data.properties import Property
    from polyml.data.readers import cell_text, check_columns, find_smiles_column
    from polyml.data.rows import open_rows
    from polyml.data.sample import choose_rows
    from polyml.row_faults import parse_all

    source = open_rows(data_path(file), smiles_column=smiles_column)
    at = source.columns.index(find_smiles_column(source.columns, smiles_column, where=source.where))
    label = Property(name=class_column, transform="class") if class_column else Property(name="structure")
    if class_column:
        check_columns([class_column], source.columns, where=source.where)
    rows = list(source.rows) if sample is None else choose_rows(source.rows, sample, [label], source.columns)
    parsed, refused = parse_all([cell_text(row.cells[at]) for row in rows])
    unique = {unit.key: unit for _, unit in parsed}
    if not unique:
        raise UserError("there is no repeat unit", where=source.where, fix="give polymers with two attachment points")
    return unique, len(refused)


def rows_without(psmiles: Sequence[str], files: Iterable[str], *, smiles_column: str | None = None) -> list[int]:
    """Return which polymers are in none of some files, however they are written there.

    Parameters
    ----------
    psmiles : sequence of str
    files : iterable of str
        Data files, or names of embedded sets. Rows that are no repeat unit are passed over.
    smiles_column : str, optional
        Where the repeat units stand, in the files that have such a column.

    Raises
    ------
    UserError
        A file cannot be read, or holds no repeat unit.
    """
    from polyml.chem import ensure_units
    from polyml.data.catalog import data_path
    from polyml.data.rows import open_rows

    left_out: set[str] = set()
    for file in files:
        column = smiles_column
        if column is not None and column not in open_rows(data_path(file)).columns:
            column = None
        left_out |= _read_units(file, column)[0].keys()
    return [row for row, unit in enumerate(ensure_units(psmiles)) if unit.key not in left_out]


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
    return predict(load_bundle(model), file, output, smiles_column=smiles_column)


def featurize_file(
    file: str, key: str, output: Path, *, smiles_column: str | None = None, jobs: int | None = None
) -> dict[str, int]:
    """Write the features of every row of a file, one row a row: line, psmiles, error, the features.

    CSV and Parquet are written chunk by chunk, in constant memory.
    """
    from polyml.data.readers import read_candidates
    from polyml.data.writers import check_not_input, frame_writer
    from polyml.features.batch import feature_names
    from polyml.settings import default_jobs

    check_array_features(key)
    check_not_input(output, file)
    names = feature_names([key])
    counts = {"rows": 0, "refused": 0, "columns": len(names)}
    chunks = read_candidates(file, smiles_column, chunk_size=_FEATURIZE_ROWS, keep_blank=True)
    with frame_writer(output, (".parquet", ".csv", ".npz")) as write:
        for chunk in chunks:
            frame = _featurize_chunk(chunk, key, names, jobs or default_jobs())
            write(frame)
            counts["rows"] += len(frame)
            counts["refused"] += int((frame["error"] != "").sum())
    return counts


def _featurize_chunk(chunk: CandidateChunk, key: str, names: Sequence[str], jobs: int) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    from polyml.features import featurize
    from polyml.row_faults import in_batches, parse_all

    parsed, refused = parse_all(chunk.psmiles)
    errors = {row: error.what for row, error in refused.items()}
    errors |= chunk.fault_texts()
    parsed = [item for item in parsed if item[0] not in errors]
    good, blocks, faults = in_batches(lambda units: featurize(key, [u.psmiles for u in units], jobs=jobs), parsed)
    errors |= {row: str(fault) for row, fault in faults.items()}
    values = np.full((len(chunk), len(names)), np.nan, dtype=np.float32)
    if good:
        values[[row for row, _ in good]] = np.concatenate(blocks)
    head = {"line": chunk.lines, "psmiles": chunk.psmiles, "error": [errors.get(i, "") for i in range(len(chunk))]}
    return pd.concat([pd.DataFrame(head), pd.DataFrame(values, columns=list(names))], axis=1)


def check_array_features(key: str) -> None:
    """Check that a featurizer exists and gives numbers in columns."""
    from polyml.features.catalog import FEATURIZERS, make_featurizer

    if make_featurizer(key).output_kind != "array":
        arrays = [name for name, cls in FEATURIZERS.items() if cls.output_kind == "array"]
        raise UserError(f"'{key}' gives no columns of numbers", fix=f"choose one of: {', '.join(arrays)}")


def list_featurizers() -> dict[str, str]:
    """Return key and one line of description for each featurizer."""
    from polyml.features.catalog import FEATURIZERS

    return {key: (cls.__doc__ or "").strip().splitlines()[0] for key, cls in FEATURIZERS.items()}


def explore_table(table: PolymerTable, spec: ExploreSpec, folder: Path, *, seed: int, tracking: TrackingSpec) -> None:
    """Draw maps of a table; see :func:`polyml.explore.explore`."""
    from polyml.explore import explore

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


def screen_candidates(
    source: str,
    model: str | Path,
    spec: ScreenSpec,
    folder: Path,
    *,
    quick: str | Path | None = None,
    resume: bool,
    name: str,
    tracking: TrackingSpec,
    jobs: int | None = None,
    smiles_column: str | None = None,
) -> dict[str, Any]:
    """Screen candidates with a trained model; see :func:`polyml.screening.screen.screen`.

    Without objectives the candidates are ranked as :meth:`ScreenSpec.default` says.
    """
    from polyml.data.readers import read_candidates
    from polyml.screening.screen import screen

    if source != "-":
        read_candidates(source, smiles_column)  # its faults are told before a model is loaded and a run is opened
    bundle = load_bundle(str(model))
    spec = with_objectives(spec, bundle.properties)
    first = load_bundle(str(quick)) if quick is not None else None
    check_screen(spec, bundle.properties, gives_std=bundle.model.gives_std)
    tracker = open_tracker(tracking, name)
    params = spec.model_dump(mode="json") | {"candidates": source, "model": str(model), "bundle": bundle.digest}
    if first is not None:
        params |= {"quick": str(quick), "quick_bundle": first.digest}
    with tracker.parent_run(f"screen {Path(source).stem}", params, {"polyml.stage": "screen"}):
        summary = screen(
            source,
            bundle,
            spec,
            folder,
            quick=first,
            jobs=jobs,
            resume=resume,
            tracker=tracker,
            smiles_column=smiles_column,
        )
    return summary.to_dict()


def with_objectives(spec: ScreenSpec, properties: Sequence[Property]) -> ScreenSpec:
    """Return the spec itself, or with the default objectives where it has none."""
    if spec.objectives:
        return spec
    default = ScreenSpec.default(properties)
    return spec.model_copy(update={"derive": default.derive | spec.derive, "objectives": default.objectives})


def check_screen(spec: ScreenSpec, properties: Sequence[Property], *, gives_std: bool = True) -> None:
    """Check the expressions of a screen before anything is trained or read."""
    from polyml.screening.spec import plan_prefilter, plan_screen

    for item in properties:
        if item.is_class:
            raise UserError(
                f"'{item.name}' is a class, and candidates are ranked by numbers",
                fix="predict the classes of candidates with: polyml predict",
            )
    plan_screen(with_objectives(spec, properties), properties, gives_std=gives_std)
    if spec.prefilter:
        plan_prefilter(spec, properties, properties)


def check_ratios(ratios: Iterable[Sequence[str]], properties: Sequence[Property]) -> None:
    """Check the ratios of a comparison before anything is read."""
    from polyml.evaluation.metrics import make_ratios

    make_ratios(ratios, {item.name: item.transform for item in properties})


def describe_model(key: str) -> dict[str, Any]:
    """Return what is known of a model, with its parameters and their defaults."""
    from polyml.models.catalog import make_model
    from polyml.models.describe import parameter_texts

    model = make_model(key)
    params = {k: v for k, v in model.get_params(deep=False).items() if k not in model.without_effect}
    if len(model.tasks) == 1:
        params = {k: v for k, v in params.items() if k not in ("task", "class_weight")}
    texts = parameter_texts(type(model))
    return {
        "key": model.key,
        "family": model.family,
        "title": model.title,
        "citation": model.citation,
        "input": model.input_kind,
        "tasks": list(model.tasks),
        "multi_task": model.multi_task,
        "gives_std": model.gives_std,
        "params": params,
        "meaning": {name: texts[name] for name in params if name in texts},
        "presets": {name: dict(params) for name, params in model.presets.items()},
        "search_space": {name: str(values) for name, values in model.search_space.items()},
    }
