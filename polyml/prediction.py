"""Predict many texts, and every row of a file: one row out for one row in, whatever is wrong with some."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.bundle import NOVELTY, SCORE, SIMILARITY, SUFFIXES, VERDICT, Bundle, warning
from polyml.chem import RepeatUnit
from polyml.data.readers import CandidateChunk, cell_text, count_rows, read_candidates
from polyml.data.sources import Source, candidate_files
from polyml.data.table_reader import MISSING, parse_number
from polyml.data.writers import check_not_input, check_replaceable_table, check_suffix, frame_writer, rounded
from polyml.models.base import Prediction
from polyml.progress import progress_bar
from polyml.row_faults import Parsed, in_batches, parse_all

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 40  # characters of a cell in a note


def predict_frame(bundle: Bundle, psmiles: Sequence[str], known: np.ndarray | None = None) -> pd.DataFrame:
    """Predict one row an input, in order; a text that is refused gets its reason in the column ``error``.

    Parameters
    ----------
    bundle : Bundle
    psmiles : sequence of str
    known : ndarray of shape (n, t), optional
        Measured properties in user units, NaN where not known, for a model that completes properties. A property's
        own value is not used for its prediction.

    Returns
    -------
    DataFrame
        Columns ``psmiles``; ``<property>``, ``<property>_std``, ``<property>_lower`` and ``<property>_upper`` for
        each property, or the likeliest class as ``<property>`` and the probability of each class as
        ``p[<class>]``; ``nearest_similarity`` (Tanimoto similarity to the nearest training polymer);
        ``domain_score`` and ``domain``, the verdict ``inside``, ``edge`` or ``outside`` (see :mod:`polyml.domain`);
        ``novelty``, where the model gives it (how strange the polymer is to it, about 1 for one like those it knows);
        ``nearest_warning`` (what is doubtful about that polymer), ``nearest_training`` (its text); ``warning``
        (what is doubtful about the structure of the row itself); ``error``.
    """
    import pandas as pd

    parsed, refused = parse_all(psmiles)
    call: Callable[[list[RepeatUnit]], Any] = bundle.predict_proba if bundle.classes else bundle.predict_modelled
    if known is not None and bundle.model.uses_known:
        call = _with_known(bundle, parsed, np.asarray(known, dtype=float))
    good, results, faults = in_batches(call, parsed, sound=bundle.some_training_units)
    rows = [row for row, _ in good]
    columns = _class_columns(bundle, results) if bundle.classes else _number_columns(bundle, results)
    columns |= _neighbour_columns(bundle, [unit for _, unit in good])
    frame = pd.DataFrame(columns, index=rows).reindex(range(len(psmiles)))
    errors = {row: error.what for row, error in refused.items()} | {row: str(fault) for row, fault in faults.items()}
    frame["error"] = pd.Series(errors, index=frame.index, dtype=object)
    frame.insert(0, "psmiles", list(psmiles))
    texts = bundle.output_columns[1]
    frame[texts] = frame[texts].astype(object).fillna("").astype(str)
    return frame


def _with_known(bundle: Bundle, parsed: Parsed, known: np.ndarray) -> Callable[[list[RepeatUnit]], Prediction]:
    """Return what predicts some of the units, given what is known of them in user units, (rows of the input, t)."""
    modelled = np.column_stack([item.to_model(known[:, t]) for t, item in enumerate(bundle.properties)])
    row_of = {id(unit): row for row, unit in parsed}
    nothing = np.full((1, modelled.shape[1]), np.nan)

    def call(units: list[RepeatUnit]) -> Prediction:
        values = [modelled[row_of[id(unit)]][None] if id(unit) in row_of else nothing for unit in units]
        return bundle.predict_modelled(units, np.concatenate(values))

    return call


def _number_columns(bundle: Bundle, results: Sequence[Prediction]) -> dict[str, Any]:
    empty = np.empty((0, len(bundle.names)))
    parts = ("mean", "std", "lower", "upper")
    found = Prediction(*(np.concatenate([*(getattr(item, part) for item in results), empty]) for part in parts))
    found = bundle.to_user_units(found)
    return {
        name + suffix: getattr(found, part)[:, t]
        for t, name in enumerate(bundle.names)
        for suffix, part in zip(SUFFIXES, parts, strict=True)
    }


def _class_columns(bundle: Bundle, results: Sequence[np.ndarray]) -> dict[str, Any]:
    probability = np.concatenate([*results, np.empty((0, len(bundle.classes)))])
    columns: dict[str, Any] = {bundle.names[0]: [bundle.classes[code] for code in probability.argmax(axis=1)]}
    return columns | {f"p[{name}]": probability[:, i] for i, name in enumerate(bundle.classes)}


def _neighbour_columns(bundle: Bundle, units: list[RepeatUnit]) -> dict[str, Any]:
    """Tell where polymers stand to the training polymers, and what is doubtful about them and the nearest of these."""
    found = bundle.domain.judge(units)
    nearest, nearest_warning = bundle.describe(units, found)
    columns: dict[str, Any] = {SIMILARITY: found.similarity, SCORE: found.score, VERDICT: found.verdict}
    if bundle.model.gives_novelty:
        columns[NOVELTY] = bundle.novelty(units)
    texts = {"nearest_warning": nearest_warning, "nearest_training": nearest}
    return columns | texts | {"warning": [warning(unit) for unit in units]}


def predict_file(
    bundle: Bundle,
    source: Source,
    out: str | Path,
    *,
    smiles_column: str | None = None,
    chunk_size: int = 2000,
) -> dict[str, int]:
    """Predict every row of a file, in constant memory.

    A model that completes properties is given those of its properties that the file has as columns, in user units.

    Parameters
    ----------
    bundle : Bundle
    source : str, Path, or list or tuple of these
        A file, a folder, a pattern or several, see :func:`polyml.data.readers.read_candidates`.
    out : str or Path
        CSV, packed CSV (.csv.gz) or Parquet, by the end of its name; it appears when it is whole. Every input row is in
        it, in order, a blank line too: its file (where there are several), its line in the file, the columns of
        :func:`predict_frame`, then the other columns of the input; one that has the name of a prediction gets
        ``_input`` behind it.
    smiles_column : str, optional
        Column of the repeat units when its name does not tell.

    Returns
    -------
    dict
        Rows ``predicted`` and ``refused``.
    """
    check_suffix(out)
    for file in candidate_files(source):
        check_not_input(out, file)
    check_replaceable_table(out, ("line", "psmiles", VERDICT, "error"), "predictions")
    with frame_writer(out) as write:
        return predict_rows(bundle, source, write, smiles_column=smiles_column, chunk_size=chunk_size)


def predict_rows(
    bundle: Bundle,
    source: Source,
    write: Callable[[pd.DataFrame], object],
    *,
    smiles_column: str | None = None,
    chunk_size: int = 2000,
) -> dict[str, int]:
    """Predict every row of a file and hand on the tables that :func:`predict_file` writes, part by part.

    Parameters
    ----------
    bundle, source, smiles_column
        See :func:`predict_file`.
    write : callable
        Gets each table.
    chunk_size : int
        Rows of a table.

    Returns
    -------
    dict
        Rows ``predicted`` and ``refused``.
    """
    chunks = read_candidates(source, smiles_column, chunk_size=chunk_size, keep_blank=True)
    total = count_rows(source)
    counts = {"predicted": 0, "refused": 0}
    with progress_bar("predicting", total) as bar:
        for chunk in chunks:
            frame = _predict_chunk(bundle, chunk)
            write(frame)
            refused = int((frame["error"] != "").sum())
            counts["refused"] += refused
            counts["predicted"] += len(frame) - refused
            bar.advance(bar.task_ids[0], len(chunk))
    return counts


def known_values(
    bundle: Bundle, columns: Mapping[str, Sequence[Any]], length: int
) -> tuple[np.ndarray, dict[int, str]]:
    """Return the properties that the rows of a file tell, in user units, and what could not be used.

    They are used by a model that completes properties; for any other model, and in a file without such columns, all are
    NaN.

    Returns
    -------
    known : ndarray of shape (n, t)
        NaN where a cell is empty or no usable number.
    notes : dict of int to str
        By row, the cells that are not empty and no usable number.
    """
    known = np.full((length, len(bundle.names)), np.nan)
    notes: dict[int, str] = {}
    if not bundle.model.uses_known:
        return known, notes
    for t, item in enumerate(bundle.properties):
        for row, cell in enumerate(columns.get(item.name, ())):
            text = cell_text(cell)
            number = parse_number(text)
            if number is not None and not item.outside_domain(np.array([number]))[0]:
                known[row, t] = number
            elif text.strip().lower() not in MISSING:
                note = f"{item.name} is given as {text[:_SHOWN]!r}, which is not used: no number that it can have"
                notes[row] = f"{notes[row]}; {note}" if row in notes else note
    return known, notes


def _predict_chunk(bundle: Bundle, chunk: CandidateChunk) -> pd.DataFrame:
    known, notes = known_values(bundle, chunk.columns, len(chunk))
    frame = predict_frame(bundle, chunk.psmiles, known)
    if notes:
        told = [(warning, notes.get(row, "")) for row, warning in enumerate(frame["warning"])]
        frame["warning"] = ["; ".join(filter(None, pair)) for pair in told]
    predicted = [name for name in frame if name not in ("psmiles", "error")]
    for row, fault in chunk.fault_texts().items():  # the line itself is broken, whatever its SMILES may say
        frame.loc[row, predicted] = np.nan
        frame.loc[row, "error"] = fault
    frame = rounded(frame)
    frame.insert(0, "line", chunk.lines)
    if chunk.file_of_row:
        frame.insert(0, "file", chunk.file_of_row)
    for name, cells in chunk.columns.items():
        while name in frame:
            name += "_input"
        frame[name] = [cell_text(cell) for cell in cells]
    return frame
