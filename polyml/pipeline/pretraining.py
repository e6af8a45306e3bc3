"""The step that pretrains an encoder, with what it logs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.config import TrackingSpec
from polyml.pipeline.fitting import log_training
from polyml.pipeline.steps import open_tracker

if TYPE_CHECKING:
    from polyml.data.sample import SampleSpec
    from polyml.data.table import PolymerTable
    from polyml.transfer.pretexts import PretrainSpec


def pretrain_encoder(
    table: PolymerTable,
    folder: Path,
    spec: PretrainSpec,
    *,
    rows: Sequence[int] | None = None,
    without: Sequence[str] = (),
    sample: SampleSpec | None = None,
    jobs: int | None = None,
    tracking: TrackingSpec,
) -> dict[str, Any]:
    """Pretrain an encoder on a table, with the reports of the table beside it, and log its card and curves.

    Parameters
    ----------
    table : PolymerTable
        Properties are learned where it has any.
    folder : Path
    spec : PretrainSpec
    rows : sequence of int, optional
        The polymers to take; all, when not given.
    without : sequence of str
        The files whose polymers are not among them, for the card.
    sample : SampleSpec, optional
        How the rows of the file were drawn, for the card.
    jobs : int, optional
        Processes for the descriptors.
    tracking : TrackingSpec

    Returns
    -------
    dict
        See :func:`polyml.transfer.pretrain.pretrain`.
    """
    from polyml.settings import default_jobs
    from polyml.transfer.pretrain import check_folder, pretrain

    check_folder(folder)
    spec.make_model()  # its faults are told before a run is opened
    chosen = list(range(len(table))) if rows is None else list(rows)
    data: dict[str, Any] = {"source": Path(table.source).stem}
    if sample is not None:
        data["sample"] = sample.model_dump(mode="json", exclude_none=True)
    if without:
        data["without"] = [Path(file).name for file in without]
    params = {"encoder": spec.encoder, "pretext": spec.pretext, "polymers": len(chosen), "seed": spec.seed, **data}
    params |= {"epochs": spec.epochs, "batch_size": spec.batch_size, "lr": spec.lr, "params": dict(spec.params)}
    if table.names:
        params["properties"] = table.names
    tracker = open_tracker(tracking, folder.name)
    with tracker.parent_run(f"pretrain {spec.encoder}", params, {"polyml.stage": "pretrain"}):
        card = pretrain(
            [table.psmiles[row] for row in chosen], folder, spec, y=table.y[chosen] if table.names else None,
            properties=table.names, jobs=jobs or default_jobs(), data=data,
        )  # fmt: skip
        table.save_reports(folder)
        tracker.log_metrics({name.replace(" ", "_"): value for name, value in card["checks"].items()})
        log_training(tracker, card["history"])
        tracker.log_files([folder])
    return card


def rows_without(table: PolymerTable, files: Iterable[str], *, smiles_column: str | None = None) -> list[int]:
    """Return which rows of a table hold polymers that are in none of some files, however they are written there.

    Polymers unlike in configurations alone count as one.

    Parameters
    ----------
    table : PolymerTable
    files : iterable of str
        Data files, or names of embedded sets. Rows that are no repeat unit are passed over.
    smiles_column : str, optional
        Where the repeat units stand, in the files that have such a column.

    Raises
    ------
    UserError
        A file cannot be read, or holds no repeat unit.
    """
    from polyml.chem import constitution_of_key
    from polyml.data.catalog import data_path
    from polyml.data.rows import open_rows
    from polyml.data.table_reader import read_structures

    left_out: set[str] = set()
    for file in files:
        has_column = smiles_column is not None and smiles_column in open_rows(data_path(file)).columns
        left_out.update(read_structures(file, smiles_column=smiles_column if has_column else None).keys)
    left_out = set(map(constitution_of_key, left_out))
    return [row for row, key in enumerate(table.keys) if constitution_of_key(key) not in left_out]
