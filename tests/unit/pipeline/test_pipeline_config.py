from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from polyml.benchmark.suite import ComparisonSpec, PublishedSpec, SetSpec, Suite
from polyml.config import (
    CompareSpec,
    DataSpec,
    ExploreSpec,
    FeaturizeSpec,
    ModelSpec,
    OutputSpec,
    Recipe,
    ScreenSection,
    TrackingSpec,
    TrainSpec,
    TuneSpec,
    load_recipe,
    parse_recipe,
)
from polyml.data.catalog import recipe_path
from polyml.data.properties import Property
from polyml.data.sample import SampleSpec
from polyml.data.splits import SplitSpec
from polyml.errors import UserError

TEXT = """\
name: tg
data:
  source: tg.csv
  targets: [Tg, {name: perm, unit: Barrer, transform: log10}]
compare:
  models: [mean, {key: svm, name: stiff svm, params: {C: 1e2}}]
screen:
  candidates: candidates
  constraints: [Tg >= 100]
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "tg.yaml"
    path.write_text(TEXT)
    return path


def test_a_recipe_is_read(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    assert [item.name for item in recipe.data.targets] == ["Tg", "perm"]
    assert recipe.data.targets[1].transform == "log10"
    assert [item.label for item in recipe.compare.models] == ["mean", "stiff svm"]
    assert recipe.compare.models[1].params == {"C": 100.0}  # 1e2 is a number, unlike in plain PyYAML
    assert recipe.split.folds == 5
    assert recipe.screen is not None
    assert recipe.folder == Path("outputs/tg")


def test_all_stands_for_the_catalog_alone_or_beside_named_models(recipe_file: Path) -> None:
    from polyml.models.catalog import MODELS

    whole = load_recipe(recipe_file, ["compare.models=all"]).compare.models
    assert whole == [ModelSpec(key=key) for key in MODELS]
    named = ModelSpec(key="svm", name="stiff svm", params={"C": 100.0})
    for text, others in (
        ("all", list(MODELS)),
        ("all but svm, mean", [key for key in MODELS if key not in ("svm", "mean")]),
    ):
        recipe_file.write_text(TEXT.replace("[mean, ", f'["{text}", '))
        assert load_recipe(recipe_file).compare.models == [*map(ModelSpec.model_validate, others), named]


def test_bare_targets_of_an_embedded_set_have_its_units() -> None:
    data = {"source": "gas_permeability", "targets": ["O2"]}
    recipe = parse_recipe({"name": "gas", "data": data, "compare": {"models": ["mean"]}})
    assert recipe.data.targets[0].unit == "Barrer"
    assert recipe.data.targets[0].transform == "log10"


def test_overrides_reach_every_depth_and_lists(recipe_file: Path) -> None:
    overrides = [
        "split.folds=3",
        "compare.models.1.params.C=5",
        "screen.constraints=[Tg >= 5]",
        "train.register=best_tg",
    ]
    recipe = load_recipe(recipe_file, overrides)
    assert recipe.split.folds == 3
    assert recipe.compare.models[1].params == {"C": 5}
    assert recipe.screen is not None
    assert recipe.screen.constraints == ["Tg >= 5"]
    assert recipe.train.register_as == "best_tg"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("constraints:", "constrants:", ["line 9", "'screen.constrants'", "did you mean 'screen.constraints'"]),
        ("compare:", "comprae:", ["line 5", "'comprae'", "did you mean 'compare'"]),
        (
            "transform: log10",
            "transfrom: log10",
            ["data.targets.1.transfrom", "did you mean 'data.targets.1.transform'"],
        ),
        ("transform: log10", "transform: ln", ["line 4", "transform", "log10", "'ln'"]),
        ("  candidates: candidates\n", "", ["'screen.candidates' is missing"]),
        ("targets: [Tg,", "targets: [Tg", ["not valid YAML", "line 4"]),
        ("name: tg", "name: ../tg", ["name"]),
        ("[mean,", "[svm, {key: svm},", ["two models are called svm"]),
        ("[mean,", "[all, svm,", ["line 6", "two models are called svm"]),
        ("[mean,", "[all but men,", ["line 6", "unknown model 'men'", "mean"]),
        ("[mean,", "[all,\n    {key: svm, parms: {}},", ["line 7", "'compare.models.1.parms'"]),
        ("name: tg", "name: tg\nname: other", ["'name' stands twice", "line 2"]),
        ("name: tg", "name: tg\nseed: one", ["line 2", "seed", "'one'"]),
    ],
)
def test_faults_are_told_with_their_place(recipe_file: Path, old: str, new: str, words: list[str]) -> None:
    recipe_file.write_text(TEXT.replace(old, new))
    with pytest.raises(UserError) as caught:
        load_recipe(recipe_file)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words\n"])
def test_a_file_that_is_no_recipe(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="a recipe is"):
        load_recipe(path)


@pytest.mark.parametrize("override", ["split.folds", "=3", "split..folds=3", "name.x=3", "compare.models.9=svm"])
def test_bad_overrides(recipe_file: Path, override: str) -> None:
    with pytest.raises(UserError, match="--set"):
        load_recipe(recipe_file, [override])


def test_yaml_cannot_build_objects(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text("name: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(UserError, match="not valid YAML"):
        load_recipe(path)


def test_every_recipe_that_comes_with_polyml_is_valid() -> None:
    from polyml.data.catalog import list_recipes

    assert "gas_membranes" in list_recipes()
    for name in list_recipes():
        assert load_recipe(name).name == name


def test_a_recipe_cannot_be_changed() -> None:
    recipe = load_recipe("gas_membranes")
    assert isinstance(recipe, Recipe)
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 2  # type: ignore[misc]


def test_a_wrong_override_is_told_as_such(recipe_file: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(recipe_file, ["split.folds=3", "split.fold=4"])
    assert str(caught.value).startswith("--set split.fold=4: unknown recipe key 'split.fold'")
    with pytest.raises(UserError, match=r"^--set splt\.folds=4: .*'splt'\n.*did you mean 'split'"):
        load_recipe(recipe_file, ["splt.folds=4"])
    with pytest.raises(UserError, match=r"^--set compare\.models\.1\.params=3: compare\.models\.1\.params"):
        load_recipe(recipe_file, ["compare.models.1.params=3"])


def test_a_model_whose_library_is_missing_is_left_out_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    from polyml.models.catalog import MODELS

    monkeypatch.setattr("polyml.models.catalog.find_spec", lambda name: None)
    with pytest.warns(
        UserWarning, match=r"'xgboost' is left out of 'all': it needs pip install 'polyml-chem\[xgboost\]'"
    ):
        spec = CompareSpec.model_validate({"models": "all"})
    assert [model.key for model in spec.models] == [key for key in MODELS if key != "xgboost"]
    named = CompareSpec.model_validate({"models": ["xgboost"]})  # refused where it is made, with the way to get it
    assert [model.key for model in named.models] == ["xgboost"]


def test_standard_input_is_no_source_of_a_recipe(recipe_file: Path) -> None:
    for override in ("data.source='-'", "screen.candidates='-'"):
        with pytest.raises(UserError, match="not standard input"):
            load_recipe(recipe_file, [override])


def test_the_table_of_keys_names_every_field() -> None:
    text = (recipe_path("gas_membranes").parent / "README.md").read_text(encoding="utf-8")
    keys = set(re.findall(r"\w+", text))
    sections: list[type[BaseModel]] = [
        Recipe, DataSpec, FeaturizeSpec, ExploreSpec, CompareSpec, ModelSpec, TuneSpec, TrainSpec, ScreenSection,
        TrackingSpec, OutputSpec, SplitSpec, SampleSpec, Property, Suite, SetSpec, ComparisonSpec, PublishedSpec,
    ]  # fmt: skip
    for section in sections:
        fields = {field.alias or name for name, field in section.model_fields.items()}
        assert fields <= keys, f"{section.__name__}: {sorted(fields - keys)}"
