"""Candidates under a URL are read as they are from a disk."""

from __future__ import annotations

import gzip
import socket
import threading
import uuid
from collections import Counter
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import fsspec
import pandas as pd
import pytest

from polyml.data.parquet_index import parquet_chunks, read_parquet_chunks
from polyml.data.readers import candidate_files, count_rows, read_candidates
from polyml.data.sources import file_digests
from polyml.data.stores import StoreFile, StorePlace
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
    digests = file_digests(candidate_files(url))
    assert len(set(digests)) == 4
    system, path = fsspec.core.url_to_fs(f"{url}/b.csv")
    system.pipe_file(path, FILES["b.csv"] + b"w,*CF*\n")
    again = file_digests(candidate_files(url))
    assert [old == new for old, new in zip(digests, again, strict=True)] == [True, True, False, True]


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


def test_a_server_that_does_not_answer_is_no_missing_file():
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UserError, match=r"cannot read: .*[Cc]onnect"):
        candidate_files(f"http://127.0.0.1:{port}/a.csv")


@pytest.mark.parametrize(("status", "message"), [(404, "no such file or folder"), (403, "cannot read: 403")])
def test_what_a_web_server_says_of_a_file_is_told(status, message):
    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(UserError, match=message):
            candidate_files(f"http://127.0.0.1:{server.server_address[1]}/a.csv")
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("name", "after", "size"), [("b.csv", 2, 10), ("c.parquet", 1, 10_000)])
def test_a_store_that_fails_is_no_damage_of_the_file(url, monkeypatch, name, after, size):
    """Else the rows behind a broken connection would be refused, and the run would end as if all were well."""
    honest = StoreFile.open

    def failing(self, mode="rb"):
        handle = honest(self)
        handle.raw._handle = _Broken(handle.raw._handle, after, size)
        return handle

    monkeypatch.setattr(StoreFile, "open", failing)
    with pytest.raises(UserError, match="connection reset"):
        list(read_candidates(f"{url}/{name}"))


class _Broken:
    """A file of a store whose connection breaks after some requests."""

    def __init__(self, handle, after, size):
        self._handle, self._left, self._size = handle, after, size

    def read(self, size):
        self._left -= 1
        if self._left < 0:
            raise OSError("connection reset")
        return self._handle.read(min(size, self._size))

    def __getattr__(self, name):
        return getattr(self._handle, name)


def test_a_file_url_is_a_path(tmp_path):
    (tmp_path / "a b.csv").write_bytes(b"psmiles\n*CC*\n")
    (file,) = candidate_files(f"file://{tmp_path}/a%20b.csv")
    assert file == tmp_path / "a b.csv"


class _S3(BaseHTTPRequestHandler):
    """As much of S3 as reading and writing take: one bucket, kept in memory."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[Counter] = Counter()

    def _answer(self, code, body=b"", **headers):
        self.send_response(code)
        for name, value in {"Content_Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _asked(self):
        type(self).asked[self.command] += 1
        parts = urlsplit(self.path)
        return unquote(parts.path).lstrip("/").partition("/")[2], parse_qs(parts.query)

    def do_HEAD(self):
        key, _ = self._asked()
        if not key:
            self._answer(200, x_amz_bucket_region="us-east-1")
        elif key in self.objects:
            self._answer(200, Content_Length=len(self.objects[key]), Last_Modified=NOW, ETag='"x"')
        else:
            self._answer(404)

    def do_GET(self):
        key, options = self._asked()
        if key:
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            content = self.objects[key]
            part = content[int(first) : int(last) + 1]
            where = f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"
            self._answer(206, part, Content_Range=where, Last_Modified=NOW, ETag='"x"')
            return
        prefix, depth = options.get("prefix", [""])[0], options.get("delimiter", [""])[0]
        files, folders = [], []
        for name in sorted(name for name in self.objects if name.startswith(prefix)):
            inside = name.removeprefix(prefix)
            if depth and depth in inside:
                folders.append(prefix + inside.split(depth)[0] + depth)
            else:
                files.append(name)
        stamp = "<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        body = "".join(
            f"<Contents><Key>{escape(name)}</Key>{stamp}<Size>{len(self.objects[name])}</Size></Contents>"
            for name in files
        )
        body += "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in dict.fromkeys(folders)
        )
        count = f"<KeyCount>{len(files) + len(folders)}</KeyCount><IsTruncated>false</IsTruncated>"
        self._answer(
            200, f"<ListBucketResult>{count}{body}</ListBucketResult>".encode(), Content_Type="application/xml"
        )

    def log_message(self, *_):
        pass


NOW = "Thu, 01 Jan 2026 00:00:00 GMT"


@pytest.fixture
def s3(monkeypatch):
    """Serve a bucket on this machine for pyarrow; return its objects and the options that lead to it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _S3)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    _S3.objects.clear()
    yield _S3.objects, f"?endpoint_override=127.0.0.1:{server.server_address[1]}&scheme=http&region=us-east-1"
    server.shutdown()
    server.server_close()


def test_buckets_are_read_through_pyarrow(s3):
    objects, options = s3
    objects |= {
        "parts/a b.csv": b"psmiles\n*CC*\n",
        "parts/a%20b.csv": b"psmiles\n*CO*\n",
        "parts/class=one two/part#2.csv.gz": gzip.compress(b"psmiles\n*CN*\n"),
        "parts/c?d.smi": b"*CS*\n",
    }
    (chunk,) = read_candidates(f"s3://lab/parts{options}")
    assert dict(zip(chunk.file_of_row, chunk.psmiles, strict=True)) == {
        "a b.csv": "*CC*", "a%20b.csv": "*CO*", "class=one two/part#2.csv.gz": "*CN*", "c?d.smi": "*CS*",
    }  # fmt: skip
    (chunk,) = read_candidates(f"s3://lab/parts/**/part*{options}")
    assert chunk.psmiles == ["*CN*"]
    (chunk,) = read_candidates(f"s3://lab/parts/a%20b.csv{options}")  # as in every URL, %20 is a blank
    assert chunk.psmiles == ["*CC*"]


def test_many_files_of_a_bucket_share_a_client_and_ask_little(s3, tmp_path):
    objects, options = s3
    pd.DataFrame({"psmiles": ["*CS*"] * 3}).to_parquet(tmp_path / "c.parquet", row_group_size=2)
    objects |= {f"many/{number:03}.parquet": (tmp_path / "c.parquet").read_bytes() for number in range(60)}
    _S3.asked.clear()
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    chunks = parquet_chunks(f"s3://lab/many{options}", chunk_size=90)
    assert sum(len(chunk) for chunk in read_parquet_chunks(chunks)) == 180
    assert _S3.asked["HEAD"] <= 6 * 60
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) - before < 60


def test_a_password_in_a_url_is_shown_nowhere(s3):
    objects, options = s3
    objects["parts/a.csv"] = b"psmiles\n*CC*\n"
    url = f"s3://KEY:SECRET@lab/parts/a.csv{options}"
    (file,) = candidate_files([url])
    (chunk,) = read_candidates([url])
    told = [str(file), *file_digests([file]), *chunk.file_of_row, StorePlace(url).where]
    assert not any("SECRET" in text or "endpoint" in text for text in told)
    with pytest.raises(UserError) as caught:
        candidate_files(f"s3://KEY:SECRET@lab/parts/none.csv{options}")
    assert "SECRET" not in str(caught.value)
