"""Hyperparameter search: an Optuna study for one model, inside the training data it is given."""

from polyml.tuning.search import SearchSettings, search

__all__ = ["SearchSettings", "search"]
