"""``polyml train``: fit one model on a whole file and keep it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from polyml.cli import common
from polyml.errors import UserError

EXAMPLES = common.examples(
    "polyml train tg.csv --target Tg --model extra_trees -o tg_model",
    "polyml train gas_permeability --model extra_trees --register gas_membranes",
    "polyml train tg.csv --target Tg --model svm --param C=30 -o tg_svm",
    "polyml train tg.csv --target Tg --tuned tg_svm_tuning -o tg_svm",
)


def train(
    file: common.DataFile,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="KEY", help="Model of the catalog: polyml models.")
    ] = None,
    tuned: Annotated[
        Path | None,
        typer.Option("--tuned", metavar="DIR", help="Folder of polyml tune, whose model and parameters are taken."),
    ] = None,
    target: common.Targets = None,
    log10: common.Log10 = None,
    unit: common.Units = None,
    class_: common.Classes = None,
    smiles_column: common.SmilesColumn = None,
    sample: common.Sample = None,
    per_class: common.PerClass = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder of the model (else FILE_KEY).")
    ] = None,
    param: common.Params = None,
    budget: common.Budget = None,
    no_calibrate: Annotated[
        bool,
        typer.Option(
            "--no-calibrate",
            help="Leave the intervals as the model gives them, and spare the five more fits that make 90 % of unseen "
            "polymers lie inside.",
        ),
    ] = False,
    register: Annotated[
        str | None, typer.Option("--register", metavar="NAME", help="Register in MLflow as models:/NAME@champion.")
    ] = None,
    seed: common.Seed = 1,
    no_track: common.NoTrack = False,
    experiment: common.Experiment = None,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Fit one model on all rows of a file and save it for predict and screen.

    The folder holds the model without pickle, its properties and units, the keys of the polymers it has seen, and what
    became of the other rows: rejects.csv, warnings.csv and duplicates.csv.

    The intervals of predict and screen are calibrated: the model is fitted five more times, each time without a fifth
    of the polymers, and its errors on these tell how wide an interval must be to hold 90 % of new values. The
    predictions stay those of the model fitted on all. Classifiers and the model completion are trained as they are.
    """
    from polyml.config import ModelSpec
    from polyml.data.properties import task_of
    from polyml.pipeline import fitting, steps

    properties = common.make_properties(file, target, log10, unit, class_)
    key, params = _wanted(model, tuned)
    (spec,) = common.with_budget([ModelSpec(key=key, params=params | common.make_params(param))], budget)
    steps.check_models([spec], task_of(properties))
    drawn = common.make_sample(sample, per_class, seed)
    table = steps.read(file, properties, smiles_column=smiles_column, sample=drawn)
    common.note_table(table)
    folder = output or Path(f"{Path(file).stem}_{key}")
    tracking = common.make_tracking(not no_track, experiment, file)
    replaces = (folder / "bundle.json").is_file()
    uri = fitting.train_model(
        table, spec, folder, seed=seed, register=register, tracking=tracking, calibrate=not no_calibrate
    )
    calibrated = not no_calibrate and fitting.takes_calibration(key, table.task)
    if as_json:
        told = {"folder": str(folder), "model": key, "uri": uri, "polymers": len(table), "calibrated": calibrated}
        common.print_json(told)
        return
    if not calibrated and table.task == "regression" and fitting.takes_calibration(key, table.task):
        common.note("its intervals are what the model says of itself: leave --no-calibrate out for ones that hold 90 %")
    how = f"{key}, calibrated," if calibrated else key
    common.note(f"trained {how} on {len(table)} polymers: {folder}" + (" (replaced)" if replaces else ""))
    if register:
        common.note(f"registered as {uri}, which models:/{register}@champion now names")
    elif uri:
        common.note(f"logged as {uri}")
    common.note(f"next: polyml predict {uri if register else folder} FILE -o predictions.csv")


def _wanted(model: str | None, tuned: Path | None) -> tuple[str, dict[str, Any]]:
    """Return the model and the parameters that were asked for, by name or by the folder of a search."""
    if tuned is None:
        if model is None:
            raise UserError("no model is named", where="--model", fix="polyml models lists them")
        return model, {}
    from polyml.tuning.files import read_best_params

    key, params = read_best_params(tuned)
    if model not in (None, key):
        raise UserError(
            f"the parameters of '{key}' are not those of '{model}'", where="--tuned", fix="leave --model out"
        )
    return key, params
