from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from polyml.data.properties import Property
from polyml.data.table_reader import read_table
from polyml.errors import UserError

LOG = Property(name="O2", unit="Barrer", transform="log10", lower=1e-3, upper=1e5)
TG = Property(name="Tg", unit="K")


def table(tmp_path, text, properties=(LOG, TG), name="a.csv", **options):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, properties, **options)


def test_values_units_and_missing_ones(tmp_path):
    result = table(tmp_path, "name,SMILES,Tg,O2\na,*CC*,250,10\nb,*CO*,NA,1e-2\nc,*CS*, 300 ,\n")
    assert list(result.frame.columns) == ["line", "psmiles", "key", "O2", "Tg", "name"]
    assert result.frame["line"].tolist() == [2, 3, 4]
    np.testing.assert_allclose(result.values, [[10, 250], [0.01, np.nan], [np.nan, 300]])
    np.testing.assert_allclose(result.y, [[1, 250], [-2, np.nan], [np.nan, 300]])
    assert len(result.rejects) == 0


@pytest.mark.parametrize("name", ["line", "error", "score", "Tg_std"])
def test_a_target_with_the_name_of_a_column_that_is_written_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=f"'{name}' cannot be the name of a target: polyml writes"):
        table(tmp_path, f"psmiles,Tg,{name}\n*CC*,1,2\n", [TG, Property(name=name)])


def test_bad_values_are_refused_and_the_row_stays_when_another_is_measured(tmp_path):
    text = "psmiles,O2,Tg\n*CC*,-1,300\n*CO*,inf,300\n*CS*,high,300\n*CCN*,0,\n*CCO*,,\n*CCS*,1_0,1\n*CCCO*,'5,1\n"
    result = table(tmp_path, text)
    assert result.frame["line"].tolist() == [2, 3, 4, 7, 8]
    assert np.isnan(result.values[:, 0]).all()
    found = list(result.rejects[["line", "column", "reason"]].itertuples(index=False, name=None))
    assert found == [
        (2, "O2", "not positive"),
        (3, "O2", "infinite"),
        (4, "O2", "not a number"),
        (5, "O2", "not positive"),
        (6, "", "no value"),
        (7, "O2", "not a number"),
        (8, "O2", "not a number"),
    ]
    assert result.rejects["detail"][2] == "'high' is not a number"


def test_refused_structures_have_line_reason_and_text(tmp_path):
    result = table(tmp_path, "psmiles,O2,Tg\n*CC*,1,\nCC,1,\n*CC,1,\n,1,\n*C(*,1,\n*CC*\n")
    assert result.rejects["line"].tolist() == [3, 4, 5, 6, 7]
    assert result.rejects["reason"].tolist()[:2] == ["attachment points"] * 2
    assert result.rejects["reason"].tolist()[4] == "field count"
    assert result.reject_counts["attachment points"] == 2
    result.save_reports(tmp_path / "sub")
    assert {path.name for path in (tmp_path / "sub").iterdir()} == {"rejects.csv", "warnings.csv", "duplicates.csv"}
    saved = pd.read_csv(tmp_path / "sub" / "rejects.csv", keep_default_na=False)
    assert saved["psmiles"].tolist() == ["CC", "*CC", "", "*C(*", "*CC*"]


def test_a_very_long_structure_is_refused_and_kept_short(tmp_path):
    result = table(tmp_path, "psmiles,O2,Tg\n*" + "C" * 100_000 + "*,1,\n*CC*,1,\n")
    assert len(result) == 1
    assert result.rejects["line"].tolist() == [2]
    assert len(result.rejects["psmiles"][0]) < 2000


def test_a_value_outside_the_plausible_range_is_kept_with_a_warning(tmp_path):
    result = table(tmp_path, "psmiles,O2,Tg\n*CC*,1e-4,\n*CO*,1e6,\n*CS*,1,\n")
    assert len(result) == 3
    assert result.warnings[["line", "column"]].values.tolist() == [[2, "O2"], [3, "O2"]]
    assert "1e-04" in result.warnings["detail"][0] or "0.0001" in result.warnings["detail"][0]


def test_duplicates_are_merged_by_polymer_with_the_mean_of_the_modelled_scale(tmp_path):
    text = (
        "psmiles,O2,Tg,name\n*OCC*,1,200,first\n*CS*,5,,x\n*COC*,100,,second\n[*]CCOCCO[*],,210,third\n*CCl,1,1,bad\n"
    )
    result = table(tmp_path, text)
    assert result.frame["name"].tolist() == ["first", "x"]
    assert result.frame["line"].tolist() == [2, 3]
    np.testing.assert_allclose(result.values, [[10, 205], [5, np.nan]])
    (report,) = result.duplicates.to_dict("records")
    assert (report["lines"], report["count"]) == ("2;4;5", 3)
    assert report["spread_O2"] == pytest.approx(2)
    assert report["conflict"]
    assert "O2" in report["conflicts"].split(";")


def test_duplicates_that_agree_do_not_conflict(tmp_path):
    text = "psmiles,O2\n*OCC*,10\n*CCO*,10.1\n*CS*,1\n*CC*,1000\n"
    result = table(tmp_path, text, [LOG])
    assert not result.duplicates["conflict"].any()
    kept = table(tmp_path, text, [LOG], merge_duplicates=False)
    assert (len(result), len(kept), len(kept.duplicates)) == (3, 4, 1)
    strict = table(tmp_path, text, [LOG], conflict_tolerance=1e-4)
    assert strict.duplicates["conflict"].all()


def test_values_that_are_not_merged_stay_exact(tmp_path):
    result = table(tmp_path, "psmiles,O2\n*CO*,0.1\n*CC*,1\n*CCCC*,1\n", [LOG])
    assert result.values[0, 0] == 0.1


def test_digest_depends_on_content_alone(tmp_path):
    first = table(tmp_path, "psmiles,O2\n*CO*,1\n*CC*,2\n", [LOG])
    assert first.digest == table(tmp_path, "O2,psmiles\n2,*CC*\n1,*OC*\n", [LOG]).digest
    assert first.digest != table(tmp_path, "psmiles,O2\n*CO*,1\n*CC*,2.5\n", [LOG]).digest
    assert first.digest != table(tmp_path, "psmiles,O2\n*CO*,1\n*CC*,2\n", [Property(name="O2")]).digest


def test_parquet_numbers(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"psmiles": ["*CC*", "*CO*", "*CS*"], "O2": [1.0, np.nan, 3.0], "Tg": [1, 2, 3]}).to_parquet(path)
    result = read_table(path, [LOG, TG])
    np.testing.assert_array_equal(result.values, [[1, 1], [np.nan, 2], [3, 3]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"psmiles,O2\n*CC*,1\n", "no column 'Tg'"),
        (b"psmiles,O2,Tg\n*CC*,a,b\nCC,1,1\n", "no row is usable: not a number (2)"),
        (b"psmiles,O2,Tg\n", "there are no rows below the header"),
        (b"psmiles,O2,Tg\n*CC*,1,1\n*C\xe9*,1,1\n", "line 3: byte 3 (0xe9) is not UTF-8"),
    ],
)
def test_user_errors(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        table(tmp_path, text)
    assert message in str(caught.value)
    assert "a.csv" in str(caught.value)


@pytest.mark.parametrize("names", [[], ["O2", "O2"], ["key"]])
def test_impossible_targets(tmp_path, names):
    with pytest.raises(UserError, match="target"):
        table(tmp_path, "psmiles,O2,key\n*CC*,1,1\n", [Property(name=name) for name in names])


def test_constant_and_rare_targets(tmp_path):
    result = table(tmp_path, "psmiles,O2,Tg\n*CC*,1,300\n*CO*,2,300\n*CS*,3,\n")
    with pytest.raises(UserError, match="'Tg' is constant: all 2 values are 300"):
        result.check_targets()
    with pytest.raises(UserError, match="'O2' has 3 usable values, at least 4"):
        result.check_targets(4)


def test_property_scales_are_inverse_and_refuse_what_has_no_logarithm():
    np.testing.assert_allclose(LOG.from_model(LOG.to_model([1e-6, 3.5, np.nan])), [1e-6, 3.5, np.nan])
    with pytest.raises(UserError, match="1 values of 'O2' have no log10, such as -1"):
        LOG.to_model([1, -1])
    with pytest.raises(ValueError, match="must be below"):
        Property(name="x", lower=2, upper=1)


def implausible(result):
    found = result.warnings[result.warnings["reason"] == "outside the plausible range"]
    return found["line"].tolist()


def test_values_outside_the_range_of_a_well_known_property_are_used_with_a_warning(tmp_path):
    text = "psmiles,Tg\n*CC*,300\n*CO*,-999\n*CS*,3000\n*CCN*,310\n*CCO*,320\n*CCS*,25\n*CCCS*,400\n"
    result = table(tmp_path, text, [Property(name="Tg")])
    assert implausible(result) == [3, 4, 7]
    detail = "-999 lies outside the plausible range 100 to 900 K for glass transition temperature"
    assert result.warnings["detail"].iloc[0] == detail
    assert result.values[:, 0].tolist() == [300, -999, 3000, 310, 320, 25, 400]
    assert result.properties == (Property(name="Tg"),)
    # A range that is declared is the only one that counts.
    assert implausible(table(tmp_path, text, [Property(name="Tg", lower=-2000, upper=1000)])) == [4]
    other = text.replace("Tg", "my_property")
    assert implausible(table(tmp_path, other, [Property(name="my_property")])) == []


def test_a_column_that_only_bears_the_name_gets_no_warning(tmp_path):
    counts = "psmiles,n\n*CC*,10\n*CO*,20\n*CS*,30\n*CCN*,2\n"  # n is also the refractive index, from 1 to 4
    assert implausible(table(tmp_path, counts, [Property(name="n")])) == []
    celsius = "psmiles,Tg\n*CC*,20\n*CO*,30\n*CS*,-60\n*CCN*,120\n"
    assert implausible(table(tmp_path, celsius, [Property(name="Tg")])) == []
    assert implausible(table(tmp_path, celsius, [Property(name="Tg", unit="K")])) == [2, 3, 4]  # the user says kelvin
    logarithms = "psmiles,O2\n*CC*,-1.5\n*CO*,0.5\n*CS*,1.2\n*CCN*,2.1\n"
    assert implausible(table(tmp_path, logarithms, [Property(name="O2")])) == []
