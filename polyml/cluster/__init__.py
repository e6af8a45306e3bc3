"""Ray clusters: where chunks are screened and folds are computed with ``--engine ray``."""

from polyml.cluster.connect import Engine, checked_engine, chosen_cluster, ray_cluster
from polyml.cluster.nodes import Cluster, Node, brief, worker_share

__all__ = ["Cluster", "Engine", "Node", "brief", "checked_engine", "chosen_cluster", "ray_cluster", "worker_share"]
