from __future__ import annotations

import csv
import gzip
import io
import sys

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyml.data.readers import count_rows, find_smiles_column, read_candidates
from polyml.errors import UserError


def rows_of(path, **options):
    """Return (line, psmiles, fault) of all rows of a file."""
    chunks = list(read_candidates(path, **options))
    return [row for c in chunks for row in zip(c.lines, c.psmiles, (f[0] for f in c.faults), strict=True)]


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"name,SMILES\nx,*CC*\ny,*CO*\n"),
        ("crlf.csv", b"name,SMILES\r\nx,*CC*\r\ny,*CO*\r\n"),
        ("bom.csv", b"\xef\xbb\xbfSMILES,name\n*CC*,x\n*CO*,y"),
        ("return.csv", b"name,SMILES\rx,*CC*\ry,*CO*\r"),
        ("mixed.csv", b"name,SMILES\r\nx,*CC*\ry,*CO*\n"),
        ("quoted.csv", b'"name","SMILES"\n"x","*CC*"\n"y","*CO*"\n'),
        ("a.tsv", b"name\tpsmiles\nx\t*CC*\ny\t*CO*\n"),
        ("header.smi", b"smiles name\n*CC* x\n*CO* y\n"),
        ("guess.txt", b"psmiles,name\n*CC*,x\n*CO*,y\n"),
    ],
)
def test_formats_give_the_same_rows_with_their_lines(tmp_path, name, content):
    (chunk,) = read_candidates(write(tmp_path, name, content))
    assert chunk.psmiles == ["*CC*", "*CO*"]
    assert chunk.lines == [2, 3]
    assert chunk.columns["name"] == ["x", "y"]
    zipped = write(tmp_path, f"{name}.gz", gzip.compress(content))
    assert rows_of(zipped) == [(2, "*CC*", ""), (3, "*CO*", "")]


def test_smi_without_header_or_names(tmp_path):
    path = write(tmp_path, "a.smi", b"*CC*\n\n  *CO*\tpoly formaldehyde\n")
    (chunk,) = read_candidates(path)
    assert (chunk.lines, chunk.psmiles) == ([1, 3], ["*CC*", "*CO*"])
    assert chunk.columns == {"name": ["", "poly formaldehyde"]}


def test_parquet_counts_rows_and_keeps_columns(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"PSMILES": ["*CC*", None], "class": ["x", "y"], "n": [1, 2]}).to_parquet(path)
    (chunk,) = read_candidates(path)
    assert (chunk.lines, chunk.psmiles) == ([1, 2], ["*CC*", ""])
    assert list(chunk.frame.columns) == ["line", "psmiles", "class", "n"]
    assert count_rows(path) == 2


@pytest.mark.parametrize(("text", "lines"), [(b"smiles,Tg\n*CC*,3\n", [2]), (b"*CC*\n*CO*\n", [1, 2])])
def test_standard_input_is_a_table_or_one_structure_a_line(monkeypatch, text, lines):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert [row[0] for row in rows_of("-")] == lines
    assert not sys.stdin.closed


def test_line_numbers_count_quoted_line_ends_and_blank_lines(tmp_path):
    path = write(tmp_path, "a.csv", b'psmiles,note\n*CC*,"two\nlines"\n\n*CO*,x\n')
    assert rows_of(path) == [(2, "*CC*", ""), (5, "*CO*", "")]


def test_chunks_have_the_asked_size_and_know_their_place(tmp_path):
    path = write(tmp_path, "a.smi", b"*CC*\n" * 7)
    chunks = list(read_candidates(path, chunk_size=3))
    assert [(chunk.first_row, len(chunk)) for chunk in chunks] == [(0, 3), (3, 3), (6, 1)]


def test_candidates_are_streamed_not_held(monkeypatch):
    class Endless(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            buffer[:] = (b"*CC*\n" * len(buffer))[: len(buffer)]
            return len(buffer)

    class Input:
        buffer = io.BufferedReader(Endless())

    monkeypatch.setattr(sys, "stdin", Input)
    chunks = read_candidates("-", chunk_size=70_000)
    assert [(next(chunks).first_row, next(chunks).psmiles[-1])] == [(0, "*CC*")]


def test_broken_rows_are_passed_on_in_their_place(tmp_path):
    content = b'psmiles,n\n*CC*,1\n*C\xe9*,2\n*CO*\n*CS*,1,2\n"*C"C*,1\n*CN*,4\n'
    assert rows_of(write(tmp_path, "a.csv", content)) == [
        (2, "*CC*", ""),
        (3, "*C\\xe9*", "not UTF-8"),
        (4, "*CO*", "field count"),
        (5, "*CS*", "field count"),
        (6, "", "quotes"),
        (7, "*CN*", ""),
    ]


@pytest.mark.parametrize("length", [100_000, 300_000])
def test_a_very_long_line_does_not_stop_the_stream(tmp_path, length):
    path = write(tmp_path, "a.csv", b"psmiles,n\n*" + b"C" * length + b"*,1\n*CO*,2\n")
    rows = rows_of(path)
    assert [row[0] for row in rows] == [2, 3]
    assert rows[0][2] == ("too long" if length > csv.field_size_limit() else "")
    assert rows[1] == (3, "*CO*", "")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "empty"),
        ("a.csv", b"\n\n", "blank lines"),
        ("a.csv", b"psmiles,n\n", "no rows below the header"),
        ("a.csv", b"psmiles,n,n\n*CC*,1,2\n", "columns named twice: n"),
        ("a.csv", b"polymer,Tg\n*CC*,1\n", "the columns are: polymer, Tg"),
        ("a.csv", b"smiles,SMILES\n*CC*,*CC*\n", "several columns may hold the SMILES"),
        ("a.csv", b"psmiles;Tg\n*CC*;1\n", "semicolons"),
        ("a.csv", b"psm\xefles,n\n*CC*,1\n", "byte 4 (0xef) is not UTF-8"),
        ("a.csv", b'psmiles,"n\n*CC*,1\n', "the header cannot be read"),
        ("a.csv.gz", b"psmiles,n\n*CC*,1\n", "cannot be read"),
        ("a.csv.gz", gzip.compress(b"psmiles\n" + b"*CC*\n" * 99, mtime=0)[:9], "cannot be read"),
        ("a.csv", b"p\0smiles,n\n*CC*,1\n", "byte 2 is NUL"),
        ("a.csv", "psmiles,n\n*CC*,1\n".encode("utf-16"), "UTF-16"),
        ("a.csv", b"PK\x03\x04 rest", "zip archive"),
        ("a.parquet", b"psmiles,n\n*CC*,1\n", "not a Parquet file"),
        ("a.xlsx", b"PK", "unknown format '.xlsx'"),
    ],
)
def test_a_bad_file_is_a_user_error_that_names_it(tmp_path, name, content, message):
    path = write(tmp_path, name, content)
    with pytest.raises(UserError) as caught:
        list(read_candidates(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_file_folder_and_unknown_name(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        read_candidates(tmp_path / "no.csv")
    with pytest.raises(UserError, match="the folder holds no data file"):
        read_candidates(tmp_path)
    with pytest.raises(UserError, match="did you mean 'candidates'"):
        read_candidates("candidate")


def test_an_explicit_column_must_exist():
    assert find_smiles_column(["a", "psmiles"], "a") == "a"
    with pytest.raises(UserError, match=r"no column 'smile'\n.*did you mean 'smiles'\? the columns are: smiles, x"):
        find_smiles_column(["smiles", "x"], "smile")


def test_psmiles_goes_before_smiles():
    assert find_smiles_column(["SMILES", "PSMILES"]) == "PSMILES"


def test_columns_that_clash_with_ours_are_renamed(tmp_path):
    (chunk,) = read_candidates(write(tmp_path, "a.csv", b"line,SMILES,psmiles\n7,*CO*,*CC*\n"), smiles_column="SMILES")
    assert list(chunk.frame.columns) == ["line", "psmiles", "line_input", "psmiles_input"]
    assert chunk.frame.iloc[0].tolist() == [2, "*CO*", "7", "*CC*"]


cells = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r", exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(notes=st.lists(cells, min_size=1, max_size=8), crlf=st.booleans(), bom=st.booleans())
def test_any_text_beside_the_structures_survives(tmp_path, notes, crlf, bom):
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n" if crlf else "\n")
    writer.writerow(["psmiles", "note"])
    expected = []
    for note in notes:
        expected.append(buffer.getvalue().count("\n") + 1)
        writer.writerow(["*CC*", note])
    path = write(tmp_path, "a.csv", buffer.getvalue().encode("utf-8-sig" if bom else "utf-8"))
    (chunk,) = read_candidates(path)
    assert chunk.columns["note"] == notes
    assert chunk.lines == expected
