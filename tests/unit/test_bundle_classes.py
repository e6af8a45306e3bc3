"""Bundles whose model predicts a class."""

from __future__ import annotations

import numpy as np
import pytest

from polyml.bundle import Bundle
from polyml.data.properties import Property
from polyml.errors import UserError
from polyml.models import make_model
from polyml.prediction import predict_frame

POLYMERS = ["*CCO*", "*CO*", "*CCCO*", "*CC*", "*CC(*)C", "*CC(*)CC"]
FAMILY = Property(name="family", transform="class", classes=("ether", "never seen", "olefin"))


@pytest.fixture
def bundle() -> Bundle:
    codes = np.array([0.0, 0.0, 0.0, 2.0, 2.0, 2.0])
    model = make_model("extra_trees", n_estimators=20, task="classification").fit(POLYMERS, codes)
    return Bundle(model, (FAMILY,), tuple(POLYMERS), tuple(POLYMERS), codes[:, None], "abc", 1)


def test_labels_and_probabilities_are_predicted_row_by_row(bundle, tmp_path):
    again = Bundle.load(bundle.save(tmp_path / "model"))
    frame = predict_frame(again, ["*OCC*", "nonsense", "*CC*"])
    assert frame["family"].tolist() == ["ether", "", "olefin"]
    assert list(frame.columns[1:]) == [
        "family", "p[ether]", "p[never seen]", "p[olefin]", "nearest_similarity", "domain_score", "domain",
        "nearest_warning", "nearest_training", "warning", "error",
    ]  # fmt: skip
    assert set(frame.columns) == {"psmiles", *(name for part in bundle.output_columns for name in part)}
    assert frame["error"].tolist()[1]
    assert np.isnan(frame["p[ether]"][1])
    assert (frame["p[never seen]"].dropna() == 0).all()
    np.testing.assert_array_equal(again.predict_proba(POLYMERS), bundle.predict_proba(POLYMERS))


def test_numbers_are_not_asked_of_a_class(bundle):
    with pytest.raises(UserError, match="'family' is a class"):
        bundle.predict(POLYMERS)
