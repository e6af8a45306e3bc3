"""Recipes: what a YAML file may say, and how it is read.

The classes here are the one source of the names and defaults of a recipe. A key that does not exist is refused, with
the nearest right one and its line. Paths in a recipe are relative to the folder the command is started in.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from polyml.data.catalog import properties_for, recipe_path
from polyml.data.properties import Property
from polyml.data.sample import SampleSpec
from polyml.data.splits import SplitSpec
from polyml.errors import UserError, unknown_name
from polyml.recipe_yaml import key_lines, parse_value, set_value
from polyml.screening.spec import ScreenSpec

Section = TypeVar("Section", bound=BaseModel)


class _Section(BaseModel):
    """A part of a recipe: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


_OF_THE_WRAPPER = ("task", "class_weight", "random_state")  # parameters that a tuned model hands on by itself


class TuneSpec(_Section):
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


class ModelSpec(_Section):
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


class DataSpec(_Section):
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

    @field_validator("targets")
    @classmethod
    def _different(cls, value: list[Property]) -> list[Property]:
        names = [item.name for item in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"target named twice: {', '.join(twice)}")
        return value


class FeaturizeSpec(_Section):
    """Which featurizers of the catalog are computed once and kept as files."""

    features: list[str] = Field(default_factory=lambda: ["ecfp_count"], min_length=1)


class ExploreSpec(_Section):
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


class CompareSpec(_Section):
    """Which models meet on the same folds.

    With ``known_properties`` every model is given the other measured properties of a polymer, of test polymers too:
    property completion, a task of its own.
    """

    models: list[ModelSpec] = Field(min_length=1)
    ratios: list[tuple[str, str]] = Field(default_factory=list)
    known_properties: bool = False
    jobs: int | None = Field(None, ge=1)

    @field_validator("models", mode="before")
    @classmethod
    def _all(cls, value: object) -> object:
        """Let ``all`` stand for every model of the catalog."""
        from polyml.models.catalog import MODELS

        return list(MODELS) if value == "all" else value

    @field_validator("models")
    @classmethod
    def _labels(cls, value: list[ModelSpec]) -> list[ModelSpec]:
        labels = [spec.label for spec in value]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"two models are called {', '.join(twice)}: give one of them a 'name'")
        return value


class TrainSpec(_Section):
    """The model that is fitted on all data; ``best`` takes the first of the leaderboard.

    ``quick`` is a second, quicker model that discards hopeless candidates by the prefilter of the screen.
    """

    model: str = "best"
    params: dict[str, Any] = Field(default_factory=dict)
    quick: ModelSpec | None = None
    register_as: str | None = Field(None, alias="register")


class ScreenSection(ScreenSpec):
    """A screen with the file or embedded set of its candidates."""

    candidates: str


class TrackingSpec(_Section):
    """Where MLflow files the runs."""

    experiment: str | None = None
    enabled: bool = True


class OutputSpec(_Section):
    """Where the stages write; each in its own folder below ``folder/<recipe name>``."""

    folder: str = "outputs"


class Recipe(_Section):
    """A whole recipe, from data to a ranked list.

    Examples
    --------
    >>> recipe = parse_recipe({
    ...     "name": "tg", "data": {"source": "tg.csv", "targets": ["Tg"]}, "compare": {"models": ["mean"]}})
    >>> recipe.data.targets[0].name, recipe.split.folds, recipe.screen
    ('Tg', 5, None)
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    seed: int = 1
    data: DataSpec
    split: SplitSpec = Field(default_factory=SplitSpec)
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
        ``key=value`` with dots in the key; the value is read as YAML: ``compare.folds=3``.

    Raises
    ------
    UserError
        For a file that cannot be read, bad YAML (with its line), or a key or value that does not fit.
    """
    path = recipe_path(recipe)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError("the recipe is not UTF-8 text", where=str(path), fix="save it as UTF-8") from error
    tree = parse_value(text, str(path))
    if not isinstance(tree, dict):
        raise UserError("a recipe is a list of keys such as 'name:' and 'data:'", where=str(path))
    places = {place: f"{path}, line {line}" for place, line in key_lines(text).items()}
    for override in overrides:
        place = set_value(tree, override)
        places[place] = f"--set {override}"
        for depth in range(1, len(place)):  # a section that only the option names
            places.setdefault(place[:depth], f"--set {override}")
    return parse_recipe(tree, where=str(path), places=places)


def parse_recipe(
    tree: Mapping[str, Any], *, where: str = "recipe", places: Mapping[tuple, str] | None = None
) -> Recipe:
    """Check a recipe given as plain data; see :func:`load_recipe`.

    Parameters
    ----------
    tree : mapping
    where : str
        What to call it in messages.
    places : mapping, optional
        Where each key stands, by its path.
    """
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise _explain(error, where, places or {}) from None


_OPTIONS = {"kind": "split", "constraints": "constraint", "objectives": "objective"}  # named otherwise as options


def check_section(section: type[Section], **values: Any) -> Section:
    """Build one section from the options of a verb.

    Raises
    ------
    UserError
        A value does not fit; the message names the option.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = str(fault["loc"][0]) if fault["loc"] else ""
        option = f"--{_OPTIONS.get(name, name).replace('_', '-')}" if name else "options"
        message = fault["msg"].removeprefix("Value error, ")
        got = f" (got {fault.get('input')!r})" if name else ""
        raise UserError(f"{message}{got}", where=option) from None


def _explain(error: ValidationError, where: str, places: Mapping[tuple, str]) -> UserError:
    """Turn the first fault that pydantic found into a message for the recipe's writer."""
    faults = error.errors(include_url=False)
    fault = next((item for item in faults if item["type"] == "extra_forbidden"), faults[0])
    place = tuple(fault["loc"])
    dotted = ".".join(str(part) for part in place) or "the recipe"
    at = next((places[place[:end]] for end in range(len(place), 0, -1) if place[:end] in places), where)
    if fault["type"] == "extra_forbidden":
        known = sorted(_fields_at(Recipe, place[:-1]))
        full = unknown_name("recipe key", dotted, known, where=at)
        nearest = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
        prefix = ".".join(str(part) for part in place[:-1])
        hint = f"did you mean '{'.'.join(filter(None, (prefix, nearest[0])))}'? " if nearest else ""
        return UserError(full.what, where=at, fix=f"{hint}known here: {', '.join(known)}")
    if fault["type"] == "missing":
        return UserError(f"the recipe key '{dotted}' is missing", where=at)
    message = fault["msg"].removeprefix("Value error, ")
    got = fault.get("input")
    shown = f" (got {got!r})" if isinstance(got, str | int | float | bool) or got is None else ""
    return UserError(f"{dotted}: {message}{shown}", where=at)


def _fields_at(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Names of the keys that may stand at a place of the recipe."""
    for part in place:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part) or next(f for f in model.model_fields.values() if f.alias == part)
        model = _section_class(field.annotation) or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _section_class(annotation: Any) -> type[BaseModel] | None:
    """Find the section inside ``Section``, ``Section | None`` or ``list[Section]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _section_class(arg))), None)
