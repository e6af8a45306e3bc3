"""Benchmark suites: many models on published data sets, beside the published figures."""

from polyml.benchmark.report import render_report, scores_frame, write_ranks
from polyml.benchmark.run import run_suite
from polyml.benchmark.suite import Suite, load_suite

__all__ = ["Suite", "load_suite", "render_report", "run_suite", "scores_frame", "write_ranks"]
