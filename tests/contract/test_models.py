from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from polyml.models import catalog
from polyml.models.base import PolymerModel
from polyml.models.catalog import MODELS, make_model, model_class
from polyml.models.checks import check_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYML_CACHE", str(tmp_path_factory.getbasetemp() / "models_cache"))


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
