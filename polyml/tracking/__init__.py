"""Runs, models and pictures in MLflow. The only room that imports mlflow, and only when a run is opened."""

from polyml.tracking.null import NullTracker, make_tracker
from polyml.tracking.registry import resolve_model
from polyml.tracking.server import serve_ui
from polyml.tracking.tracker import Tracker

__all__ = ["NullTracker", "Tracker", "make_tracker", "resolve_model", "serve_ui"]
