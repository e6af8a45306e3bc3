import numpy as np
import pandas as pd
import pytest

from polyml.data.properties import Property
from polyml.errors import PolymlError
from polyml.report.calibration import calibration
from polyml.report.maps import projection_map
from polyml.report.plots import leaderboard_bars, learning_curves, parity, residuals
from polyml.report.robeson import robeson

EVIL = '<img src=x onerror="alert(1)">'


@pytest.fixture
def predictions():
    return pd.DataFrame(
        {
            "psmiles": ["*CC*", "*OCC*", EVIL, "*CC(C)*"],
            "fold": [0, 0, 1, 1],
            "y_true": [1.0, 2.0, 3.0, np.nan],
            "y_pred": [1.5, 2.0, 2.5, 9.0],
            "std": [0.1, np.nan, 0.2, 0.3],
        }
    )


def test_parity_has_a_line_and_the_points_of_each_fold(predictions):
    figure = parity(predictions, "ridge: O2", "log10(Barrer)")
    line, first, second = figure.data
    assert list(line.x) == list(line.y)
    assert line.x[0] < 1.0
    assert line.x[1] > 3.0
    assert (list(first.x), list(first.y)) == ([1.0, 2.0], [1.5, 2.0])
    assert (list(second.x), list(second.y)) == ([3.0], [2.5])  # the value that was not measured is left out
    assert first.marker.color != second.marker.color
    assert figure.layout.yaxis.scaleanchor == "x"
    assert "RMSE 0.408" in figure.layout.title.text
    assert figure.layout.xaxis.title.text == "measured [log10(Barrer)]"


def test_hover_shows_the_structure_escaped(predictions):
    [structure, spread] = parity(predictions).data[2].customdata[0]
    assert structure == '&lt;img src=x onerror="alert(1)"&gt;'
    assert spread == " ± 0.200"


def test_calibration_shows_what_was_promised_and_what_was_found():
    curve = pd.DataFrame({"expected": [0.0, 0.5, 1.0], "observed": [0.0, 0.7, 1.0]})
    bins = pd.DataFrame({"std": [0.1, 0.4], "rmse": [0.2, 0.3], "n": [5, 5]})
    figure = calibration(curve, bins, (0.9, 0.875), "<b>O2", "log10(Barrer)")
    drawn = {trace.name: trace for trace in figure.data if trace.name}
    assert list(drawn["standard deviation"].y) == [0.0, 0.7, 1.0]
    assert (drawn["interval"].x[0], drawn["interval"].y[0]) == (0.9, 0.875)
    tenths = drawn["tenths of the polymers, by standard deviation"]
    assert (list(tenths.x), list(tenths.y), tenths.xaxis) == ([0.1, 0.4], [0.2, 0.3], "x2")
    assert figure.layout.title.text == "&lt;b&gt;O2 — the 90% interval holds 87.5%"
    assert figure.layout.xaxis2.title.text == "standard deviation [log10(Barrer)]"
    assert figure.layout.xaxis2.range == figure.layout.yaxis2.range


def test_residuals_are_predicted_minus_measured(predictions):
    points, bars = residuals(predictions).data
    assert list(points.x) == [1.5, 2.0, 2.5]
    assert list(points.y) == list(bars.y) == [0.5, 0.0, -0.5]


def test_figures_of_nothing_are_drawn_empty(predictions):
    nothing = predictions.iloc[:0]
    assert "no measured values" in parity(nothing).layout.title.text
    assert len(residuals(nothing).data[0].x) == 0


def test_learning_curves_are_one_a_fold_and_loss():
    rows = [
        {"repeat": 0, "fold": fold, "epoch": epoch, "train_loss": 1.0 / (epoch + 1), "val_loss": 2.0 + fold, "lr": 0.1}
        for fold in (0, 1)
        for epoch in (0, 1, 2)
    ]
    figure = learning_curves(pd.DataFrame(rows))
    assert [trace.name for trace in figure.data] == [
        "train_loss, repeat 0, fold 0", "val_loss, repeat 0, fold 0",
        "train_loss, repeat 0, fold 1", "val_loss, repeat 0, fold 1",
    ]  # fmt: skip
    assert list(figure.data[0].y) == [1.0, 0.5, 1 / 3]
    assert list(figure.data[3].x) == [0, 1, 2]
    assert figure.layout.yaxis.type == "log"
    alone = learning_curves(pd.DataFrame({"epoch": [0, 1], "train_loss": [1.0, -0.5]}))
    assert alone.layout.yaxis.type is None  # a negative loss has no logarithm
    with pytest.raises(PolymlError, match="loss"):
        learning_curves(pd.DataFrame({"epoch": [0]}))


@pytest.mark.parametrize(("maximize", "best"), [(False, "a"), (True, "b")])
def test_the_best_model_stands_on_top(maximize, best):
    board = pd.DataFrame(
        {
            "model": ["b", "a", "broken"],
            "family": ["tree", "net", "net"],
            "against_best": ["worse", "best", ""],
            "rmse[O2]": [0.31, 0.21, np.nan],
            "rmse_sd[O2]": [0.01, 0.02, np.nan],
            "rmse_pooled[O2]": [0.3, 0.2, np.nan],
            "rmse_low[O2]": [0.25, 0.19, np.nan],
            "rmse_high[O2]": [0.4, 0.22, np.nan],
        }
    )
    figure = leaderboard_bars(board, "rmse[O2]", "RMSE", maximize=maximize)
    assert figure.layout.yaxis.categoryarray[-1] == best  # plotly counts categories from the bottom
    drawn = {t.y[0]: (t.x[0], t.x[0] - t.error_x.arrayminus[0], t.x[0] + t.error_x.array[0]) for t in figure.data}
    assert drawn["a"] == pytest.approx((0.2, 0.19, 0.22))
    assert drawn["b"] == pytest.approx((0.3, 0.25, 0.4))


def test_the_robeson_plot_holds_data_candidates_and_bounds():
    data = pd.DataFrame({"psmiles": ["*CC*", "*C*"], "O2": [100.0, 1e-9], "N2": [20.0, np.nan]})
    candidates = pd.DataFrame(
        {
            "psmiles": ["*OCC*", EVIL],
            "O2": [200.0, 50.0],
            "N2": [40.0, 5.0],
            "similarity": [0.5, 0.9],
            "monomer": ["C", EVIL],
        }
    )
    bounds = {"upper bound 2008": ([1.0, 1000.0], [9.0, 3.0])}
    figure = robeson("O2/N2", data, candidates, bounds, colour_by="similarity", hover=["monomer", "absent"])
    known, points, line = figure.data
    assert (list(points.x), list(points.y)) == ([200.0, 50.0], [5.0, 10.0])
    assert list(points.marker.color) == [0.5, 0.9]
    assert (list(known.x), list(known.y)) == ([100.0], [5.0])
    assert (list(line.x), list(line.y)) == ([1.0, 1000.0], [9.0, 3.0])
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "log")
    assert points.customdata[1].count("&lt;img") == 2
    assert "<img" not in points.customdata[1]


def test_the_robeson_plot_says_how_many_are_drawn():
    many = pd.DataFrame({"psmiles": ["*CC*"] * 30, "O2": np.arange(1, 31.0), "N2": np.ones(30)})
    figure = robeson("O2/N2", many.iloc[:0], many, {}, max_points=10)
    assert list(figure.data[1].x) == list(range(1, 11))
    assert "first 10 of 30" in figure.data[1].name


def test_the_map_switches_between_clusters_and_properties():
    frame = pd.DataFrame(
        {
            "psmiles": ["*CC*", "*OCC*", EVIL],
            "cluster": [1, 1, 2],
            "pca_1": [0.0, 1.0, 2.0],
            "pca_2": [3.0, 4.0, 5.0],
            "O2": [10.0, np.nan, 1000.0],
        }
    )
    figure = projection_map(frame, "pca_1", "pca_2", [Property(name="O2", unit="Barrer", transform="log10")], "PCA")
    first, second, coloured = figure.data
    assert (list(first.x), list(second.x)) == ([0.0, 1.0], [2.0])
    assert list(coloured.marker.color) == [1.0, 3.0]  # log10 of the two measured values
    assert (first.visible, coloured.visible) == (True, False)
    assert "O2 (Barrer): 1e+03" in coloured.customdata[1]
    assert "<img" not in coloured.customdata[1]
    by_cluster, by_property = figure.layout.updatemenus[0].buttons
    assert by_cluster.args[0] == {"visible": [True, True, False]}
    assert by_property.args[0] == {"visible": [False, False, True]}
