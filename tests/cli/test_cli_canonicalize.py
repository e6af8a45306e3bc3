from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-c", "from polyml.cli.main import main; main()", "canonicalize"]


def canonicalize(data: bytes) -> list[dict[str, str]]:
    done = subprocess.run([*COMMAND, "-"], input=data, capture_output=True, check=True)
    return list(csv.DictReader(io.StringIO(done.stdout.decode("utf-8"))))


def test_one_row_a_line_in_order() -> None:
    lines = [b"*OCC*", b"", b"*COC*", b"CC", b"*C*", b"*C(*)*", b"  ", b"*CCO*"]
    rows = canonicalize(b"\n".join(lines) + b"\n")
    assert [row["psmiles"] for row in rows] == [line.decode().strip() for line in lines]
    assert rows[0]["canonical"] == rows[2]["canonical"] == rows[7]["canonical"] != ""
    assert [bool(row["error"]) for row in rows] == [False, True, False, True, False, True, True, False]
    assert all(bool(row["canonical"]) != bool(row["error"]) for row in rows)


def test_windows_line_ends_bom_bad_bytes_and_a_very_long_line() -> None:
    data = b"\xef\xbb\xbf*CC*\r\n*C\xffC*\r\n*" + b"C" * 100_000 + b"*\r\n*CO*"
    rows = canonicalize(data)
    assert len(rows) == 4
    assert rows[0]["psmiles"] == "*CC*"
    assert "UTF-8" in rows[1]["error"]
    assert "\ufffd" in rows[1]["psmiles"]
    assert rows[2]["error"]
    assert rows[3]["canonical"]


def test_a_reader_that_stops_early_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "many.smi"
    path.write_text("*CC*\n" * 30_000)
    process = subprocess.Popen([*COMMAND, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"psmiles,canonical,error\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 0


def test_missing_file() -> None:
    done = subprocess.run([*COMMAND, "nowhere.smi"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nowhere.smi" in done.stderr
    assert done.stdout == ""


def test_a_table_is_read_by_its_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('name,unit,Tg\na,*OCC*,1\nb,"C",2\nc,*COC*,3,4\nd,*COC*,3\n')
    refused = subprocess.run([*COMMAND, str(tmp_path / "a.csv")], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--smiles-column" in refused.stderr
    asked = [*COMMAND, str(tmp_path / "a.csv"), "--smiles-column", "unit"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    found = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["psmiles"] for row in found][::3] == ["*OCC*", "*COC*"]
    assert found[0]["canonical"] == found[3]["canonical"] != ""
    assert [bool(row["error"]) for row in found] == [False, True, True, False]
