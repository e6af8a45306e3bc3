from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from polyml.cli.main import app

COMMAND = [sys.executable, "-c", "from polyml.cli.main import main; main()"]
MONOMERS = """smiles,name
OCCO,glycol
O=C(O)CCC(=O)O,succinic acid
NCCN,EDA
C=CCOCC=C,crosslinker
C=C,ethene
CCO,spirit
[Na+].[Cl-],salt
"""


@pytest.fixture
def csv(workdir: Path) -> str:
    Path("m.csv").write_text(MONOMERS)
    return "m.csv"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["candidates", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def fail(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["candidates", *arguments])
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


@pytest.mark.parametrize("name", ["c.parquet", "c.csv", "c.csv.gz"])
def test_candidates_with_their_monomers(csv: str, name: str) -> None:
    text = run("--monomers", csv, "-o", name)
    frame = pd.read_parquet(name) if name.endswith("parquet") else pd.read_csv(name)
    assert list(frame) == ["psmiles", "monomer_1", "monomer_2", "polymer_class", "monomer_1_name", "monomer_2_name"]
    assert frame["polymer_class"].value_counts().to_dict() == {"polyester": 2, "polyolefin": 1, "polyamide": 1}
    amide = frame[frame["polymer_class"] == "polyamide"].iloc[0]
    assert (amide["monomer_1_name"], amide["monomer_2_name"]) == ("succinic acid", "EDA")
    assert "7 monomers read, 5 used, 1 that no rule takes, 1 refused" in text
    assert "network" in text
    assert list(pd.read_csv("c_rejects.csv")["reason"]) == ["no class", "mixture"]
    run("--monomers", csv, "-o", name)  # what was written before is replaced


def test_a_packed_file_is_the_plain_one(csv: str) -> None:
    for name in ("a.csv", "b.csv.gz"):
        run("--monomers", csv, "-o", name)
    assert gzip.decompress(Path("b.csv.gz").read_bytes()) == Path("a.csv").read_bytes()


def test_json(csv: str) -> None:
    told = json.loads(run("--monomers", csv, "-o", "c.csv", "--json", "--no-carbonates"))
    assert told["monomers"]["refused"] == told["monomers"]["without_class"] == 1
    assert told["candidates"] == 3 == sum(item["candidates"] for item in told["classes"].values())
    assert set(told["left_out"]) == {"network"}
    assert (told["output"], told["rejects"], told["stopped"]) == ("c.csv", "c_rejects.csv", False)


def test_standard_output_goes_into_another_verb(csv: str) -> None:
    made = subprocess.run([*COMMAND, "candidates", "--monomers", csv, "-o", "-"], capture_output=True, check=True)
    frame = pd.read_csv(io.BytesIO(made.stdout))
    assert len(frame) == 4
    assert b"4 candidates" in made.stderr
    assert sorted(path.name for path in Path().iterdir()) == ["m.csv"]
    code = (
        "from polyml.data.readers import read_candidates\n"
        "chunk, = read_candidates('-')\nprint(len(chunk), *chunk.columns)"
    )
    read = subprocess.run([sys.executable, "-c", code], input=made.stdout, capture_output=True, check=True)
    names = ["monomer_1", "monomer_2", "polymer_class", "monomer_1_name", "monomer_2_name"]
    assert read.stdout.decode().split() == ["4", *names]


def test_a_reader_that_stops_early_is_no_error(workdir: Path) -> None:
    asked = [*COMMAND, "candidates", "--monomers", "monomers", "--classes", "polyurethane", "-o", "-", "-q", "-j", "1"]
    process = subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(b"psmiles,")
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 0


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_leaves_no_file_that_looks_whole(workdir: Path, jobs: str) -> None:
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # ignored in the background
    command = [sys.executable, "-c", f"{hear}; {COMMAND[-1]}"]
    asked = [*command, "candidates", "--monomers", "monomers", "-o", "c.parquet", "-j", jobs]
    process = subprocess.Popen(asked, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list(Path().glob(".c.parquet.*")) and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert [path.name for path in Path().iterdir()] == ["c_rejects.csv"]


def test_the_classes_are_listed() -> None:
    rows = json.loads(run("--list-classes", "--json"))
    assert {"polyester", "polyimide"} <= {row["polymer_class"] for row in rows}
    assert "polyoxazolidone" in run("--list-classes")


def test_mistakes_say_how_to_mend_them(csv: str) -> None:
    assert "--monomers FILE and -o OUT are needed" in fail("--monomers", csv)
    assert "did you mean 'polyamide'?" in fail("--monomers", csv, "-o", "c.csv", "--classes", "polyamyde")
    assert ".csv.gz" in fail("--monomers", csv, "-o", "c.xlsx")
    assert "this is the input file" in fail("--monomers", csv, "-o", csv)
    assert "name a file with -o" in fail("--monomers", csv, "-o", "-", "--json")
    assert "no column of SMILES" in fail("--monomers", _other(), "-o", "c.csv")
    assert "diNCO for polyoxazolidone" in fail("--monomers", _epoxides(), "--classes", "polyoxazolidone", "-o", "c.csv")
    assert not Path("c.csv").exists()
    Path("mine.csv").write_text("a,b\n1,2\n")
    assert "something else than candidates" in fail("--monomers", csv, "-o", "mine.csv")
    Path("d_rejects.csv").write_text("a,b\n1,2\n")
    assert "d_rejects.csv" in fail("--monomers", csv, "-o", "d.csv")


def _other() -> str:
    Path("other.csv").write_text("structure\nC=C\n")
    return "other.csv"


def _epoxides() -> str:
    Path("epoxides.csv").write_text("smiles\nC1OC1CCC1CO1\n")
    return "epoxides.csv"


def test_a_list_without_monomers_keeps_the_reasons(csv: str) -> None:
    Path("bad.csv").write_text("smiles\nCCO\nC1C\n")
    assert "no class (1), invalid SMILES (1)" in fail("--monomers", "bad.csv", "-o", "c.csv")
    assert list(pd.read_csv("c_rejects.csv")["line"]) == [2, 3]
