"""Predict every row of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.bundle import Bundle
from polyml.data.readers import CandidateChunk, cell_text, count_rows, read_candidates
from polyml.data.table_reader import MISSING, parse_number
from polyml.data.writers import check_not_input, check_suffix, frame_writer
from polyml.progress import progress_bar

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 40  # characters of a cell in a note


def predict_file(
    bundle: Bundle,
    source: str | Path,
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
    source : str or Path
        CSV, TSV, .smi, Parquet, ``-`` for standard input, or the name of an embedded set.
    out : str or Path
        CSV or Parquet file, by the end of its name; it appears when it is whole. Every input row is in it, in order, a
        blank line too: its line in the input, the columns of :meth:`Bundle.predict_frame`, then the other columns of
        the input; one that has the name of a prediction gets ``_input`` behind it.
    smiles_column : str, optional
        Column of the repeat units when its name does not tell.

    Returns
    -------
    dict
        Rows ``predicted`` and ``refused``.
    """
    check_suffix(out)
    check_not_input(out, source)
    chunks = read_candidates(source, smiles_column, chunk_size=chunk_size, keep_blank=True)
    total = count_rows(source) if str(source) != "-" else None
    counts = {"predicted": 0, "refused": 0}
    with frame_writer(out) as write, progress_bar("predicting", total) as bar:
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
    frame = bundle.predict_frame(chunk.psmiles, known)
    if notes:
        told = [(warning, notes.get(row, "")) for row, warning in enumerate(frame["warning"])]
        frame["warning"] = ["; ".join(filter(None, pair)) for pair in told]
    predicted = [name for name in frame if name not in ("psmiles", "error")]
    for row, fault in chunk.fault_texts().items():  # the line itself is broken, whatever its SMILES may say
        frame.loc[row, predicted] = np.nan
        frame.loc[row, "error"] = fault
    frame.insert(0, "line", chunk.lines)
    for name, cells in chunk.columns.items():
        while name in frame:
            name += "_input"
        frame[name] = [cell_text(cell) for cell in cells]
    return frame
