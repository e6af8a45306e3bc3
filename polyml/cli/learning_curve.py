"""``polyml learning-curve``: scores over the number of training polymers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyml.cli import common

_BEGUN = r"n\d+|learning_curve\.(csv|html)|summary\.csv|words\.txt"  # in a folder before it is whole
EXAMPLES = common.examples(
    "polyml learning-curve tg.csv --target Tg --models dmpnn,foundation -o tg_curve",
    "polyml learning-curve tg.csv --target Tg --models dmpnn,foundation --param width=128 --repeats 3 -o tg_curve",
    "polyml learning-curve gas_permeability --models extra_trees --sizes 25,100,400 -o gas_curve",
)


def learning_curve(
    file: common.DataFile,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the results.")],
    models: Annotated[
        str,
        typer.Option("--models", metavar="A,B", help="Models of the catalog; the others are held against the first."),
    ],
    target: common.Targets = None,
    log10: common.Log10 = None,
    unit: common.Units = None,
    class_: common.Classes = None,
    smiles_column: common.SmilesColumn = None,
    sample: common.Sample = None,
    per_class: common.PerClass = None,
    sizes: Annotated[
        str | None, typer.Option("--sizes", metavar="N,N", help="Training polymers (else 25, 50, 100, ... and all).")
    ] = None,
    split: common.Split = "kfold",
    split_column: common.SplitColumn = None,
    split_digest: common.SplitDigest = None,
    folds: common.Folds = 5,
    repeats: common.Repeats = 1,
    param: common.ParamsOfAll = None,
    seed: common.Seed = 1,
    jobs: common.Jobs = None,
    no_track: common.NoTrack = False,
    experiment: common.Experiment = None,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Train models on more and more polymers, and say whether more data would help.

    Every size is scored on the same test folds. Writes learning_curve.csv, summary.csv, learning_curve.html, words.txt,
    and what became of the other rows: rejects.csv, warnings.csv and duplicates.csv. Run again after an interruption:
    finished folds are kept.
    """
    from polyml.data.files import check_replaceable
    from polyml.data.properties import task_of
    from polyml.errors import UserError
    from polyml.pipeline import steps

    properties = common.make_properties(file, target, log10, unit, class_)
    chosen = common.make_specs(common.split_names(models) or [], param)
    if not chosen:
        raise UserError("no model is named", where="--models", fix="name one at least; polyml models lists them")
    steps.check_models(chosen, task_of(properties))
    check_replaceable(output, "learning_curve.json", "a learning curve", begun=_BEGUN)
    numbers = common.split_names(sizes) or []
    if not all(number.isdecimal() for number in numbers):
        raise UserError(f"'{sizes}' is no list of whole numbers", where="--sizes", fix="write it like 25,50,100")
    spec = common.make_split(split, folds, repeats, seed, split_column, split_digest)
    drawn = common.make_sample(sample, per_class, seed)
    table = steps.read(file, properties, smiles_column=smiles_column, sample=drawn, split=spec)
    common.note_table(table)
    curve = steps.learning_curve(
        table, chosen, spec, output, sizes=[int(number) for number in numbers] or None, seed=seed, jobs=jobs,
        name=output.name, tracking=common.make_tracking(not no_track, experiment, file),
    )  # fmt: skip
    rows = [{str(name): value for name, value in row.items()} for row in curve.summary().to_dict("records")]
    if as_json:
        told = {"metric": curve.metric, "protocol": dict(curve.protocol), "curve": rows, "words": curve.words()}
        common.print_json({"folder": str(output), **told})
        return
    common.print_rows(rows)
    for line in curve.words():
        typer.echo(line)
    common.note(f"written to {output}" + ("" if no_track else " · polyml ui shows the runs"))
