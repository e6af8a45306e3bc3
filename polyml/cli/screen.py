"""``polyml screen``: rank a library of candidates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyml.cli import common

EXAMPLES = common.examples(
    "polyml screen candidates --model models:/gas_membranes@champion --constraint 'O2 >= 100' -o screened",
    "polyml screen candidates --model gas_model --objective 'robeson(\"O2/N2\")' --top 200 -o screened --resume",
    "polyml screen library.smi --model tg_model --objective Tg --top 100 -o screened",
)


def screen(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Candidates: a file, or the embedded set candidates.")],
    model: Annotated[str, typer.Option("--model", "-m", metavar="MODEL", help="Folder, run or models:/NAME@champion.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder or URL for the results.")],
    constraint: Annotated[
        list[str] | None, typer.Option("--constraint", metavar="EXPR", help="Condition to pass: 'O2 >= 100'; repeat.")
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            "--objective", metavar="EXPR", help="Expression to maximise, or 'minimize EXPR'; several are summed."
        ),
    ] = None,
    derive: Annotated[
        list[str] | None, typer.Option("--derive", metavar="NAME=EXPR", help="Extra column: 'S=O2/N2'; repeat.")
    ] = None,
    quick: Annotated[
        str | None, typer.Option("--quick", metavar="MODEL", help="Quick model that discards by --prefilter first.")
    ] = None,
    prefilter: Annotated[
        list[str] | None,
        typer.Option("--prefilter", metavar="EXPR", help="Condition on the quick model's predictions; repeat."),
    ] = None,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="Rows of ranked.csv.")] = 1000,
    keep_known: Annotated[bool, typer.Option("--keep-known", help="Keep polymers of the training set.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted screen in the same folder.")
    ] = False,
    chunk_size: Annotated[
        int, typer.Option("--chunk-size", metavar="N", min=1, help="Candidates read at a time.")
    ] = 5000,
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

    Writes ranked.csv, rejects.csv, summary.json and, for gases, robeson.html; the folder shards holds the finished
    chunks, which --resume goes on from and which may be deleted afterwards. Expressions know + - * / **, comparisons,
    log10, sqrt, abs, min, max and robeson("O2/N2"), the distance to the 2008 upper bound.
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
        objectives=objective or [],
        top=top,
        skip_known=not keep_known,
        chunk_size=chunk_size,
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

    if summary["ranked"] and url_of(output) is None:
        common.show(read_ranked(output / "ranked.csv", spec))
    common.note(f"{common.funnel(summary)}: {url_of(output) or output}/ranked.csv")
