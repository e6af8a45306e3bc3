"""Connect to the tracking store: quietly, with bounded waits, and with errors that say what to do."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from polyml.errors import UserError
from polyml.settings import TrackingStore

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Only what the user has not set: nothing is sent to third parties, and a server that is down is noticed in seconds
# (mlflow would try for minutes).
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # standard output belongs to our own results
    "GIT_PYTHON_REFRESH": "quiet",
}
_NOISY = ("mlflow", "alembic")

# Part of a message from deep inside mlflow, sqlite or the network -> what is wrong, and what to do.
_FAULTS = (
    ("database is locked", "the tracking database is locked by another program",
     "close other programs that write to it (a second polyml, an SQLite browser) and run the same command again"),
    ("readonly database", "the tracking database cannot be written to",
     "make the file and its folder writable, or set MLFLOW_TRACKING_URI to another store"),
    ("unable to open database file", "the tracking database cannot be opened",
     "make the folder writable, or set MLFLOW_TRACKING_URI to another store"),
    ("disk is full", "the disk is full", "free some space and run the same command again"),
    ("file is not a database", "the tracking database is not an SQLite file",
     "move the file away; a new one is made in its place"),
    ("Can't locate revision", "the tracking database was written by a newer mlflow",
     "update mlflow, or set MLFLOW_TRACKING_URI to another store"),
    ("out-of-date database schema", "the tracking database was written by an older mlflow",
     "make a copy of the file, then run: mlflow db upgrade '{uri}'"),
    ("Max retries exceeded", "the tracking server does not answer",
     "start the server, correct MLFLOW_TRACKING_URI, or unset it to track in ./mlruns"),
    ("API request to", "the tracking server refused a request",
     "look at the server's log, correct MLFLOW_TRACKING_URI, or unset it to track in ./mlruns"),
)  # fmt: skip


def prepare_environment() -> None:
    """Turn telemetry off, bound the retries and lower mlflow's voice; the user's own settings stay."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    # These two print the traceback of an error that is raised as well and told to the user in plain words.
    for name in ("mlflow.store.db.utils", "mlflow.system_metrics.system_metrics_monitor"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def connect(store: TrackingStore) -> MlflowClient:
    """Return a client of the store; folder and database of a SQLite store are made on first use.

    Raises
    ------
    UserError
        The store cannot be reached, opened or written.
    """
    prepare_environment()
    with store_errors(store):
        from mlflow import MlflowClient

        prepare_environment()  # again: importing mlflow sets the level of its loggers
        if store.database:
            store.database.parent.mkdir(parents=True, exist_ok=True)
        return MlflowClient(tracking_uri=store.uri, registry_uri=store.uri)


@contextmanager
def current_store(store: TrackingStore) -> Iterator[None]:
    """Make ``store`` the one of mlflow's module-level functions for a while.

    mlflow keeps that choice in a module and in the environment; both are put back.
    """
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(store.uri)
    mlflow.set_registry_uri(store.uri)
    try:
        yield
    finally:
        mlflow.set_registry_uri("")
        mlflow.set_tracking_uri(before or "")
        if before is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)


@contextmanager
def store_errors(store: TrackingStore) -> Iterator[None]:
    """Turn the errors of the store into :class:`~polyml.errors.UserError`; all others pass through."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        mended = _explain(error, store)
        if mended is None:
            raise
        raise mended from error


def _explain(error: Exception, store: TrackingStore) -> UserError | None:
    text = str(error)
    for part, what, fix in _FAULTS:
        if part.lower() in text.lower():
            return UserError(what, where=_place(store), fix=fix.format(uri=store.uri))
    if isinstance(error, OSError):
        return _from_os_error(error, store)
    if not type(error).__module__.startswith(("mlflow", "sqlalchemy", "sqlite3")):
        return None
    first_line = text.splitlines()[0] if text else type(error).__name__
    return UserError(
        f"mlflow reports: {first_line}",
        where=_place(store),
        fix="look at MLFLOW_TRACKING_URI, or go on with --no-track",
    )


def _from_os_error(error: OSError, store: TrackingStore) -> UserError:
    where = str(error.filename or _place(store))
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        fix = "make it writable, work in another folder, or set MLFLOW_TRACKING_URI to another store"
        return UserError("no permission to write here", where=where, fix=fix)
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return UserError("the disk is full", where=where, fix="free some space and run the same command again")
    return UserError(
        f"cannot be written or read: {error.strerror or error}",
        where=where,
        fix="choose another folder, or go on with --no-track",
    )


def _place(store: TrackingStore) -> str:
    return str(store.database or store.uri)
