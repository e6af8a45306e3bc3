from __future__ import annotations

import gzip
import io
import os
import sys

import pandas as pd
import pytest

from polyml.data import embedded_path
from polyml.data.readers import candidate_files, count_rows, read_candidates
from polyml.errors import UserError


@pytest.fixture
def library(tmp_path):
    """A folder with data files, and others that are none."""
    folder = tmp_path / "library"
    for name in (
        "b.csv",
        "a/z.smi",
        "a/y.tsv.gz",
        "c.parquet",
        ".hidden.csv",
        "_SUCCESS.csv",
        "_old/x.csv",
        ".git/x.csv",
    ):
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        if path.suffix == ".parquet":
            pd.DataFrame({"smiles": ["*CS*"] * 3, "name": ["p", "q", "r"], "Tg": [1.5, None, 2]}).to_parquet(path)
        elif path.suffix == ".gz":
            path.write_bytes(gzip.compress(b"psmiles\tvendor\n*CC*\tx\n"))
        else:
            path.write_bytes(b"name,SMILES\nu,*CO*\nv,*CN*\n" if path.suffix == ".csv" else b"*CCC* w\n")
    (folder / "README.txt").write_text("Where this is from")
    (folder / "a.pdf").write_text("a paper")
    return folder


def test_a_folder_is_all_its_data_files_by_path(library):
    names = [path.relative_to(library).as_posix() for path in candidate_files(library)]
    assert names == ["a/y.tsv.gz", "a/z.smi", "b.csv", "c.parquet"]
    (chunk,) = read_candidates(library)
    assert chunk.psmiles == ["*CC*", "*CCC*", "*CO*", "*CN*", "*CS*", "*CS*", "*CS*"]
    assert chunk.lines == [2, 1, 2, 3, 1, 2, 3]
    assert chunk.file_of_row == ["a/y.tsv.gz", "a/z.smi", "b.csv", "b.csv", *["c.parquet"] * 3]
    assert chunk.columns["vendor"] == ["x", *[""] * 6]
    assert chunk.columns["name"] == ["", "w", "u", "v", "p", "q", "r"]
    assert list(chunk.columns) == ["vendor", "name", "Tg"]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_chunks_span_files(library, size):
    (whole,) = read_candidates(library)
    chunks = list(read_candidates(library, chunk_size=size))
    assert [chunk.first_row for chunk in chunks] == list(range(0, 7, size))
    assert {len(chunk) for chunk in chunks[:-1]} <= {size}
    for name in ("lines", "psmiles", "faults", "file_of_row"):
        assert [item for chunk in chunks for item in getattr(chunk, name)] == getattr(whole, name)
    for name, cells in whole.columns.items():
        assert [cell for chunk in chunks for cell in chunk.columns[name]] == pytest.approx(cells, nan_ok=True)


def test_patterns(library, monkeypatch):
    def names(pattern):
        return [name for chunk in read_candidates(pattern) for name in dict.fromkeys(chunk.file_of_row)]

    assert names(f"{library}/**/*.[cs][sm][vi]") == ["a/z.smi", "b.csv"]
    assert names(library / "a" / "*") == ["y.tsv.gz", "z.smi"]
    assert [path.name for path in candidate_files(f"{library}/_*.csv")] == ["_SUCCESS.csv"]
    monkeypatch.chdir(library)
    assert candidate_files("*.csv")[0].as_posix() == "b.csv"
    with pytest.raises(UserError, match="no file matches the pattern"):
        candidate_files("none/*.csv")
    for pattern in ("*.xyz", "*CC*", "[*]CC[*]"):
        with pytest.raises(UserError, match="a pattern that no file matches"):
            candidate_files(pattern)
    with pytest.raises(UserError, match=r"a file of unknown format: a\.pdf"):
        candidate_files("a.*")


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    path = tmp_path / "a[1].csv"
    path.write_text("psmiles\n*CC*\n")
    assert candidate_files(path) == [path]


def test_a_list_keeps_its_order_and_its_paths(library, monkeypatch):
    monkeypatch.chdir(library)
    (chunk,) = read_candidates(["b.csv", "a"])
    assert list(dict.fromkeys(chunk.file_of_row)) == ["b.csv", "a/y.tsv.gz", "a/z.smi"]
    with pytest.raises(UserError, match="no file is named"):
        candidate_files([])


def test_one_file_and_embedded_sets_and_standard_input(library, monkeypatch):
    assert candidate_files("candidates") == [embedded_path("candidates")]
    assert [str(path) for path in candidate_files("-")] == ["-"]
    (chunk,) = read_candidates([library / "b.csv"])
    assert chunk.file_of_row == []
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"*CC*\n")))
    (chunk,) = read_candidates(["-", library / "b.csv"])
    assert (chunk.psmiles, chunk.file_of_row[0]) == (["*CC*", "*CO*", "*CN*"], "-")


@pytest.mark.parametrize("compress", [gzip.compress, bytes])
def test_compressed_standard_input_is_read(monkeypatch, compress):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(compress(b"name,smiles\nx,*CC*\n"))))
    (chunk,) = read_candidates("-")
    assert (chunk.lines, chunk.psmiles) == ([2], ["*CC*"])


def test_the_same_file_twice(library):
    for source in ([library, library / "b.csv"], [library / "b.csv", library / "a" / ".." / "b.csv"]):
        with pytest.raises(UserError, match="the same file comes twice"):
            candidate_files(source)
    (library / "link.csv").symlink_to(library / "b.csv")
    with pytest.raises(UserError, match="the same file comes twice"):
        candidate_files(library)


def test_a_file_beside_its_compressed_copy(library):
    (library / "b.csv.gz").write_bytes(gzip.compress((library / "b.csv").read_bytes()))
    with pytest.raises(UserError, match=r"b\.csv is here both plain and compressed"):
        candidate_files(library)


def test_a_link_to_a_folder_above_does_not_lead_astray(library):
    (library / "a" / "up").symlink_to(library)
    assert len(candidate_files(library)) == 4


def test_each_file_needs_a_structure_and_rows_somewhere(library):
    (library / "d.csv").write_text("name,Tg\nx,1\n")
    with pytest.raises(UserError, match="no column of SMILES found") as caught:
        read_candidates(library)
    assert "d.csv" in str(caught.value)
    (library / "d.csv").write_text("")
    with pytest.raises(UserError, match="the file is empty"):
        read_candidates(library)
    (library / "d.csv").write_text("psmiles\n")  # no rows, which is no fault among others
    assert sum(map(len, read_candidates(library))) == 7
    with pytest.raises(UserError, match="no rows below the header"):
        read_candidates([library / "d.csv"])


def test_chosen_columns(library):
    (chunk,) = read_candidates(library, columns=["Tg"])
    assert list(chunk.columns) == ["Tg"]
    (chunk,) = read_candidates(library / "c.parquet", columns=[])
    assert (chunk.columns, chunk.psmiles) == ({}, ["*CS*"] * 3)
    with pytest.raises(UserError, match="no column 'tg'"):
        read_candidates(library, columns=["tg"])


def test_rows_are_counted_where_the_files_say_it(library):
    assert count_rows(library / "c.parquet") == 3
    (library / "d.parquet").write_bytes((library / "c.parquet").read_bytes())
    assert count_rows(f"{library}/*.parquet") == 6
    assert count_rows(library) is None
    assert count_rows("-") is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_among_files(library, tmp_path):
    import threading

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b"psmiles\n*CF*\n"))
    writer.start()
    (chunk,) = read_candidates([library / "b.csv", pipe])
    writer.join()
    assert chunk.psmiles == ["*CO*", "*CN*", "*CF*"]
