"""The step that computes features: of every row of a file, one row a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polyml.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from polyml.data.readers import CandidateChunk

_ROWS = 20_000  # at a time: enough to keep all processes busy


def featurize_file(
    file: str, key: str, output: Path, *, smiles_column: str | None = None, jobs: int | None = None
) -> dict[str, int]:
    """Write the features of every row of a file, one row a row: line, psmiles, error, the features.

    CSV and Parquet are written chunk by chunk, in constant memory.
    """
    from polyml.data.readers import read_candidates
    from polyml.data.writers import check_not_input, check_replaceable_table, frame_writer
    from polyml.features.batch import feature_names
    from polyml.settings import default_jobs

    check_array_features(key)
    check_not_input(output, file)
    check_replaceable_table(output, ("line", "psmiles", "error"), "features")
    names = feature_names([key])
    counts = {"rows": 0, "refused": 0, "columns": len(names)}
    chunks = read_candidates(file, smiles_column, chunk_size=_ROWS, keep_blank=True)
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
