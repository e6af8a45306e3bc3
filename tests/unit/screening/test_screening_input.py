"""Input as it comes: damaged, mixed, enormous. It costs its own rows, or a clear word before anything is done."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
import textwrap

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyml.errors import UserError
from polyml.screening.screen import ScreenSpec, screen

SPEC = ScreenSpec(objectives=["log10(O2)"], top=50, chunk_size=10, skip_known=False)


def reasons(folder):
    return pd.read_csv(folder / "rejects.csv", keep_default_na=False).set_index("line")["reason"].to_dict()


def run(bundle, path, tmp_path, **changes):
    return screen(path, bundle, SPEC.model_copy(update=changes), tmp_path / "out"), reasons(tmp_path / "out")


def test_a_file_that_ends_in_the_middle_of_a_row(bundle, tmp_path):
    path = tmp_path / "cut.csv"
    path.write_text("psmiles,name,class\n*CC(*)Br,a,b\n*CC(*)I,a,b\n*CC(*)CC")
    summary, refused = run(bundle, path, tmp_path)
    assert (summary.read, summary.valid) == (3, 2)
    assert refused == {4: "field count"}


def test_an_archive_that_ends_early_gives_what_can_be_read(bundle, tmp_path):
    whole = gzip.compress(("psmiles\n" + "".join(f"*CC(*){'C' * (i % 90)}Br\n" for i in range(3000))).encode())
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "z.smi").write_text("*CC(*)I\n")
    summary = screen([tmp_path / "cut.csv.gz", tmp_path / "z.smi"], bundle, SPEC, tmp_path / "out")
    rejects = pd.read_csv(tmp_path / "out" / "rejects.csv", keep_default_na=False)
    assert rejects["reason"].tolist() == ["damaged"]
    assert rejects["file"][0].endswith("cut.csv.gz")
    assert 100 < summary.valid == summary.read - 1 < 3000
    assert "*CC(*)I" in pd.read_csv(tmp_path / "out" / "ranked.csv")["psmiles"].tolist()


def test_line_ends_of_every_kind_in_one_file(bundle, tmp_path):
    path = tmp_path / "mixed.csv"
    path.write_bytes(b"psmiles,n\r\n*CC(*)Br,1\n*CC(*)I,2\r*CC(*)S,3\r\n\r\n\n*CC(*)SC,4")
    summary, refused = run(bundle, path, tmp_path)
    assert (summary.read, summary.valid, refused) == (4, 4, {})
    lines = pd.read_csv(tmp_path / "out" / "ranked.csv").set_index("psmiles")["line"]
    assert lines.to_dict() == {"*CC(*)Br": 2, "*CC(*)I": 3, "*CC(*)S": 4, "*CC(*)SC": 7}


def test_a_column_may_change_its_type_from_file_to_file(bundle, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for i, ids in enumerate([pa.array([1, 2]), pa.array(["x", None]), pa.array([1.5, None]), pa.array([True, False])]):
        units = [f"*CC(*){'C' * (2 * i + j)}Br" for j in range(2)]
        pq.write_table(pa.table({"psmiles": units, "id": ids}), folder / f"{i}.parquet")
    summary = screen(folder, bundle, SPEC.model_copy(update={"keep": "all"}), tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out" / "predictions.csv", dtype=str, keep_default_na=False)
    assert summary.valid == 8
    assert rows["id"].tolist() == ["1", "2", "x", "", "1.5", "", "True", "False"]


def test_ten_million_blank_lines_are_nothing(bundle, tmp_path):
    path = tmp_path / "blank.smi"
    path.write_bytes(b"*CC(*)Br\n" + b"\n" * 10_000_000 + b"*CC(*)I\n")
    summary, refused = run(bundle, path, tmp_path)
    assert (summary.read, summary.valid, refused) == (2, 2, {})
    assert 10_000_002 in pd.read_csv(tmp_path / "out" / "ranked.csv")["line"].tolist()


def test_a_structure_of_ten_thousand_atoms_and_other_nonsense(bundle, tmp_path):
    path = tmp_path / "odd.smi"
    path.write_bytes(b"*" + b"C" * 10_000 + b"*\n*CC(*)\x00Br\n*CC*\xff\n" + b"*" + b"(" * 500 + b"\n*CC(*)Br\n")
    summary, refused = run(bundle, path, tmp_path)
    assert (summary.read, summary.valid) == (5, 1)
    assert set(refused) == {1, 2, 3, 4}
    assert (refused[1], refused[2], refused[3]) == ("too long", "NUL byte", "not UTF-8")


def test_a_quote_that_is_never_closed_costs_one_row(bundle, tmp_path):
    path = tmp_path / "quote.csv"
    path.write_text('psmiles,name\n*CC(*)Br,"good, one"\n*CC(*)I,"open\n' + "*CC(*)CCBr,x\n" * 50)
    summary, refused = run(bundle, path, tmp_path)
    assert (summary.read, summary.valid) == (52, 51)
    assert refused == {3: "open quote"}


def test_a_full_disk_ends_the_run_and_a_resume_ends_it_well(bundle, library, tmp_path):
    bundle.save(tmp_path / "model")
    spec = SPEC.model_copy(update={"keep": "all"})
    screen(library, tmp_path / "model", spec, tmp_path / "whole")
    sizes = [path.stat().st_size for path in (tmp_path / "whole" / "shards").glob("[0-9]*.shard")]
    script = f"""
        import resource, signal
        from polyml.errors import UserError
        from polyml.screening.screen import ScreenSpec, screen
        spec = ScreenSpec.model_validate_json({spec.model_dump_json()!r})
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({max(sizes) + 4096}, {max(sizes) + 4096}))
        try:
            screen({str(library)!r}, {str(tmp_path / "model")!r}, spec, {str(tmp_path / "out")!r})
        except UserError as error:
            print(error)
            raise SystemExit(2)
    """
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "cannot write" in done.stdout
    assert not (tmp_path / "out" / "summary.json").exists()
    screen(library, tmp_path / "model", spec, tmp_path / "out", resume=True)
    for name in ("ranked.csv", "rejects.csv", "predictions.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_model_of_another_version_is_refused_in_plain_words(bundle, library, tmp_path):
    folder = bundle.save(tmp_path / "model")
    content = json.loads((folder / "bundle.json").read_text())
    content["format_version"] = 99
    (folder / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="has format 99"):
        screen(library, folder, SPEC, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_of_another_version_of_polyml_is_not_resumed(bundle, library, tmp_path):
    screen(library, bundle, SPEC, tmp_path / "out")
    path = tmp_path / "out" / "shards" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["version of polyml"] = "0.0.1"
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"something else \(version of polyml\)"):
        screen(library, bundle, SPEC, tmp_path / "out", resume=True)


def test_input_that_is_not_there_is_told_before_anything_is_done(bundle, tmp_path):
    (tmp_path / "empty").mkdir()
    for source, message in [
        (tmp_path / "none.csv", "no such file"),
        (tmp_path / "empty", "no data file"),
        (str(tmp_path / "*.parquet"), "no file matches"),
        ([tmp_path / "empty"], "no data file"),
    ]:
        with pytest.raises(UserError, match=message):
            screen(source, bundle, SPEC, tmp_path / "out")
        assert not (tmp_path / "out").exists()
