from __future__ import annotations

import pytest

from polyml.models.catalog import MODELS, model_class
from polyml.models.describe import parameter_texts


@pytest.mark.parametrize("key", MODELS)
def test_every_parameter_of_every_model_is_explained(key):
    cls = model_class(key)
    texts = parameter_texts(cls)
    missing = {*cls._get_param_names()} - {*texts} - {*cls.without_effect}
    assert not missing
    assert not any(mark in text for text in texts.values() for mark in ("``", ":class:"))


def test_the_nearest_explanation_counts():
    assert parameter_texts(model_class("mlp"))["features"].startswith("str or list of str; Keys of array featurizers")
    assert "early stopping" in parameter_texts(model_class("gru"))["validation"]
