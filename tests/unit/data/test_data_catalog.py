from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import polyml
from polyml.data import catalog, embedded_build
from polyml.data.files import sha256_file, whole_file
from polyml.errors import UserError


def test_the_embedded_files_are_the_ones_that_were_built():
    embedded_build.check_files(catalog.embedded_folder())
    size = catalog.embedded_path("candidates").stat().st_size
    assert size < 8_000_000


@pytest.mark.parametrize(("name", "rows"), [("gas_permeability", 786), ("monomers", 1083), ("candidates", 574837)])
def test_rows_and_columns(name, rows):
    frame = catalog.load_embedded(name)
    item = catalog.EMBEDDED[name]
    assert len(frame) == rows == item.rows
    assert {"psmiles", "smiles"} & set(frame.columns)
    assert {prop.name for prop in item.properties} <= set(frame.columns)


def test_attachment_points_are_counted_as_documented():
    gas = catalog.load_embedded("gas_permeability")["psmiles"].str.count(r"\*").value_counts().to_dict()
    assert gas == {2: 745, 4: 31, 0: 6, 3: 3, 1: 1}
    candidates = catalog.load_embedded("candidates")
    stars = candidates["psmiles"].str.count(r"\*").value_counts()
    assert stars[[2, 4, 6]].tolist() == [324078, 164418, 54210]
    assert candidates["monomer_2"].isna().any()
    assert candidates["polymer_class"].nunique() == 7
    readme = (catalog.embedded_folder() / "README.md").read_text(encoding="utf-8")
    assert all(f"{number:,}" in readme for number in (786, 745, 1083, 574837, 324078, 164418, 54210))


def test_the_gas_table_uses_all_supported_rows_and_explains_the_others():
    table = catalog.embedded_table("gas_permeability")
    assert table.names == ["CH4", "CO2", "H2", "N2", "O2"]
    assert all(item.unit == "Barrer" and item.transform == "log10" for item in table.properties)
    rows = len(table) + int((table.duplicates["count"] - 1).sum()) + table.rejects["line"].nunique()
    assert rows == 786
    refused = table.rejects["psmiles"].str.count(r"\*").value_counts().to_dict()
    assert refused == {0: 6, 3: 3, 1: 1}
    assert set(table.rejects["reason"]) == {"attachment points"}
    assert len(set(table.keys)) == len(table) == 759


def test_licences_travel_with_the_data():
    folder = catalog.embedded_folder() / "LICENSES"
    assert "Redistributions in binary form" in (folder / "smipoly-BSD-3-Clause.txt").read_text()
    assert "MIT License" in (folder / "torch-molecule-MIT.txt").read_text()


def test_declared_properties_belong_to_the_set_by_name_and_by_path(tmp_path):
    by_name = catalog.properties_for("gas_permeability", ["O2", "Tg"])
    assert [(item.name, item.unit, item.transform) for item in by_name] == [
        ("O2", "Barrer", "log10"),
        ("Tg", "", "identity"),
    ]
    assert catalog.properties_for(catalog.embedded_path("gas_permeability"), ["O2"]) == by_name[:1]
    copy = tmp_path / "gas_permeability.csv"
    copy.write_text("psmiles,O2\n")
    assert catalog.properties_for(copy, ["O2"])[0].transform == "identity"
    with pytest.raises(UserError, match="no target is named"):
        catalog.properties_for(copy)


def test_an_existing_file_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert catalog.data_path("monomers").name == "monomers.csv"
    (tmp_path / "monomers").mkdir()
    assert catalog.data_path("monomers").name == "monomers.csv"
    (tmp_path / "monomers").rmdir()
    (tmp_path / "monomers").write_text("x")
    assert catalog.data_path("monomers") == Path("monomers")


def test_unknown_names_and_paths():
    with pytest.raises(UserError, match="unknown data set 'gas'"):
        catalog.embedded_path("gas")
    with pytest.raises(UserError, match="did you mean 'gas_permeability'"):
        catalog.data_path("gas_permeabilities")
    with pytest.raises(UserError, match=r"nowhere.csv: there is no such file"):
        catalog.data_path("nowhere.csv")
    with pytest.raises(UserError, match="unknown recipe 'xyz'"):
        catalog.recipe_path("xyz")


def test_an_installed_package_finds_its_own_copies(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "polyml"
    (package / "_embedded" / "data").mkdir(parents=True)
    (package / "_embedded" / "pipelines").mkdir()
    (package / "_embedded" / "pipelines" / "mine.yaml").write_text("name: mine\n")
    shutil.copy(catalog.embedded_path("monomers"), package / "_embedded" / "data")
    monkeypatch.setattr(polyml, "__file__", str(package / "__init__.py"))
    assert catalog.embedded_path("monomers").is_relative_to(package)
    assert catalog.list_recipes() == ["mine"]
    assert catalog.recipe_path("mine") == package / "_embedded" / "pipelines" / "mine.yaml"
    with pytest.raises(UserError, match="make data"):
        catalog.embedded_path("candidates")


def test_changed_and_missing_data_are_found(tmp_path):
    for name in ("gas_permeability.csv", "monomers.csv", "candidates.parquet", "checksums.json"):
        shutil.copy(catalog.embedded_folder() / name, tmp_path)
    embedded_build.check_files(tmp_path)
    with (tmp_path / "monomers.csv").open("a") as handle:
        handle.write("x\n")
    with pytest.raises(UserError, match=r"monomers.csv: the embedded data set was changed"):
        embedded_build.check_files(tmp_path)
    (tmp_path / "gas_permeability.csv").unlink()
    with pytest.raises(UserError, match=r"gas_permeability.csv: the embedded data set is missing"):
        embedded_build.check_files(tmp_path)
    (tmp_path / "checksums.json").unlink()
    with pytest.raises(UserError, match="checksums cannot be read"):
        embedded_build.check_files(tmp_path)


def test_a_wrong_archive_is_refused(tmp_path, monkeypatch):
    def fake_pip(command, **_):
        (Path(command[command.index("--dest") + 1]) / embedded_build.GAS_ARCHIVE.file).write_bytes(b"other")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", fake_pip)
    with pytest.raises(UserError, match="the checksum of torch_molecule"):
        embedded_build.download(embedded_build.GAS_ARCHIVE, tmp_path)


def test_without_network_the_files_stay(tmp_path, monkeypatch, capsys):
    done = subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    (tmp_path / "monomers.csv").write_text("old")
    assert embedded_build.main(["--folder", str(tmp_path)]) == 2
    assert "pip could not download" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["monomers.csv"]


def test_candidates_are_written_the_same_twice(tmp_path):
    frame = catalog.load_embedded("candidates").head(2000).astype(object)
    for name in ("a.parquet", "b.parquet"):
        embedded_build.write_candidates(frame, tmp_path / name)
    assert sha256_file(tmp_path / "a.parquet") == sha256_file(tmp_path / "b.parquet")
    back = pd.read_parquet(tmp_path / "a.parquet").astype(object)
    assert back.where(back.notna(), None).equals(frame.where(frame.notna(), None))


def test_checksums_name_archives_and_rows():
    content = json.loads((catalog.embedded_folder() / "checksums.json").read_text())
    assert {name: item["rows"] for name, item in content["files"].items()} == embedded_build.ROWS
    assert len(content["archives"]) == 2


def _write_half(path):
    with contextlib.suppress(RuntimeError), whole_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with whole_file(path) as temporary:
        temporary.write_text("first")
    assert path.read_text() == "first"
    _write_half(path)
    assert path.read_text() == "first"
    assert [item.name for item in path.parent.iterdir()] == ["a.txt"]
    with pytest.raises(UserError, match="cannot write"), whole_file(path / "below" / "b.txt"):
        pass


def test_importing_the_room_is_cheap():
    code = "import sys, polyml.data; print(*({'pandas', 'rdkit', 'sklearn', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
