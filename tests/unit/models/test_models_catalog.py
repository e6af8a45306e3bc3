from __future__ import annotations

import subprocess
import sys

import pytest

from polyml.errors import UserError
from polyml.models import catalog, list_models, make_model


def test_unknown_key_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'lightgbm'"):
        make_model("lightbgm")


def test_unknown_parameter_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'n_estimators'"):
        make_model("random_forest", n_estimator=5)


def test_duplicate_keys_raise():
    entry = catalog.MODELS[0]
    with pytest.raises(ValueError, match="have the key 'mean'"):
        catalog._unique([entry, entry])


def test_rows_of_the_listing():
    rows = list_models()
    assert [row["key"] for row in rows] == [entry.key for entry in catalog.MODELS]
    assert all(set(row) == {"key", "family", "title"} for row in rows)


def test_listing_imports_no_heavy_library():
    code = (
        "import sys; from polyml.models import list_models; list_models();"
        "print([m for m in ('torch', 'sklearn', 'lightgbm', 'rdkit') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
