"""What a model reads and where it trains, the models inside it included."""

from __future__ import annotations

from polyml.models.base import PolymerModel


def feature_keys(model: PolymerModel) -> tuple[str, ...]:
    """Return the keys of the featurizers that a model reads, and those of the models inside it."""
    features = model.get_params(deep=False).get("features") or ()
    own = (features,) if isinstance(features, str) else tuple(str(item) for item in features)
    return tuple(dict.fromkeys([*own, *(key for inner in model.inner_models() for key in feature_keys(inner))]))


def is_accelerated(model: PolymerModel) -> bool:
    """Tell whether a model, or one inside it, trains on a CUDA device if there is one; "cpu" keeps it off."""
    own = model.get_params(deep=False).get("accelerator", "cpu") != "cpu"
    return own or any(is_accelerated(inner) for inner in model.inner_models())


def network_accelerators(model: PolymerModel) -> set[str]:
    """Return the ``accelerator`` of a model that predicts by networks, and of those inside it."""
    from polyml.models.trained import TrainedModel

    own = {model.accelerator} if isinstance(model, TrainedModel) else set()
    return own.union(*(network_accelerators(inner) for inner in model.inner_models()))


def uses_gpu(model: PolymerModel) -> bool:
    """Tell whether a model, or one inside it, predicts on a GPU if there is one."""
    return bool(network_accelerators(model) - {"cpu"})


def features_of(model: PolymerModel) -> str:
    """Name what a model reads: its features, or else its kind of input."""
    inner = next((features_of(item) for item in model.inner_models()), "")
    return "+".join(feature_keys(model)) or inner or ("" if model.input_kind == "none" else model.input_kind)
