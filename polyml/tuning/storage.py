"""Studies that several processes share: the database, what a study was made for, and trials that were cut off."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from polyml.errors import UserError
from polyml.settings import sqlite_uri
from polyml.tuning.trials import state_of

_HEARTBEAT, _GRACE = 30, 180  # seconds; by these a trial on a machine that died is noticed
_NAMELESS = 180  # seconds after which a trial is given up that was cut off before its process was noted
_BUSY = 60  # seconds to wait for a SQLite file that another process writes to
_BASIS = "polyml"


def storage_url(text: str | None, folder: Path) -> str:
    """Return the URL of a storage: a SQLite file in the folder when none is named; a bare path is a SQLite file too.

    Examples
    --------
    >>> storage_url("postgresql://lab/studies", Path("out"))
    'postgresql://lab/studies'
    """
    if not text:
        return sqlite_uri(folder / "study.db")
    return text if "://" in text else sqlite_uri(Path(text))


def shown(url: str) -> str:
    """Return a storage as messages name it: the file of a SQLite storage, and no password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except ArgumentError:
        return "storage"
    if parsed.drivername.startswith("sqlite"):
        return parsed.database or url
    return str(parsed.render_as_string(hide_password=True))


def connect(url: str) -> Any:
    """Open a storage; the file of a SQLite storage and its folder are made when missing.

    Raises
    ------
    UserError
        It cannot be opened: a wrong URL, a driver that is not installed, a database that does not answer.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    options: dict[str, Any] = {}
    if url.startswith("sqlite"):
        options["connect_args"] = {"timeout": _BUSY}
    _make_folder(url)
    for tries_left in (4, 3, 2, 1, 0):
        try:
            with storage_errors(url):
                storage = optuna.storages.RDBStorage(
                    url,
                    engine_kwargs=options,
                    heartbeat_interval=_HEARTBEAT,
                    grace_period=_GRACE,
                    heartbeat_stale_trial_callback=_queue_again,
                )
                _set_up_sqlite(storage)
                return storage
        except ImportError as error:
            fix = "install it with pip: psycopg2-binary for PostgreSQL, pymysql for MySQL, say"
            raise UserError("the driver of this database is not installed", where=shown(url), fix=fix) from error
        except UserError as error:
            # Two processes that make the tables at the same moment get in each other's way once.
            made_at_once = isinstance(error.__cause__, SQLAlchemyError) and "already exists" in str(error.__cause__)
            if not tries_left or not (made_at_once or "UNIQUE" in str(error.__cause__)):
                raise
            time.sleep(0.3)
    raise AssertionError("unreachable")


def _set_up_sqlite(storage: Any) -> None:
    """Make a SQLite file fit for several processes.

    A transaction takes the file for itself before it reads, or two processes could both take the same queued trial:
    SQLite has no locks on rows. A write-ahead log spares the dozen commits of a trial the wait for the disk; where the
    file system cannot hold such a log, SQLite stays as it was.
    """
    from sqlalchemy import event

    if storage.engine.dialect.name != "sqlite":
        return

    def set_up(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver begins no transaction by itself
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(storage.engine, "connect", set_up)
    event.listen(storage.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    storage.engine.dispose()  # the next connection is the first to be set up


def _make_folder(url: str) -> None:
    if not url.startswith("sqlite:///"):
        return
    folder = Path(url.removeprefix("sqlite:///").partition("?")[0]).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fix = "choose another output folder or --storage"
        raise UserError(f"cannot write: {error.strerror or error}", where=str(folder), fix=fix) from error


def open_study(
    url: str,
    name: str,
    basis: Mapping[str, Any],
    parts: Mapping[str, Any],
    prepare: Callable[[Any], None],
    *,
    resume: bool,
    force: bool,
) -> Any:
    """Open a study in a storage, or make it.

    Parameters
    ----------
    url, name : str
    basis : mapping
        What the scores depend on, in words; a study that was made on another basis is refused.
    parts : mapping
        Sampler and pruner.
    prepare : callable
        Queues the first trials; called on a study that is new or goes on.
    resume, force : bool
        Go on with (or join) a study of this name; replace it.

    Raises
    ------
    UserError
        A study of this name exists and neither is said, or it was made on another basis.
    """
    import optuna

    storage = connect(url)
    with storage_errors(url):
        if force and name in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=name, storage=storage)
        try:
            study = optuna.create_study(study_name=name, storage=storage, direction="maximize", **parts)
            prepare(study)
            study.set_user_attr(_BASIS, dict(basis))  # last: who finds the basis finds all first trials queued
        except optuna.exceptions.DuplicatedStudyError:
            study = optuna.load_study(study_name=name, storage=storage, **parts)
            _check_basis(study, basis, url)
            _check_may_go_on(study, url, resume)
            queue_lost(study)
            prepare(study)
    return study


def _check_may_go_on(study: Any, url: str, resume: bool) -> None:
    trials = len(study.get_trials(deepcopy=False))
    if trials and not resume:
        raise UserError(
            f"the study '{study.study_name}' exists already, with {trials} trials",
            where=shown(url),
            fix="go on with it or join it with --resume, or begin anew with --force",
        )


def load(url: str, name: str, parts: Mapping[str, Any]) -> Any:
    """Open a study that exists."""
    import optuna

    storage = connect(url)
    with storage_errors(url):
        return optuna.load_study(study_name=name, storage=storage, **parts)


def _check_basis(study: Any, basis: Mapping[str, Any], url: str) -> None:
    found = _wait_for_basis(study)
    other = "another study of this name: choose one with --study NAME, or replace it with --force"
    if not isinstance(found, dict):
        raise UserError(f"the study '{study.study_name}' was not made by polyml", where=shown(url), fix=other)
    wanted = json.loads(json.dumps(dict(basis)))
    differing = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
    if differing:
        first = differing[0]
        raise UserError(
            f"the study '{study.study_name}' was made with another {' and another '.join(differing)} "
            f"({first}: {_short(found.get(first))} there, {_short(wanted.get(first))} now)",
            where=shown(url),
            fix="scores of the two cannot be compared: choose another name with --study, or replace it with --force",
        )


def _wait_for_basis(study: Any) -> Any:
    """Return the basis of a study, or None when its maker neither writes it nor queues a trial for two seconds."""
    queued, until = -1, time.monotonic()
    while (found := study.user_attrs.get(_BASIS)) is None:
        if (trials := len(study.get_trials(deepcopy=False))) != queued:
            queued, until = trials, time.monotonic() + 2.0
        elif time.monotonic() > until:
            break
        time.sleep(0.1)
    return found


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def this_process() -> dict[str, Any]:
    """Return what tells this process from all others."""
    import psutil

    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def queue_lost(study: Any) -> None:
    """Queue the parameters of trials again that were cut off: by Ctrl-C, or with their process on this machine."""
    import optuna

    for trial in study.get_trials(deepcopy=False):
        if state_of(trial) == "running" and _is_dead(trial):
            try:
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            except (ValueError, RuntimeError):
                continue  # it ended after all, or another process was first
    for trial in study.get_trials(deepcopy=False):
        if state_of(trial) == "lost":
            _queue_again(study, trial)


def _is_dead(trial: Any) -> bool:
    import psutil

    process = trial.user_attrs.get("process")
    if process is None:  # it ended between its first two writes, if it is that old
        return bool(trial.datetime_start and datetime.now() - trial.datetime_start > timedelta(seconds=_NAMELESS))
    if process["host"] != socket.gethostname():
        return False  # its heartbeat tells
    try:
        return abs(psutil.Process(process["pid"]).create_time() - process["started"]) > 1.0
    except psutil.Error:
        return True


def _queue_again(study: Any, trial: Any) -> None:
    """Queue the parameters of a trial once more, unless that has been done."""
    if any(other.user_attrs.get("again") == trial.number for other in study.get_trials(deepcopy=False)):
        return
    params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    notes = {"again": trial.number} | ({"defaults": True} if trial.user_attrs.get("defaults") else {})
    if params or "defaults" in notes:
        study.enqueue_trial(params, user_attrs=notes)


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn the errors of a database into :class:`~polyml.errors.UserError`."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except UserError:
        raise
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise _explain(error, url) from error
    except RuntimeError as error:
        if "schema" not in str(error):
            raise
        raise UserError(
            "the study was written by another version of Optuna",
            where=shown(url),
            fix="install that version, or choose another storage",
        ) from error


_FAULTS = (
    ("database is locked", "the study is locked by another program",
     "close other programs that write to it and run the same command again with --resume"),
    ("readonly", "the study cannot be written to", "make the file and its folder writable"),
    ("unable to open", "the study cannot be opened", "make the folder writable, or choose another with -o"),
    ("disk is full", "the disk is full", "free some space and run the same command again with --resume"),
    ("not a database", "this is no SQLite file", "choose another --storage"),
    ("already exists", "another process makes the study at this moment", "run the same command again with --resume"),
    ("Could not parse", "this is no database URL", "write it like sqlite:///study.db or postgresql://user@host/name"),
    ("Can't load plugin", "this kind of database is not known",
     "write the URL like sqlite:///study.db or postgresql://user@host/name"),
)  # fmt: skip


def _explain(error: Exception, url: str) -> UserError:
    chain = [error, *([error.__cause__] if error.__cause__ else [])]
    text = " ".join(str(item) for item in chain)
    for part, what, fix in _FAULTS:
        if part.lower() in text.lower():
            return UserError(what, where=shown(url), fix=fix)
    lines = str(chain[-1]).splitlines() or [type(error).__name__]
    return UserError(f"the database reports: {lines[0]}", where=shown(url), fix="look at the server and at --storage")
