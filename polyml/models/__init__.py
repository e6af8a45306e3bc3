"""Models: one contract, one catalog, one family a module."""

from polyml.models.catalog import list_models, load_model, make_model, model_class

__all__ = ["list_models", "load_model", "make_model", "model_class"]
