from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from polyml.errors import UserError
from polyml.prediction import predict_file, predict_frame


@pytest.fixture(scope="module")
def bundle(make_bundle):
    return make_bundle()


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
@pytest.mark.parametrize("chunk_size", [2, 100])
def test_predict_file_writes_every_row_in_order(bundle, tmp_path, ending, chunk_size):
    rows = ["*CC(*)C", "junk", "*CC*", "*C", "*CC(*)CC"]
    source = tmp_path / "in.csv"
    source.write_text("name,smiles,O2\n" + "".join(f"n{i},{text},{i}\n" for i, text in enumerate(rows)))
    counts = predict_file(bundle, source, tmp_path / f"out.{ending}", chunk_size=chunk_size)
    read = pd.read_parquet if ending == "parquet" else pd.read_csv
    frame = read(tmp_path / f"out.{ending}")
    assert counts == {"predicted": 3, "refused": 2}
    assert frame["line"].tolist() == [2, 3, 4, 5, 6]
    assert frame["psmiles"].tolist() == rows
    assert frame["name"].tolist() == [f"n{i}" for i in range(5)]
    assert frame["O2_input"].astype(int).tolist() == list(range(5))
    expected = predict_frame(bundle, rows)
    np.testing.assert_allclose(frame["O2"], expected["O2"], rtol=1e-5)
    assert frame["error"].fillna("").tolist() == expected["error"].tolist()


def test_numbers_in_a_file_have_the_digits_that_a_prediction_has(bundle, tmp_path):
    (tmp_path / "in.smi").write_text("*CC(*)C\n*CC*\n*CC(*)CC\njunk\n")
    predict_file(bundle, tmp_path / "in.smi", tmp_path / "out.csv")
    cells = pd.read_csv(tmp_path / "out.csv", dtype=str)[["O2", "O2_std", "Tg", "nearest_similarity"]].stack()
    digits = cells.str.replace(r"e.*", "", regex=True).str.replace(".", "").str.lstrip("0").str.len()
    assert digits.max() <= 10  # not 339.87750000000017
    assert digits.max() > 5


def test_predict_file_says_what_is_wrong_and_leaves_nothing(bundle, tmp_path):
    (tmp_path / "in.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no column of SMILES"):
        predict_file(bundle, tmp_path / "in.csv", tmp_path / "out.csv")
    with pytest.raises(UserError, match="kind of output file"):
        predict_file(bundle, tmp_path / "in.csv", tmp_path / "out.xlsx")
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_a_broken_line_is_a_row_with_an_error(bundle, tmp_path):
    (tmp_path / "in.csv").write_bytes(b"smiles,name\n*CC*,a\n*CC(*)C,\xff\n*CC*,a,b,c\n")
    counts = predict_file(bundle, tmp_path / "in.csv", tmp_path / "out.csv")
    frame = pd.read_csv(tmp_path / "out.csv")
    assert counts == {"predicted": 1, "refused": 2}
    assert frame["error"].str.startswith(("not UTF-8", "field count")).tolist() == [False, True, True]
    assert frame["Tg"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("in.csv", "psmiles,name\n*CC*,a\n\n*CC(*)C,b\n\n", [2, 3, 4, 5]),
        ("in.smi", "*CC* a\n\n*CC(*)C b\n \n", [1, 2, 3, 4]),
    ],
)
def test_a_blank_line_is_a_row_too(bundle, tmp_path, name, text, lines):
    (tmp_path / name).write_text(text)
    counts = predict_file(bundle, tmp_path / name, tmp_path / "out.csv")
    frame = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert counts == {"predicted": 2, "refused": 2}
    assert frame["line"].tolist() == lines
    assert frame["name"].tolist() == ["a", "", "b", ""]
    assert frame["error"].tolist() == ["", "blank line", "", "blank line"]


def test_a_failing_write_leaves_the_old_file(bundle, tmp_path, monkeypatch):
    (tmp_path / "in.smi").write_text("*CC*\n*CC(*)C\n")
    old = "line,psmiles,domain,error\n"
    (tmp_path / "out.csv").write_text(old)

    def full(self, *arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(UserError, match="No space left"):
        predict_file(bundle, tmp_path / "in.smi", tmp_path / "out.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.smi", "out.csv"]
    assert (tmp_path / "out.csv").read_text() == old


def test_predictions_replace_predictions_and_nothing_else(bundle, tmp_path):
    (tmp_path / "in.smi").write_text("*CC*\n*CC(*)C\n")
    (tmp_path / "measured.csv").write_text("psmiles,Tg\n*CC*,250\n")
    for name in ("out.csv", "out.parquet", "out.csv", "out.parquet"):
        predict_file(bundle, tmp_path / "in.smi", tmp_path / name)
    with pytest.raises(UserError, match="something else than predictions"):
        predict_file(bundle, tmp_path / "in.smi", tmp_path / "measured.csv")
    assert (tmp_path / "measured.csv").read_text() == "psmiles,Tg\n*CC*,250\n"


def test_known_properties_are_read_from_the_file_and_what_is_unreadable_is_said(make_bundle, tmp_path):
    bundle = make_bundle("completion")
    rows = ["*CC(*)CCC,,", "*CC(*)CCC,,350", "*CC(*)CCC,abc,350", "*CC(*)CCC,-3,NA"]
    (tmp_path / "in.csv").write_text("smiles,O2,Tg\n" + "\n".join(rows) + "\n")
    counts = predict_file(bundle, tmp_path / "in.csv", tmp_path / "out.csv")
    assert counts == {"predicted": 4, "refused": 0}
    frame = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    o2 = frame["O2"].astype(float)
    assert o2[1] != o2[0]  # it knows Tg
    assert o2[2] == o2[1]
    assert o2[3] == o2[0]
    assert frame["warning"].tolist()[:2] == ["", ""]
    assert "O2 is given as 'abc', which is not used" in frame["warning"][2]
    assert "O2 is given as '-3', which is not used" in frame["warning"][3]


def test_several_files_are_predicted_with_the_file_of_each_row(bundle, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "a.csv").write_text("smiles,file\n*CC*,x\n")
    (folder / "b.smi").write_text("*CC(*)C\n\n*CC*\n")
    counts = predict_file(bundle, folder, tmp_path / "out.csv")
    frame = pd.read_csv(tmp_path / "out.csv")
    assert counts == {"predicted": 3, "refused": 1}
    assert frame["file"].tolist() == ["a.csv", "b.smi", "b.smi", "b.smi"]
    assert frame["line"].tolist() == [2, 1, 2, 3]
    assert frame["file_input"].fillna("").tolist() == ["x", "", "", ""]
    for source in (folder, folder / "*", [folder / "a.csv", folder / "b.smi"]):
        with pytest.raises(UserError, match="this is the input file"):
            predict_file(bundle, source, folder / "a.csv")
