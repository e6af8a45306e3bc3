from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from polyml.cli.common import funnel
from polyml.cli.tables import RankedList, judged_columns, shorten
from polyml.screening.spec import ScreenSpec

UNIT = "*c1c(C)cc(-c2cc(C)c(N3C(=O)c4cc(Br)c5c6c(cc(Br)c(c46)C3=O)C(=O)N(*)C5=O)c3ccccc23)c2ccccc12"


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "rank": [1, 2], "score": [0.2, 0.1], "line": [7, 3], "psmiles": [UNIT, "*CC*"], "canonical": [UNIT, "*C*"],
            "O2": [1234.0, 12.0], "O2_std": [0.1, 0.1], "N2": [300.0, 3.0], "O2/N2": [4.1, 4.0],
            "robeson O2/N2": [0.2, -0.1], "similarity": [0.5, np.nan], "nearest_training": ["*CO*", "*CO*"],
            "monomer_1": ["O=C1OC(=O)c2c(Br)cc3c4c(c(Br)cc1c24)C(=O)OC3=O", "C=C"],
            "monomer_2": ["Cc1cc(-c2cc(C)c(N)c3ccccc23)c2ccccc2c1N", np.nan],
            "polymer_class": ["polyimide", "polyolefin"],
        }
    )  # fmt: skip


def test_monomers_are_shown_once_where_they_have_names_too() -> None:
    buffer = io.StringIO()
    named = frame().assign(monomer_1_name="bromo dianhydride", monomer_2_name="diamine")
    Console(file=buffer, width=140).print(RankedList(named, ["O2"], {"O2": "Barrer"}))
    assert "from C=C" in buffer.getvalue()
    assert "diamine" not in buffer.getvalue()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_ranked_list_fits_and_shows_what_was_asked_for(width: int) -> None:
    buffer = io.StringIO()
    Console(file=buffer, width=width).print(RankedList(frame(), ["O2", "O2/N2", "robeson O2/N2"], {"O2": "Barrer"}))
    text = buffer.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for word in ("1,234", "Barrer", "4.10", "-0.10", "polyimide", "from C=C", " + ", "*c1c(C)cc", "2ccccc12", "0.50"):
        assert word in text
    assert "nan" not in text


def test_copies_of_a_doubtful_polymer_are_pointed_out() -> None:
    table = frame()
    table.insert(list(table).index("nearest_training"), "nearest_warning", [np.nan, "a peroxide?"])
    buffer = io.StringIO()
    Console(file=buffer, width=100).print(RankedList(table, ["O2"]))
    assert "look twice at rank 2:" in buffer.getvalue()


def test_columns_follow_the_questions_of_the_spec() -> None:
    names = list(frame().columns)
    assert judged_columns(names, ScreenSpec(objectives=["minimize N2"])) == ["N2"]
    assert judged_columns(names, ScreenSpec(constraints=["O2 > 5 * N2"])) == ["O2", "N2", "robeson O2/N2"]
    assert judged_columns(names, ScreenSpec()) == ["robeson O2/N2"]
    assert judged_columns(names, ScreenSpec(constraints=["O2_std < 0.3"], objectives=["O2 / N2"])) == ["O2/N2"]
    assert judged_columns(names, ScreenSpec(objectives=["N2 / O2"])) == ["O2", "N2", "score"]
    assert judged_columns(names, ScreenSpec(objectives=["2 * `O2/N2`", "N2"])) == ["O2/N2", "N2", "score"]


@pytest.mark.parametrize("width", [3, 4, 9, 50])
def test_a_long_text_keeps_its_ends(width: int) -> None:
    short = shorten(UNIT, width)
    assert len(short) == width
    assert short[0] == UNIT[0]
    assert short[-1] == UNIT[-1]
    assert shorten("*CC*", 4) == "*CC*"


def test_candidates_judged_by_the_best_of_several_bounds_say_which_it_is() -> None:
    table = frame().assign(H2=[90.0, 80.0]).rename(columns={"score": "best bound"})
    table.insert(9, "robeson H2/N2", [-0.3, 0.6])
    buffer = io.StringIO()
    Console(file=buffer, width=100).print(RankedList(table, ["best bound"]))
    rows = [line for line in buffer.getvalue().splitlines() if line.split()[:1] in (["1"], ["2"])]
    assert [word for word in ("O2/N2", "1,234", "4.11") if word in rows[0]] == ["O2/N2", "1,234", "4.11"]
    assert [word for word in ("H2/N2", "80.0", "26.7") if word in rows[1]] == ["H2/N2", "80.0", "26.7"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {},
            "9 meet the constraints, 7 ranked (passed over to fill the list: 1 of the training set, 1 written before)",
        ),
        ({"outside": 2}, "7 ranked, 2 of these outside the applicability domain of the model (passed over"),
        (
            {"ranked": 0, "known": 0, "duplicate": 0, "no_value": 9},
            "0 ranked (the objective has no value for any of them)",
        ),
        (
            {"ranked": 0, "known": 0, "duplicate": 0, "passing": 0},
            "0 ranked (none of the 9 left meets Tg > 900: loosen it)",
        ),
        (
            {"ranked": 0, "known": 0, "duplicate": 0, "passing": 0, "shortlisted": 0},
            "0 ranked (the quick model passed none on: loosen the prefilter)",
        ),
        (
            {"ranked": 0, "known": 9, "duplicate": 0},
            "9 of the training set); --keep-known ranks polymers of the training set too",
        ),
        ({"constraints": {}}, "(1 network, 1 empty), 7 ranked"),
        ({"no_value": 3}, "1 of the training set, 1 written before, 3 without a value of the objective)"),
        ({"shortlisted": 9}, "2 refused (1 network, 1 empty), 9 passed the quick model, 9 meet"),
    ],
)
def test_the_summary_of_a_screen_says_what_became_of_the_candidates(changed: dict[str, int], words: str) -> None:
    summary = {"read": 14, "rejected": 2, "shortlisted": 12, "passing": 9, "ranked": 7, "known": 1, "duplicate": 1}
    summary |= {"constraints": {"O2 > 1": 9, "Tg > 900": 0, "N2 > 1": 0}, "refused": {"network": 1, "empty": 1}}
    summary |= {"outside": 0, "no_value": 0}
    assert words in funnel(summary | changed)
