from html.parser import HTMLParser

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from polyml.report.html import figures_page, format_number, leaderboard_page

EVIL = '</script><script>alert("x")</script><img src=x onerror=alert(1)>'


class Reader(HTMLParser):
    """Collect tags, attributes and text as a browser reads them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self._inside = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        self._inside.append(tag)

    def handle_endtag(self, tag):
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._inside):
            self.text.append(data)


@pytest.fixture
def board():
    return pd.DataFrame(
        {
            "rank": pd.array([1, None], dtype="Int64"),
            "model": ["ridge", f"net {EVIL}"],
            "status": ["ok", "failed"],
            "rmse": [0.2468, np.nan],
            "rmse_sd": [0.0123, np.nan],
            "rmse_pooled": [0.25, np.nan],
            "rmse_low": [0.2, np.nan],
            "rmse_high": [0.3333, np.nan],
            "rmse[O2]": [0.5, np.nan],
            "rmse_sd[O2]": [0.25, np.nan],
            "fit_seconds": [12345.6, np.nan],
            "error": ["", f"ValueError: {EVIL}"],
        }
    )


def test_the_leaderboard_shows_scores_with_spread_and_keeps_the_value_to_sort_by(board):
    page = leaderboard_page(board, "Gas", "5 folds")
    assert 'data-value="0.2468">0.247 <span class="spread">± 0.0123</span>' in page
    assert 'data-value="0.5">0.5 <span class="spread">± 0.25</span>' in page
    assert 'data-value="12345.6">12,346' in page
    reader = Reader(page)
    assert 'data-value="0.25">0.25 <span class="spread">(0.2 to 0.333)</span>' in page
    assert reader.tags.count("th") == 6  # spread, ends of intervals, status and error have no column of their own
    assert "5 folds" in reader.text


def test_a_failed_model_shows_its_error_and_nothing_a_user_wrote_is_run(board):
    page = leaderboard_page(board, f"Title {EVIL}", f"Notes {EVIL}")
    reader = Reader(page)
    assert reader.tags.count("script") == 1  # ours
    assert "img" not in reader.tags
    assert not [item for item in reader.attributes if item[1].startswith("on")]
    assert f"ValueError: {EVIL}" in reader.text
    assert f"Notes {EVIL}" in reader.text
    assert ("tr", "class", "failed") in reader.attributes


def test_pages_need_no_other_file(board):
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))
    for page in (leaderboard_page(board, "Gas"), figures_page("Two", {"A": figure, "B": figure})):
        linked = [item for item in Reader(page).attributes if item[1] in ("src", "href")]
        assert linked == []


def test_a_page_of_figures_holds_the_library_once_and_every_figure():
    figures = {name: go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name=name)) for name in ("first", "second")}
    page = figures_page("Two", figures)
    assert page.count("Copyright 2012-") == 1  # the head of plotly.js
    assert page.count("Plotly.newPlot(") >= 2
    assert page.count('id="figure-0"') == page.count('id="figure-1"') == 1
    assert Reader(page).tags.count("h2") == 2


def test_text_in_a_figure_cannot_leave_its_script():
    figure = go.Figure(go.Scatter(x=[1], y=[1], text=[EVIL], name=EVIL))
    figure.update_layout(title=EVIL)
    page = figures_page(f"T {EVIL}", {f"H {EVIL}": figure})
    clean = Reader(figures_page("T", {"H": go.Figure(go.Scatter(x=[1], y=[1]))}))
    reader = Reader(page)
    assert reader.tags == clean.tags
    assert "onerror=alert(1)>" not in page.replace("onerror=alert(1)&gt;", "").replace("onerror=alert(1)\\u003e", "")


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.12345, "0.123"), (99.96, "100"), (1e12, "1e+12"), (float("-inf"), "−∞")]
)
def test_numbers_are_short(value, text):
    assert format_number(value) == text
