"""Candidates under a URL are read as they are from a disk."""

from __future__ import annotations

import gzip
import uuid

import fsspec
import pandas as pd
import pytest

from polyml.data.parquet_index import parquet_chunks, read_parquet_chunks
from polyml.data.readers import candidate_files, count_rows, read_candidates
from polyml.data.sources import file_digests
from polyml.errors import UserError

FILES = {
    "a/y.tsv.gz": gzip.compress(b"psmiles\tvendor\n*CC*\tx\n"),
    "a/z.smi": b"*CCC* w\n",
    "b.csv": b"name,SMILES\nu,*CO*\nv,*CN*\n",
    "_old/x.csv": b"psmiles\n*C*\n",
    ".hidden.csv": b"psmiles\n*C*\n",
    "README.txt": b"Where this is from",
    "a.pdf": b"a paper",
}


@pytest.fixture(params=["local", "memory"])
def url(request, tmp_path):
    root = f"local://{tmp_path}/parts" if request.param == "local" else f"memory://{uuid.uuid4().hex}/parts"
    system, path = fsspec.core.url_to_fs(root)
    pd.DataFrame({"smiles": ["*CS*"] * 3, "Tg": [1.5, None, 2]}).to_parquet(tmp_path / "c.parquet", row_group_size=2)
    for name, content in {**FILES, "c.parquet": (tmp_path / "c.parquet").read_bytes()}.items():
        system.makedirs(f"{path}/{name}".rpartition("/")[0], exist_ok=True)
        system.pipe_file(f"{path}/{name}", content)
    return root


def test_a_folder_is_all_its_data_files(url):
    assert [str(file) for file in candidate_files(url)] == [
        f"{url}/{name}" for name in ("a/y.tsv.gz", "a/z.smi", "b.csv", "c.parquet")
    ]
    (chunk,) = read_candidates(url)
    assert chunk.psmiles == ["*CC*", "*CCC*", "*CO*", "*CN*", "*CS*", "*CS*", "*CS*"]
    assert chunk.lines == [2, 1, 2, 3, 1, 2, 3]
    assert chunk.file_of_row == ["a/y.tsv.gz", "a/z.smi", "b.csv", "b.csv", *["c.parquet"] * 3]
    assert chunk.columns["vendor"] == ["x", *[""] * 6]
    assert count_rows(url) is None
    assert len(set(file_digests(candidate_files(url)))) == 4


def test_patterns_files_and_lists(url):
    assert [file.name for file in candidate_files(f"{url}/**/*.[ct]sv*")] == ["y.tsv.gz", "b.csv"]
    assert [file.name for file in candidate_files(f"{url}/_old/*.csv")] == ["x.csv"]
    first, second = candidate_files([f"{url}/b.csv", "candidates"])
    assert (str(first), second.name) == (f"{url}/b.csv", "candidates.parquet")
    (chunk,) = read_candidates(f"{url}/c.parquet")
    assert (chunk.psmiles, chunk.file_of_row) == (["*CS*"] * 3, [])
    assert count_rows(f"{url}/*.parquet") == 3


def test_parquet_is_read_by_number_of_chunk(url):
    chunks = parquet_chunks(f"{url}/c.parquet", chunk_size=2)
    assert [chunk.psmiles for chunk in read_parquet_chunks(chunks)] == [["*CS*"] * 2, ["*CS*"]]
    system, path = fsspec.core.url_to_fs(f"{url}/c.parquet")
    system.pipe_file(path, system.cat_file(path) + b"more")
    with pytest.raises(UserError, match="changed while it was read"):
        next(read_parquet_chunks(chunks))


def test_a_url_that_cannot_be_read_is_told(url):
    for source, message in (
        (f"{url}/none.csv", "no such file or folder"),
        (f"{url}/*.tsv", "no file matches the pattern"),
        (f"{url}/*.pdf", "unknown format"),
        ([f"{url}/b.csv", f"{url}/b.csv"], "the same file comes twice"),
        ("ftpx://somewhere/b.csv", "nothing is known of such a URL"),
    ):
        with pytest.raises(UserError, match=message):
            candidate_files(source)
    system, path = fsspec.core.url_to_fs(f"{url}/packed")
    for name in ("a.csv", "a.csv.gz"):
        system.makedirs(path, exist_ok=True)
        system.pipe_file(f"{path}/{name}", b"psmiles\n*C*\n")
    with pytest.raises(UserError, match="both plain and compressed"):
        candidate_files(f"{url}/packed")


def test_a_store_that_fails_is_no_damage_of_the_file(url, monkeypatch):
    """Else the rows behind a broken connection would be refused, and the run would end as if all were well."""
    for name in ("c.parquet", "b.csv"):
        chunks = read_candidates(f"{url}/{name}", chunk_size=1)
        assert next(chunks).psmiles

        def fail(self, buffer):
            raise UserError("cannot read: connection reset", where=self._url)

        with monkeypatch.context() as patch:
            patch.setattr("polyml.data.stores._Fetched.readinto", fail)
            with pytest.raises(UserError, match="connection reset"):
                list(read_candidates(f"{url}/{name}"))


def test_a_file_url_is_a_path(tmp_path):
    (tmp_path / "a b.csv").write_bytes(b"psmiles\n*CC*\n")
    (file,) = candidate_files(f"file://{tmp_path}/a%20b.csv")
    assert file == tmp_path / "a b.csv"
