"""Damage costs the rows that it hits, each with its line and the reason; the others are read."""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyml.data import Property
from polyml.data.lines import LONGEST
from polyml.data.readers import count_rows, read_candidates
from polyml.data.table_reader import read_table
from polyml.errors import UserError


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


COMPRESS = {
    "gz": gzip.compress,
    "bz2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "zst": zstd,
}


def rows_of(source, **options):
    """Return (line, psmiles, reason) of all rows."""
    chunks = list(read_candidates(source, **options))
    return [row for c in chunks for row in zip(c.lines, c.psmiles, (f[0] for f in c.faults), strict=True)]


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def many(n: int) -> bytes:
    """Return a table that does not compress to nothing."""
    numbers = np.random.default_rng(0).integers(0, 2**60, n)
    return b"psmiles,n\n" + b"".join(b"*CC*,%d\n" % number for number in numbers)


@pytest.mark.parametrize("ending", COMPRESS)
def test_compressed_text_is_read(tmp_path, ending):
    whole = many(100)
    assert len(rows_of(write(tmp_path, f"a.csv.{ending}", COMPRESS[ending](whole)))) == 100
    twice = COMPRESS[ending](whole) + COMPRESS[ending](whole.partition(b"\n")[2])
    assert len(rows_of(write(tmp_path, f"b.csv.{ending}", twice))) == 200  # as cat a.gz b.gz makes
    assert rows_of(write(tmp_path, f"plain_name_{ending}.csv", COMPRESS[ending](b"psmiles\n*CC*\n"))) == [
        (2, "*CC*", "")
    ]


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("harm", ["cut", "corrupt", "tail"])
def test_a_broken_archive_is_read_to_the_damage(tmp_path, ending, harm):
    n = 20_000
    data = COMPRESS[ending](many(n))
    middle = len(data) * 3 // 4
    broken = {"cut": data[:middle], "corrupt": data[:middle] + bytes(99) + data[middle + 99 :], "tail": data + b"more"}
    path = write(tmp_path, f"a.csv.{ending}", broken[harm])
    if harm == "tail" and ending == "bz2":
        assert len(rows_of(path)) == n  # what is behind the end is left out there
        return
    (*good, last) = rows_of(path)
    sound = good if harm != "corrupt" else good[: n // 4]  # what a library makes of spoilt bytes may look like rows
    assert all(row == (line, "*CC*", "") for line, row in enumerate(sound, 2))
    assert n // 4 < len(good) <= n
    if harm == "tail":
        assert len(good) == n
    assert last[1:] == ("", "damaged")
    assert last[0] == len(good) + 2 or (harm == "corrupt" and last[0] > good[-1][0])
    chunk = list(read_candidates(path))[-1]
    assert "the rest of the file cannot be read: " in chunk.fault_texts()[len(chunk) - 1]
    told = f"line {last[0]}: the rest of the file cannot be read" if harm != "corrupt" else "line"
    with pytest.raises(UserError, match=told):
        read_table(path, [Property(name="n")])


def test_the_other_files_are_read_after_a_broken_one(tmp_path):
    write(tmp_path, "a.csv.gz", gzip.compress(many(2000))[:-500])
    write(tmp_path, "b.csv", many(3))
    chunks = list(read_candidates(tmp_path))
    (damaged,) = [i for i, fault in enumerate(chunks[0].faults) if fault[0]]
    assert chunks[0].faults[damaged][0] == "damaged"
    assert chunks[0].file_of_row[damaged:] == ["a.csv.gz", "b.csv", "b.csv", "b.csv"]
    assert chunks[0].lines[damaged + 1 :] == [2, 3, 4]


@pytest.mark.parametrize("tail", [b"*CO*,", b"*CO*,1", b"*CO*", b'"*CO*', b'*CO*,"', b"*C\xc3"])
def test_a_table_cut_in_mid_row_keeps_the_rows_before(tmp_path, tail):
    rows = rows_of(write(tmp_path, "a.csv", b"psmiles,n\n*CC*,1\n" + tail))
    assert rows[0] == (2, "*CC*", "")
    assert [row[0] for row in rows] == [2, 3]
    whole = tail.count(b",") and b'"' not in tail
    assert bool(rows[1][2]) is not whole


def test_nul_bytes_cost_their_row(tmp_path):
    rows = rows_of(write(tmp_path, "a.csv", b"psmiles,n\n*CC*,1\n*C\0C*,2\n*CO*,3\n" + bytes(100)))
    assert [row[2] for row in rows] == ["", "NUL byte", "", "NUL byte"]
    assert "\0" not in "".join(row[1] for row in rows)


@pytest.mark.parametrize("ending", ["csv", "smi"])
def test_an_endless_line_costs_itself_and_little_memory(tmp_path, ending):
    with (path := tmp_path / f"a.{ending}").open("wb") as file:
        file.write(b"psmiles\n*CC*\n")
        for _ in range(100):
            file.write(b"C" * 100_000)
        file.write(b"\n*CO*\n")
    tracemalloc.start()
    try:
        assert rows_of(path) == [(2, "*CC*", ""), (3, "", "too long"), (4, "*CO*", "")]
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert held < 6 * LONGEST < path.stat().st_size


def test_millions_of_blank_lines_are_nothing(tmp_path):
    path = write(tmp_path, "a.csv", b"psmiles,n\n*CC*,1\n" + b"\n" * 2_000_000 + b"*CO*,1\n")
    assert rows_of(path) == [(2, "*CC*", ""), (2_000_003, "*CO*", "")]


def test_a_quote_left_open_and_a_field_that_is_too_long(tmp_path):
    long = b"C" * (csv.field_size_limit() + 1)
    rows = rows_of(write(tmp_path, "a.csv", b'psmiles,n\n"*CC*,1\n*CO*,2\n' + long + b",3\n*CN*,4\n"))
    assert [(row[0], row[2]) for row in rows] == [(2, "open quote"), (3, ""), (4, "too long"), (5, "")]


def test_a_table_of_measurements_is_read_strictly(tmp_path):
    path = write(tmp_path, "a.csv", b'psmiles,n\n*CC*,1\n"*CO*,2\n*CS*,3\n')
    with pytest.raises(UserError, match="line 3: a quote that opens here is not balanced"):
        read_table(path, [Property(name="n")])


@pytest.fixture
def groups(tmp_path):
    """A Parquet file of ten row groups of 1000 rows."""
    path = tmp_path / "a.parquet"
    texts = [f"*{'C' * (i % 37 + 1)}*" for i in range(10_000)]
    table = pa.table({"psmiles": texts, "n": np.random.default_rng(0).normal(size=10_000)})
    pq.write_table(table, path, row_group_size=1000, use_dictionary=False, write_page_checksum=True)
    return path


def spoil(path: Path, group: int) -> None:
    """Write over some bytes in the middle of the structures of a row group."""
    with pq.ParquetFile(path) as file:
        column = file.metadata.row_group(group).column(0)
    content = bytearray(path.read_bytes())
    at = column.data_page_offset + column.total_compressed_size // 2
    content[at : at + 20] = os.urandom(20)
    path.write_bytes(content)


def test_a_damaged_row_group_costs_its_rows(groups):
    whole = rows_of(groups)
    spoil(groups, 3)
    rows = rows_of(groups)
    assert [row for row in rows if not row[2]] == [row for row in whole if not 3000 < row[0] <= 4000]
    assert [row for row in rows if row[2]] == [(line, "", "damaged") for line in range(3001, 4001)]
    fault = next(read_candidates(groups)).faults[3000]
    assert fault[1].startswith("row group 4 cannot be read: ")
    with pytest.raises(UserError, match="line 3001: row group 4 cannot be read"):
        read_table(groups, [Property(name="n")])


def test_a_broken_footer_stops_before_any_work(groups):
    other = groups.parent / "b.parquet"
    other.write_bytes(groups.read_bytes()[:-1000])
    for source in (other, groups.parent):
        with pytest.raises(UserError, match="not a Parquet file") as caught:
            read_candidates(source)
        assert str(other) in str(caught.value)
        with pytest.raises(UserError, match="not a Parquet file"):
            count_rows(source)


def test_cells_that_are_no_text_and_columns_that_change_type(tmp_path):
    binary = pa.array([b"*CC*", b"*C\xe9*", None, b"*CO*"], pa.binary())
    pq.write_table(pa.table({"psmiles": binary, "n": [1, 2, 3, 4]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"psmiles": [5, None], "n": ["x", "y"]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"psmiles": pa.nulls(1), "n": [None]}), tmp_path / "c.parquet")
    write(tmp_path, "d.csv", b"psmiles,n\n*CN*,7\n")
    (chunk,) = read_candidates(tmp_path)
    assert chunk.psmiles == ["*CC*", "*C\\xe9*", "", "*CO*", "5", "", "", "*CN*"]
    assert [fault[0] for fault in chunk.faults] == ["", "not UTF-8", "", "", "not text", "", "", ""]
    assert chunk.columns["n"] == [1, 2, 3, 4, "x", "y", None, "7"]


def test_values_that_python_cannot_hold_cost_their_cell(tmp_path):
    days = pa.array([2**30, 1], pa.int32()).view(pa.date32())
    raw = pa.array([b"a\xe9", b"b\0"], pa.binary()).buffers()
    texts = pa.Array.from_buffers(pa.string(), 2, [None, *raw[1:]])
    table = pa.table({"psmiles": ["*CC*", "*C\0O*"], "day": days, "note": texts})
    pq.write_table(table, tmp_path / "a.parquet")
    (chunk,) = read_candidates(tmp_path / "a.parquet")
    assert str(2**30) in chunk.columns["day"][0]
    assert str(chunk.columns["day"][1]) == "1970-01-02"
    assert chunk.columns["note"][0] == "a\\xe9"
    assert [fault[0] for fault in chunk.faults] == ["not UTF-8", "NUL byte"]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
@pytest.mark.parametrize("harm", ["grow", "shrink", "go"])
def test_a_file_that_changes_while_it_is_read(groups, name, harm):
    path = groups if name == "a.parquet" else write(groups.parent, name, many(100_000))
    chunks = read_candidates(path, chunk_size=10)
    next(chunks)
    if harm == "go":
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size + (100 if harm == "grow" else -100))
    with pytest.raises(UserError, match="has gone while it was read" if harm == "go" else "changed while it was read"):
        list(chunks)


def test_a_file_that_changes_before_its_turn(tmp_path):
    for name in ("a.csv", "b.csv"):
        write(tmp_path, name, many(10))
    chunks = read_candidates(tmp_path, chunk_size=10)
    next(chunks)
    write(tmp_path, "b.csv", many(11))
    with pytest.raises(UserError, match=r"b.csv: the file has changed while it was read \(from"):
        next(chunks)


def test_prediction_of_frames_keeps_the_file(tmp_path):
    write(tmp_path, "a.csv", b"psmiles,file\n*CC*,x\n")
    write(tmp_path, "b.csv", b"psmiles\n*CO*\n")
    (chunk,) = read_candidates(tmp_path)
    expected = {"file": ["a.csv", "b.csv"], "line": [2, 2], "psmiles": ["*CC*", "*CO*"], "file_input": ["x", ""]}
    pd.testing.assert_frame_equal(chunk.frame, pd.DataFrame(expected))
