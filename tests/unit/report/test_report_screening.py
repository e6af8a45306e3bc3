from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from polyml.data.properties import Property
from polyml.report.screening import funnel, prediction_histogram, screening_page
from polyml.report.structures import candidate_cards, structure_svg
from polyml.report.trade_off import Axis, trade_off

EVIL = '</script><img src=x onerror="alert(1)">'
OXYGEN = Property(name="O2", unit="Barrer", transform="log10")
GLASS = Property(name="Tg", unit="K")


@pytest.fixture
def ranked():
    return pd.DataFrame(
        {
            "rank": [1, 2, 3, 4],
            "psmiles": ["*CC(*)c1ccccc1", "*OCC*", EVIL, "*C1C(*)C2CC1C(*)C2*"],
            "O2": [100.0, 50.0, 10.0, np.nan],
            "O2_lower": [50.0, 25.0, 5.0, np.nan],
            "O2_upper": [200.0, 100.0, 20.0, np.nan],
            "Tg": [300.0, 350.0, 340.0, 200.0],
            "O2/N2": [3.0, 4.0, 5.0, 6.0],
            "domain": ["inside", "edge", "outside", EVIL],
            "similarity": [0.9, 0.5, 0.2, 0.1],
            "monomers": ["styrene", EVIL, "", "none"],
        }
    )


class Reader(HTMLParser):
    """Collect tags and attributes as a browser reads them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes


def test_a_funnel_shows_every_stage_with_the_share_of_the_one_before():
    figure = funnel({"read": 2_000_000, EVIL: 1_999_999, "passing": 40, "ranked": 0}, "Funnel")
    bars, texts = figure.data
    assert list(bars.x) == [2_000_000, 1_999_999, 40, 0]
    assert [text.strip() for text in texts.text] == ["2,000,000", "1,999,999 (> 99.9 %)", "40 (0.002 %)", "0 (0 %)"]
    assert "<img" not in "".join(bars.y)
    assert figure.layout.xaxis.type == "log"
    assert min(texts.x) > 0  # a stage with nothing left is on the picture too
    assert funnel({"read": 20, "valid": 10}).layout.xaxis.type != "log"
    assert len(funnel({"read": 0, "valid": 0}).data[1].text) == 2


def test_a_histogram_compares_shares_in_user_units():
    figure = prediction_histogram(OXYGEN, np.array([0.0, 1.0, 2.0]), np.array([0, 6, 2, 2]), np.array([0, 1, 3, 0]))
    bars, line = figure.data
    np.testing.assert_allclose(bars.x, [0.5, 1.5, 2.5])  # nothing lies below the first edge
    np.testing.assert_allclose(bars.y, [0.6, 0.2, 0.2])
    np.testing.assert_allclose(line.y, [0.25, 0.75, 0.0, 0.0])
    assert list(bars.customdata) == ["1 to 10: 6 (60 %)", "10 to 100: 2 (20 %)", "100 or more: 2 (20 %)"]
    assert (bars.name, line.name) == ("candidates, predicted (10)", "training data (4)")
    assert {"1", "10", "100"} <= set(figure.layout.xaxis.ticktext)
    assert figure.layout.xaxis.title.text == "O2 (Barrer)"


def test_a_histogram_of_nothing_is_empty():
    figure = prediction_histogram(GLASS, np.array([0.0, 1.0]), np.zeros(3, dtype=int), np.zeros(3, dtype=int))
    assert list(figure.data[0].y) == [0.0]


def test_a_trade_off_shows_candidates_data_and_front(ranked):
    data = pd.DataFrame({"psmiles": ["*CC*", "*C*"], "O2": [10.0, -1.0], "Tg": [200.0, 250.0]})
    x, y = (Axis.of(name, [OXYGEN, GLASS]) for name in ("O2", "Tg"))
    front = np.array([True, True, False, True])  # the last has no O2
    figure = trade_off(x, y, ranked, data, front=front, colour_by="similarity", hover=["rank", "monomers", "absent"])
    known, points, line = figure.data
    assert list(known.x) == [10.0]  # the other has no logarithm
    assert list(points.x) == [100.0, 50.0, 10.0]
    assert list(points.marker.color) == [0.9, 0.5, 0.2]
    assert (list(line.x), list(line.y)) == ([50.0, 100.0], [350.0, 300.0])
    assert line.line.shape == "vh"
    assert points.customdata[0] == "*CC(*)c1ccccc1<br>rank: 1<br>monomers: styrene"
    assert "<img" not in "".join(points.customdata)
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", None)
    assert trade_off(x, y, ranked, front=front, maximize_x=False).data[-1].line.shape == "hv"


def test_what_was_not_measured_is_not_drawn_as_data(ranked):
    data = pd.DataFrame({"psmiles": ["*CC*"], "O2": [10.0]})
    figure = trade_off(Axis("O2", "O2", True), Axis("O2/N2", "O2/N2"), ranked, data, colour_by="absent", max_points=2)
    assert [trace.name for trace in figure.data] == ["ranked candidates, predicted (first 2 of 3)"]


def test_attachment_points_of_linear_and_ladder_units_are_drawn():
    from polyml.chem import RepeatUnit

    for text in ("*CC(*)c1ccccc1", "*c1cc2Oc3cc(*)c(*)cc3Oc2cc1*"):
        drawing = structure_svg(text)
        reader = Reader(drawing)
        assert reader.tags.count("svg") == 1
        stars = [atom.GetIdx() for atom in RepeatUnit.parse(text).mol.GetAtoms() if atom.GetAtomicNum() == 0]
        # The wavy line across the bond of an attachment point is a curve, and nothing else in such a drawing is.
        curves = [value for name, value in reader.attributes if name == "d" and "C" in value]
        assert len(curves) >= len(stars)


def test_a_card_has_rank_predictions_interval_and_verdict(ranked):
    cards = candidate_cards(ranked, [OXYGEN, GLASS], columns=["O2/N2", "monomers", "absent"], most=3)
    reader = Reader(cards)
    assert reader.tags.count("svg") == 2
    assert cards.count("cannot be drawn") == 1
    assert "(50 to 200)" in cards
    assert "outside the domain" in cards
    assert "img" not in reader.tags
    assert "&lt;img src=x" in cards
    assert "absent" not in cards
    assert "monomers</span> styrene</td>" in cards
    assert "–" in candidate_cards(ranked.iloc[3:], [OXYGEN])  # no value
    doubtful = ranked.assign(warning=["a <peroxide>?", *[""] * (len(ranked) - 1)], nearest_warning=np.nan)
    assert candidate_cards(doubtful, [OXYGEN]).count('<p class="warned">look twice: a &lt;peroxide&gt;?</p>') == 1


def test_the_page_holds_everything_and_runs_nothing_of_a_user(ranked):
    x, y = Axis("O2", EVIL, True), Axis("Tg", "Tg")
    pictures = {
        "trade_offs": {f"Trade-off {EVIL}": trade_off(x, y, ranked, hover=["monomers"], title=EVIL)},
        "histograms": {"Tg": prediction_histogram(GLASS, np.arange(3.0), np.ones(4, int), np.ones(4, int), EVIL)},
    }
    page = screening_page(
        f"Screen {EVIL}", ranked, [OXYGEN, GLASS], {"read": 9, EVIL: 4}, notes=EVIL, columns=["monomers"], **pictures
    )
    reader = Reader(page)
    assert "img" not in reader.tags
    assert not [name for name, _ in reader.attributes if name.startswith("on") or name in ("src", "href")]
    clean = screening_page("S", ranked.iloc[:2], [OXYGEN], {"read": 9})
    assert reader.tags.count("script") - Reader(clean).tags.count("script") == 2  # two more figures, one script each
    assert page.count('<div id="figure-') == 3
    assert "The best 4 of 4 ranked candidates" in page
    assert "90 % interval" in page


def test_a_page_without_candidates_says_so():
    page = screening_page("Screen", pd.DataFrame({"psmiles": []}), [OXYGEN], {"read": 9, "passing": 0})
    assert "No candidate" in page
