"""Compare models on the same folds.

By default the protocol is honest: the folds are grouped by polymer, every model sees the same training rows, and test
rows reach no scaler, no search and no early stopping. Every finished fold is kept in a file, so that a comparison that
was stopped goes on where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from polyml.cluster import Cluster, Engine, chosen_cluster
from polyml.data.files import whole_file, write_json
from polyml.data.fold_files import folds_frame
from polyml.errors import UserError
from polyml.evaluation.compared import Compared
from polyml.evaluation.domain import scores_of_folds, with_scores
from polyml.evaluation.execute import Outcome, run_tasks
from polyml.evaluation.metrics import Ratio, ratio_predictions, score
from polyml.evaluation.one_fold import Failure, FoldTask, ModelFactory, file_stem, is_finished, read_fold
from polyml.evaluation.pairs import ROPE
from polyml.evaluation.plan import Plan, make_plan
from polyml.evaluation.protocol import PROTOCOLS
from polyml.evaluation.results import COLUMNS, ModelOutcome, Results
from polyml.evaluation.track import ComparisonTracking
from polyml.evaluation.warm import warm_features
from polyml.progress import progress_bar
from polyml.settings import default_jobs

if TYPE_CHECKING:
    from polyml.data.splits import SplitSpec
    from polyml.data.table import PolymerTable
    from polyml.tracking import Tracker

__all__ = ["PROTOCOLS", "Compared", "compare"]


def compare(
    table: PolymerTable,
    specs: Sequence[Compared],
    split: SplitSpec,
    folder: Path,
    *,
    tracker: Tracker | None = None,
    jobs: int | None = None,
    metrics: Sequence[str] | None = None,
    ratios: Iterable[Ratio | Sequence[str] | str] = (),
    seed: int = 1,
    protocol: str = "honest",
    known_properties: bool = False,
    allow_leaks: bool = False,
    name: str | None = None,
    threads: int = 1,
    factory: ModelFactory | None = None,
    train_size: int | None = None,
    rope: float | None = None,
    engine: Engine = "local",
    address: str | None = None,
) -> Results:
    """Train and score every model on the same folds.

    Run again with the same folder to continue: finished folds whose options, data, split, seed and version are the
    same are reused. A model that fails is recorded as failed and the others go on.

    Parameters
    ----------
    table : PolymerTable
    specs : sequence of Compared
    split : SplitSpec
    folder : Path
        Gets results.csv, leaderboard.csv, predictions.parquet, paired_tests.csv, uncertainty.csv, domain.csv,
        splits.csv, rejects.csv, warnings.csv, duplicates.csv, compare.json, and the finished folds under ``folds/``.
    tracker : Tracker, optional
        One parent run for the comparison, a child run a model; None tracks nothing.
    jobs : int, optional
        Processes; None for one a core. The numbers do not depend on it. Where a CUDA device is present, the models
        that train on it run one after another in this process.
    metrics : sequence of str, optional
        Names from :data:`polyml.evaluation.metrics.METRICS`, computed in the modelled scale; by default those of the
        task. The target of the table decides the task: a class makes it a classification.
    ratios : iterable
        Pairs of log10 properties whose log-ratio is scored too, ``"O2/N2"`` or ``("O2", "N2")``.
    seed : int
        Every model's ``random_state`` on a fold derives from it; that of the split is in ``split``.
    protocol : {"honest", "paper"}
        See :data:`polyml.evaluation.protocol.PROTOCOLS`. Folds that put polymers on both sides make it ``leaky``.
    known_properties : bool
        Property completion: every model is given the other measured properties of each test polymer.
    allow_leaks : bool
        Compare models whose pretrained encoder has learned labels of tested polymers, stamped ``leaky``, in place of
        refusing them.
    name : str, optional
        Name of the comparison; the folder's name if none is given.
    threads : int
        Threads a model may use. Sums in another order may change the last digits, so this is fixed, not derived from
        ``jobs``.
    factory : callable, optional
        Stands in for ``polyml.models.catalog.make_model``.
    train_size : int, optional
        Polymers that are left in each training part; see :func:`polyml.data.splits.thin_folds`.
    rope : float, optional
        Region of practical equivalence: differences between models that do not matter;
        :data:`polyml.evaluation.pairs.ROPE` by default.
    engine : {"local", "ray"}
        Where the folds are computed: on this machine, or on a Ray cluster, of which ``jobs`` workers are used, None for
        all. The numbers are the same.
    address : str, optional
        The Ray cluster; see :func:`polyml.cluster.ray_cluster`.

    Returns
    -------
    Results

    Raises
    ------
    UserError
        For names that do not exist, data that cannot be split, a pretrained encoder that has learned labels of tested
        polymers, or when every model failed.
    KeyboardInterrupt
        On Ctrl-C, with a message that says how many folds are kept and how to go on.
    """
    asked, jobs = jobs, default_jobs() if jobs is None else jobs
    if jobs < 1 or threads < 1:
        raise UserError(
            f"jobs and threads must be at least 1, got {jobs} and {threads}", fix="leave them out for the defaults"
        )
    plan = make_plan(
        table, specs, split, Path(folder), metrics=metrics, ratios=ratios, seed=seed, protocol=protocol,
        known_properties=known_properties, allow_leaks=allow_leaks, name=name, threads=threads, factory=factory,
        train_size=train_size,
    )  # fmt: skip
    rope = ROPE if rope is None else rope
    if not 0.0 <= rope < 1.0:
        raise UserError(
            f"rope={rope:g}", fix="give the difference of R² up to which models are practically equal, such as 0.01"
        )
    plan.options.update(jobs=jobs, status="running", rope=rope)
    with chosen_cluster(engine, address, asked) as cluster:
        if cluster is not None:
            slots = cluster.slots(cpus=threads)
            jobs = min(slots, asked or slots)
        # A folder that cannot be written to is found out here.
        write_json(plan.folder / "compare.json", plan.options)
        waiting = [task for task in plan.tasks if not is_finished(task)]
        with ComparisonTracking(tracker, plan.folder).comparison(table, plan.options) as tracking:
            outcomes = _run(plan, waiting, jobs, tracking, cluster)
            results = _assemble(plan, outcomes, table, reused=len(plan.tasks) - len(waiting))
            results.write(plan.folder)
            tracking.finish(results)
            _refuse_if_all_failed(results, plan.folder)
    return results


def _run(
    plan: Plan, waiting: Sequence[FoldTask], jobs: int, tracking: ComparisonTracking, cluster: Cluster | None
) -> dict[str, ModelOutcome]:
    """Run what is not finished; report each model to the tracker as its last fold ends."""
    missing = Counter(task.model for task in waiting)
    failures: dict[str, Failure] = {}
    done: dict[str, ModelOutcome] = {}
    domain = scores_of_folds(plan.tasks)

    def close(label: str) -> None:
        done[label] = _collect(plan, label, failures.get(label), domain)
        tracking.log_model(done[label], plan.scales, plan.classes)

    for entry in plan.entries:
        if not missing[entry.label]:
            close(entry.label)
    try:
        with (
            closing(_outcomes(plan, waiting, jobs, cluster)) as outcomes,
            progress_bar("comparing", len(waiting)) as bar,
        ):
            for task, failure in outcomes:
                bar.advance(bar.task_ids[0])
                missing[task.model] -= 1
                if failure is not None:
                    known = failures.setdefault(task.model, failure)
                    failures[task.model] = min(known, failure, key=lambda f: (f.repeat, f.fold))
                elif not missing[task.model]:
                    close(task.model)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(_how_to_resume(plan)) from stop
    for label in failures:  # only now: of several failing folds the first is the one to report
        close(label)
    return done


def _outcomes(
    plan: Plan, waiting: Sequence[FoldTask], jobs: int, cluster: Cluster | None
) -> Generator[Outcome, None, None]:
    """Run folds in processes, and those that need the one CUDA device here; or all on a cluster."""
    warm_features(plan, waiting, jobs, cluster)
    if cluster is not None:
        yield from run_tasks(waiting, jobs, cluster=cluster, on_gpus=plan.accelerated)
        return
    here = plan.accelerated if _cuda_is_present(plan) else frozenset[str]()
    pooled = [task for task in waiting if task.model not in here]
    alone = [task for task in waiting if task.model in here]
    yield from chain(run_tasks(pooled, jobs), run_tasks(alone, 1))


def _cuda_is_present(plan: Plan) -> bool:
    if not plan.accelerated:
        return False
    import torch

    return torch.cuda.is_available()


def _how_to_resume(plan: Plan) -> str:
    kept = sum(is_finished(task) for task in plan.tasks)
    return (
        f"{kept} of {len(plan.tasks)} folds are finished and kept in {plan.folder / 'folds'}\n"
        "  → give the same command again to continue"
    )


def _collect(plan: Plan, label: str, failure: Failure | None, domain: pd.DataFrame) -> ModelOutcome:
    """Read the folds of a model and score them; ``domain`` is of the polymers, by fold."""
    entry = next(entry for entry in plan.entries if entry.label == label)
    spec = next(spec for spec in plan.specs if spec.label == label)
    tasks = [task for task in plan.tasks if task.model == label]
    report = plan.folder / "errors" / f"{file_stem(label)}.txt"
    if failure is not None:
        with whole_file(report) as temporary:
            temporary.write_text(failure.traceback, "utf-8")
        return ModelOutcome(entry, spec.params, failure=failure, fingerprints=tuple(t.fingerprint for t in tasks))
    report.unlink(missing_ok=True)
    folds = [(task, *read_fold(task.path)) for task in tasks]
    predictions = pd.concat([frame.assign(model=label) for _, frame, _ in folds], ignore_index=True)
    predictions = pd.concat([predictions, ratio_predictions(predictions, plan.ratios)], ignore_index=True)
    predictions = with_scores(predictions, domain)
    columns_of = {name: [i] for i, name in enumerate(plan.properties)}
    for ratio in plan.ratios:  # a ratio is measured where both of its properties are
        columns_of[ratio.name] = [plan.properties.index(part) for part in (ratio.numerator, ratio.denominator)]
    heads = pd.DataFrame(
        {
            "repeat": task.repeat,
            "fold": task.fold,
            "features": record.features,
            "seed": record.seed,
            "fit_seconds": record.fit_seconds,
            "predict_seconds": record.predict_seconds,
            "property": name,
            "n_train": int((~np.isnan(task.y_train[:, columns])).all(axis=1).sum()),
        }
        for task, _, record in folds
        for name, columns in columns_of.items()
    )
    scores = score(predictions, plan.metrics).merge(heads, on=["repeat", "fold", "property"], how="left")
    scores = scores.assign(run=plan.name, split=plan.options["split"]["kind"])[COLUMNS]
    history = [
        {"repeat": task.repeat, "fold": task.fold, **step} for task, _, record in folds for step in record.history
    ]
    messages = dict.fromkeys(message for _, _, record in folds for message in record.warnings)
    chosen = {f"repeat {task.repeat}, fold {task.fold}": record.chosen for task, _, record in folds if record.chosen}
    fits = [(record.train_score, record.test_score) for _, _, record in folds]
    return ModelOutcome(
        entry, spec.params, scores, predictions, pd.DataFrame(history), tuple(messages), None,
        tuple(task.fingerprint for task in tasks), chosen,
        [(train, test) for train, test in fits if train is not None and test is not None],
    )  # fmt: skip


def _assemble(plan: Plan, outcomes: dict[str, ModelOutcome], table: PolymerTable, reused: int) -> Results:
    ordered = [outcomes[entry.label] for entry in plan.entries]
    computed = len(plan.tasks) - reused
    warned = {outcome.entry.label: list(outcome.warnings) for outcome in ordered if outcome.warnings}
    options = plan.options | {"status": "finished", "scales": plan.scales, "warnings": warned}
    options |= {"folds_reused": reused, "folds_computed": computed}
    scored = [outcome for outcome in ordered if outcome.failure is None]
    return Results(
        frame=pd.concat([o.scores for o in scored], ignore_index=True) if scored else pd.DataFrame(columns=COLUMNS),
        predictions=pd.concat([o.predictions for o in scored], ignore_index=True) if scored else pd.DataFrame(),
        splits=folds_frame(plan.folds, table.frame),
        rejects=table.rejects,
        warnings=table.warnings,
        duplicates=table.duplicates,
        entries=plan.entries,
        failures={o.entry.label: o.failure for o in ordered if o.failure is not None},
        properties=plan.properties,
        ratios=tuple(ratio.name for ratio in plan.ratios),
        scales=plan.scales,
        metrics=tuple(metric.name for metric in plan.metrics),
        options=options,
        classes=plan.classes,
        reused=reused,
        computed=computed,
        rope=plan.options["rope"],
    )


def _refuse_if_all_failed(results: Results, folder: Path) -> None:
    if len(results.failures) == len(results.entries):
        first = results.failures[results.entries[0].label]
        raise UserError(
            f"every model failed; {first.model}: {first.error}", fix=f"the tracebacks are in {folder / 'errors'}"
        )
