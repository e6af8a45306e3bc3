"""The verb ``audit``: what is printed and written, and the exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from polyml.cli.main import app


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["audit", *arguments])


@pytest.fixture
def csv(workdir: Path) -> str:
    texts = [f"*{'C' * k}{end}*" for k in range(3, 15) for end in ("O", "N", "S")]
    pd.DataFrame({"psmiles": texts, "Tg": np.linspace(200, 420, len(texts)).round(1)}).to_csv("tg.csv", index=False)
    return "tg.csv"


@pytest.fixture
def leaky(csv: str) -> str:
    frame = pd.read_csv(csv)
    doubled = pd.DataFrame({"psmiles": ["*CCCOCCCO*", "*CCOC*"], "Tg": [200.3, -72.9]})
    pd.concat([frame, doubled]).to_csv("leaky.csv", index=False)
    return "leaky.csv"


def test_clean_data_pass_strictly(csv: str) -> None:
    result = run(csv, "--strict")
    assert result.exit_code == 0, result.output
    assert "0 error" in result.output


def test_strict_ends_with_1_and_the_folder_is_written(leaky: str) -> None:
    loose = run(leaky)
    assert loose.exit_code == 0, loose.output
    result = run(leaky, "--strict", "-o", "found")
    assert result.exit_code == 1, result.output
    assert "kelvin Tg" in result.output
    assert {path.name for path in Path("found").iterdir()} == {"audit.html", "audit.json", "rows", "tables"}
    assert len(pd.read_csv("found/rows/leaky_frames.csv")) == 2


def test_json_says_everything(leaky: str) -> None:
    result = run(leaky, "--json", "--quiet")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["files"][0]["frame_duplicates"] == 2
    assert found["counts"]["error"] == sum(item["severity"] == "error" for item in found["findings"]) > 0
    assert {"spellings", "overlap", "tasks", "noise", "shift", "leaks", "folds", "similarity"} <= set(found["tables"])
    assert all(item["fix"] and item["why"] for item in found["findings"])


def test_a_split_that_is_asked_for_counts_strictly(workdir: Path) -> None:
    texts = [f"*{'C' * k}O*" for k in range(3, 23)] + [f"*C{'C' * k}OC*" for k in range(3, 13)]
    pd.DataFrame({"psmiles": texts, "x": [text.count("C") for text in texts]}).to_csv("x.csv", index=False)
    assert run("x.csv", "--strict").exit_code == 0
    assert run("x.csv", "--strict", "--split", "kfold").exit_code == 0
    asked = run("x.csv", "--strict", "--split", "rows", "--json", "-q")
    assert asked.exit_code == 1, asked.output
    assert json.loads(asked.stdout)["findings"][0]["check"] == "leak rows"


def test_saved_folds_are_read(csv: str) -> None:
    frame = pd.read_csv(csv)
    frame.assign(fold=np.arange(len(frame)) % 4)[["psmiles", "fold"]].to_csv("splits.csv", index=False)
    result = run(csv, "--splits", "splits.csv", "--json", "-q")
    assert result.exit_code == 0, result.output
    assert {row["split"] for row in json.loads(result.stdout)["tables"]["leaks"]} == {"saved"}


def test_options_declare_units_and_scales(csv: str) -> None:
    result = run(csv, "--unit", "Tg=°C", "--log10", "Tg", "--json", "-q")
    assert result.exit_code == 0, result.output
    assert any("glass transition temperature as log10 in °C" in note for note in json.loads(result.stdout)["notes"])


def test_an_embedded_set_brings_its_declaration(workdir: Path) -> None:
    result = run("gas_permeability", "--sample", "150", "--target", "O2", "--json", "-q")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["files"][0]["rows"] <= 150
    assert any("O2 is taken for gas permeability as log10 in Barrer" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("missing.csv",), "no such file"),
        (("tg.csv", "none.csv"), "no column of SMILES"),
        (("tg.csv", "--target", "tg"), "did you mean 'Tg'"),
        (("tg.csv", "--split", "kfolds"), "kfold"),
        (("tg.csv", "--source", "lab"), "no file has a column 'lab'"),
        (("tg.csv", "--splits", "nothing.csv"), "not a file of folds"),
        (("-",), "twice"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(csv: str, arguments: tuple[str, ...], words: str) -> None:
    pd.DataFrame({"label": ["a"], "Tg": [300]}).to_csv("none.csv", index=False)
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert words in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_people_read_plurals_plain_headings_and_the_mend(leaky: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # so that no heading is divided
    result = run(leaky)
    words = " ".join(result.output.replace("│", " ").split())
    assert "usable rows" in words
    assert "hidden repeats" in words
    assert "frame_duplicates" not in words
    title = re.search(r"Findings: (\d+) (errors?), (\d+) (warnings?), ", words)
    assert title is not None
    assert [title[2], title[4]] == [
        "error" if title[1] == "1" else "errors",
        "warning" if title[3] == "1" else "warnings",
    ]
    assert "→ add 273.15 where the source gives Celsius" in words
    assert words.count("similarity above 0.9") == 1


def test_an_unknown_unit_of_a_known_property_is_refused(csv: str) -> None:
    result = run(csv, "--unit", "Tg=furlong")
    assert result.exit_code == 2, result.output
    assert "the known units are: K, °C" in " ".join(result.output.split())


def test_folds_of_other_data_are_an_error(csv: str) -> None:
    frame = pd.read_csv(csv)[["psmiles"]]
    frame.assign(fold=np.arange(len(frame)) % 4)[:-3].to_csv("splits.csv", index=False)
    result = run(csv, "--splits", "splits.csv", "--strict", "--json", "-q")
    assert result.exit_code == 1, result.output
    found = {item["check"]: item["count"] for item in json.loads(result.stdout)["findings"]}
    assert found["incomplete folds saved"] == 3


def test_the_page_names_units_and_plain_columns(csv: str) -> None:
    assert run(csv, "-o", "found").exit_code == 0
    text = Path("found/audit.html").read_text(encoding="utf-8")
    assert "<th>usable rows</th>" in text
    assert "frame_duplicates" not in text
    assert '"text":"Tg (K)"' in text
