"""The catalog: every model of polyml, one line each.

To add a model, write its class and add its line. The modules are imported when a model is asked for, so that a listing
needs neither torch nor scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.errors import UserError, unknown_name

if TYPE_CHECKING:
    from polyml.models.base import PolymerModel


@dataclass(frozen=True)
class ModelEntry:
    """One line of the catalog.

    Attributes
    ----------
    key, family, title : str
        As on the class, which a contract test compares.
    path : str
        ``module:class``.
    """

    key: str
    path: str
    family: str
    title: str


def _unique(entries: Sequence[ModelEntry]) -> tuple[ModelEntry, ...]:
    seen: set[str] = set()
    for entry in entries:
        if entry.key in seen:
            raise ValueError(f"two models in the catalog have the key '{entry.key}'")
        seen.add(entry.key)
    return tuple(entries)


MODELS: tuple[ModelEntry, ...] = _unique(
    [
        ModelEntry("mean", "polyml.models.baselines:MeanModel", "baseline", "Mean of the training polymers"),
        ModelEntry("kmeans", "polyml.models.cluster:KMeansModel", "clustering", "Mean of the k-means cluster"),
        ModelEntry(
            "pca_ridge", "polyml.models.linear:PCARidge", "dimensionality reduction", "Principal components + ridge"
        ),
        ModelEntry(
            "svm", "polyml.models.svm:SupportVectorModel", "support vector machine", "Support vector regression (RBF)"
        ),
        ModelEntry(
            "gp", "polyml.models.gaussian_process:GaussianProcess", "Gaussian process", "Gaussian process (RBF kernels)"
        ),
        ModelEntry("lightgbm", "polyml.models.boosting:LightGBM", "boosting", "Gradient boosting (LightGBM)"),
        ModelEntry("random_forest", "polyml.models.forests:RandomForest", "forest", "Random forest"),
        ModelEntry("extra_trees", "polyml.models.forests:ExtraTrees", "forest", "Extremely randomised trees"),
        ModelEntry("mlp", "polyml.models.mlp:MLPModel", "deep network", "Deep network on fingerprints"),
        ModelEntry("gnn", "polyml.models.gnn:GraphModel", "graph network", "Graph network on periodic graphs"),
        ModelEntry(
            "autoencoder",
            "polyml.models.autoencoder:AutoencoderModel",
            "autoencoder",
            "Denoising autoencoder + support vector regression",
        ),
        ModelEntry(
            "gnn_pretrained",
            "polyml.models.gnn:PretrainedGraphModel",
            "transfer learning",
            "Graph network pretrained on unlabelled candidates",
        ),
    ]
)


def model_class(key: str) -> type[PolymerModel]:
    """Return the class of a model.

    Raises
    ------
    UserError
        No model has this key; the message names the nearest one.

    Examples
    --------
    >>> model_class("mean").title
    'Mean of the training polymers'
    """
    for entry in MODELS:
        if entry.key == key:
            module, name = entry.path.split(":")
            return getattr(import_module(module), name)
    raise unknown_name("model", key, [entry.key for entry in MODELS])


def make_model(key: str, **params: Any) -> PolymerModel:
    """Build a model from its key and parameters.

    Raises
    ------
    UserError
        No such model, or no such parameter.
    """
    cls = model_class(key)
    known = cls._get_param_names()
    for name in params:
        if name not in known:
            raise unknown_name("parameter", name, known, where=f"model '{key}'")
    return cls(**params)


def list_models() -> list[dict[str, str]]:
    """Return one row a model: key, family, title (for tables)."""
    return [{name: value for name, value in asdict(entry).items() if name != "path"} for entry in MODELS]


def load_model(folder: str | Path) -> PolymerModel:
    """Read a saved model of whatever kind.

    Raises
    ------
    UserError
        The folder holds no readable model.
    """
    from polyml.models.storage import read_card

    key = read_card(Path(folder)).get("model")
    if not isinstance(key, str):
        raise UserError("the model card names no model", where=str(folder))
    return model_class(key).load(Path(folder))
