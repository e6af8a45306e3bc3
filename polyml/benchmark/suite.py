"""What a benchmark suite may say: data sets, comparisons on them, and the figures that others published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from polyml.config import CompareSpec
from polyml.data.catalog import suite_path
from polyml.data.properties import Property, task_of
from polyml.data.splits import SplitSpec
from polyml.errors import UserError, unknown_name
from polyml.evaluation.metrics import make_metrics
from polyml.sections import Section, load_document


class SetSpec(Section):
    """A data set: one file, or several whose rows of one polymer are brought together.

    Parameters
    ----------
    name : str
    files : list of str
        Relative to the folder of benchmark data.
    targets : list of Property
    smiles_column : str, optional
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    files: list[str] = Field(min_length=1)
    targets: list[Property] = Field(min_length=1)
    smiles_column: str | None = None

    @field_validator("targets", mode="before")
    @classmethod
    def _bare_names(cls, value: object) -> object:
        """Let a bare name stand for a property without a unit."""
        if not isinstance(value, list):
            return value
        return [{"name": item} if isinstance(item, str) else item for item in value]


class PublishedSpec(Section):
    """Figures of others: where they stand, how they were made, and the score of each property."""

    name: str
    source: str
    protocol: str
    scores: dict[str, float] = Field(min_length=1)


class ComparisonSpec(CompareSpec):
    """Models on the same folds of some data sets.

    Parameters
    ----------
    name : str
        Its folder.
    title, text : str
        Heading and what to know of it, in Markdown.
    sets : list of str
        Names of data sets.
    split : SplitSpec
    metric : str
        The score that is shown first.
    reference : str
        The model that the others are compared with.
    published : list of PublishedSpec
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    title: str
    text: str = ""
    sets: list[str] = Field(min_length=1)
    split: SplitSpec = Field(default_factory=SplitSpec)
    metric: str = "rmse"
    reference: str
    published: list[PublishedSpec] = Field(default_factory=list)

    @model_validator(mode="after")
    def _reference_takes_part(self) -> ComparisonSpec:
        labels = [spec.label for spec in self.models]
        if self.reference not in labels:
            raise ValueError(f"the reference '{self.reference}' is none of the models: {', '.join(labels)}")
        return self


class Suite(Section):
    """A whole suite.

    Examples
    --------
    >>> suite = Suite.model_validate({
    ...     "name": "tg", "title": "Glass transitions", "sets": [{"name": "tg", "files": ["tg.csv"], "targets":
    ...     [{"name": "tg_k", "unit": "K"}]}], "comparisons": [{"name": "single", "title": "Glass transition",
    ...     "sets": ["tg"], "models": ["mean", "ridge"], "reference": "mean"}]})
    >>> suite.comparisons[0].split.kind, suite.data_set("tg").files
    ('kfold', ['tg.csv'])
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    title: str
    text: str = ""
    seed: int = Field(1, ge=0)
    sets: list[SetSpec] = Field(min_length=1)
    comparisons: list[ComparisonSpec] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_fit(self) -> Suite:
        for items in (self.sets, self.comparisons):
            names = [item.name for item in items]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"two entries are called {', '.join(twice)}")
        known = [item.name for item in self.sets]
        for comparison in self.comparisons:
            for name in comparison.sets:
                if name not in known:
                    raise ValueError(str(unknown_name("data set", name, known)))
                make_metrics([comparison.metric], task_of(self.data_set(name).targets))
            targets = [item.name for name in comparison.sets for item in self.data_set(name).targets]
            twice = sorted({name for name in targets if targets.count(name) > 1})
            if twice:
                what = f"'{twice[0]}' is a target of two data sets of the comparison '{comparison.name}'"
                raise ValueError(f"{what}, and its report has one column for it: make two comparisons of it")
            strange = sorted({name for item in comparison.published for name in item.scores} - {*targets})
            if strange:
                raise ValueError(str(unknown_name("property of published scores", strange[0], targets)))
        return self

    def data_set(self, name: str) -> SetSpec:
        """Return the data set of a name."""
        return next(item for item in self.sets if item.name == name)

    def restricted(self, *, sets: Sequence[str] = (), models: Sequence[str] = ()) -> Suite:
        """Return the suite with some of its data sets and models alone, and the reference of each comparison left.

        Raises
        ------
        UserError
            A name is not in the suite, or no comparison has both.
        """
        known_sets = [item.name for item in self.sets]
        known_models = list(dict.fromkeys(spec.label for item in self.comparisons for spec in item.models))
        for kind, names, known in (("data set", sets, known_sets), ("model", models, known_models)):
            for name in names:
                if name not in known:
                    raise unknown_name(kind, name, known, where=f"suite {self.name}")
        kept = []
        for item in self.comparisons:
            named = {spec.label for spec in item.models if not models or spec.label in models}
            chosen = [spec for spec in item.models if spec.label in {*named, item.reference}]
            left = [name for name in item.sets if not sets or name in sets]
            if left and named:
                kept.append(item.model_copy(update={"sets": left, "models": chosen}))
        if not kept:
            raise UserError(
                "no comparison has both these data sets and these models",
                where=f"suite {self.name}",
                fix="name fewer or other ones",
            )
        return self.model_copy(update={"comparisons": kept})


def load_suite(suite: str | Path, overrides: Sequence[str] = ()) -> Suite:
    """Read a suite from a file, or by the name of one that comes with polyml.

    Raises
    ------
    UserError
        As for :func:`polyml.config.load_recipe`.
    """
    return load_document(Suite, suite_path(suite), overrides, kind="suite")
