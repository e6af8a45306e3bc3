"""The step that screens candidates with a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.cluster import Engine
from polyml.config import TrackingSpec
from polyml.pipeline.steps import open_tracker, warn_if_uncalibrated
from polyml.screening.spec import ScreenSpec

if TYPE_CHECKING:
    from polyml.data.properties import Property


def screen_candidates(
    source: str,
    model: str | Path | Sequence[str | Path],
    spec: ScreenSpec,
    folder: Path,
    *,
    quick: str | Path | None = None,
    resume: bool,
    name: str,
    tracking: TrackingSpec,
    jobs: int | None = None,
    smiles_column: str | None = None,
    engine: Engine = "local",
    address: str | None = None,
) -> dict[str, Any]:
    """Screen candidates with one or several trained models; see :func:`polyml.screening.screen.screen`.

    Without objectives the candidates are ranked as :meth:`ScreenSpec.default` says.
    """
    from polyml.bundle import Bundle
    from polyml.bundle_format import read_content
    from polyml.data.readers import read_candidates
    from polyml.screening.predictors import Predictors, as_list
    from polyml.screening.screen import screen
    from polyml.screening.warm import warm_up
    from polyml.tracking import resolve_model

    if source != "-":
        read_candidates(source, smiles_column)  # its faults are told before a model is loaded and a run is opened
    named = [str(item) for item in as_list(model)]
    folders = [resolve_model(item) for item in named]
    check_screen(spec, [item for folder in folders for item in read_content(folder).properties])  # so are those
    quick_folder = resolve_model(str(quick)) if quick is not None else None
    if engine == "local":
        warm_up([*folders, *([quick_folder] if quick_folder is not None else [])])
    bundles = [Bundle.load(folder) for folder in folders]
    models = Predictors(bundles)
    for bundle in bundles:
        warn_if_uncalibrated(bundle)
    spec = with_objectives(spec, models.properties)
    first = Bundle.load(quick_folder) if quick_folder is not None else None
    check_screen(spec, models.properties, gives_std=models.gives_std)
    tracker = open_tracker(tracking, name)
    params = spec.model_dump(mode="json") | {"candidates": source, "model": ", ".join(named)}
    params["bundle"] = ", ".join(bundle.digest for bundle in bundles)
    if first is not None:
        params |= {"quick": str(quick), "quick_bundle": first.digest}
    with tracker.parent_run(f"screen {Path(source).stem}", params, {"polyml.stage": "screen"}):
        summary = screen(
            source,
            bundles,
            spec,
            folder,
            quick=first,
            jobs=jobs,
            watched=True,
            resume=resume,
            tracker=tracker,
            smiles_column=smiles_column,
            engine=engine,
            address=address,
        )
    return summary.to_dict()


def with_objectives(spec: ScreenSpec, properties: Sequence[Property]) -> ScreenSpec:
    """Return the spec itself, or with the default objectives where it has none."""
    if spec.objectives:
        return spec
    default = ScreenSpec.default(properties)
    return spec.model_copy(update={"derive": default.derive | spec.derive, "objectives": default.objectives})


def check_screen(spec: ScreenSpec, properties: Sequence[Property], *, gives_std: bool = True) -> None:
    """Check the expressions of a screen before anything is trained or read."""
    from polyml.screening.plan import plan_prefilter, plan_screen
    from polyml.screening.predictors import refuse_classes

    refuse_classes(properties)
    plan_screen(with_objectives(spec, properties), properties, gives_std=gives_std)
    if spec.prefilter:
        plan_prefilter(spec, properties, properties)
