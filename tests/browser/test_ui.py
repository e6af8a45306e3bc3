"""The MLflow UI in a real browser: the runs of a comparison are shown and our pages open."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polyml.tracking import Tracker
from polyml.tracking.server import free_port

pytestmark = pytest.mark.browser

# Whoever runs the tests in the background ignores Ctrl-C, and so would the server.
SERVE = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from polyml.tracking import serve_ui; serve_ui(port=int(sys.argv[1]))"
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Iterator[object]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install -e .[dev]")
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    program = shutil.which("chromedriver")
    if not browser or not program:
        pytest.skip("Chromium or its driver is not installed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1500,1000",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(program))
    driver.set_page_load_timeout(120)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def comparison(tmp_path_factory) -> tuple[Path, str, str, str]:
    """A tiny comparison in a folder of its own: (folder, experiment id, parent run id, child run id)."""
    from polyml.report.html import leaderboard_page
    from polyml.report.plots import parity

    folder = tmp_path_factory.mktemp("my project")
    board = pd.DataFrame(
        {"model": ["ridge", "forest", "net"], "status": ["ok", "ok", "failed"], "rmse": [0.4, 0.2, np.nan],
         "rmse_sd": [0.01, 0.02, np.nan], "error": ["", "", "ValueError: <b>bad</b>"]}
    )  # fmt: skip
    predictions = pd.DataFrame(
        {"psmiles": ["*CC*", "*OCC*"], "fold": [0, 1], "y_true": [1.0, 2.0], "y_pred": [1.1, 1.9]}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracker = Tracker("gas_membranes")
        with tracker.parent_run("compare gases", {"folds": 5}) as parent:
            tracker.log_text(leaderboard_page(board, "Leaderboard of gases"), "leaderboard.html")
            with tracker.child_run("ridge") as child:
                tracker.log_metrics({"rmse": 0.4})
                tracker.log_history([{"epoch": epoch, "val_loss": 1 / (epoch + 1)} for epoch in range(20)])
                tracker.log_figures({"Parity": parity(predictions, "ridge")}, "plots.html")
        with tracker.parent_run("compare again"):
            pass
        experiment = tracker._experiment_id
    return folder, experiment, parent, child


@pytest.fixture(scope="module")
def address(comparison) -> Iterator[str]:
    """Address of a UI that is served as a user serves it, and ended as a user ends it."""
    port = free_port("127.0.0.1", 0)
    home = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(home), "PYTHONUNBUFFERED": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    log = comparison[0] / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(port)], cwd=comparison[0], env=environment, stdout=output, stderr=output
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
    assert process.returncode == 0, log.read_text()
    assert "Ended." in log.read_text()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"the server did not answer\n{log.read_text()}")


def _open(driver, address: str) -> None:
    driver.get("about:blank")  # the UI is one page: a new fragment alone would not load it again
    driver.get(address)


def _wait_for_text(driver, *texts: str) -> str:
    """Wait until the page shows all texts; the screenshot goes to POLYML_SCREENSHOTS, if that is set."""
    end = time.monotonic() + 90
    shown = ""
    while time.monotonic() < end:
        shown = driver.find_element("tag name", "body").text
        if all(text in shown for text in texts):
            break
        time.sleep(0.5)
    _screenshot(driver, texts[0])
    assert all(text in shown for text in texts), f"{texts} not all in:\n{shown}"
    return shown


def _screenshot(driver, name: str) -> None:
    folder = os.environ.get("POLYML_SCREENSHOTS")
    if folder:
        driver.save_screenshot(str(Path(folder) / f"{name.replace(' ', '_')}.png"))


def _told(log: Path) -> list[str]:
    """Return the addresses in the log; the server answers a moment before polyml has seen it and says so."""
    end = time.monotonic() + 60
    while not (found := re.findall(r"MLflow UI: (\S+)", log.read_text())) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def test_the_address_that_is_told_shows_the_experiment_and_its_runs(driver, address, comparison):
    [told] = _told(comparison[0] / "server.log")
    assert told.startswith(address)
    _open(driver, told)
    _wait_for_text(driver, "gas_membranes", "compare gases", "compare again")


def test_a_run_shows_its_parameters_and_scores(driver, address, comparison):
    _, experiment, _, child = comparison
    _open(driver, f"{address}/#/experiments/{experiment}/runs/{child}")
    _wait_for_text(driver, "ridge", "rmse", "val_loss")


def test_our_leaderboard_opens_in_the_ui(driver, address, comparison):
    _, experiment, parent, _ = comparison
    _open(driver, f"{address}/#/experiments/{experiment}/runs/{parent}/artifacts/leaderboard.html")
    _enter_frame(driver)
    shown = _wait_for_text(driver, "Leaderboard of gases", "0.4 ± 0.01", "failed")
    assert shown.index("ridge") < shown.index("forest")
    driver.find_element("xpath", "//th[text()='rmse']").click()
    assert [row.text.split()[0] for row in driver.find_elements("css selector", "tbody tr")] == [
        "forest",
        "ridge",
        "net",
    ]
    driver.switch_to.default_content()


def test_our_plots_are_drawn_in_the_ui(driver, address, comparison):
    _, experiment, _, child = comparison
    _open(driver, f"{address}/#/experiments/{experiment}/runs/{child}/artifacts/plots.html")
    _enter_frame(driver)
    _wait_for_text(driver, "Parity", "measured", "predicted", "fold 1")
    assert len(driver.find_elements("css selector", ".scatterlayer .point")) == 2
    driver.switch_to.default_content()


def test_our_pages_open_offline_as_files(driver, comparison):
    _, _, _, child = comparison
    [page] = (comparison[0] / "mlruns").rglob("plots.html")
    assert child in str(page)
    driver.get_log("browser")
    driver.get(page.as_uri())
    _wait_for_text(driver, "Parity", "fold 0")
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


def _enter_frame(driver) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        frames = driver.find_elements("css selector", "iframe")
        if frames:
            driver.switch_to.frame(frames[0])
            return
        time.sleep(0.5)
    _screenshot(driver, "no_frame")
    raise AssertionError(f"no page is shown:\n{driver.find_element('tag name', 'body').text}")
