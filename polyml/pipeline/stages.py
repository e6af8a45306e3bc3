"""The stages of a recipe, in order: prepare, audit, featurize, explore, compare, train, screen."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.config import WINNER, ModelSpec, Recipe, TrackingSpec
from polyml.data.properties import task_of
from polyml.errors import UserError, unknown_name
from polyml.models.catalog import MODELS
from polyml.pipeline import featurizing, fitting, screening, steps
from polyml.pipeline.runner import Inputs, Report, Stage, run_stages

if TYPE_CHECKING:
    from polyml.data.places import DataFile
    from polyml.data.table import PolymerTable


def run_recipe(
    recipe: Recipe, stages: Sequence[str] = (), *, force: bool = False, report: Report | None = None
) -> dict[str, Path]:
    """Run a recipe, or some of its stages; see :func:`polyml.pipeline.runner.run_stages`."""
    _check(recipe)
    chosen = [stage for stage in STAGES if stage.name != "screen" or recipe.screen is not None]
    if recipe.screen is None and "screen" in stages:
        raise UserError("the recipe has no section 'screen'", where=recipe.name, fix="add one, see pipelines/README.md")
    extra = {"report": report} if report else {}
    return run_stages(recipe, chosen, stages, force=force, **extra)


def _check(recipe: Recipe) -> None:
    """Find wrong names before hours are spent."""
    task = task_of(recipe.data.targets)
    steps.check_models(recipe.compare.models, task)
    if recipe.train.model not in (WINNER, *MODELS):
        raise unknown_name("model", recipe.train.model, [WINNER, *MODELS], where="train.model")
    if recipe.train.model != WINNER:
        steps.check_models([ModelSpec(key=recipe.train.model, params=recipe.train.params)], task)
    elif recipe.train.params:
        chosen = [
            item.model_copy(update={"params": {**item.params, **recipe.train.params}}) for item in recipe.compare.models
        ]
        _check_any(chosen, task)
    if recipe.train.quick is not None:
        steps.check_models([recipe.train.quick])
    if recipe.train.register_as is not None and recipe.tracking.enabled:
        fitting.check_register(recipe.train.register_as, recipe.tracking)
    elif recipe.train.register_as is not None:
        what = f"the model will not be registered as '{recipe.train.register_as}': tracking is off"
        warnings.warn(what, UserWarning, stacklevel=2)
    if recipe.screen is not None and bool(recipe.screen.prefilter) != (recipe.train.quick is not None):
        raise UserError(
            "screen.prefilter and train.quick go together", where=recipe.name, fix="give both, or neither of them"
        )
    for key in (*recipe.featurize.features, recipe.explore.features):
        featurizing.check_array_features(key)
    steps.check_ratios(recipe.compare.ratios, recipe.data.targets)
    if recipe.screen is not None:
        _candidates(recipe)
        screening.check_screen(recipe.screen, recipe.data.targets)


def _check_any(models: Sequence[ModelSpec], task: str) -> None:
    """Check that one of the models can be made: the best of them will be, and is not known yet."""
    for place, spec in enumerate(models):
        try:
            steps.check_models([spec], task)
        except UserError:
            if place == len(models) - 1:
                raise
        else:
            return


def _source(recipe: Recipe) -> list[Path]:
    from polyml.data.catalog import data_path

    return [data_path(recipe.data.source)]


def _source_and_folds(recipe: Recipe) -> list[Path]:
    """Return the data, and the file of the folds where these are fixed."""
    file = recipe.split.file
    if file is None:
        return _source(recipe)
    if not Path(file).is_file():
        raise UserError("there is no such file of folds", where=file, fix="name the splits.csv of a comparison")
    return [*_source(recipe), Path(file)]


def _candidates(recipe: Recipe) -> list[DataFile]:
    from polyml.data.sources import candidate_files

    return candidate_files(recipe.screen.candidates) if recipe.screen else []


def _section(*names: str) -> Any:
    """Return a function that gives these sections of a recipe as plain data."""

    def config(recipe: Recipe) -> dict[str, Any]:
        return recipe.model_dump(mode="json", include=set(names))

    return config


def _with_encoders(config: Any, names: Callable[[Recipe], Sequence[str]]) -> Any:
    """Return ``config`` with the digests of the pretrained encoders of these names; as it is where there are none."""

    def both(recipe: Recipe) -> dict[str, Any]:
        from polyml.models.pretrained import encoder_digests

        found = encoder_digests(names(recipe))
        return {**config(recipe), **({"encoders": found} if found else {})}

    return both


def _compared_encoders(recipe: Recipe) -> list[str]:
    return steps.encoders_in(recipe.compare.models, task_of(recipe.data.targets))


def _trained_encoders(recipe: Recipe) -> list[str]:
    """Name the encoders that the section ``train`` adds; those of the best model are known to the comparison."""
    from polyml.models.pretrained import named_encoders

    named = [] if recipe.train.model == WINNER else [ModelSpec(key=recipe.train.model, params=recipe.train.params)]
    quick = [] if recipe.train.quick is None else [recipe.train.quick]
    found = steps.encoders_in([*named, *quick], task_of(recipe.data.targets))
    return [*found, *named_encoders(recipe.train.params)]


def _table(recipe: Recipe, inputs: Inputs) -> PolymerTable:
    from polyml.pipeline.frames import load_table

    return load_table(inputs["prepare"], recipe.data.targets, str(_source(recipe)[0]))


def _prepare(recipe: Recipe, folder: Path, inputs: Inputs) -> None:
    """Read, clean and merge the data; make the folds."""
    from polyml.data.fold_files import save_folds
    from polyml.data.splits import check_folds, make_folds
    from polyml.pipeline.frames import save_table

    table = steps.read(
        recipe.data.source, recipe.data.targets, smiles_column=recipe.data.smiles_column, sample=recipe.data.sample,
        split=recipe.split,
    )  # fmt: skip
    folds = make_folds(table, recipe.split)
    check_folds(folds, table.y, table.names)
    save_table(table, folder)
    save_folds(folds, table.frame, folder / "splits.csv")


def _audit(recipe: Recipe, folder: Path, inputs: Inputs) -> None:
    """Say whether the data can be trusted, before anything learns from them."""
    steps.audit_recipe(
        recipe.data, recipe.split, folder, section=recipe.audit, files=[str(path) for path in _audited(recipe)]
    )


def _audited(recipe: Recipe) -> list[Path]:
    from polyml.data.catalog import data_path

    return [*_source(recipe), *map(data_path, recipe.audit.against)]


def _featurize(recipe: Recipe, folder: Path, inputs: Inputs) -> None:
    """Compute the features once; models and maps take them from the cache by content."""
    for key in recipe.featurize.features:
        featurizing.featurize_file(
            str(inputs["prepare"] / "table.parquet"), key, folder / f"{key}.parquet", smiles_column="psmiles"
        )


def _explore(recipe: Recipe, folder: Path, inputs: Inputs) -> None:
    steps.explore_table(_table(recipe, inputs), recipe.explore, folder, seed=recipe.seed, tracking=_tracking(recipe))


def _compare(recipe: Recipe, folder: Path, inputs: Inputs) -> None:
    steps.compare_models(
        _table(recipe, inputs),
        recipe.compare.models,
        recipe.split,
        folder,
        seed=recipe.seed,
        jobs=recipe.compare.jobs,
        ratios=recipe.compare.ratios,
        known_properties=recipe.compare.known_properties,
        protocol=recipe.compare.protocol,
        allow_leaks=recipe.compare.allow_leaks,
        rope=recipe.compare.rope,
        engine=recipe.compare.engine,
        address=recipe.compare.address,
        name=recipe.name,
        tracking=_tracking(recipe),
    )


def _train(recipe: Recipe, folder: Path, inputs: Inputs) -> None:
    model, scores = _chosen(recipe, inputs)
    fitting.train_model(
        _table(recipe, inputs),
        model,
        folder / "model",
        seed=recipe.seed,
        register=recipe.train.register_as if recipe.tracking.enabled else None,
        tracking=_tracking(recipe),
        scores=scores,
        calibrate=recipe.train.calibrate,
    )
    if recipe.train.quick is not None:
        table, tracking = _table(recipe, inputs), _tracking(recipe)
        fitting.train_model(table, recipe.train.quick, folder / "quick", seed=recipe.seed, tracking=tracking)


def _chosen(recipe: Recipe, inputs: Inputs) -> tuple[ModelSpec, dict[str, Any] | None]:
    """Return the model to train: the one named, or the first of the leaderboard with its row and its protocol."""
    import json

    import pandas as pd

    if recipe.train.model != WINNER:
        return ModelSpec(key=recipe.train.model, params=recipe.train.params), None
    board = pd.read_csv(inputs["compare"] / "leaderboard.csv")
    row = json.loads(board.iloc[0].to_json())
    row["protocol"] = json.loads((inputs["compare"] / "compare.json").read_text(encoding="utf-8"))["protocol"]
    spec = next(item for item in recipe.compare.models if item.label == row["model"])
    return spec.model_copy(update={"params": {**spec.params, **recipe.train.params}}), row


def _screen(recipe: Recipe, folder: Path, inputs: Inputs) -> None:
    if recipe.screen is None:  # the stage is not offered then
        return
    screening.screen_candidates(
        recipe.screen.candidates,
        inputs["train"] / "model",
        recipe.screen.spec,
        folder,
        quick=inputs["train"] / "quick" if recipe.train.quick is not None else None,
        resume=True,
        name=recipe.name,
        tracking=_tracking(recipe),
        jobs=recipe.screen.jobs,
        smiles_column=recipe.screen.smiles_column,
        engine=recipe.screen.engine,
        address=recipe.screen.address,
    )


def _screen_config(recipe: Recipe) -> dict[str, Any]:
    """Return the section without what says where the work is done: a screen goes on elsewhere."""
    return {"screen": recipe.model_dump(mode="json", exclude={"screen": {"jobs", "engine", "address"}})["screen"]}


def _tracking(recipe: Recipe) -> TrackingSpec:
    return recipe.tracking.model_copy(update={"experiment": recipe.tracking.experiment or recipe.name})


def _audited_data(recipe: Recipe) -> tuple[str, ...]:
    """Return what a stage needs that reads the data: the audit too where it is strict."""
    return ("prepare", "audit") if recipe.audit.strict else ("prepare",)


STAGES: tuple[Stage, ...] = (
    Stage("prepare", _prepare, _section("data", "split"), sources=_source_and_folds),
    Stage(
        "audit",
        _audit,
        _section("audit", "split"),
        needs=lambda recipe: ("prepare",),
        sources=_audited,
        continues="always",
    ),
    Stage("featurize", _featurize, _section("featurize"), needs=_audited_data),
    Stage(
        "explore",
        _explore,
        _section("explore", "seed", "tracking"),
        needs=lambda recipe: (*_audited_data(recipe), "featurize"),
    ),
    Stage(
        "compare",
        _compare,
        _with_encoders(_section("compare", "split", "seed", "tracking"), _compared_encoders),
        needs=_audited_data,
        continues="always",
    ),
    Stage(
        "train",
        _train,
        _with_encoders(_section("train", "seed", "tracking"), _trained_encoders),
        needs=lambda recipe: (*_audited_data(recipe), *(["compare"] if recipe.train.model == WINNER else [])),
    ),
    Stage("screen", _screen, _screen_config, needs=lambda recipe: ("train",), sources=_candidates, continues="same"),
)
"""Every stage, each after the ones it needs."""
