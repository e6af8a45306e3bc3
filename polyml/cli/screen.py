"""``polyml screen``: rank a library of candidates."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from polyml.cli import common

EXAMPLES = common.examples(
    "polyml screen candidates --model models:/gas_membranes@champion --constraint 'O2 >= 100' -o screened",
    "polyml screen candidates --model gas_model --objective 'robeson(\"O2/N2\")' --top 200 -o screened --resume",
    "polyml screen 'parts/*.parquet' -m tg_model -m gas_model --pareto --objective Tg --objective O2 -o screened",
    "polyml screen library.smi.gz --model tg_model --objective Tg --all --format parquet -o screened",
)


RANKING, QUICK, RESULTS = "What to rank by", "A quick model first", "What is written"
"""Headings of the help."""


class Format(StrEnum):
    """Formats of tables."""

    csv = "csv"
    parquet = "parquet"


def screen(
    file: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="Candidates: file, folder, quoted pattern, URL of these, - (standard input), or embedded set.",
        ),
    ],
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Folder, run or models:/NAME@champion; repeat for models of other properties.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder or URL for the results.")],
    constraint: Annotated[
        list[str] | None,
        typer.Option(
            "--constraint", metavar="EXPR", help="Condition to pass: 'O2 >= 100'; repeat.", rich_help_panel=RANKING
        ),
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            "--objective",
            metavar="EXPR",
            help="Expression to maximise, or 'minimize EXPR'; several are summed.",
            rich_help_panel=RANKING,
        ),
    ] = None,
    derive: Annotated[
        list[str] | None,
        typer.Option("--derive", metavar="NAME=EXPR", help="Extra column: 'S=O2/N2'; repeat.", rich_help_panel=RANKING),
    ] = None,
    pareto: Annotated[
        bool,
        typer.Option(
            "--pareto",
            help="Rank only what no other candidate beats in every objective at once.",
            rich_help_panel=RANKING,
        ),
    ] = False,
    pessimistic: Annotated[
        bool,
        typer.Option(
            "--pessimistic", help="Rank by the score that is exceeded with probability 0.95.", rich_help_panel=RANKING
        ),
    ] = False,
    min_probability: Annotated[
        float | None,
        typer.Option(
            "--min-probability",
            metavar="P",
            help="Demand that all constraints are met with this probability: 0.9.",
            rich_help_panel=RANKING,
        ),
    ] = None,
    keep_known: Annotated[
        bool, typer.Option("--keep-known", help="Keep polymers of the training set.", rich_help_panel=RANKING)
    ] = False,
    quick: Annotated[
        str | None,
        typer.Option(
            "--quick",
            metavar="MODEL",
            help="Quick model that discards by --prefilter first.",
            rich_help_panel=QUICK,
        ),
    ] = None,
    prefilter: Annotated[
        list[str] | None,
        typer.Option(
            "--prefilter",
            metavar="EXPR",
            help="Condition on the quick model's predictions; repeat.",
            rich_help_panel=QUICK,
        ),
    ] = None,
    prefilter_check: Annotated[
        float,
        typer.Option(
            "--prefilter-check",
            metavar="SHARE",
            help="Of the discarded, to estimate what is lost.",
            min=0,
            max=1,
            rich_help_panel=QUICK,
        ),
    ] = 0.005,
    top: Annotated[
        int, typer.Option("--top", metavar="N", min=1, help="Rows of the ranked list.", rich_help_panel=RESULTS)
    ] = 1000,
    shortlist: Annotated[
        int,
        typer.Option(
            "--shortlist",
            metavar="N",
            min=0,
            help="Choose N ranked candidates that differ.",
            rich_help_panel=RESULTS,
        ),
    ] = 0,
    shortlist_by: Annotated[
        str,
        typer.Option(
            "--shortlist-by",
            metavar="HOW",
            help="maxmin (least similar first), leader (by rank, without variations), clusters (the best of each).",
            rich_help_panel=RESULTS,
        ),
    ] = "maxmin",
    trade_off: Annotated[
        list[str] | None,
        typer.Option("--plot", metavar="PAIR", help="Trade-off to draw: 'O2 vs Tg'; repeat.", rich_help_panel=RESULTS),
    ] = None,
    keep_all: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Write every candidate with key, predictions, intervals, domain and outcome.",
            rich_help_panel=RESULTS,
        ),
    ] = False,
    unique: Annotated[
        bool,
        typer.Option(
            "--unique",
            help="Count each polymer of the library once, however often it comes.",
            rich_help_panel=RESULTS,
        ),
    ] = False,
    format_: Annotated[
        Format,
        typer.Option("--format", help="Of the ranked list and of all candidates.", rich_help_panel=RESULTS),
    ] = Format.csv,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue an interrupted screen in the same folder."),
    ] = False,
    chunk_size: Annotated[
        int,
        typer.Option("--chunk-size", metavar="N", min=1, help="Candidates read at a time."),
    ] = 5000,
    time_limit: Annotated[
        float,
        typer.Option("--time-limit", metavar="SECONDS", min=0.1, help="A candidate that takes longer is refused."),
    ] = 30.0,
    jobs: common.Jobs = None,
    engine: common.Engine = "local",
    address: common.Address = None,
    smiles_column: common.SmilesColumn = None,
    no_track: common.NoTrack = False,
    experiment: common.Experiment = None,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Predict a library of candidates in chunks, judge them and rank them.

    Writes the ranked list, rejects.csv, summary.json, report.html and, for gases, robeson.html; the folder shards holds
    the finished chunks, which --resume goes on from and which may be deleted afterwards. A candidate that crashes or
    holds up the process that works on it is refused, alone.

    Expressions know the properties, what is derived, O2_std, O2_lower and O2_upper of each, similarity and
    domain_score; + - * / **, comparisons, log10, log, exp, sqrt, abs, min, max and robeson("O2/N2"), the distance to
    the 2008 upper bound.
    """
    from polyml.cluster import checked_engine
    from polyml.data.places import url_of
    from polyml.pipeline.screening import screen_candidates
    from polyml.screening.spec import ScreenSpec
    from polyml.sections import check_section

    spec = check_section(
        ScreenSpec,
        derive=dict(common.split_pair(text, "--derive") for text in derive or ()),
        constraints=constraint or [],
        prefilter=prefilter or [],
        prefilter_check=prefilter_check,
        objectives=objective or [],
        top=top,
        skip_known=not keep_known,
        unique=unique,
        rank_by="pareto" if pareto else "score",
        pessimistic=pessimistic,
        min_probability=min_probability,
        shortlist=shortlist,
        shortlist_by=shortlist_by,
        trade_offs=trade_off or [],
        keep="all" if keep_all else "ranked",
        format=format_.value,
        chunk_size=chunk_size,
        time_limit=time_limit,
    )
    summary = screen_candidates(
        file,
        model,
        spec,
        output,
        quick=quick,
        resume=resume,
        name=output.name,
        tracking=common.make_tracking(not no_track, experiment, file),
        jobs=jobs,
        engine=checked_engine(engine),
        address=address,
        smiles_column=smiles_column,
    )
    if as_json:
        common.print_json({"folder": str(output), **summary})
        return
    from polyml.cli.tables import read_ranked
    from polyml.screening.report import recall_words

    name, where = f"ranked.{format_.value}", url_of(output) or str(output)
    if summary["ranked"] and url_of(output) is None:
        common.show(read_ranked(output / name, spec))
    common.note(f"{common.funnel(summary)}: {where}/{name}")
    if summary["shortlist"] is not None:
        common.note(f"{summary['shortlist']:,} of them, which differ: {where}/shortlist.csv")
    if keep_all:
        common.note(f"All candidates: {where}/predictions.{format_.value}")
    if summary["prefilter"]:
        common.note(recall_words(summary["prefilter"]))
    common.note(f"Report: {where}/report.html")
