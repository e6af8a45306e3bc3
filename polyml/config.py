"""Recipes: what a YAML file may say, and how it is read.

The classes here are the one source of the names and defaults of a recipe. A key that does not exist is refused, with
the nearest right one and its line. Paths in a recipe are relative to the folder the command is started in.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from polyml.cluster import Engine
from polyml.data.catalog import properties_for, recipe_path
from polyml.data.properties import Property
from polyml.data.sample import SampleSpec
from polyml.data.splits import SplitSpec
from polyml.errors import unknown_name
from polyml.screening.spec import ScreenSpec
from polyml.sections import Section, load_document, parse_document

_ALL_BUT = "all but "
_OF_THE_WRAPPER = ("task", "class_weight", "random_state")  # parameters that a tuned model hands on by itself


class TuneSpec(Section):
    """How the parameters of a model are searched inside its training data; see ``polyml.tuning.search``.

    ``space`` names the parameters to search, each with a list of values, ``{low, high, log}``, or nothing for the range
    that the model declares; a list of names does the latter for all. Without it every declared range is searched.
    """

    trials: int = Field(20, ge=1)
    sampler: str = "tpe"
    pruner: str | None = None
    folds: int | None = Field(None, ge=2)
    repeats: int = Field(1, ge=1)
    space: dict[str, Any] | list[str] | None = None


class ModelSpec(Section):
    """One model of the catalog with its parameters; a bare key in YAML stands for its defaults.

    With ``tune`` the parameters that are not given are searched anew in every training part.
    """

    key: str
    name: str = ""
    params: dict[str, Any] = Field(default_factory=dict)
    tune: TuneSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_key(cls, value: object) -> object:
        return {"key": value} if isinstance(value, str) else value

    @property
    def label(self) -> str:
        """Name on the leaderboard."""
        return self.name or (f"{self.key}_tuned" if self.tune else self.key)

    def calibrated(self) -> ModelSpec:
        """Return the model ``conformal`` around this one: with the same predictions, and intervals that hold.

        Examples
        --------
        >>> ModelSpec(key="svm", params={"C": 3.0}).calibrated().params
        {'base': {'key': 'svm', 'C': 3.0}}
        """
        inner = self.wrapped()
        return ModelSpec(key="conformal", name=self.label, params={"base": {"key": inner.key, **inner.params}})

    def wrapped(self) -> ModelSpec:
        """Return the spec itself, or where it says ``tune`` the model ``tuned`` that wraps it.

        Examples
        --------
        >>> ModelSpec(key="svm", params={"C": 3.0}, tune=TuneSpec(trials=5)).wrapped().params["base_params"]
        {'C': 3.0}
        """
        if self.tune is None:
            return self
        shared = {name: value for name, value in self.params.items() if name in _OF_THE_WRAPPER}
        fixed = {name: value for name, value in self.params.items() if name not in _OF_THE_WRAPPER}
        search = self.tune.model_dump(exclude_defaults=True) | {"trials": self.tune.trials}
        params = {"base": self.key, **({"base_params": fixed} if fixed else {}), **search, **shared}
        return ModelSpec(key="tuned", name=self.label, params=params)


def _not_standard_input(source: str) -> str:
    if source == "-":
        raise ValueError("a recipe reads files, not standard input: its stages are skipped while a file is the same")
    return source


class DataSpec(Section):
    """Which polymers, and which of their columns are properties to predict."""

    source: str
    smiles_column: str | None = None
    targets: list[Property] = Field(min_length=1)
    sample: SampleSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_names(cls, value: object) -> object:
        """Let a bare name stand for the property as an embedded set declares it, or for a plain one."""
        if not isinstance(value, dict) or not isinstance(value.get("targets"), list):
            return value
        source = str(value.get("source", ""))
        targets = [properties_for(source, [item])[0] if isinstance(item, str) else item for item in value["targets"]]
        return value | {"targets": targets}

    @field_validator("source")
    @classmethod
    def _a_file(cls, value: str) -> str:
        return _not_standard_input(value)

    @field_validator("targets")
    @classmethod
    def _different(cls, value: list[Property]) -> list[Property]:
        names = [item.name for item in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"target named twice: {', '.join(twice)}")
        return value


class AuditSection(Section):
    """Whether the data can be trusted; ``strict`` ends the run when a finding is an error.

    ``source`` is a column that says where a row comes from, ``against`` names files whose polymers are compared.
    """

    strict: bool = False
    source: str | None = None
    against: list[str] = Field(default_factory=list)


class FeaturizeSpec(Section):
    """Which featurizers of the catalog are computed once and kept as files."""

    features: list[str] = Field(default_factory=lambda: ["ecfp_count"], min_length=1)


class ExploreSpec(Section):
    """Maps of the data: projections of the features with clusters (their number by silhouette if not given)."""

    features: str = "ecfp_count"
    clusters: int | None = Field(None, ge=2)
    clustering: Literal["kmeans", "hierarchical", "dbscan"] = "kmeans"
    methods: list[str] = Field(default_factory=lambda: ["pca", "tsne"], min_length=1)

    @model_validator(mode="after")
    def _check_clusters(self) -> ExploreSpec:
        if self.clustering == "dbscan" and self.clusters is not None:
            raise ValueError("dbscan finds the number of clusters itself: leave 'clusters' out")
        return self


class CompareSpec(Section):
    """Which models meet on the same folds.

    In the list ``all`` stands for every model of the catalog, ``all but KEY, KEY`` for the other ones; a model whose
    extra is not installed is left out of these, with a note.

    With ``known_properties`` every model is given the other measured properties of a polymer, of test polymers too:
    property completion, a task of its own.

    ``protocol: paper`` lets networks keep the epoch that is best on the test fold, to reproduce published figures.
    ``rope`` is the region of practical equivalence: the difference of R² up to which models are practically equal.
    ``allow_leaks`` compares models whose pretrained encoder has learned labels of tested polymers, stamped ``leaky``.
    ``engine: ray`` computes the folds on the Ray cluster at ``address``; see docs/scale.md.
    """

    models: list[ModelSpec] = Field(min_length=1)
    ratios: list[tuple[str, str]] = Field(default_factory=list)
    known_properties: bool = False
    protocol: Literal["honest", "paper"] = "honest"
    allow_leaks: bool = False
    rope: float | None = Field(None, ge=0, lt=1)
    jobs: int | None = Field(None, ge=1)
    engine: Engine = "local"
    address: str | None = None

    @field_validator("models", mode="before")
    @classmethod
    def _bare_all(cls, value: object) -> object:
        """Let ``all`` stand alone, without a list around it."""
        return [value] if isinstance(value, str) and _is_all(value) else value

    @field_validator("models")
    @classmethod
    def _all(cls, value: list[ModelSpec]) -> list[ModelSpec]:
        """Put the models of the catalog in the place of ``all``; after the items, so that these keep their lines."""
        return [model for spec in value for model in meant(spec)]

    @field_validator("models")
    @classmethod
    def _labels(cls, value: list[ModelSpec]) -> list[ModelSpec]:
        labels = [spec.label for spec in value]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"two models are called {', '.join(twice)}: give one of them a 'name'")
        return value


def _is_all(text: str) -> bool:
    return text == "all" or text.startswith(_ALL_BUT)


def meant(spec: ModelSpec) -> list[ModelSpec]:
    """Return the model itself, every one of the catalog for ``all``, the other ones for ``all but KEY, KEY``."""
    from polyml.models.catalog import MODELS, is_installed, model_class

    if not _is_all(spec.key) or spec != ModelSpec(key=spec.key):
        return [spec]
    left_out = [key.strip() for key in spec.key.removeprefix(_ALL_BUT).split(",")] if spec.key != "all" else []
    for key in left_out:
        if key not in MODELS:
            raise ValueError(str(unknown_name("model", key, MODELS)))
    wanted = [key for key in MODELS if key not in left_out]
    for key in [key for key in wanted if not is_installed(key)]:
        extra = model_class(key).extra
        what = f"model '{key}' is left out of 'all': it needs pip install 'polyml-chem[{extra}]'"
        warnings.warn(what, UserWarning, stacklevel=2)
        wanted.remove(key)
    return [ModelSpec(key=key) for key in wanted]


WINNER = "winner"
"""What stands for the first model of the leaderboard where a model is named."""


class TrainSpec(Section):
    """The model that is fitted on all data; ``winner`` takes the first of the leaderboard.

    ``calibrate`` makes its 90 % intervals hold on polymers it has not seen, for five more fits of it. ``quick`` is a
    second, quicker model that discards hopeless candidates by the prefilter of the screen; its intervals are not read.
    """

    model: str = WINNER
    params: dict[str, Any] = Field(default_factory=dict)
    calibrate: bool = True
    quick: ModelSpec | None = None
    register_as: str | None = Field(None, alias="register")


class ScreenSection(ScreenSpec):
    """A screen with its candidates: a file, a folder, a pattern, a URL of these, or an embedded set.

    ``engine: ray`` screens on the Ray cluster at ``address``; see docs/scale.md.
    """

    candidates: str
    smiles_column: str | None = None
    jobs: int | None = Field(None, ge=1)
    engine: Engine = "local"
    address: str | None = None

    @field_validator("candidates")
    @classmethod
    def _a_file(cls, value: str) -> str:
        return _not_standard_input(value)

    @property
    def spec(self) -> ScreenSpec:
        """What the results depend on, besides the candidates and the model."""
        return ScreenSpec(**self.model_dump(include=set(ScreenSpec.model_fields)))


class TrackingSpec(Section):
    """Where MLflow files the runs."""

    experiment: str | None = None
    enabled: bool = True


class OutputSpec(Section):
    """Where the stages write; each in its own folder below ``folder/<recipe name>``."""

    folder: str = "outputs"


class Recipe(Section):
    """A whole recipe, from data to a ranked list.

    Examples
    --------
    >>> recipe = parse_recipe({
    ...     "name": "tg", "data": {"source": "tg.csv", "targets": ["Tg"]}, "compare": {"models": ["mean"]}})
    >>> recipe.data.targets[0].name, recipe.split.folds, recipe.screen
    ('Tg', 5, None)
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    seed: int = Field(1, ge=0)
    data: DataSpec
    split: SplitSpec = Field(default_factory=SplitSpec)
    audit: AuditSection = Field(default_factory=AuditSection)
    featurize: FeaturizeSpec = Field(default_factory=FeaturizeSpec)
    explore: ExploreSpec = Field(default_factory=ExploreSpec)
    compare: CompareSpec
    train: TrainSpec = Field(default_factory=TrainSpec)
    screen: ScreenSection | None = None
    tracking: TrackingSpec = Field(default_factory=TrackingSpec)
    output: OutputSpec = Field(default_factory=OutputSpec)

    @property
    def folder(self) -> Path:
        """Folder of this recipe's stages."""
        return Path(self.output.folder) / self.name


def load_recipe(recipe: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a file, or by the name of one that comes with polyml.

    Parameters
    ----------
    recipe : str or Path
        A YAML file, or a name such as ``gas_membranes``.
    overrides : sequence of str
        ``key=value`` with dots in the key; the value is read as YAML: ``split.folds=3``.

    Raises
    ------
    UserError
        For a file that cannot be read, bad YAML (with its line), or a key or value that does not fit.
    """
    return load_document(Recipe, recipe_path(recipe), overrides, kind="recipe")


def parse_recipe(tree: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
    """Check a recipe given as plain data; ``where`` is what messages call it. See :func:`load_recipe`."""
    return parse_document(Recipe, tree, where=where, kind="recipe")
