"""Data: read polymers and their properties, keep what was refused, divide into folds.

The names below are loaded when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "catalog": (
        "EMBEDDED",
        "data_path",
        "embedded_folder",
        "embedded_path",
        "embedded_table",
        "list_recipes",
        "load_embedded",
        "properties_for",
        "recipe_path",
    ),
    "parquet_index": ("parquet_chunks", "read_parquet_chunk", "read_parquet_chunks"),
    "properties": ("Property",),
    "readers": ("CandidateChunk", "count_rows", "find_smiles_column", "read_candidates"),
    "fold_files": ("folds_digest", "load_folds", "save_folds"),
    "sources": ("candidate_files",),
    "splits": ("Fold", "SplitSpec", "check_folds", "make_folds"),
    "table": ("PolymerTable",),
    "table_reader": ("read_structures", "read_table"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'polyml.data' has no attribute '{name}'")
    return getattr(importlib.import_module(f"polyml.data.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
