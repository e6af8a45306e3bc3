"""Options and output that several verbs share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from polyml.errors import UserError
from polyml.progress import is_quiet, set_quiet

if TYPE_CHECKING:
    from polyml.config import ModelSpec, TrackingSpec
    from polyml.data.properties import Property
    from polyml.data.sample import SampleSpec
    from polyml.data.splits import SplitSpec
    from polyml.data.table import PolymerTable


def _be_quiet(value: bool) -> bool:
    if value:
        set_quiet(True)
    return value


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars, no messages.", callback=_be_quiet)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, for scripts.")]
DataFile = Annotated[
    str, typer.Argument(metavar="FILE", help="CSV, TSV, Parquet or .smi file, or an embedded set (see polyml data).")
]
Targets = Annotated[
    list[str] | None,
    typer.Option("--target", "-t", metavar="COL", help="Column of a property, needed for a file of your own; repeat."),
]
Log10 = Annotated[
    list[str] | None, typer.Option("--log10", metavar="COL", help="Model this target as log10; repeat for several.")
]
Classes = Annotated[
    list[str] | None, typer.Option("--class", metavar="COL", help="This target is a class: learn its labels.")
]
Units = Annotated[
    list[str] | None, typer.Option("--unit", metavar="COL=UNIT", help="Unit of a target; repeat for several.")
]
SmilesColumn = Annotated[
    str | None, typer.Option("--smiles-column", metavar="COL", help="Column with the repeat units (else detected).")
]
Sample = Annotated[int | None, typer.Option("--sample", metavar="N", min=1, help="Read N rows only, drawn at random.")]
PerClass = Annotated[
    int | None, typer.Option("--per-class", metavar="N", min=1, help="Read N rows of each class at most.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of every random choice.")]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", metavar="N", min=1, help="Processes (else one a core).")]
Engine = Annotated[
    str,
    typer.Option("--engine", metavar="local|ray", help="Where to work: on this machine, or on a Ray cluster."),
]
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="HOST:PORT", help="Ray cluster, or auto (else RAY_ADDRESS, or started here)."),
]
Experiment = Annotated[
    str | None, typer.Option("--experiment", metavar="NAME", help="MLflow experiment (else named after the file).")
]
NoTrack = Annotated[bool, typer.Option("--no-track", help="Do not log the run in MLflow (see polyml ui).")]
Params = Annotated[
    list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="Parameter of the model; repeat for several.")
]

ParamsOfAll = Annotated[
    list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="Parameter of every model named; repeat.")
]
Budget = Annotated[
    str | None,
    typer.Option("--budget", metavar="TIME", help="Time for a fit of models with a budget (best): 90s, 5m, 1h."),
]
Split = Annotated[
    str,
    typer.Option(
        "--split",
        metavar="KIND|FILE",
        help="kfold, repeated_kfold, scaffold, cluster, leave_one_cluster_out, leave_one_group_out, time, "
        "extrapolation, rows as papers do; or a splits.csv to take the folds from.",
    ),
]
Folds = Annotated[int, typer.Option("--folds", metavar="N", help="Number of folds.")]
SplitColumn = Annotated[
    str | None,
    typer.Option("--split-column", metavar="COL", help="Column that leave_one_group_out and time divide by."),
]
SplitDigest = Annotated[
    str | None,
    typer.Option("--split-digest", metavar="HEX", help="Refuse folds of a file that do not have this digest."),
]
Repeats = Annotated[int, typer.Option("--repeats", metavar="N", help="Repeats of the split, each anew.")]


def say(message: str) -> None:
    """Print for people, on standard error (Rich markup)."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(message)


def note(message: str) -> None:
    """Print for people, unless ``--quiet``."""
    if not is_quiet():
        say(message)


def print_json(value: Any) -> None:
    """Print for scripts, on standard output."""
    typer.echo(json.dumps(value, indent=2, default=str, allow_nan=False))


def show(renderable: RenderableType, *, piped_width: int = 100) -> None:
    """Print for people, on standard output; piped output gets a width of its own, as no terminal sets one."""
    console = Console(highlight=False)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console = Console(highlight=False, width=piped_width)
    console.print(renderable)


def print_rows(rows: Sequence[Mapping[str, Any]], title: str | None = None) -> None:
    """Print rows of plain data as a table on standard output."""
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(rows[0] if rows else ()):
        number = not any(isinstance(row[column], str) for row in rows)
        # The first column is what a row is called, to be copied: it is never broken.
        table.add_column(str(column), justify="right" if number else "left", overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    show(table, piped_width=200)


_CELL = 60  # characters of a cell; the files hold the whole text


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    text = "" if value is None else str(value)
    return escape(text if len(text) <= _CELL else text[: _CELL - 1] + "…")


def make_properties(
    file: str,
    targets: Sequence[str] | None,
    log10: Sequence[str] | None,
    units: Sequence[str] | None,
    classes: Sequence[str] | None = None,
) -> list[Property]:
    """Build the properties that ``--target``, ``--class``, ``--log10`` and ``--unit`` describe."""
    from polyml.data.catalog import properties_for
    from polyml.data.properties import Property

    # --class names a target by itself; it need not be repeated as --target.
    named = unique([*(targets or ()), *(classes or ())])
    properties = properties_for(file, named or None)
    names = [item.name for item in properties]
    unit_of = dict(split_pair(text, "--unit") for text in units or ())
    for option, given in (("--log10", log10 or ()), ("--unit", unit_of)):
        for name in given:
            if name not in names:
                raise UserError(f"'{name}' is not a target", where=option, fix=f"the targets are: {', '.join(names)}")
    changed = []
    for item in properties:
        if item.name in (classes or ()):
            if item.name in (log10 or ()) or item.name in unit_of:
                raise UserError(
                    f"'{item.name}' is a class: it has no logarithm and no unit",
                    where="--class",
                    fix="leave --log10 and --unit out for it",
                )
            changed.append(Property(name=item.name, transform="class"))
            continue
        update: dict[str, Any] = {"transform": "log10"} if item.name in (log10 or ()) else {}
        if item.name in unit_of:
            update["unit"] = unit_of[item.name]
        changed.append(item.model_copy(update=update))
    return changed


def make_sample(
    rows: int | None, per_class: int | None, seed: int, class_column: str | None = None
) -> SampleSpec | None:
    """Build the sample that ``--sample``, ``--per-class`` and ``--class`` ask for.

    Raises
    ------
    UserError
        A column of classes is named, and no number of rows of each class.
    """
    from polyml.data.sample import SampleSpec

    if class_column is not None and per_class is None:
        raise UserError("how many rows of each class?", where="--class", fix="add --per-class N")
    if rows is None and per_class is None:
        return None
    return SampleSpec(rows=rows, per_class=per_class, class_column=class_column, seed=seed)


def split_pair(text: str, where: str) -> tuple[str, str]:
    """Split ``KEY=VALUE``."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(
            f"expected KEY=VALUE, got '{text}'", where=where, fix="write a name, an equals sign and a value"
        )
    return key.strip(), value.strip()


def make_params(options: Sequence[str] | None) -> dict[str, Any]:
    """Read ``--param key=value`` with values in YAML: numbers, true, [1, 2], text."""
    from polyml.recipe_yaml import parse_value

    pairs = (split_pair(text, "--param") for text in options or ())
    return {key: parse_value(value, f"--param {key}") for key, value in pairs}


def make_specs(keys: Iterable[str], options: Sequence[str] | None) -> list[ModelSpec]:
    """Build the specs of models that share parameters; ``all`` stands for every model of the catalog."""
    from polyml.config import ModelSpec, meant
    from polyml.models.catalog import model_class

    params, named = make_params(options), unique(spec.key for key in keys for spec in meant(ModelSpec(key=key)))
    for name in params:
        without = [key for key in named if name not in {*model_class(key)._get_param_names(), "preset"}]
        if without and len(without) < len(named):
            what = f"parameter '{name}' is not one of {', '.join(without)}, and --param is for every model named"
            raise UserError(what, where="--param", fix="name the models that have it, or write a recipe")
    return [ModelSpec(key=key, params=params) for key in named]


def with_budget(specs: Sequence[ModelSpec], budget: str | None) -> list[ModelSpec]:
    """Give ``--budget`` to the models that have one.

    Raises
    ------
    UserError
        None has.
    """
    from polyml.models.catalog import MODELS, model_class

    if budget is None:
        return list(specs)
    having = [key for key in MODELS if "budget" in model_class(key)._get_param_names()]
    if not any(spec.key in having for spec in specs):
        raise UserError("none of the models has a time budget", where="--budget", fix=f"add {', '.join(having)}")
    return [
        spec.model_copy(update={"params": {**spec.params, "budget": budget}}) if spec.key in having else spec
        for spec in specs
    ]


def make_split(
    kind: str, folds: int, repeats: int, seed: int, column: str | None = None, digest: str | None = None
) -> SplitSpec:
    """Build a split from the options of a verb; a k-fold with repeats is a repeated one, a file holds fixed folds.

    Raises
    ------
    UserError
        The kind is unknown, or the options do not go together.
    """
    from polyml.data.splits import KINDS, SplitSpec
    from polyml.errors import did_you_mean
    from polyml.sections import check_section

    file = kind if Path(kind).suffix == ".csv" else None
    names = [name for name in KINDS if name != "fixed"]  # folds of a file are asked for by its name
    if file is None and kind not in names:
        fix = f"{did_you_mean(kind, names)}known: {', '.join(names)}; or name a splits.csv to take the folds from"
        raise UserError(f"'{kind}' is no kind of split", where="--split", fix=fix)
    kind = "fixed" if file else "repeated_kfold" if repeats > 1 and kind == "kfold" else kind
    given = {"column": column, "digest": digest, "file": file}
    options = {name: value for name, value in given.items() if value is not None}
    return check_section(SplitSpec, kind=kind, folds=folds, repeats=repeats, seed=seed, **options)


def note_table(table: PolymerTable) -> None:
    """Say how many polymers were read, merged and refused."""
    from polyml.data.table_reader import IMPLAUSIBLE

    merged = f", {len(table.duplicates)} of them written more than once" if len(table.duplicates) else ""
    note(f"{len(table)} polymers{merged}")
    conflicts = table.duplicates[table.duplicates["conflict"].astype(bool)]
    if len(conflicts):
        lines = str(conflicts["lines"].iloc[0]).replace(";", ", ")
        note(f"[yellow]{len(conflicts)} with values that conflict[/] (lines {lines}): duplicates.csv has their spread")
    if len(table.rejects):
        first = table.rejects.groupby("reason")["line"].first()
        counts = ", ".join(f"{reason} ({n}, first line {first[reason]})" for reason, n in table.reject_counts.items())
        note(f"[yellow]{len(table.rejects)} rows or values not used:[/] {escape(counts)}")
    # Notes on structures are the same sentence for many rows; those on values differ from row to row.
    kinds = table.warnings["detail"].where(table.warnings["reason"] == "structure", table.warnings["reason"])
    for kind, rows in table.warnings.groupby(kinds, sort=False):
        hint = "; polyml audit looks into them" if kind == IMPLAUSIBLE else ""
        note(f"[yellow]{len(rows)} used with a warning:[/] {escape(f'{kind} (line {rows.line.iloc[0]})')}{hint}")


_LEFT_OUT = {
    "known": "of the training set",
    "duplicate": "written before",
    "no_value": "without a value of the objective",
}


_REASONS = 3  # reasons of refused candidates that are told


def funnel(summary: Mapping[str, Any]) -> str:
    """Say what became of the candidates of a screen."""
    reasons = [f"{count:,} {reason}" for reason, count in summary["refused"].items()]
    told = f" ({', '.join([*reasons[:_REASONS], *(['...'] if len(reasons) > _REASONS else [])])})" if reasons else ""
    steps = ["{read:,} candidates", f"{{rejected:,}} refused{told}"]
    if summary["shortlisted"] < summary["read"] - summary["rejected"]:
        steps.append("{shortlisted:,} passed the quick model")
    if summary.get("distinct") is not None:
        steps.append("{distinct:,} different polymers")
    if summary["constraints"] and summary.get("distinct_passing") is not None:
        steps.append("{passing:,} rows of {distinct_passing:,} polymers meet the constraints")
    elif summary["constraints"]:
        steps.append("{passing:,} meet the constraints")
    if summary.get("front") is not None:
        steps.append("{front:,} on the Pareto front")
    steps.append("{ranked:,} ranked")
    if summary["outside"]:
        steps.append("{outside:,} of these outside the applicability domain of the model")
    text = ", ".join(steps).format(**summary)
    left_out = ", ".join(f"{summary[name]:,} {what}" for name, what in _LEFT_OUT.items() if summary[name])
    if left_out and (summary["ranked"] or summary["known"]):
        text += f" (passed over to fill the list: {left_out})"
    if not summary["ranked"] and summary["known"]:
        text += "; --keep-known ranks polymers of the training set too"
    if not summary["ranked"] and not summary["known"]:
        if summary["passing"]:
            text += " (the objective has no value for any of them)"
        elif summary["rejected"] == summary["read"]:
            text += " (rejects.csv says why; is --smiles-column right?)"
        else:
            text += f" ({_none_left(summary)})"
    return text


def _none_left(summary: Mapping[str, Any]) -> str:
    """Say which constraint left nothing."""
    before = summary["shortlisted"]
    if not before:
        return "the quick model passed none on: loosen the prefilter"
    for text, left in summary["constraints"].items():
        if not left:
            return f"none of the {before:,} left meets {escape(text)}: loosen it"
        before = left
    raise AssertionError("something is left after every constraint")


def split_names(text: str | None) -> list[str] | None:
    """Split ``a,b,c``."""
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    return names or None


def make_tracking(enabled: bool, experiment: str | None, file: str) -> TrackingSpec:
    """Build the tracking section of a verb: the experiment is named after the file unless told."""
    from polyml.config import TrackingSpec

    return TrackingSpec(enabled=enabled, experiment=experiment or Path(file).stem)


def examples(*lines: str) -> str:
    """Format examples for the foot of a verb's help."""
    return "**Examples**\n\n" + "\n\n".join(f"`{line}`" for line in lines)


def unique(items: Iterable[str]) -> list[str]:
    """Keep the first of each."""
    return list(dict.fromkeys(items))
