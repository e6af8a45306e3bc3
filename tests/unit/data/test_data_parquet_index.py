from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyml.data import parquet, parquet_chunks, read_candidates, read_parquet_chunk, read_parquet_chunks
from polyml.errors import UserError


@pytest.fixture
def parts(tmp_path):
    """Three files with row groups of different sizes, one without rows, and different columns."""
    rng = np.random.default_rng(0)
    for number, (rows, group) in enumerate([(100, 30), (7, 100), (0, 1), (250, 90)]):
        columns = {"psmiles": [f"*{'C' * int(n)}*" for n in rng.integers(1, 9, rows)], "n": rng.normal(size=rows)}
        if number == 1:
            columns["vendor"] = pa.array(["x"] * rows).dictionary_encode()
        table = pa.table(columns)
        pq.write_table(table, tmp_path / f"{number}.parquet", row_group_size=group, use_dictionary=False)
    return tmp_path


def content(chunk):
    return (chunk.first_row, chunk.lines, chunk.psmiles, chunk.columns, chunk.faults, chunk.file_of_row)


@pytest.mark.parametrize("size", [1, 40, 99, 1000])
@pytest.mark.parametrize("columns", [None, [], ["vendor"]])
@pytest.mark.parametrize("batch", [8, 16384])
def test_a_chunk_by_number_is_the_one_of_the_stream(parts, monkeypatch, size, columns, batch):
    monkeypatch.setattr(parquet, "BATCH", batch)
    expected = list(map(content, read_candidates(parts, chunk_size=size, columns=columns)))
    chunks = parquet_chunks(parts, chunk_size=size, columns=columns)
    assert (len(chunks), chunks.n_rows) == (len(expected), 357)
    assert [content(read_parquet_chunk(pickle.loads(pickle.dumps(chunk)))) for chunk in chunks] == expected
    assert list(map(content, read_parquet_chunks(chunks))) == expected
    assert content(read_parquet_chunk(chunks[-1])) == expected[-1]
    assert list(map(content, read_parquet_chunks(chunks[::-2]))) == expected[::-2]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(size=st.integers(1, 60), order=st.randoms(use_true_random=False))
def test_chunks_can_be_read_in_any_order(parts, size, order):
    expected = list(map(content, read_candidates(parts, chunk_size=size)))
    numbers = order.sample(range(len(expected)), len(expected))
    chunks = parquet_chunks(parts, chunk_size=size)
    assert list(map(content, read_parquet_chunks(chunks[n] for n in numbers))) == [expected[n] for n in numbers]


@pytest.mark.parametrize("batch", [8, 16384])
def test_damage_is_told_alike(parts, monkeypatch, batch):
    monkeypatch.setattr(parquet, "BATCH", batch)
    path = Path(parts / "3.parquet")
    with pq.ParquetFile(path) as file:
        column = file.metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + 60] = os.urandom(60)
    path.write_bytes(data)
    expected = list(map(content, read_candidates(parts, chunk_size=50)))
    assert sum(fault[0] == "damaged" for chunk in expected for fault in chunk[4]) == 90
    assert [content(read_parquet_chunk(chunk)) for chunk in parquet_chunks(parts, chunk_size=50)] == expected


def test_only_what_is_needed_is_read(parts):
    chunk = parquet_chunks(parts / "3.parquet", chunk_size=10, columns=())[9]
    assert [(part.group, part.first, part.rows, part.line) for part in chunk.parts] == [(1, 0, 10, 91)]
    assert chunk.layout.names == ()
    assert read_parquet_chunk(chunk).lines == list(range(91, 101))


def test_what_cannot_be_read_by_number(parts):
    (parts / "a.csv").write_text("psmiles\n*CC*\n")
    with pytest.raises(UserError, match="only Parquet can be read from the middle"):
        parquet_chunks(parts)
    with pytest.raises(UserError, match="there are no rows"):
        parquet_chunks(parts / "2.parquet")
    chunks = parquet_chunks(parts / "3.parquet")
    with pytest.raises(IndexError):
        chunks[1]
    (parts / "3.parquet").write_bytes((parts / "0.parquet").read_bytes())
    with pytest.raises(UserError, match="has changed while it was read"):
        read_parquet_chunk(chunks[0])
