import numpy as np
import pandas as pd

from polyml.report.critical_difference import critical_difference_diagram

EVIL = "<img src=x onerror=alert(1)>"


def test_the_diagram_shows_ranks_groups_and_the_critical_difference():
    ranks = pd.Series({"gp": 1.2, EVIL: 1.9, "svm": 3.0, "mean": 3.9})
    figure = critical_difference_diagram(ranks, [("gp", EVIL), (EVIL, "svm")], 1.25, "Ranks")
    models, bars = figure.data[:4], figure.data[4:]
    assert [line.x[0] for line in models] == [1.2, 1.9, 3.0, 3.9]
    assert all(line.y[0] == 0 for line in models)  # each line begins on the scale
    rows = {line.name: (line.x[-1] < 1, line.y[-1]) for line in models}
    assert [side for side, _ in rows.values()] == [True, True, False, False]
    assert rows["mean"][1] == rows["gp"][1]  # the outermost models stand in the first row
    for bar, (first, last) in zip(bars, [("gp", EVIL), (EVIL, "svm")], strict=True):
        assert bar.x[0] <= ranks[first] < ranks[last] <= bar.x[1]
    assert bars[0].y[0] != bars[1].y[0]
    assert min(bar.y[0] for bar in bars) > max(row for _, row in rows.values())
    texts = [note.text for note in figure.layout.annotations]
    assert "gp (1.20)" in texts
    assert "critical difference 1.25" in texts
    assert not any("<img" in text for text in texts)
    lengths = [shape.x1 - shape.x0 for shape in figure.layout.shapes]
    assert any(np.isclose(length, 1.25) for length in lengths)


def test_without_groups_or_a_critical_difference_the_ranks_are_drawn():
    figure = critical_difference_diagram(pd.Series({"only": 1.0}), [], float("nan"))
    assert len(figure.data) == 1
    assert not any("critical" in note.text for note in figure.layout.annotations)
