"""``polyml benchmark``: a suite of data sets and models, beside published figures."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from polyml.cli import common

EXAMPLES = common.examples(
    "polyml benchmark dft --data ~/benchmarks",
    "polyml benchmark dft --data ~/benchmarks --sets eea,ei --models gp,dmpnn",
    "polyml benchmark dft --data ~/benchmarks --report docs/results.md",
    "polyml benchmark my_suite.yaml --data measurements",
)


def benchmark(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="YAML file, or a suite of polyml: dft, md or tg.")],
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Folder of the suite's files (else POLYML_BENCHMARKS).")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder (else outputs/benchmarks/SUITE).")
    ] = None,
    sets: Annotated[str | None, typer.Option("--sets", metavar="A,B", help="These data sets alone.")] = None,
    models: Annotated[
        str | None, typer.Option("--models", metavar="A,B", help="These models alone, and the reference.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the report here too, in Markdown.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the suite; repeat.")
    ] = None,
    jobs: common.Jobs = None,
    no_track: common.NoTrack = False,
    experiment: common.Experiment = None,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Run a benchmark suite: many models on published data sets, beside the published figures.

    Writes report.md, scores.csv, ranks.csv with the critical-difference diagrams in ranks.html, and a comparison for
    each data set. Run again after an interruption, or with other
    models: finished folds are kept.
    """
    from rich.markdown import Markdown

    from polyml.benchmark import load_suite, render_report, run_suite, scores_frame, write_ranks
    from polyml.config import TrackingSpec
    from polyml.data.files import check_replaceable, whole_file
    from polyml.errors import UserError
    from polyml.settings import benchmark_folder

    whole = load_suite(suite, override or ())
    chosen = whole.restricted(sets=common.split_names(sets) or (), models=common.split_names(models) or ())
    source = data or benchmark_folder()
    if source is None:
        fix = "give the folder that holds its files with --data, or set POLYML_BENCHMARKS"
        raise UserError("a suite needs the folder of its data sets", where=f"suite {chosen.name}", fix=fix)
    folder = output or Path("outputs") / "benchmarks" / chosen.name
    parts = "|".join(re.escape(item.name) for item in whole.comparisons)
    check_replaceable(folder, "scores.csv", "a benchmark", begun=f"data|{parts}")
    finished = run_suite(
        chosen, source, folder, jobs=jobs, report=common.note,
        tracking=TrackingSpec(enabled=not no_track, experiment=experiment or f"benchmark {chosen.name}"),
    )  # fmt: skip
    scores = scores_frame(finished)
    text = render_report(chosen, finished, _command(suite, sets, models, override or ()))
    with whole_file(folder / "scores.csv") as temporary:
        scores.to_csv(temporary, index=False, lineterminator="\n")
    write_ranks(finished, folder)
    for path in filter(None, (folder / "report.md", report)):
        with whole_file(path) as temporary:
            temporary.write_text(text, "utf-8")
    if as_json:
        rows = scores.astype(object).where(scores.notna(), None).to_dict("records")
        common.print_json({"folder": str(folder), "scores": rows})
        return
    common.show(Markdown(text), piped_width=160)
    written = " and ".join(str(path) for path in (folder, report) if path)
    common.note(f"written to {written}" + ("" if no_track else " · polyml ui shows the runs"))


def _command(suite: str, sets: str | None, models: str | None, overrides: Sequence[str]) -> str:
    """Return the command that the numbers depend on, for the report: it runs once FOLDER is a folder of the files."""
    options = [("--data", "FOLDER"), ("--sets", sets), ("--models", models), *(("--set", text) for text in overrides)]
    given = (part for name, value in options if value for part in (name, value))
    return shlex.join(["polyml", "benchmark", suite, *given])
