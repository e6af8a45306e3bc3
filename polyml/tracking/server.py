"""Open the MLflow UI on the store that polyml writes to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from polyml.errors import UserError
from polyml.settings import TrackingStore, tracking_store
from polyml.tracking.store import connect, prepare_environment, store_errors

_START_SECONDS = 90  # the first start of mlflow on a cold disk is slow


def server_command(store: TrackingStore, host: str, port: int) -> list[str]:
    """Return the command that serves a store."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store.uri]
    if store.artifacts is not None:
        command += ["--default-artifact-root", store.artifacts.as_uri()]
        command += ["--artifacts-destination", store.artifacts.as_uri()]
    command += ["--host", host, "--port", str(port)]
    # One worker: a person at a browser, and a SQLite file that takes one writer at a time. No line for every request.
    return [*command, "--workers", "1", "--uvicorn-opts", "--log-level warning"]


def server_environment() -> dict[str, str]:
    """Return the environment of the server: no telemetry, and no job workers, which only language models use."""
    prepare_environment()
    return {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def free_port(host: str, wanted: int) -> int:
    """Return ``wanted`` if it is free on ``host``, else another free port.

    Raises
    ------
    UserError
        Nothing can be served on ``host``.
    """
    for port in (wanted, 0):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            if os.name != "nt":  # a port in TIME_WAIT is free; on Windows the option would mean something else
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except (OSError, OverflowError) as error:
                if port == wanted and wanted != 0:
                    continue
                raise UserError(f"cannot serve on '{host}': {error}", fix="leave the host at 127.0.0.1") from error
            return int(probe.getsockname()[1])
    raise AssertionError("the loop above returns or raises")  # pragma: no cover


def start_page(store: TrackingStore) -> str:
    """Return the path of the UI's page with the runs of the experiment that was last added to."""
    client = connect(store)
    with store_errors(store):
        experiments = [item.experiment_id for item in client.search_experiments(max_results=1000)]
        runs = client.search_runs(experiments, max_results=1, order_by=["attributes.start_time DESC"])
    place = f"/{runs[0].info.experiment_id}/runs" if runs else ""
    # Without the last part the UI opens its view for language models, which shows no runs.
    return f"/#/experiments{place}?workflowType=machine_learning"


def serve_ui(
    host: str = "127.0.0.1",
    port: int = 5000,
    *,
    open_browser: bool = False,
    uri: str | None = None,
    echo: Callable[[str], object] = print,
) -> None:
    """Serve the MLflow UI until Ctrl-C.

    Parameters
    ----------
    host : str
        Interface; the default is reachable from this machine only.
    port : int
        Another free port is taken, and told, when this one is busy.
    open_browser : bool
        Open the page once it answers.
    uri : str, optional
        Tracking URI. For a server that runs already only the address is told.
    echo : callable
        Takes each message.

    Raises
    ------
    UserError
        There is no store yet, or the server ends by itself.
    """
    store = tracking_store(uri)
    if store.is_remote:
        echo(f"Runs are tracked on a server that is running already: {store.uri}")
        return
    if store.database and not store.database.exists():
        fix = "run a comparison first, go to the folder it was run in, or set MLFLOW_TRACKING_URI"
        raise UserError("no runs have been tracked here yet", where=str(store.database), fix=fix)
    chosen = free_port(host, port)
    if chosen != port:
        echo(f"Port {port} is busy; using {chosen}.")
    page = start_page(store)
    process = _start(server_command(store, host, chosen))
    with _Terminated():
        try:
            address = f"http://{f'[{host}]' if ':' in host else host}:{chosen}{page}"
            _wait_until_ready(process, host, chosen)
            echo(f"MLflow UI: {address}  (store: {store.uri})\nCtrl-C ends it.")
            if open_browser:
                webbrowser.open(address)
            process.wait()
        except KeyboardInterrupt:
            echo("Ended.")
            return
        finally:
            stop(process)
    raise UserError("the MLflow server ended by itself", where=store.uri, fix="the reason stands in its output above")


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    # A group of its own: Ctrl-C reaches this process alone, which then ends the server and its workers in order.
    if os.name == "nt":
        flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        return subprocess.Popen(command, env=server_environment(), creationflags=flags)
    return subprocess.Popen(command, env=server_environment(), start_new_session=True)


def stop(process: subprocess.Popen[bytes], seconds: float = 10) -> None:
    """End a server and its workers: asked first, forced after ``seconds``."""
    _signal_group(process, force=False)
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    _signal_group(process, force=True)  # what is left: a server that hangs, workers that outlived it
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], force: bool) -> None:
    if os.name == "nt":
        # terminate() would leave the workers behind.
        arguments = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
        subprocess.run(arguments, capture_output=True, check=False)
        return
    with suppress(ProcessLookupError, PermissionError):  # the group is gone; macOS says so with the second
        os.killpg(process.pid, signal.SIGKILL if force else signal.SIGTERM)


def _wait_until_ready(process: subprocess.Popen[bytes], host: str, port: int) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise UserError("the MLflow server did not start", fix="the reason stands in its output above")
        try:
            socket.create_connection((host, port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise UserError(f"the MLflow server did not answer within {_START_SECONDS} s", fix="try again")


class _Terminated:
    """Within the block, SIGTERM ends the process like Ctrl-C does, so that the server is not left behind."""

    def __enter__(self) -> None:
        self.before = None
        if threading.current_thread() is threading.main_thread():  # handlers can be set nowhere else
            self.before = signal.signal(signal.SIGTERM, self._interrupt)

    def __exit__(self, *exc: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGTERM, self.before)

    @staticmethod
    def _interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt
