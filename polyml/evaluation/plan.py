"""What a comparison is made of, checked before anything trains."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import polyml
from polyml.data.fold_files import folds_digest, folds_frame
from polyml.data.splits import check_folds, make_folds, thin_folds
from polyml.errors import PolymlError, UserError, unknown_name
from polyml.evaluation.compared import Compared, Entry, as_completion, check_completable, make_entries
from polyml.evaluation.metrics import Metric, Ratio, make_metrics, make_ratios
from polyml.evaluation.one_fold import FoldTask, file_stem, fingerprint, fold_seed
from polyml.evaluation.protocol import PROTOCOLS, shared_polymers, stamp
from polyml.models.catalog import ModelFactory, make_model
from polyml.models.pretrained import check_unseen, encoder_digests
from polyml.versions import installed_versions

if TYPE_CHECKING:
    from polyml.data.splits import Fold, SplitSpec
    from polyml.data.table import PolymerTable


@dataclass(frozen=True)
class Plan:
    """A checked comparison, ready to run.

    Attributes
    ----------
    name, folder
        Name of the comparison and where it is kept.
    specs, entries
        The models, and what the leaderboard says of each, in the same order.
    tasks : tuple of FoldTask
        Every model on every fold, ordered by model, repeat and fold.
    accelerated : frozenset of str
        Labels of the models that train on a CUDA device if there is one.
    folds : tuple of Fold
    properties, ratios, metrics
    scales : dict
        Modelled scale of each property and ratio.
    options : dict
        Everything the numbers depend on, and the versions of the libraries.
    classes : tuple of str
        The labels behind the codes of a classification.
    """

    name: str
    folder: Path
    specs: tuple[Compared, ...]
    entries: tuple[Entry, ...]
    tasks: tuple[FoldTask, ...]
    accelerated: frozenset[str]
    folds: tuple[Fold, ...]
    properties: tuple[str, ...]
    ratios: tuple[Ratio, ...]
    metrics: tuple[Metric, ...]
    scales: dict[str, str]
    options: dict[str, Any]
    classes: tuple[str, ...] = ()


def make_plan(
    table: PolymerTable,
    specs: Sequence[Compared],
    split: SplitSpec,
    folder: Path,
    *,
    metrics: Sequence[str] | None,
    ratios: Iterable[Ratio | Sequence[str] | str],
    seed: int,
    protocol: str,
    name: str | None,
    threads: int,
    factory: ModelFactory | None,
    known_properties: bool = False,
    allow_leaks: bool = False,
    train_size: int | None = None,
) -> Plan:
    """Check names, data and folds, and lay out the work; see :func:`polyml.evaluation.compare.compare`."""
    if protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, PROTOCOLS)
    if known_properties:
        check_completable(table, ratios)
        specs = [as_completion(spec) for spec in specs]
    chosen = make_metrics(metrics, table.task)
    classes = table.properties[0].classes if table.task == "classification" else ()
    derived = make_ratios(ratios, {prop.name: prop.transform for prop in table.properties})
    make = factory or make_model
    entries, accelerated, encoders = make_entries(specs, make, table.task)
    folds = _checked_folds(table, split)
    leaks = _leaks(encoders, folds, table, allow_leaks)
    judged = stamp(protocol, split, folds, table.keys, known_properties=known_properties, leaks=leaks)
    digest = folds_digest(folds_frame(folds, table.frame))
    if train_size is not None:
        folds = _thinned(folds, table, train_size, seed)
    basis = {"seed": seed, "data": table.digest, "properties": _properties(table), "polyml": polyml.__version__}
    digests = {label: encoder_digests(names) for label, names in encoders.items()}
    tasks = [
        _make_task(
            spec,
            table,
            fold,
            seed=seed,
            folder=folder,
            threads=threads,
            factory=make,
            basis=basis,
            encoders=digests[spec.label],
            known=known_properties,
            watched=protocol == "paper",
        )
        for spec in specs
        for fold in folds
    ]
    options = {
        "name": name or folder.name,
        **judged.as_options(),
        "known_properties": known_properties,
        "data": {"digest": table.digest, "polymers": len(table.frame), "rejects": len(table.rejects)},
        "properties": basis["properties"],
        "split": _described(split, folds) | {"digest": digest},
        "train_size": train_size,
        "seed": seed,
        "threads": threads,
        "metrics": [metric.name for metric in chosen],
        "ratios": [ratio.name for ratio in derived],
        "task": table.task,
        "classes": list(classes),
        "models": [{"label": spec.label, "key": spec.key, "params": dict(spec.params)} for spec in specs],
        "versions": installed_versions(),
    }
    return Plan(
        name=name or folder.name,
        folder=folder,
        specs=tuple(specs),
        entries=entries,
        tasks=tuple(tasks),
        accelerated=accelerated,
        folds=tuple(folds),
        properties=tuple(table.names),
        ratios=tuple(derived),
        metrics=tuple(chosen),
        scales=_scales(table) | {ratio.name: f"log10({ratio.name})" for ratio in derived},
        options=options,
        classes=classes,
    )


def _checked_folds(table: PolymerTable, split: SplitSpec) -> list[Fold]:
    """Make the folds and refuse those on which no honest score can be computed."""
    table.check_targets()
    folds = make_folds(table, split)
    check_folds(folds, table.y, table.names)
    shared, _ = shared_polymers(folds, table.keys)
    if shared and split.kind != "rows":
        raise PolymlError(f"{shared} polymers are in both the training and the test part of a fold")
    return folds


def _leaks(encoders: Mapping[str, Sequence[str]], folds: Sequence[Fold], table: PolymerTable, allow: bool) -> list[str]:
    """Refuse pretrained encoders that have learned labels of tested polymers, or return what they have learned."""
    tested = np.asarray(table.keys, dtype=object)[np.unique(np.concatenate([fold.test for fold in folds]))]
    found = []
    for label, names in encoders.items():
        try:
            check_unseen(names, tested, where=f"model '{label}'", source=table.source)
        except UserError as error:
            if not allow:
                raise
            found.append(f"model '{label}': {error.what}")
    return found


def _described(split: SplitSpec, folds: Sequence[Fold]) -> dict[str, Any]:
    """Return the split with the number of folds that it has come to."""
    return split.model_dump(mode="json") | {"folds": len({fold.fold for fold in folds})}


def _thinned(folds: Sequence[Fold], table: PolymerTable, size: int, seed: int) -> list[Fold]:
    y = table.y
    needed = y
    if table.task == "classification":  # each class is to have some polymers, as each property has
        needed = np.where(y == np.arange(len(table.properties[0].classes)), 1.0, np.nan)
    thinned = thin_folds(folds, table.keys, needed, size, seed)
    check_folds(thinned, y, table.names)
    return thinned


def _make_task(
    spec: Compared,
    table: PolymerTable,
    fold: Fold,
    *,
    seed: int,
    folder: Path,
    threads: int,
    factory: ModelFactory,
    basis: Mapping[str, Any],
    encoders: Mapping[str, str],
    known: bool,
    watched: bool,
) -> FoldTask:
    rows = table.frame[["key", "psmiles"]]
    train, test = (rows.iloc[part].reset_index(drop=True) for part in (fold.train, fold.test))
    members = [hashlib.sha256(part.to_csv(index=False).encode()).hexdigest() for part in (train, test)]
    y = table.y
    return FoldTask(
        model=spec.label,
        key=spec.key,
        params=dict(spec.params),
        repeat=fold.repeat,
        fold=fold.fold,
        seed=fold_seed(seed, fold.repeat, fold.fold),
        train=train,
        test=test,
        y_train=y[fold.train],
        y_test=y[fold.test],
        properties=tuple(table.names),
        # Absolute: workers are kept for the next comparison, and stay in the folder they were started in.
        path=folder.absolute() / "folds" / f"{file_stem(spec.label)}-r{fold.repeat}-f{fold.fold}.parquet",
        fingerprint=fingerprint(
            key=spec.key,
            params=dict(spec.params),
            repeat=fold.repeat,
            fold=fold.fold,
            members=members,
            **basis,
            **({"encoders": dict(encoders)} if encoders else {}),
            **({"known": True} if known else {}),
            **({"watched": True} if watched else {}),
        ),
        factory=factory,
        threads=threads,
        known=known,
        watched=watched,
        classes=table.properties[0].classes if table.task == "classification" else (),
    )


def _properties(table: PolymerTable) -> list[dict[str, Any]]:
    return [prop.model_dump(mode="json") for prop in table.properties]


def _scales(table: PolymerTable) -> dict[str, str]:
    """Name the modelled scale of each property."""
    return {
        prop.name: f"log10({prop.unit or prop.name})" if prop.transform == "log10" else prop.unit
        for prop in table.properties
    }
