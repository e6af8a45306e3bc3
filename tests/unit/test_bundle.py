from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from polyml.bundle import Bundle
from polyml.chem import RepeatUnit
from polyml.data.files import sha256_file
from polyml.data.properties import SPREAD_SUFFIXES, WRITTEN_COLUMNS
from polyml.errors import PolymlError, RepeatUnitError, UserError
from polyml.prediction import predict_frame

POLYMERS = ["*CC*", "*OCC*", "*CC(*)c1ccccc1", "*CC(*)C", "*CC(*)Cl", "*[Si](C)(C)O*", "*CC(*)C#N"]


@pytest.fixture(scope="module")
def bundle(make_bundle):
    return make_bundle()


@pytest.fixture
def saved(bundle, tmp_path):
    return bundle.save(tmp_path / "model")


def test_what_is_saved_comes_back_the_same(bundle, saved):
    back = Bundle.load(saved)
    np.testing.assert_array_equal(back.predict(POLYMERS).mean, bundle.predict(POLYMERS).mean)
    np.testing.assert_array_equal(back.values, bundle.values)
    for name in ("properties", "keys", "psmiles", "data_digest", "seed", "scores", "versions", "digest"):
        assert getattr(back, name) == getattr(bundle, name)
    assert back.versions["rdkit"]


def test_errors_are_independent_unless_the_model_has_learned_more(bundle, monkeypatch):
    np.testing.assert_array_equal(bundle.error_correlation, np.eye(2))
    monkeypatch.setattr(bundle.model, "error_correlation_", np.full((2, 2), 1.0), raising=False)
    np.testing.assert_array_equal(bundle.error_correlation, np.ones((2, 2)))


def test_no_file_of_a_bundle_is_a_pickle(saved):
    for path in saved.rglob("*"):
        if path.is_file():
            assert path.suffix not in (".pkl", ".pickle", ".joblib", ".pt", ".ckpt")
            assert not path.read_bytes().startswith(b"\x80\x04")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_model_is_as_readable_as_any_other_file(saved, tmp_path):
    (tmp_path / "any").touch()
    assert {path.stat().st_mode for path in saved.rglob("*") if path.is_file()} == {(tmp_path / "any").stat().st_mode}


def test_predictions_are_in_user_units(bundle):
    found = bundle.predict(["*CC(*)C", "*CC(*)CC"])
    modelled = bundle.model.predict_dist(["*CC(*)C", "*CC(*)CC"])
    np.testing.assert_allclose(found.mean[:, 0], 10 ** modelled.mean[:, 0])
    np.testing.assert_allclose(found.mean[:, 1], modelled.mean[:, 1])
    np.testing.assert_array_equal(found.std, modelled.std)  # log10 stays in decades
    np.testing.assert_allclose(found.upper[:, 0], 10 ** modelled.upper[:, 0])
    np.testing.assert_allclose(bundle.predict_mean([RepeatUnit.parse("*CC(*)CC")])[0], found.mean[1], rtol=1e-5)
    assert bundle.predict([]).mean.shape == (0, 2)


def test_an_ensemble_brackets_its_median(make_bundle):
    found = make_bundle("extra_trees").predict(["*CC(*)CC"])
    assert (found.std > 0).all()
    assert (found.lower < found.mean).all()
    assert (found.mean < found.upper).all()


def test_no_target_can_take_the_name_of_a_column_that_is_written(make_bundle):
    bundle = make_bundle("autoencoder")
    numbers, texts = bundle.output_columns
    of_properties = {name + suffix for name in bundle.names for suffix in ("", *SPREAD_SUFFIXES)}
    assert {*numbers, *texts} - of_properties <= WRITTEN_COLUMNS


def test_an_autoencoder_tells_how_strange_a_polymer_is(make_bundle, tmp_path):
    bundle = make_bundle("autoencoder")
    frame = predict_frame(bundle, ["*CC(*)C", "junk", "*c1ccc(S(=O)(=O)c2ccc(*)cc2)cc1"])
    assert set(frame.columns) == {"psmiles", *bundle.output_columns[0], *bundle.output_columns[1]}
    assert "novelty" in bundle.output_columns[0]
    known, refused, strange = frame["novelty"]
    assert np.isnan(refused)
    assert strange > 2 * known
    assert "novelty" not in make_bundle("mean").output_columns[0]


def test_predict_frame_keeps_every_row(bundle):
    frame = predict_frame(bundle, ["*CC(*)C", "junk", "*C", "*C(C)C*"])
    assert frame.columns.tolist() == [
        "psmiles", *(f"{name}{suffix}" for name in ("O2", "Tg") for suffix in ("", "_std", "_lower", "_upper")),
        "nearest_similarity", "domain_score", "domain", "nearest_warning", "nearest_training", "warning", "error",
    ]  # fmt: skip
    assert frame["psmiles"].tolist() == ["*CC(*)C", "junk", "*C", "*C(C)C*"]
    assert (frame["error"] != "").tolist() == [False, True, True, False]
    assert "one attachment point" in frame["error"][2]
    assert frame["O2"].isna().tolist() == [False, True, True, False]
    assert frame["O2"][0] == frame["O2"][3]  # one polymer in two directions
    assert frame["nearest_similarity"][0] == 1.0
    assert frame["nearest_training"].tolist() == ["*CC(*)C", "", "", "*CC(*)C"]
    assert frame["domain"].tolist() == ["inside", "", "", "inside"]
    assert frame["domain_score"][0] == frame["domain_score"][3] < 1.0
    assert frame["domain_score"].isna().tolist() == [False, True, True, False]
    assert (frame["nearest_warning"] == "").all()
    assert "peroxide" in predict_frame(bundle, ["*CC*", "*OCCO*"])["warning"][1]
    assert (frame["warning"] == "").all()
    with pytest.raises(RepeatUnitError):
        bundle.predict(["*CC*", "*C"])
    assert predict_frame(bundle, []).empty


def test_a_polymer_the_model_cannot_take_costs_one_row(bundle, monkeypatch):
    predict = type(bundle.model).predict_dist
    monkeypatch.setattr(type(bundle.model), "predict_dist", lambda self, units: predict(self, fragile(units)))
    frame = predict_frame(bundle, ["*CC(*)C", "*CC(*)Br", "*CC*"])
    assert frame["error"].tolist() == ["", "ArithmeticError: no bromine", ""]
    assert frame["Tg"].isna().tolist() == [False, True, False]
    frame = predict_frame(bundle, ["*CC(*)Br", "*CC(*)CBr"])  # the training polymers tell that the model works
    assert frame["error"].tolist() == ["ArithmeticError: no bromine"] * 2
    monkeypatch.setattr(type(bundle.model), "predict_dist", lambda self, units: 1 / 0)
    with pytest.raises(PolymlError, match="fails on every polymer"):
        predict_frame(bundle, ["*CC(*)Br", "*CC(*)CBr"])


def fragile(units):
    if any("Br" in unit.psmiles for unit in units):
        raise ArithmeticError("no bromine")
    return units


@pytest.mark.parametrize("missing", [["domain.safetensors"], ["domain.json", "domain.safetensors"]])
def test_an_old_bundle_learns_its_domain_from_the_training_polymers_in_it(bundle, saved, missing):
    path = saved / "bundle.json"
    content = json.loads(path.read_text())
    for name in missing:
        del content["files"][name]
        (saved / name).unlink()
    path.write_text(json.dumps(content))
    old = Bundle.load(saved)
    assert old.domain.limits == bundle.domain.limits
    pd.testing.assert_frame_equal(predict_frame(old, POLYMERS), predict_frame(bundle, POLYMERS))


def test_limits_of_the_domain_that_make_no_sense_are_refused(saved):
    (saved / "domain.json").write_text('{"edge": 2.0, "outside": 0.1}')
    change(saved, files={"domain.json": sha256_file(saved / "domain.json")})
    with pytest.raises(UserError, match="limits of the applicability domain cannot be read"):
        Bundle.load(saved)


def test_saving_again_replaces_the_bundle_and_leaves_nothing_beside_it(make_bundle, saved):
    other = make_bundle("mean")
    other.save(saved)
    assert Bundle.load(saved).model.key == "mean"
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_saving_refuses_a_folder_with_something_else(bundle, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="something else than a trained model"):
        bundle.save(tmp_path)
    with pytest.raises(UserError, match="a file stands where a folder is needed"):
        bundle.save(tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_model_that_cannot_be_saved_leaves_the_old_bundle(bundle, saved, monkeypatch):
    def full(self, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(bundle.model), "save", full)
    with pytest.raises(UserError, match="No space left"):
        bundle.save(saved)
    monkeypatch.undo()
    assert Bundle.load(saved).seed == 7
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def change(folder, **update):
    path = folder / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **update}))


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"format": "other"}, "does not describe a model of polyml"),
        ({"format_version": 99}, "install a newer polyml"),
        ({"model": "pca_rigde"}, "did you mean 'pca_ridge'"),
        ({"surprise": 1}, "damaged: surprise"),
        ({"properties": []}, "damaged: properties"),
        ({"files": {"../outside": "0"}}, "outside its folder"),
        ({"files": {"model/missing": "0"}}, "lacks its file"),
        ({"n_training": 3}, "does not fit"),
    ],
)
def test_a_changed_description_is_refused(saved, update, message):
    change(saved, **update)
    with pytest.raises(UserError, match=message):
        Bundle.load(saved)


def test_a_changed_file_is_refused(saved):
    frame = pd.read_parquet(saved / "training.parquet")
    frame["value:Tg"] += 1
    frame.to_parquet(saved / "training.parquet", index=False)
    with pytest.raises(UserError, match=r"training\.parquet is not the file that was saved"):
        Bundle.load(saved)


def test_what_is_no_bundle_is_said_to_be_none(tmp_path, saved):
    for folder in (tmp_path / "nothing", tmp_path):
        with pytest.raises(UserError, match="no trained model here"):
            Bundle.load(folder)
    (saved / "bundle.json").write_bytes(b"\xff{")
    with pytest.raises(UserError, match="cannot be read"):
        Bundle.load(saved)


def test_the_digest_follows_what_is_predicted(make_bundle, bundle, saved, tmp_path):
    shutil.copytree(saved, tmp_path / "copy")
    assert Bundle.load(tmp_path / "copy").digest == bundle.digest != ""
    other = make_bundle("mean")
    other.save(tmp_path / "other")
    assert other.digest != bundle.digest
