"""``polyml tune``: search the parameters of one model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyml.cli import common

if TYPE_CHECKING:
    from polyml.tuning.trials import SearchResult

EXAMPLES = common.examples(
    "polyml tune tg.csv --target Tg --model svm --trials 50 -o tg_svm",
    "polyml tune gas_permeability --model svm --space 'C={low: 0.1, high: 100, log: true}' --space gamma",
    "polyml tune tg.csv --target Tg --model mlp --storage postgresql://lab/studies --study tg --resume",
)


def tune(
    file: common.DataFile,
    model: Annotated[str, typer.Option("--model", "-m", metavar="KEY", help="Model of the catalog: polyml models.")],
    target: common.Targets = None,
    log10: common.Log10 = None,
    unit: common.Units = None,
    class_: common.Classes = None,
    smiles_column: common.SmilesColumn = None,
    sample: common.Sample = None,
    per_class: common.PerClass = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder (else FILE_KEY_tuning).")
    ] = None,
    trials: Annotated[int, typer.Option("--trials", "-n", help="Trials in total, the defaults among them.")] = 50,
    sampler: Annotated[str, typer.Option("--sampler", help="tpe, gp, random or grid.")] = "tpe",
    pruner: Annotated[
        str | None, typer.Option("--pruner", help="median, hyperband or none (else median; none for gp).")
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            "--space",
            metavar="KEY[=RANGE]",
            help="Search this parameter, over {low, high, log}, [values], or the model's own range; repeat for several."
            " Without it all ranges of the model.",
        ),
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="Fix a parameter; repeat for several.")
    ] = None,
    folds: Annotated[int | None, typer.Option("--folds", help="Inner folds (else by the number of polymers).")] = None,
    repeats: Annotated[int, typer.Option("--repeats", help="Repeats of the inner folds, each anew.")] = 1,
    storage: Annotated[
        str | None,
        typer.Option("--storage", metavar="URL", help="Database of the study, to share it (else study.db in DIR)."),
    ] = None,
    study: Annotated[
        str | None, typer.Option("--study", metavar="NAME", help="Name of the study (else FILE_KEY).")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the study, or join the processes at work on it.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the study of this name.")] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="Begin no trial after this time.")
    ] = None,
    seed: common.Seed = 1,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", metavar="N", min=1, help="Processes; with one the seed decides all.")
    ] = 1,
    no_track: common.NoTrack = False,
    experiment: common.Experiment = None,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Search the parameters of one model on inner folds of a file.

    Writes best_params.yaml (a line for the models of a recipe), best_params.json, trials.csv, tuning.html with
    pictures, the study itself, and what became of the other rows: rejects.csv, warnings.csv and duplicates.csv. The
    first trial takes the model's own parameters, where the ranges allow them. Several processes or machines may share
    a study by its storage and name. The best inner score is optimistic: polyml compare --tune scores honestly.
    """
    from polyml.config import ModelSpec, TuneSpec
    from polyml.data.files import check_replaceable
    from polyml.data.properties import task_of
    from polyml.errors import UserError
    from polyml.pipeline import fitting, steps
    from polyml.sections import check_section

    if resume and force:
        raise UserError("--resume goes on with a study and --force replaces it", fix="give one of the two")
    properties = common.make_properties(file, target, log10, unit, class_)
    spec = ModelSpec(key=model, params=common.make_params(param))
    search = check_section(
        TuneSpec,
        trials=trials,
        sampler=sampler,
        pruner=pruner,
        folds=folds,
        repeats=repeats,
        space=make_space_option(space),
    )
    fitting.check_search(spec, search, task_of(properties))
    drawn = common.make_sample(sample, per_class, seed)
    table = steps.read(file, properties, smiles_column=smiles_column, sample=drawn)
    common.note_table(table)
    folder = output or Path(f"{Path(file).stem}_{model}_tuning")
    check_replaceable(folder, "best_params.json", "a search", begun=r"study\.db.*|tracking\.json")
    found = fitting.tune_model(
        table,
        spec,
        folder,
        search=search,
        seed=seed,
        tracking=common.make_tracking(not no_track, experiment, file),
        study=study,
        storage=storage,
        resume=resume,
        force=force,
        jobs=jobs,
        timeout=timeout,
    )
    if as_json:
        common.print_json({"folder": str(folder), **summary(found)})
        return
    show_best(found)
    common.note(f"written to {folder}" + ("" if no_track else " · polyml ui shows the runs"))
    common.note(f"next: polyml train {file} ... --tuned {folder}, or paste best_params.yaml into a recipe")
    common.note("to score honestly, with a search of its own inside every training part: polyml compare --tune TRIALS")


def make_space_option(options: Sequence[str] | None) -> dict[str, Any] | None:
    """Read ``--space C`` and ``--space 'C={low: 1, high: 9}'``."""
    from polyml.recipe_yaml import parse_value

    if not options:
        return None
    found: dict[str, Any] = {}
    for text in options:
        name, _, value = text.partition("=")
        found[name.strip()] = parse_value(value, f"--space {name.strip()}") if value.strip() else None
    return found


def summary(found: SearchResult) -> dict[str, Any]:
    """Return what a search found as plain data."""
    return {
        "model": found.problem.key,
        "metric": f"inner {found.problem.metric}",
        "best_score": found.best.score,
        "defaults_score": None if found.defaults is None else found.defaults.score,
        "best_trial": found.best.number,
        "best_params": found.best_params,
        "trials": {state: found.count(state) for state in ("complete", "pruned", "failed")},
    }


def show_best(found: SearchResult) -> None:
    """Print the best trials, the defaults, and what became of the others."""
    complete = sorted((t for t in found.trials if t.state == "complete"), key=lambda t: (-t.score, t.number))
    shown = complete[:5]
    if found.defaults is not None and found.defaults not in shown:
        shown.append(found.defaults)
    rows = [
        {"trial": f"{t.number} (defaults)" if t.defaults else str(t.number), "score": t.score, **t.params}
        for t in shown
    ]
    common.print_rows(rows, title=f"{found.problem.key}: inner {found.problem.metric}")
    others = ", ".join(f"{found.count(state)} {state}" for state in ("pruned", "failed") if found.count(state))
    common.note(f"{found.count('complete')} trials complete" + (f", {others}" if others else ""))
