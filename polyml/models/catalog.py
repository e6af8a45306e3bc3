"""The catalog: every model of polyml, one line each.

To add a model, write its class in a file and add its line here. A module is imported when its model is asked for, and
itself imports torch and its like only to fit or predict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from polyml.errors import DAMAGED, UserError, unknown_name

if TYPE_CHECKING:
    from polyml.models.base import PolymerModel

ModelFactory = Callable[..., "PolymerModel"]
"""What makes a model from its key and parameters, as :func:`make_model` does."""

MODELS: Mapping[str, str] = MappingProxyType(
    {
        # baseline
        "mean": "polyml.models.baselines:MeanModel",
        # clusters and neighbours
        "kmeans": "polyml.models.cluster:KMeansModel",
        "hierarchical": "polyml.models.cluster:HierarchicalModel",
        "dbscan": "polyml.models.cluster:DBSCANModel",
        "knn": "polyml.models.neighbours:NearestNeighbours",
        # linear models
        "ridge": "polyml.models.linear:RidgeModel",
        "lasso": "polyml.models.linear:LassoModel",
        "elastic_net": "polyml.models.linear:ElasticNetModel",
        "sgd": "polyml.models.linear:SGDModel",
        "pca_ridge": "polyml.models.linear:PCARidge",
        # support vector machines
        "svm": "polyml.models.svm:SupportVectorModel",
        "svm_linear": "polyml.models.svm:LinearSVM",
        "svm_poly": "polyml.models.svm:PolynomialSVM",
        "svm_sigmoid": "polyml.models.svm:SigmoidSVM",
        "svm_tanimoto": "polyml.models.svm:TanimotoSVM",
        # Gaussian processes
        "gp": "polyml.models.gaussian_process:GaussianProcess",
        "gp_coregional": "polyml.models.coregional:CoregionalProcess",
        "gp_tanimoto": "polyml.models.tanimoto_process:TanimotoProcess",
        # trees, bagged and boosted
        "decision_tree": "polyml.models.trees:DecisionTree",
        "bagging": "polyml.models.trees:BaggedTrees",
        "random_forest": "polyml.models.forests:RandomForest",
        "extra_trees": "polyml.models.forests:ExtraTrees",
        "adaboost": "polyml.models.boosting:AdaBoost",
        "gradient_boosting": "polyml.models.boosting:GradientBoosting",
        "hist_gradient_boosting": "polyml.models.boosting:HistGradientBoosting",
        "lightgbm": "polyml.models.boosting_lightgbm:LightGBM",
        "xgboost": "polyml.models.boosting_xgboost:XGBoost",
        # several models, and any of them with its parameters searched
        "voting": "polyml.models.ensembles:Voting",
        "stacking": "polyml.models.stacking:Stacking",
        "best": "polyml.models.best:BestModel",
        "tuned": "polyml.tuning.model:TunedModel",
        # networks
        "perceptron": "polyml.models.mlp:Perceptron",
        "mlp": "polyml.models.mlp:MLPModel",
        "cnn": "polyml.models.sequence:CNNModel",
        "rnn": "polyml.models.sequence:RNNModel",
        "lstm": "polyml.models.sequence:LSTMModel",
        "gru": "polyml.models.sequence:GRUModel",
        "transformer": "polyml.models.sequence:TransformerModel",
        "gcn": "polyml.models.gnn:GCNModel",
        "gat": "polyml.models.gnn:GATModel",
        "gin": "polyml.models.gnn:GINModel",
        "dmpnn": "polyml.models.gnn:DMPNNModel",
        "attentivefp": "polyml.models.gnn:AttentiveFPModel",
        "gps": "polyml.models.gnn:GPSModel",
        "autoencoder": "polyml.models.autoencoder:AutoencoderModel",
        "variational_autoencoder": "polyml.models.autoencoder:VariationalAutoencoderModel",
        "sequence_autoencoder": "polyml.models.autoencoder:SequenceAutoencoderModel",
        "foundation": "polyml.models.gnn:FoundationModel",
        # any of them with intervals that hold, or given other properties of the polymer
        "conformal": "polyml.models.conformal:ConformalModel",
        "completion": "polyml.models.completion:CompletionModel",
    }
)
"""``module:class`` of every model by its key; all else that is known of a model stands on its class."""


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
    if key not in MODELS:
        raise unknown_name("model", key, MODELS)
    module, name = MODELS[key].split(":")
    found: type[PolymerModel] = getattr(import_module(module), name)
    return found


def is_installed(key: str) -> bool:
    """Return whether the library of a model, where it is one of the extras, is there."""
    extra = model_class(key).extra
    return not extra or find_spec(extra) is not None


def make_model(key: str, **params: Any) -> PolymerModel:
    """Build a model from its key and parameters, and check them.

    Parameters
    ----------
    key : str
    **params
        Parameters of the model. ``preset`` names a set of them; what is given beside it has the last word.

    Raises
    ------
    UserError
        No such model, preset or parameter, or parameters that do not go together.

    Examples
    --------
    >>> make_model("random_forest", n_estimators=50).n_estimators
    50
    """
    cls = model_class(key)
    where = f"model '{key}'"
    preset = params.pop("preset", None)
    if preset is not None and preset not in cls.presets:
        raise unknown_name("preset", preset, cls.presets, where=where)
    known = cls._get_param_names()
    for name in params:
        if name not in known:
            raise unknown_name("parameter", name, [*known, *(["preset"] if cls.presets else [])], where=where)
    model = cls(**{**cls.presets.get(preset, {}), **params})
    model.check_params()
    model.check_estimator()
    return model


def list_models() -> list[dict[str, Any]]:
    """Return one row a model for tables: key, title, family, input, tasks, citation."""
    return [
        {
            "key": key,
            "title": cls.title,
            "family": cls.family,
            "input": cls.input_kind,
            "tasks": ", ".join(cls.tasks),
            "citation": cls.citation + ("" if is_installed(key) else f" (pip install 'polyml-chem[{cls.extra}]')"),
        }
        for key, cls in ((key, model_class(key)) for key in MODELS)
    ]


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
        raise UserError("the model card names no model", where=str(folder), fix=DAMAGED)
    return model_class(key).load(Path(folder))


def with_task(params: Mapping[str, Any], task: str) -> dict[str, Any]:
    """Return the parameters of a model for a task.

    Examples
    --------
    >>> with_task({"C": 3.0}, "classification"), with_task({"C": 3.0}, "regression")
    ({'C': 3.0, 'task': 'classification'}, {'C': 3.0})
    """
    return {**params, "task": task} if task == "classification" else dict(params)


def make_seeded(factory: ModelFactory, key: str, params: Mapping[str, Any], seed: int) -> PolymerModel:
    """Make a model with ``random_state=seed``, unless the user set one or the model has none."""
    model = factory(key, **params)
    if "random_state" in model.get_params(deep=False) and "random_state" not in params:
        model.set_params(random_state=seed)
    return model
