import socket
import subprocess
import sys

import pytest

from polyml.errors import UserError
from polyml.settings import sqlite_uri, tracking_store
from polyml.tracking import serve_ui
from polyml.tracking.server import free_port, server_command, server_environment, stop


def test_the_server_reads_the_store_of_this_folder_and_listens_on_loopback(empty_folder):
    command = server_command(tracking_store(), "127.0.0.1", 5001)
    assert command[:4] == [sys.executable, "-m", "mlflow", "server"]
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert options["--backend-store-uri"] == sqlite_uri(empty_folder / "mlruns" / "mlflow.db")
    assert options["--default-artifact-root"] == (empty_folder / "mlruns" / "artifacts").as_uri()
    assert (options["--host"], options["--port"]) == ("127.0.0.1", "5001")


def test_the_server_sends_nothing_home(monkeypatch):
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    assert server_environment()["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_busy_port_is_replaced():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = taken.getsockname()[1]
        assert free_port("127.0.0.1", busy) != busy
    assert free_port("127.0.0.1", busy) == busy


def test_a_host_that_is_not_ours_is_a_user_error():
    with pytest.raises(UserError, match="cannot serve on"):
        free_port("192.0.2.1", 5000)  # an address for documentation, never one of ours


def test_a_remote_server_is_only_named(empty_folder):
    said = []
    serve_ui(uri="http://tracking.example:5000", echo=said.append)
    assert said == ["Runs are tracked on a server that is running already: http://tracking.example:5000"]


def test_without_runs_there_is_nothing_to_serve(empty_folder):
    with pytest.raises(UserError, match="no runs have been tracked"):
        serve_ui()
    assert list(empty_folder.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="process groups of POSIX")
def test_stop_ends_a_server_that_ignores_the_request_and_its_workers(tmp_path):
    ignore = "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    worker = f"{ignore}; print('up', flush=True); time.sleep(60)"
    parent = f"{ignore}; subprocess.run([sys.executable, '-c', {worker!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout.readline() == b"up\n"
    stop(process, seconds=0.2)
    assert process.returncode is not None
    assert process.stdout.read() == b""  # the worker is gone too: nobody holds the pipe open
