"""Settings from the environment: folders, number of processes, and where runs are tracked.

``POLYML_CACHE``
    Folder for features and downloaded models; ``~/.cache/polyml`` when unset.
``POLYML_JOBS``
    Number of worker processes; all usable cores when unset.
``POLYML_BENCHMARKS``
    Folder of the files that benchmark suites are run on.
``POLYML_DEVICE``
    Where trained networks predict: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; when unset, where the ``accelerator`` of the
    model allows.
``POLYML_TF32``
    1 lets CUDA devices round the factors of a product to ten bits (TensorFloat-32) when networks predict.
``POLYML_SCREEN_DEVICE``
    Device of the one process through which the workers of a screen have networks predict. When unset there is such a
    process where a GPU is used; ``cpu`` makes one without a GPU, ``none`` lets every worker predict by itself, on the
    CPU.
``MLFLOW_TRACKING_URI``
    Where runs are tracked; the SQLite store ``mlruns/mlflow.db`` of the current folder when unset.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from polyml.errors import UserError


def cache_folder() -> Path:
    """Return the folder for things that can be made again (``POLYML_CACHE``); it need not exist yet."""
    value = os.environ.get("POLYML_CACHE", "").strip()
    return Path(value).expanduser().absolute() if value else Path.home() / ".cache" / "polyml"


def available_cores() -> int:
    """Count the cores this process may use: a container, ``taskset`` or a batch queue may grant a part of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_jobs() -> int:
    """Return the number of worker processes (``POLYML_JOBS``, else every core this process may use).

    Raises
    ------
    UserError
        ``POLYML_JOBS`` is not a whole number of at least 1.
    """
    value = os.environ.get("POLYML_JOBS", "").strip()
    if not value:
        return available_cores()
    if not value.isdecimal() or int(value) < 1:
        raise UserError(f"POLYML_JOBS is '{value}'", where="environment", fix="set it to a whole number, 1 or more")
    return int(value)


def benchmark_folder() -> Path | None:
    """Return the folder of benchmark data (``POLYML_BENCHMARKS``), None where it is not set."""
    value = os.environ.get("POLYML_BENCHMARKS", "").strip()
    return Path(value).expanduser().absolute() if value else None


def chosen_device() -> str | None:
    """Return where trained networks predict (``POLYML_DEVICE``), None where it is not set.

    Raises
    ------
    UserError
        It names no kind of device.
    """
    return _device("POLYML_DEVICE", "cpu, cuda, cuda:1 or mps")


def screen_device() -> str | None:
    """Return the device of the process through which workers predict (``POLYML_SCREEN_DEVICE``); None if not set.

    Raises
    ------
    UserError
        It is neither a kind of device nor ``none``.
    """
    if os.environ.get("POLYML_SCREEN_DEVICE", "").strip() == "none":
        return "none"
    return _device("POLYML_SCREEN_DEVICE", "cpu, cuda, cuda:1, mps or none")


def _device(variable: str, choices: str) -> str | None:
    value = os.environ.get(variable, "").strip()
    if value and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", value):
        raise UserError(f"{variable} is '{value}'", where="environment", fix=f"set it to {choices}")
    return value or None


def allows_tf32() -> bool:
    """Tell whether predictions on a CUDA device may be made with TensorFloat-32 (``POLYML_TF32``)."""
    return os.environ.get("POLYML_TF32", "").strip() == "1"


@dataclass(frozen=True)
class TrackingStore:
    """Where runs are tracked.

    Attributes
    ----------
    uri : str
        MLflow tracking URI.
    artifacts : Path or None
        Folder for the artifacts of new experiments; None leaves it to the server.
    """

    uri: str
    artifacts: Path | None

    @property
    def is_remote(self) -> bool:
        """Whether a server, not this process, holds the runs."""
        return self.uri.startswith(("http://", "https://", "databricks"))

    @property
    def database(self) -> Path | None:
        """File of a SQLite store, None for any other store."""
        return _sqlite_file(self.uri)


def tracking_store(uri: str | None = None) -> TrackingStore:
    """Find the tracking store: ``uri`` if given, else ``MLFLOW_TRACKING_URI``, else SQLite in ``mlruns/``.

    Nothing is created. The artifacts of a SQLite store lie in the folder ``artifacts`` beside the database, wherever
    the process is started from.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not uri:
        uri = sqlite_uri(Path.cwd() / "mlruns" / "mlflow.db")
    database = _sqlite_file(uri)
    return TrackingStore(uri, database.parent / "artifacts" if database else None)


def sqlite_uri(path: Path) -> str:
    """Return the SQLAlchemy URI of a SQLite file.

    SQLAlchemy takes all after ``sqlite:///`` literally, so spaces stay and nothing is percent-encoded; a Windows path
    is written with forward slashes.

    Examples
    --------
    >>> sqlite_uri(Path("/data/my runs/mlflow.db"))
    'sqlite:////data/my runs/mlflow.db'
    """
    if "?" in str(path):
        raise UserError(
            "a SQLite store cannot lie in a folder with '?' in its name",
            where=str(path),
            fix="work in another folder or set MLFLOW_TRACKING_URI",
        )
    return f"sqlite:///{path.absolute().as_posix()}"


def _sqlite_file(uri: str) -> Path | None:
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", uri)
    return Path(match[1]).absolute() if match and match[1] != ":memory:" else None
