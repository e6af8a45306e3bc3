"""A trained predictor on disk: the model, what it predicts, what it learned from, and how it was judged.

A bundle is a folder: ``bundle.json`` (a :class:`~polyml.bundle_format.BundleFile`), ``training.parquet``,
``domain.json``, ``domain.safetensors`` and ``model/``. Nothing in it is pickled, and every file is checked against its
SHA-256 when the bundle is read.

Predictions are in user units. A property that is modelled as log10 comes back as the median (``10 ** mean``), the ends
of its interval are transformed, and its standard deviation stays in the modelled scale: 0.3 means a factor of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.bundle_format import (
    BundleFile,
    content_digest,
    file_digests,
    read_content,
    verify_files,
)
from polyml.chem import RepeatUnit, ensure_units
from polyml.data.files import check_replaceable, replaced_folder
from polyml.data.properties import SPREAD_SUFFIXES, Property
from polyml.data.table import REPORT_FILES
from polyml.domain import ARRAYS as DOMAIN_ARRAYS
from polyml.domain import FILE as DOMAIN_FILE
from polyml.domain import ApplicabilityDomain, DomainLimits, DomainScores
from polyml.errors import DAMAGED, UserError
from polyml.models.base import PolymerModel, Prediction
from polyml.versions import installed_versions

if TYPE_CHECKING:
    import pandas as pd

NOVELTY = "novelty"
"""Column of models that tell how strange a polymer is to them."""
LOOKS_THE_SAME = "another polymer with the same environments of radius 2"
"""Warning on a nearest training polymer: fingerprints cannot tell the two apart."""
_OWN = ("bundle.json", "model", "training.parquet", DOMAIN_FILE, DOMAIN_ARRAYS, *REPORT_FILES)
SUFFIXES = ("", *SPREAD_SUFFIXES)
"""Ends of the names of the columns of a property: prediction, standard deviation, ends of the interval."""
SIMILARITY, SCORE, VERDICT = "nearest_similarity", "domain_score", "domain"
"""Columns of the similarity to the nearest training polymer, of the domain score, and of the verdict."""
_TEXTS = (VERDICT, "nearest_warning", "nearest_training", "warning", "error")


@dataclass
class Bundle:
    """A trained model together with all that is needed to use it and to trust it.

    Attributes
    ----------
    model : PolymerModel
        Fitted, from the catalog.
    properties : tuple of Property
        What the model predicts, in the order of its columns.
    keys, psmiles : tuple of str
        Canonical key and text of the polymers it was trained on.
    values : ndarray of shape (n, t)
        Their measured properties in user units, NaN where not measured.
    data_digest : str
        Digest of the data set.
    seed : int
    scores : dict, optional
        The model's row of the leaderboard and the protocol behind it.
    domain_limits : DomainLimits, optional
        Limits of the applicability domain; learned from the training polymers when not given.
    versions : dict
        Versions of the packages that trained the model.
    digest : str
        Names the saved bundle by content; empty before it was saved.
    folder : Path, optional
        Where it was saved to or loaded from last.
    """

    model: PolymerModel
    properties: tuple[Property, ...]
    keys: tuple[str, ...]
    psmiles: tuple[str, ...]
    values: np.ndarray
    data_digest: str
    seed: int
    scores: dict[str, Any] | None = None
    domain_limits: DomainLimits | None = None
    versions: dict[str, str] = field(default_factory=installed_versions)
    digest: str = ""
    folder: Path | None = None

    def __post_init__(self) -> None:
        self.properties, self.keys, self.psmiles = tuple(self.properties), tuple(self.keys), tuple(self.psmiles)
        self.values = np.asarray(self.values, dtype=float).reshape(len(self.keys), len(self.properties))

    @property
    def names(self) -> list[str]:
        """Names of the properties."""
        return [item.name for item in self.properties]

    def save(self, folder: str | Path) -> Path:
        """Write the bundle; a reader sees the old folder or the new one, never half of it.

        Raises
        ------
        UserError
            When the folder holds something that is not a bundle, or cannot be written.
        """
        folder = Path(folder)
        check_folder(folder)
        with replaced_folder(folder, "the trained model", _OWN) as new:
            (new / "model").mkdir()
            self.model.save(new / "model")
            self._training_frame().to_parquet(new / "training.parquet", index=False)
            self.domain.limits.save(new / DOMAIN_FILE)
            self.domain.save(new / DOMAIN_ARRAYS)
            content = BundleFile(
                model=self.model.key,
                called=self.model.called(),
                properties=list(self.properties),
                n_training=len(self.keys),
                data_digest=self.data_digest,
                seed=self.seed,
                versions=self.versions,
                scores=self.scores,
                files=file_digests(new),
            )
            (new / "bundle.json").write_text(content.model_dump_json(indent=2) + "\n", encoding="utf-8")
        self.digest, self.folder = content_digest(content), folder
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Bundle:
        """Read a bundle and check every file of it.

        Raises
        ------
        UserError
            When the folder is no bundle, was made by a newer polyml, names a model this version does not have, or a
            file of it is missing or was changed.
        """
        from polyml.models.catalog import model_class

        folder = Path(folder)
        content = read_content(folder)
        verify_files(folder, content)
        model = model_class(content.model).load(folder / "model")
        frame = _read_training(folder, content)
        bundle = cls(
            model=model,
            properties=tuple(content.properties),
            keys=tuple(frame["key"]),
            psmiles=tuple(frame["psmiles"]),
            values=frame.iloc[:, 2:].to_numpy(dtype=float),
            data_digest=content.data_digest,
            seed=content.seed,
            scores=content.scores,
            domain_limits=DomainLimits.load(folder / DOMAIN_FILE) if DOMAIN_FILE in content.files else None,
            versions=content.versions,
            digest=content_digest(content),
            folder=folder,
        )
        if DOMAIN_ARRAYS in content.files:
            path = folder / DOMAIN_ARRAYS
            bundle.__dict__["domain"] = ApplicabilityDomain.load(path, bundle.keys, bundle.domain_limits)
        return bundle

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that the model chooses from; none where it predicts numbers."""
        return self.properties[0].classes

    @property
    def output_columns(self) -> tuple[list[str], list[str]]:
        """The columns of :func:`polyml.prediction.predict_frame` behind ``psmiles``: of numbers, and of text."""
        labels = [item.name for item in self.properties if item.is_class]
        numbers = [item.name + suffix for item in self.properties if not item.is_class for suffix in SUFFIXES]
        numbers += [f"p[{label}]" for item in self.properties for label in item.classes]
        novelty = [NOVELTY] if self.model.gives_novelty else []
        return [*numbers, SIMILARITY, SCORE, *novelty], [*labels, *_TEXTS]

    def predict(self, psmiles: Sequence[str | RepeatUnit]) -> Prediction:
        """Predict the distribution of every property, in user units (see the module for log10 properties).

        Raises
        ------
        RepeatUnitError
            For the first text that is no repeat unit; :func:`polyml.prediction.predict_frame` keeps it as a row.
        UserError
            The model predicts a class.
        """
        if self.classes:
            raise UserError(f"'{self.names[0]}' is a class, not a number", fix="use predict_proba or predict_frame")
        return self.to_user_units(self.predict_modelled(ensure_units(psmiles)))

    def predict_modelled(self, units: Sequence[RepeatUnit], known: np.ndarray | None = None) -> Prediction:
        """Predict in the modelled scale, from the structures and, for a model that reads it, from what is known."""
        shape = (len(units), len(self.properties))
        if not units:
            return Prediction(*(np.empty(shape) for _ in range(4)))
        given: dict[str, Any] = {} if known is None else {"known": known}
        found = self.model.predict_dist(units, **given)  # type: ignore[arg-type]  # models pass parsed units through
        parts = (found.mean, found.std, found.lower, found.upper)
        return Prediction(*(np.asarray(part, dtype=float).reshape(shape) for part in parts))

    def to_user_units(self, found: Prediction) -> Prediction:
        """Turn a prediction in the modelled scale into user units; the standard deviation stays as it is."""
        return Prediction(self.to_user(found.mean), found.std, self.to_user(found.lower), self.to_user(found.upper))

    def predict_proba(self, psmiles: Sequence[str | RepeatUnit]) -> np.ndarray:
        """Predict the probability of each of :attr:`classes`, shape (n, classes).

        Raises
        ------
        RepeatUnitError
            For the first text that is no repeat unit.
        UserError
            The model predicts numbers.
        """
        units = ensure_units(psmiles)
        found = self.model.predict_proba(units)  # type: ignore[arg-type]  # models pass parsed units through
        probability = np.zeros((len(units), len(self.classes)))
        # A class without a training polymer has no probability.
        probability[:, np.asarray(self.model.classes_, dtype=int)] = found
        return probability

    def some_training_units(self) -> list[RepeatUnit]:
        """Return two of the training polymers: what fails for these too is no fault of the polymers."""
        return ensure_units(self.psmiles[:2])

    def predict_mean(self, units: Sequence[RepeatUnit]) -> np.ndarray:
        """Predict the properties alone, in user units, shape (n, t): the fast way, for many polymers."""
        found: Any = self.model.predict(units)  # type: ignore[arg-type]
        return self.to_user(np.asarray(found, dtype=float).reshape(len(units), len(self.properties)))

    def to_user(self, modelled: np.ndarray) -> np.ndarray:
        """Turn columns in the modelled scale, shape (n, t), into user units."""
        return np.column_stack([item.from_model(modelled[:, i]) for i, item in enumerate(self.properties)])

    def novelty(self, units: Sequence[RepeatUnit]) -> np.ndarray:
        """Return how strange polymers are to the model, (n,); see :meth:`PolymerModel.novelty`."""
        return self.model.novelty(units)  # type: ignore[arg-type]  # models pass parsed units through

    def describe(self, units: Sequence[RepeatUnit], found: DomainScores) -> tuple[list[str], list[str]]:
        """Return text and warnings of the training polymer that is nearest to each of ``units``; most have no warning.

        A prediction that rests on a polymer whose structure is doubtful is doubtful too, and one on another polymer
        that looks the same (:data:`LOOKS_THE_SAME`) is that of the other.
        """
        nearest = found.nearest.astype(int).tolist()
        notes = {i: warning(RepeatUnit.parse(self.psmiles[i])) for i in {*nearest} if i >= 0}
        warnings = [notes.get(i, "") for i in nearest]
        for row in np.flatnonzero(found.similarity == 1.0).tolist():
            if units[row].key not in self._known:
                warnings[row] = "; ".join(filter(None, (warnings[row], LOOKS_THE_SAME)))
        return [self.psmiles[i] if i >= 0 else "" for i in nearest], warnings

    @property
    def error_correlation(self) -> np.ndarray:
        """Correlation (t, t) of the errors of the properties, in the modelled scale, on polymers not seen in training.

        A calibrated model has learned it with its intervals; of any other the errors are taken for independent.
        """
        found = getattr(self.model, "error_correlation_", None)
        return np.eye(len(self.properties)) if found is None else np.asarray(found, dtype=float)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.keys)

    @cached_property
    def domain(self) -> ApplicabilityDomain:
        """Where the model can be asked; of a bundle that was saved without it, learned from its training polymers."""
        return ApplicabilityDomain.fit(ensure_units(self.psmiles), self.keys, self.domain_limits)

    def _training_frame(self) -> pd.DataFrame:
        import pandas as pd

        values = {f"value:{name}": self.values[:, i] for i, name in enumerate(self.names)}
        return pd.DataFrame({"key": list(self.keys), "psmiles": list(self.psmiles), **values})


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else than a trained model.

    Raises
    ------
    UserError
    """
    check_replaceable(folder, "bundle.json", "a trained model", whole=True)


def warning(unit: RepeatUnit) -> str:
    """Return what is doubtful about the structure of a repeat unit, empty for most."""
    return "; ".join(unit.notes)


def _read_training(folder: Path, content: BundleFile) -> pd.DataFrame:
    import pandas as pd

    frame = pd.read_parquet(folder / "training.parquet")
    expected = ["key", "psmiles", *(f"value:{item.name}" for item in content.properties)]
    if list(frame.columns) != expected or len(frame) != content.n_training:
        raise UserError("training.parquet does not fit bundle.json", where=str(folder), fix=DAMAGED)
    return frame
