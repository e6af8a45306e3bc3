"""``polyml compare``: models on the same folds of one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyml.cli import common

if TYPE_CHECKING:
    from polyml.evaluation.results import Results

EXAMPLES = common.examples(
    "polyml compare tg.csv --target Tg -o tg_comparison",
    "polyml compare gas_permeability --target O2 --target N2 --ratio O2/N2 --models mean,extra_trees -o gas",
    "polyml compare films.csv --target perm --log10 perm --unit perm=Barrer --split cluster -o films",
    "polyml compare tg.csv --target Tg --models svm,extra_trees --tune 20 -o tg_tuned",
    "polyml compare tg.csv --target Tg --models dmpnn,gin --param max_epochs=100 --param width=192 -o tg_networks",
    "polyml compare candidates --class polymer_class --per-class 300 -o polymer_class",
)


def compare(
    file: common.DataFile,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the results.")],
    target: common.Targets = None,
    log10: common.Log10 = None,
    unit: common.Units = None,
    class_: common.Classes = None,
    smiles_column: common.SmilesColumn = None,
    sample: common.Sample = None,
    per_class: common.PerClass = None,
    models: Annotated[
        str | None,
        typer.Option("--models", metavar="A,B", help="Models of the catalog, or all (else a quick selection)."),
    ] = None,
    tune: Annotated[
        int | None,
        typer.Option("--tune", metavar="N", min=1, help="Tune each model anew inside every training part."),
    ] = None,
    ratio: Annotated[
        list[str] | None, typer.Option("--ratio", metavar="A/B", help="Score the ratio of two log10 targets too.")
    ] = None,
    known_properties: Annotated[
        bool, typer.Option("--known-properties", help="Give each model the other measured properties of a polymer.")
    ] = False,
    split: common.Split = "kfold",
    split_column: common.SplitColumn = None,
    split_digest: common.SplitDigest = None,
    folds: common.Folds = 5,
    repeats: common.Repeats = 1,
    param: common.ParamsOfAll = None,
    budget: common.Budget = None,
    protocol: Annotated[
        str, typer.Option("--protocol", help="honest; paper lets networks pick their epoch on the test fold.")
    ] = "honest",
    rope: Annotated[
        float | None,
        typer.Option(
            "--rope",
            metavar="R2",
            help="Region of practical equivalence: models whose R² differs by at most this count as practically equal "
            "(else 0.01).",
        ),
    ] = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Compare models that know tested polymers, stamped leaky.")
    ] = False,
    seed: common.Seed = 1,
    jobs: common.Jobs = None,
    engine: common.Engine = "local",
    address: common.Address = None,
    no_track: common.NoTrack = False,
    experiment: common.Experiment = None,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Compare models on the same folds of a file.

    Writes leaderboard.html and plots.html to look at; results.csv, leaderboard.csv, predictions.parquet,
    paired_tests.csv, uncertainty.csv (how far the intervals can be trusted), domain.csv (errors by similarity to the
    training polymers), splits.csv, and what became of the other rows: rejects.csv, warnings.csv and duplicates.csv. A
    polymer never stands on both sides of a fold, however it
    is written (but for --split rows, which counts those that do). The result says by which protocol it was made:
    honest, paper, or leaky with the reason. --split OTHER/splits.csv takes the folds of another comparison. Run again
    after an interruption: finished folds are kept. Where a model fails the others are scored all the same, and the exit
    code is 1.
    """
    from rich.markup import escape

    from polyml.cluster import checked_engine
    from polyml.data.files import check_replaceable
    from polyml.data.properties import task_of
    from polyml.evaluation.text import as_json as comparison_json
    from polyml.evaluation.text import interval_notes, render_leaderboard
    from polyml.pipeline import fitting, steps

    properties = common.make_properties(file, target, log10, unit, class_)
    task = task_of(properties)
    keys = common.split_names(models) or list(steps.QUICK_MODELS[task])
    chosen = common.with_budget(common.make_specs(keys, param), budget)
    if tune is not None:
        chosen = fitting.with_tuning(chosen, tune)
    steps.check_models(chosen, task)
    check_replaceable(output, "compare.json", "a comparison")
    spec = common.make_split(split, folds, repeats, seed, split_column, split_digest)
    drawn = common.make_sample(sample, per_class, seed)
    table = steps.read(file, properties, smiles_column=smiles_column, sample=drawn, split=spec)
    common.note_table(table)
    if known_properties:
        common.note("to complete properties each model is fitted about six times a fold (gp_coregional: once)")
    replaces = (output / "results.csv").is_file()
    results = steps.compare_models(
        table, chosen, spec, output, seed=seed, jobs=jobs, ratios=ratio or (), name=output.name,
        tracking=common.make_tracking(not no_track, experiment, file), known_properties=known_properties,
        protocol=protocol, allow_leaks=allow_leaks, rope=rope,
        engine=checked_engine(engine), address=address,
    )  # fmt: skip
    if as_json:
        common.print_json({"folder": str(output), **comparison_json(results)})
    else:
        common.show(render_leaderboard(results), piped_width=160)
        if replaces:
            kept = f"{results.reused} of its folds were kept" if results.reused else "none of its folds could be kept"
            common.note(f"the comparison that was in {output} is replaced; {kept}")
        for text in interval_notes(results):
            common.note(escape(text))
        common.note(f"written to {output}" + ("" if no_track else " · polyml ui shows the runs"))
    if results.failures:
        common.say(f"[bold red]error:[/] {len(results.failures)} of {len(chosen)} models failed: {_listed(results)}")
        common.say(f"  → the tracebacks are in {output / 'errors'}; leave these models out, or mend their parameters")
        raise typer.Exit(1)


def _listed(results: Results) -> str:
    from rich.markup import escape

    return "; ".join(escape(f"{label}: {failure.error}") for label, failure in results.failures.items())
