"""Record runs in MLflow: one parent run a comparison, one child run a model."""

from __future__ import annotations

import math
import posixpath
import re
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.errors import PolymlError, UserError
from polyml.settings import tracking_store
from polyml.tracking.limits import MAX_DIGEST, MAX_ITEMS, MAX_METRICS, MAX_PARAM, MAX_TAG, chunks, cut, flatten, key
from polyml.tracking.provenance import standard_tags
from polyml.tracking.store import connect, store_errors

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from plotly.graph_objects import Figure


_SYSTEM_METRICS_SECONDS = 5
# The MLflow UI then opens with runs and metrics, not with the views for language models.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


@dataclass
class _OpenRun:
    run_id: str
    is_resumed: bool
    failed: bool = False


class Tracker:
    """Write parameters, metrics, tables and pictures of the innermost open run.

    Nothing is written, and mlflow is not imported, before the first run is opened.

    Parameters
    ----------
    experiment : str
        Name of the experiment; made on first use.
    uri : str, optional
        Tracking URI; see :func:`polyml.settings.tracking_store` for the default.

    Raises
    ------
    UserError
        From every method, when the store is locked, read-only, full or does not answer.

    Examples
    --------
    >>> from polyml.tracking import make_tracker
    >>> tracker = make_tracker("permeability", enabled=False)
    >>> with tracker.parent_run("compare", {"folds": 5}), tracker.child_run("ridge"):
    ...     tracker.log_metrics({"rmse": 0.3})
    """

    def __init__(self, experiment: str, *, uri: str | None = None) -> None:
        self.experiment = experiment
        self.store = tracking_store(uri)
        self._open: list[_OpenRun] = []

    # --- runs ---------------------------------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """Id of the innermost open run."""
        return self._current.run_id

    def has_run(self, run_id: str) -> bool:
        """Return whether the store knows this run and it can be continued (it is not deleted)."""
        from mlflow.exceptions import MlflowException

        with store_errors(self.store):
            try:
                return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return False
                raise

    @contextmanager
    def parent_run(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
    ) -> Iterator[str]:
        """Open a run for a ``with`` block and yield its id.

        The run carries the versions, the commit, the device and system metrics. It ends as FINISHED, FAILED (an
        exception, kept in the tag ``error``) or KILLED (Ctrl-C).

        Parameters
        ----------
        name : str
        params, tags : mapping, optional
        run_id : str, optional
            Continue this run. Its children of the same name are continued too.

        Raises
        ------
        UserError
            ``run_id`` is not in the store.
        """
        if run_id is not None and not self.has_run(run_id):
            raise UserError(
                f"run {run_id} is not in the tracking store",
                where=self.store.uri,
                fix="set MLFLOW_TRACKING_URI to the store it was made in, or write to a new folder to start anew",
            )
        with self._run(name, {**standard_tags(), **(tags or {})}, params, run_id), self._system_metrics():
            yield self.run_id

    @contextmanager
    def child_run(
        self, name: str, params: Mapping[str, Any] | None = None, tags: Mapping[str, Any] | None = None
    ) -> Iterator[str]:
        """Open a run nested in the current one, for one model say, and yield its id.

        In a continued parent, an existing child of this name is continued.
        """
        parent = self._current
        existing = self._find_child(parent.run_id, name) if parent.is_resumed else None
        with self._run(name, {**(tags or {}), "mlflow.parentRunId": parent.run_id}, params, existing):
            yield self.run_id

    def mark_failed(self, error: str) -> None:
        """Make the current run end as FAILED, with ``error`` in its tags; for errors the caller has handled."""
        self._current.failed = True
        self.set_tags({"error": error})

    @contextmanager
    def _run(
        self, name: str, tags: Mapping[str, Any], params: Mapping[str, Any] | None, run_id: str | None
    ) -> Iterator[None]:
        with store_errors(self.store):
            is_resumed = run_id is not None
            if run_id is None:
                run_id = self._client.create_run(self._experiment_id, run_name=name).info.run_id
            else:
                self._client.update_run(run_id, status="RUNNING")
        run = _OpenRun(run_id, is_resumed)
        self._open.append(run)
        try:
            self.set_tags(tags)
            self.log_params(params or {})
            yield
        except BaseException as error:
            self._abandon(run, error)
            raise
        else:
            with store_errors(self.store):
                self._client.set_terminated(run_id, "FAILED" if run.failed else "FINISHED")
        finally:
            self._open.pop()

    def _abandon(self, run: _OpenRun, error: BaseException) -> None:
        # The store itself may be what failed; the error under way is the one to show.
        with suppress(PolymlError), store_errors(self.store):
            if isinstance(error, Exception):
                self.set_tags({"error": f"{type(error).__name__}: {error}"})
            self._client.set_terminated(run.run_id, "FAILED" if isinstance(error, Exception) else "KILLED")

    def _find_child(self, parent_id: str, name: str) -> str | None:
        with store_errors(self.store):
            children = self._client.search_runs(
                [self._experiment_id], f"tags.`mlflow.parentRunId` = '{parent_id}'", max_results=1000
            )
        return next((run.info.run_id for run in children if run.info.run_name == name), None)

    @contextmanager
    def _system_metrics(self) -> Iterator[None]:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        run = self._current
        monitor = SystemMetricsMonitor(
            run.run_id,
            sampling_interval=_SYSTEM_METRICS_SECONDS,
            resume_logging=run.is_resumed,
            tracking_uri=self.store.uri,
        )
        monitor.start()
        try:
            yield
        finally:
            monitor.finish()

    # --- what is written ----------------------------------------------------------------------------------------

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Write parameters; nested mappings become ``outer.inner``, values over 6,000 characters are cut.

        MLflow keeps the first value of a parameter. Where a continued run has another, the new value goes to the tag
        ``resumed.NAME``.
        """
        flat = {key(name): cut(value, MAX_PARAM) for name, value in flatten(params)}
        if self._current.is_resumed and flat:
            with store_errors(self.store):
                old = self._client.get_run(self.run_id).data.params
            self.set_tags({f"resumed.{name}": value for name, value in flat.items() if old.get(name, value) != value})
            flat = {name: value for name, value in flat.items() if name not in old}
        from mlflow.entities import Param

        for part in chunks([Param(name, value) for name, value in flat.items()], MAX_ITEMS):
            self._write_batch(params=part)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Write tags, replacing those of the same name."""
        from mlflow.entities import RunTag

        entities = [RunTag(key(name), cut(value, MAX_TAG)) for name, value in tags.items()]
        for part in chunks(entities, MAX_ITEMS):
            self._write_batch(tags=part)

    def log_metrics(self, metrics: Mapping[str, float | None], step: int = 0) -> None:
        """Write scores of one step; None and NaN (not measured) are left out."""
        self._log_metric_rows([(step, metrics)])

    def log_history(self, rows: Iterable[Mapping[str, Any]], prefix: str = "", step: str = "epoch") -> None:
        """Write a training history, one row an epoch, in batches.

        Parameters
        ----------
        rows : iterable of mappings
            ``{"epoch": 3, "train_loss": 0.2, "val_loss": 0.3}``; a row without ``step`` counts from its place. Rows of
            an ensemble carry ``member`` and are written as ``member 0/train_loss``. What is no number is left out.
        prefix : str
            Written before each name, ``"fold 1/"`` say.
        step : str
            The entry that holds the step.
        """
        steps: list[tuple[int, Mapping[str, Any]]] = []
        for place, row in enumerate(rows):
            where = f"{prefix}member {row['member']}/" if "member" in row else prefix
            skipped = (step, "member")
            numbers = {k: v for k, v in row.items() if k not in skipped and isinstance(v, Real)}
            steps.append((int(row.get(step, place)), {f"{where}{name}": value for name, value in numbers.items()}))
        self._log_metric_rows(steps)

    def _log_metric_rows(self, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(key(name), float(value), now, step)
            for step, values in rows
            for name, value in values.items()
            if value is not None and not math.isnan(float(value))
        ]
        for part in chunks(metrics, MAX_METRICS):
            self._write_batch(metrics=part)

    def _write_batch(self, **entities: Any) -> None:
        run_id = self.run_id  # first: without an open run there is nothing to connect for
        with store_errors(self.store):
            self._client.log_batch(run_id, **entities)

    def log_dataset(
        self, frame: pd.DataFrame, name: str, digest: str | None = None, source: str | Path | None = None
    ) -> None:
        """Record which data were used: schema, row count, digest and source, not the rows themselves."""
        from mlflow.data.pandas_dataset import from_pandas
        from mlflow.entities import DatasetInput, InputTag

        with store_errors(self.store), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # hints on integer columns with NaN, which the table does not write
            data = from_pandas(
                frame,
                source=None if source is None else str(source),  # type: ignore[arg-type]
                name=name,
                digest=(digest or "")[:MAX_DIGEST] or None,
            )
            entry = DatasetInput(data._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])
            self._client.log_inputs(self.run_id, [entry])

    def log_figures(self, figures: Mapping[str, Figure], path: str, title: str = "") -> None:
        """Write several plotly figures as one HTML page that works offline (about 5 MB), by heading."""
        from polyml.report.html import figures_page

        self.log_text(figures_page(title or Path(path).stem.replace("_", " "), figures), path)

    def log_table(self, frame: pd.DataFrame, path: str) -> None:
        """Write a table as CSV (``path`` ends in ``.csv``), which the MLflow UI shows as a table."""
        self.log_text(frame.to_csv(index=False, lineterminator="\n"), path)

    def log_text(self, text: str, path: str) -> None:
        """Write text, an HTML page say, as the artifact ``path``."""
        with store_errors(self.store):
            self._client.log_text(self.run_id, text, path)

    def log_files(self, paths: Iterable[Path], folder: str = "") -> None:
        """Copy files, and folders with all they hold, to the artifacts."""
        for path in paths:
            with store_errors(self.store):
                if path.is_dir():
                    self._client.log_artifacts(self.run_id, str(path), posixpath.join(folder, path.name))
                else:
                    self._client.log_artifact(self.run_id, str(path), folder or None)

    def log_bundle(
        self,
        bundle: Path,
        columns: tuple[Sequence[str], Sequence[str]],
        input_example: Sequence[str],
        *,
        registered_name: str | None = None,
        alias: str = "champion",
    ) -> str:
        """Write a trained predictor as an MLflow model of the current run and register it.

        See :func:`polyml.tracking.registry.log_bundle` for the parameters; returns the model's URI.
        """
        from polyml.tracking.registry import log_bundle

        return log_bundle(self.store, self.run_id, bundle, columns, input_example, registered_name, alias)

    # --- connection ---------------------------------------------------------------------------------------------

    @property
    def _current(self) -> _OpenRun:
        if not self._open:
            raise PolymlError("no run is open: call this inside parent_run()")
        return self._open[-1]

    @cached_property
    def _client(self) -> MlflowClient:
        return connect(self.store)

    @cached_property
    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            place = self._artifact_location()
            return str(self._client.create_experiment(self.experiment, artifact_location=place, tags=_EXPERIMENT_TAGS))
        if found.lifecycle_stage != "active":
            raise UserError(
                f"the experiment '{self.experiment}' was deleted",
                where=self.store.uri,
                fix=f"bring it back with: mlflow experiments restore --experiment-id {found.experiment_id}",
            )
        return str(found.experiment_id)

    def _artifact_location(self) -> str | None:
        # Given in full: the default of a SQLite store is ./mlruns of whatever folder the process happens to be in.
        if self.store.artifacts is None:
            return None
        return (self.store.artifacts / (re.sub(r"[^\w.-]+", "_", self.experiment).strip(".") or "experiment")).as_uri()
