from __future__ import annotations

import random
import re
import sys
import types
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from polyml.models import catalog, checks
from polyml.models.base import PolymerModel
from polyml.models.baselines import MeanModel
from polyml.models.catalog import MODELS, make_model, model_class
from polyml.models.checks import TOY_POLYMERS, check_model, toy_labels, toy_targets

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("key", list(MODELS))
def test_model_keeps_the_contract(key):
    check_model(key)


@pytest.mark.parametrize("key", list(MODELS))
def test_catalog_agrees_with_the_class(key):
    cls = model_class(key)
    assert cls.key == key
    assert cls.__doc__
    for names in (cls.search_space, cls.toy_params, cls.overfit_params, *cls.presets.values()):
        assert set(names) <= set(cls._get_param_names())


def test_the_example_of_contributing_is_a_whole_model(monkeypatch):
    """One file and one line: the file is run as it stands, the line enters the catalog."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    file, line = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[:2]
    key, path = re.search(r'"(\w+)": "([\w.:]+)"', line).groups()
    module = types.ModuleType(path.partition(":")[0])
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(file, "CONTRIBUTING.md", "exec"), module.__dict__)
    monkeypatch.setattr(catalog, "MODELS", {**MODELS, key: path})
    assert isinstance(make_model(key), PolymerModel)
    check_model(key)


class _Broken(PolymerModel):
    key, family, title, citation = "broken", "stand-in", "Stand-in", "none"


def test_an_exemption_without_a_reason_is_none(monkeypatch):
    monkeypatch.setattr(_Broken, "exempt", {"frames": ""})
    monkeypatch.setattr("polyml.models.checks.model_class", lambda key: _Broken)
    with pytest.raises(AssertionError, match="exemption from 'frames'"):
        check_model("broken")


class _Plain(MeanModel):
    """A model that keeps every promise but those that a test has it break; not in the catalog."""


@pytest.mark.parametrize("library", ["random", "numpy", "torch"])
def test_a_model_that_draws_global_random_numbers_is_caught(library, monkeypatch):
    torch = pytest.importorskip("torch")
    draw = {"random": random.random, "numpy": np.random.rand, "torch": lambda: torch.rand(1)}[library]
    honest = _Plain().fit(TOY_POLYMERS, toy_targets())
    checks.check_seed(honest, _Plain, toy_targets(), checks.predicted_numbers)
    monkeypatch.setattr(_Plain, "predict", lambda self, psmiles: (draw(), MeanModel.predict(self, psmiles))[1])
    with pytest.raises(AssertionError, match=f"global random state of {library}"):
        checks.check_seed(honest, _Plain, toy_targets(), checks.predicted_numbers)


def test_a_model_that_takes_what_is_no_polymer_is_caught(monkeypatch):
    fitted = _Plain().fit(TOY_POLYMERS, toy_targets())
    checks.check_bad_input(fitted, _Plain)
    monkeypatch.setattr("polyml.models.baselines.ensure_units", list)
    with pytest.raises(AssertionError, match="fit refuses a malformed pSMILES"):
        checks.check_bad_input(fitted, _Plain)


def test_a_model_that_reads_the_text_as_written_is_caught():
    with pytest.raises(AssertionError, match=r"predicts the same as \*CC\(\*\)C "):
        checks.check_frames(lambda psmiles: np.array([float(text.startswith("*C(")) for text in psmiles]))


def test_a_model_that_cannot_learn_classes_is_caught():
    fitted = _Plain(task="classification").fit(TOY_POLYMERS, toy_labels())
    with pytest.raises(AssertionError, match=r"learns classes by heart: it hits 0\.50"):
        checks.check_overfit_classes(fitted, partial(_Plain, task="classification"), {})
