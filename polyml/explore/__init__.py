"""Look at the data before modelling: projections and clusters."""

from polyml.explore.explore import cluster_summary, explore

__all__ = ["cluster_summary", "explore"]
