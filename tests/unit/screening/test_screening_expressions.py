from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyml.errors import UserError
from polyml.screening.expressions import MAX_DEPTH, parse_expression
from polyml.screening.robeson import distance

NAMES = ["O2", "N2", "CO2", "Tg (K)", "µ é", "µ"]
COLUMNS = {
    "O2": np.array([6.0, 0.0, -1.5, np.nan]),
    "N2": np.array([2.0, 0.0, 3.0, 1.0]),
    "CO2": np.array([10.0, 100.0, 1000.0, 1.0]),
    "Tg (K)": np.array([300.0, 400.0, 500.0, 600.0]),
    "µ é": np.array([1.0, 2.0, 3.0, 4.0]),
    "µ": np.array([0.5, 0.5, 0.5, 0.5]),
}


def value(text):
    return parse_expression(text, NAMES).evaluate(COLUMNS)


# Random trees, written as text and as a NumPy computation at once: the second is the oracle of the first.
leaf = st.one_of(
    st.sampled_from(["O2", "N2", "CO2"]).map(lambda name: (name, lambda: COLUMNS[name])),
    st.floats(0, 1e3, allow_nan=False).map(lambda x: (repr(x), lambda: np.float64(x))),
)
FUNCTIONS = {"log10": np.log10, "log": np.log, "sqrt": np.sqrt, "abs": np.abs, "exp": np.exp}
PAIRS = {"min": np.minimum, "max": np.maximum}


def branch(children):
    unary = st.tuples(st.sampled_from(sorted(FUNCTIONS)), children).map(
        lambda t: (f"{t[0]}({t[1][0]})", lambda: FUNCTIONS[t[0]](t[1][1]()))
    )
    negative = children.map(lambda c: (f"-({c[0]})", lambda: -c[1]()))
    two = st.tuples(st.sampled_from(sorted(PAIRS)), children, children).map(
        lambda t: (f"{t[0]}({t[1][0]}, {t[2][0]})", lambda: PAIRS[t[0]](t[1][1](), t[2][1]()))
    )
    binary = st.tuples(st.sampled_from(["+", "-", "*", "/", "**"]), children, children).map(
        lambda t: (f"({t[1][0]}) {t[0]} ({t[2][0]})", lambda: OPERATORS[t[0]](t[1][1](), t[2][1]()))
    )
    return st.one_of(unary, negative, two, binary)


OPERATORS = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "**": np.float_power}


@given(st.recursive(leaf, branch, max_leaves=12))
def test_agrees_with_numpy_wherever_every_step_of_numpy_is_finite(tree):
    text, oracle = tree
    with np.errstate(all="ignore"):
        expected = np.broadcast_to(oracle(), (4,))
    found = value(text)
    # An infinity of NumPy (a division by zero) is NaN here and may come back as a finite number there (1 / inf = 0).
    clean = np.isfinite(found)
    np.testing.assert_allclose(found[clean], expected[clean], rtol=1e-12)
    assert not np.isfinite(expected[np.isnan(found)]).any() or any(sign in text for sign in ("/", "**", "log"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("O2 / N2", [3.0, np.nan, -0.5, np.nan]),
        ("log10(CO2)", [1.0, 2.0, 3.0, 0.0]),
        ("log(O2)", [np.log(6.0), np.nan, np.nan, np.nan]),
        ("N2 ** -1", [0.5, np.nan, 1 / 3, 1.0]),
        ("O2 ** 0.5", [6.0**0.5, 0.0, np.nan, np.nan]),
        ("sqrt(O2)", [6.0**0.5, 0.0, np.nan, np.nan]),
        ("`Tg (K)` - 273.15", [26.85, 126.85, 226.85, 326.85]),
        ("`µ é` * µ", [0.5, 1.0, 1.5, 2.0]),
        ("2", [2.0, 2.0, 2.0, 2.0]),
        ("-2 ** 2", [-4.0] * 4),
        ("max(O2, N2, 2.5)", [6.0, 2.5, 3.0, np.nan]),
        ("  O2\n + 1 ", [7.0, 1.0, -0.5, np.nan]),
    ],
)
def test_values(text, expected):
    np.testing.assert_allclose(value(text), expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("O2 >= 0", [True, True, False, False]),
        ("O2 < 1", [False, True, True, False]),
        ("1 <= N2 < 3", [True, False, False, True]),
        ("O2 / N2 >= 3", [True, False, False, False]),
        ("2 > 1", [True] * 4),
    ],
)
def test_conditions_are_false_where_there_is_no_value(text, expected):
    found = parse_expression(text, NAMES)
    assert found.is_condition
    assert found.evaluate(COLUMNS).dtype == bool
    assert found.evaluate(COLUMNS).tolist() == expected


@pytest.mark.parametrize("pair", ["O2/N2", "O2 / N2"])
def test_robeson_reads_both_gases_and_gives_the_distance(pair):
    expression = parse_expression(f'1 + robeson("{pair}")', NAMES)
    assert expression.names == {"O2", "N2"}
    assert expression.pairs == ("O2/N2",)
    np.testing.assert_allclose(expression.evaluate(COLUMNS), 1 + distance("O2/N2", COLUMNS["O2"], COLUMNS["N2"]))


def test_the_known_names_are_told_without_the_spread_of_each():
    names = ["O2", "O2_std", "O2_lower", "O2_upper", "N2_std", "similarity"]
    with pytest.raises(UserError, match=r"known: N2_std, O2, similarity; NAME_std, NAME_lower, NAME_upper$"):
        parse_expression("CO2", names)


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("O2 / N", "unknown name 'N'", 5),
        ("`µ é` + X", "unknown name 'X'", 8),
        ("O2 +", "cannot read", 4),
        ("(O2", "never closed", 0),
        ("1 + foo(O2)", "unknown function 'foo'", 4),
        ("log10(O2, N2)", "takes 1 argument", 0),
        ("1 + min(O2)", "takes 2 to 20", 4),
        ("O2 + (N2 > 1)", "cannot stand inside a number", 6),
        ("O2 > 1 and N2 > 1", "'and' and 'or'", 0),
        ("O2 == 1", "this comparison", 0),
        ("1 + `O2", "backtick", 4),
        ("1 + `O2`N2", "touches another name", 4),
        ("O2 => 1", "no comparison here", 3),
        ("minimise O2", "no direction", 0),
        ('1 + robeson("O2/CH4")', "no Robeson bound", 12),
        ('robeson("H2/N2")', "needs the permeability 'H2'", 0),
        ("robeson(O2)", "takes one gas pair", 0),
        ("log10 + 1", "is a function", 0),
        ("2 + 'a'", "text is only allowed", 4),
    ],
)
def test_the_caret_stands_under_the_fault(text, message, column):
    with pytest.raises(UserError, match=message) as caught:
        parse_expression(text, NAMES, where="screen.constraints[0]")
    assert str(caught.value).startswith("screen.constraints[0]: ")
    shown, caret = caught.value.what.splitlines()[1:3]
    assert shown.strip() == text
    assert caret.index("^") - 4 == column


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "O2.__class__",
        "(lambda: 1)()",
        "[x for x in O2]",
        "O2[0]",
        "f'{O2}'",
        "(y := 1)",
        "O2 if O2 else N2",
        "log10(*O2)",
        "log10(x=O2)",
        "O2 @ N2",
        "O2 // N2",
        "not O2",
        "True",
        "1j",
        "await O2",
        "O2\x00",
        "9" * 400,
        "1" + " + 1" * 400,
        "(" * 300 + "1" + ")" * 300,
        "",
        "   ",
    ],
)
def test_everything_outside_the_language_is_refused(text):
    with pytest.raises(UserError):
        parse_expression(text, NAMES)


def test_depth_is_limited_and_what_is_allowed_works():
    assert value("-" * (MAX_DEPTH - 1) + "1")[0] in (1.0, -1.0)
    with pytest.raises(UserError, match="nested deeper"):
        parse_expression("-" * (MAX_DEPTH + 1) + "1", NAMES)


@given(st.text(max_size=60))
def test_any_text_is_either_an_expression_or_a_user_error(text):
    try:
        result = parse_expression(text, NAMES).evaluate(COLUMNS)
    except UserError:
        return
    assert result.shape == (4,)
