"""The report of a screen in a real browser: its pictures are drawn, and nothing in it asks for another file."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from polyml.data.properties import Property
from polyml.report.screening import prediction_histogram, screening_page
from polyml.report.trade_off import Axis, trade_off

pytestmark = pytest.mark.browser


def test_the_report_of_a_screen_opens(tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    evil = "<img src=x onerror=\"document.title='run'\">"
    item = Property(name="O2", unit="Barrer", transform="log10")
    ranked = pd.DataFrame(
        {"psmiles": ["*CC*", evil], "O2": [10.0, 20.0], "Tg": [200.0, 300.0], "domain": ["inside"] * 2}
    )
    front = trade_off(Axis.of("O2", [item]), Axis("Tg", evil), ranked, front=np.array([False, True]))
    counts = np.array([0, 3, 1, 0])
    histogram = prediction_histogram(item, np.array([0.0, 1.0, 2.0]), counts, counts)
    page = screening_page(
        "Screen", ranked, [item], {"read": 9, evil: 2}, trade_offs={evil: front}, histograms={"O2": histogram}
    )
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += [f"--user-data-dir={tmp_path / 'chromium'}", "--virtual-time-budget=5000", "--dump-dom"]
    done = subprocess.run(
        [browser, *flags, (tmp_path / "report.html").as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    shown = done.stdout
    assert "<title>Screen</title>" in shown
    assert shown.count('class="plotly-graph-div js-plotly-plot"') == 3
    assert shown.count('class="main-svg"') >= 3
    assert "<img" not in shown.split("</head>")[1]
    assert "Pareto front (1)" in shown
