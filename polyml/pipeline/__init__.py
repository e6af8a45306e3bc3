"""Recipes turned into files: the stages, and the steps that stages and the command line share."""

from polyml.pipeline.runner import run_stages
from polyml.pipeline.stages import STAGES, run_recipe

__all__ = ["STAGES", "run_recipe", "run_stages"]
