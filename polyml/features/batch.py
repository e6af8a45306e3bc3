"""Featurize many polymers: several featurizers side by side, in parallel, each row computed once."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from polyml import __version__, progress
from polyml.chem import RepeatUnit, ensure_units
from polyml.features.base import Featurizer
from polyml.features.catalog import make_featurizer
from polyml.interrupts import interrupts_of_rdkit

_CHUNK = 256
_REMEMBERED_ROWS = 50_000
_memory: OrderedDict[tuple[str, str], Any] = OrderedDict()


def featurize(
    featurizers: str | Featurizer | Sequence[str | Featurizer],
    psmiles: Sequence[str | RepeatUnit],
    *,
    jobs: int = 1,
) -> Any:
    """Return the features of polymers.

    Rows are cached by content (featurizer, its parameters, the pSMILES): in memory, and on disk where a row is costly.
    Parsed units are featurized at once and not cached: that is the path of screening.

    Parameters
    ----------
    featurizers : str, Featurizer or a sequence of them
        Catalog keys or instances; the columns of several array featurizers are put side by side.
    psmiles : sequence of str or RepeatUnit
    jobs : int
        Number of processes; a progress bar shows when there is more to do than a moment's work.

    Returns
    -------
    ndarray of shape (n, d), float32, or list of torch_geometric.data.Data or of token codes (variants, length)

    Examples
    --------
    >>> featurize(["ecfp", "descriptors"], ["*CC*"]).shape[0]
    1
    """
    if isinstance(featurizers, (str, Featurizer)):
        featurizers = [featurizers]
    made = [make_featurizer(item) if isinstance(item, str) else item for item in featurizers]
    columns = [_rows(item, psmiles, jobs) for item in made]
    if len(columns) == 1:
        return columns[0]
    return np.concatenate(columns, axis=1)


def feature_names(featurizers: Sequence[str | Featurizer]) -> list[str]:
    """Return the column names of :func:`featurize`."""
    made = [make_featurizer(item) if isinstance(item, str) else item for item in featurizers]
    return [str(name) for item in made for name in item.get_feature_names_out()]


def signature(featurizer: Featurizer) -> str:
    """Return a text that is the same for featurizers that give the same rows."""
    params = json.dumps(featurizer.get_params(), sort_keys=True, default=str)
    return f"{featurizer.key} {params} {__version__}"


def _rows(featurizer: Featurizer, psmiles: Sequence[str | RepeatUnit], jobs: int) -> Any:
    if psmiles and all(isinstance(item, RepeatUnit) for item in psmiles):
        return featurizer.transform(psmiles)
    texts = [item.psmiles if isinstance(item, RepeatUnit) else item for item in psmiles]
    name = signature(featurizer)
    missing = [text for text in dict.fromkeys(texts) if (name, text) not in _memory]
    found = {text: _memory[name, text] for text in texts if (name, text) in _memory}
    if featurizer.costly and missing:
        stored = _read_store(name, missing)
        found.update(stored)
        missing = [text for text in missing if text not in stored]
    fresh = _compute(featurizer, missing, jobs)
    if featurizer.costly and fresh:
        _write_store(name, fresh)
    found.update(fresh)
    for text in dict.fromkeys(texts):
        _memory[name, text] = found[text]
    while len(_memory) > _REMEMBERED_ROWS:
        _memory.popitem(last=False)
    rows = [found[text] for text in texts]
    if featurizer.output_kind != "array":
        return rows
    width = len(featurizer.get_feature_names_out())
    return np.asarray(rows, dtype=np.float32).reshape(len(rows), width)


def _compute(featurizer: Featurizer, texts: list[str], jobs: int) -> dict[str, Any]:
    chunks = [texts[i : i + _CHUNK] for i in range(0, len(texts), _CHUNK)]
    if jobs > 1 and len(chunks) > 1:
        from joblib import Parallel, delayed

        results = Parallel(n_jobs=jobs, return_as="generator")(delayed(_transform)(featurizer, c) for c in chunks)
    else:
        results = (_transform(featurizer, chunk) for chunk in chunks)
    found: dict[str, Any] = {}
    bar_text = f"features: {featurizer.key}"
    with progress.progress_bar(bar_text, total=len(texts)) as bar, interrupts_of_rdkit() as check:
        for chunk, rows in zip(chunks, results, strict=True):
            check()
            found.update(zip(chunk, rows, strict=True))
            bar.advance(bar.task_ids[0], len(chunk))
    return found


def _transform(featurizer: Featurizer, texts: list[str]) -> Any:
    return featurizer.transform(ensure_units(texts))


@contextmanager
def _store() -> Iterator[sqlite3.Connection | None]:
    """Open the store of costly rows; None where the cache folder cannot be written."""
    from polyml.settings import cache_folder

    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(folder / "features.sqlite", timeout=30)
        connection.execute("create table if not exists rows (id text primary key, data blob) without rowid")
    except (OSError, sqlite3.Error):
        yield None
        return
    try:
        yield connection
    finally:
        connection.close()


def _row_id(name: str, text: str) -> str:
    return hashlib.sha256(f"{name}\n{text}".encode()).hexdigest()


def _read_store(name: str, texts: list[str]) -> dict[str, np.ndarray]:
    found = {}
    with _store() as connection:
        if connection is None:
            return {}
        for text in texts:
            row = connection.execute("select data from rows where id = ?", (_row_id(name, text),)).fetchone()
            if row:
                found[text] = np.frombuffer(zlib.decompress(row[0]), dtype=np.float32)
    return found


def _write_store(name: str, rows: dict[str, np.ndarray]) -> None:
    items = [(_row_id(name, t), zlib.compress(np.asarray(row, np.float32).tobytes(), 1)) for t, row in rows.items()]
    with _store() as connection:
        if connection is None:
            return
        try:
            with connection:
                connection.executemany("insert or ignore into rows values (?, ?)", items)
        except sqlite3.Error:
            # The cache only saves time: a full disk or a lock held for long must not fail the run.
            return
