"""The quick and the careful reading of text give the same rows, whatever the bytes and however they come."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyml.data import delimited, lines, streams
from polyml.data.delimited import csv_blocks, smi_blocks
from polyml.data.lines import LineReader
from polyml.data.rows import open_rows
from polyml.data.streams import Stream

TOKENS = [b'"', b'""', b',"', b'",', b'"a"', b",", b"\n", b"\r", b"\r\n", b"\n\n", b"\0", b"a", b"*CC*", b" ", b"\t"]
TOKENS += [
    b"\xe9",
    "é".encode(),
    "\u2028\x0b\x85".encode(),
    b"a,b\n",
    b'"a","b"\r\n',
    b"a" * 15,
    b'"a\n\n\n\n\n\n',
    b"a " * 20,
]
soup = st.lists(st.sampled_from(TOKENS), max_size=50).map(b"".join)


@contextmanager
def small(part: int) -> Iterator[None]:
    """Let every limit be small, so that short texts meet them."""
    before = csv.field_size_limit(20)
    try:
        with (
            patch.object(streams, "PART", part),
            patch.object(lines, "LONGEST", 30),
            patch.object(delimited, "ROW_LINES", 4),
            patch.object(delimited, "ROW_LENGTH", 40),
        ):
            yield
    finally:
        csv.field_size_limit(before)


def rows_of(blocks):
    found = []
    for block in blocks:
        for at, (line, *cells) in enumerate(zip(block.lines, *block.cells, strict=True)):
            found.append((line, tuple(cells), block.faults.get(at, ("", ""))))
    return found


def read_csv(data: bytes, width: int, keep_blank: bool, *, part: int, careful: bool = False):
    with small(part), patch.object(delimited, "_whole", (lambda *_: None) if careful else delimited._whole):
        reader = LineReader(Stream(io.BytesIO(data), "soup"))
        return rows_of(csv_blocks(reader, ",", width, keep_blank=keep_blank)), reader.number


@settings(max_examples=400, deadline=None)
@given(soup, st.integers(1, 3), st.booleans(), st.integers(1, 40))
def test_csv_is_read_alike_quickly_and_carefully(data, width, keep_blank, part):
    expected = read_csv(data, width, keep_blank, part=10_000, careful=True)
    assert read_csv(data, width, keep_blank, part=10_000) == expected
    assert read_csv(data, width, keep_blank, part=part) == expected


@settings(max_examples=200, deadline=None)
@given(soup, st.integers(1, 3))
def test_every_line_of_a_csv_file_is_in_a_row(data, width):
    rows, _ = read_csv(data, width, True, part=10_000)
    starts = [row[0] for row in rows] + [len(data.splitlines()) + 1]
    assert starts[0] == 1
    for (start, then), row in zip(pairwise(starts), rows, strict=True):
        assert then > start
        if row[2][0] in ("too long", "quotes", "open quote", "field count"):
            assert then == start + 1


@settings(max_examples=200, deadline=None)
@given(soup, st.booleans(), st.booleans(), st.integers(1, 40))
def test_smi_is_read_alike_in_parts_of_any_size(data, keep_blank, is_header, part):
    def read(size):
        with small(size):
            reader = LineReader(Stream(io.BytesIO(data), "soup"))
            return rows_of(smi_blocks(reader, keep_blank=keep_blank, is_header=is_header))

    assert read(part) == read(10_000)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.text("ab,\"\n\r é'", max_size=6), min_size=2, max_size=2), max_size=12), st.booleans())
def test_sound_csv_is_read_as_the_csv_module_reads_it(table, quote_all):
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL).writerows(table)
    expected = [tuple(row) for row in csv.reader(io.StringIO(text.getvalue(), newline=""), strict=True)]
    with patch.object(delimited, "ROW_LINES", 1000):
        reader = LineReader(Stream(io.BytesIO(text.getvalue().encode()), "table"))
        rows = rows_of(csv_blocks(reader, ",", 2, keep_blank=False))
    assert [row[1] for row in rows] == [row for row in expected if "".join(row).strip() or len(row) == 2]
    assert not any(row[2][0] for row in rows)


def test_an_open_quote_costs_the_line_that_opens_it():
    data = b'a,1\n"b,2\nc,3\nd,"4\nfour"\ne,5\n'
    rows, _ = read_csv(data, 2, False, part=10_000)
    assert [(row[0], row[1][0], row[2][0]) for row in rows] == [
        (1, "a", ""),
        (2, "", "open quote"),
        (3, "c", ""),
        (4, "d", ""),
        (6, "e", ""),
    ]


def test_a_quote_that_closes_many_rows_later_swallows_none(tmp_path):
    data = b'psmiles,n\n"*CC*,1\n*CO*,2\n*CN*,"\n*CS*,4\n'
    rows, _ = read_csv(data, 2, False, part=10_000)
    assert [(row[0], row[2][0]) for row in rows] == [(1, ""), (2, "open quote"), (3, ""), (4, "open quote"), (5, "")]
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    assert [(row.line, row.reason) for row in open_rows(path).rows] == [(2, "field count"), (5, "")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("length", [30, 31, 500])
def test_a_line_is_read_up_to_the_limit(end, length):
    rows, number = read_csv(b"a" + end + b"b" * length + end + b"c" + end, 1, False, part=8)
    assert [row[0] for row in rows] == [1, 2, 3]
    assert number == 3
    assert [row[2][0] for row in rows] == ["", "too long", ""]
    with small(8):
        reader = LineReader(Stream(io.BytesIO(b"a" + end + b"b" * length + end + b"c"), "smi"))
        rows = rows_of(smi_blocks(reader, keep_blank=False, is_header=False))
    assert [row[2][0] for row in rows] == ["", "" if length == 30 else "too long", ""]
