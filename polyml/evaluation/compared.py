"""The models of a comparison: what each is called, and whether it can be made at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from polyml.errors import UserError
from polyml.evaluation.one_fold import file_stem
from polyml.models.catalog import ModelFactory, make_seeded, with_task
from polyml.models.inspect import feature_keys, is_accelerated
from polyml.models.pretrained import encoders_of

if TYPE_CHECKING:
    from polyml.data.table import PolymerTable


@dataclass(frozen=True)
class Compared:
    """A model of the catalog with its parameters, and the name it goes by in a comparison.

    Attributes
    ----------
    key : str
        Name in the catalog.
    name : str, optional
        Label in tables; the key if none is given. Two specs of one key need different names.
    params : mapping
        Parameters for ``make_model``.

    Examples
    --------
    >>> Compared("svm").label, Compared("svm", name="stiff SVM", params={"C": 100.0}).label
    ('svm', 'stiff SVM')
    """

    key: str
    name: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name it goes by."""
        return self.name or self.key


@dataclass(frozen=True)
class Entry:
    """One model of a comparison, as the leaderboard names it."""

    label: str
    key: str
    family: str = ""
    features: tuple[str, ...] = ()


def as_completion(spec: Compared) -> Compared:
    """Return the spec of a model that is given the other properties of a polymer.

    Examples
    --------
    >>> as_completion(Compared("svm", params={"C": 10.0}))
    Compared(key='completion', name='svm', params={'base': {'key': 'svm', 'C': 10.0}})
    """
    if spec.key == "completion":
        return spec
    if spec.key == "best" and not spec.params:
        return Compared("completion", spec.label, {"preset": "two_levels"})
    return Compared("completion", spec.label, {"base": {"key": spec.key, **spec.params}})


def check_completable(table: PolymerTable, ratios: Iterable[Any]) -> None:
    """Refuse data on which other properties cannot be given."""
    if table.task != "regression" or len(table.properties) < 2:
        raise UserError(
            "properties are completed from others, and there is one target alone",
            where="known properties",
            fix="name two numeric targets or more",
        )
    if list(ratios):
        raise UserError(
            "where the other properties are known, both parts of a ratio would be given",
            where="known properties",
            fix="leave the ratios out",
        )


def make_entries(
    specs: Sequence[Compared], factory: ModelFactory, task: str
) -> tuple[tuple[Entry, ...], frozenset[str], dict[str, tuple[str, ...]]]:
    """Make each model once, so that a wrong name or parameter is found before anything trains.

    Returns
    -------
    entries : tuple of Entry
    accelerated : frozenset of str
        Labels of the models that train on a CUDA device if there is one.
    encoders : dict
        The pretrained encoders that each model starts from, by label.
    """
    if not specs:
        raise UserError("no model to compare", fix="name at least one model")
    stems = Counter(file_stem(spec.label) for spec in specs)
    for spec in specs:
        if stems[file_stem(spec.label)] > 1:
            raise UserError(f"two models are called '{spec.label}'", fix="give each a name of its own")
    entries, accelerated = [], set()
    encoders: dict[str, tuple[str, ...]] = {spec.label: () for spec in specs}
    for spec in specs:
        try:
            model = make_seeded(factory, spec.key, with_task(spec.params, task), seed=0)
        except UserError:
            raise
        except Exception:  # a missing library, say: the folds will fail and show it on the leaderboard
            entries.append(Entry(spec.label, spec.key))
            continue
        entries.append(Entry(spec.label, spec.key, model.family, feature_keys(model)))
        encoders[spec.label] = encoders_of(model)
        if is_accelerated(model):
            accelerated.add(spec.label)
    return tuple(entries), frozenset(accelerated), encoders
