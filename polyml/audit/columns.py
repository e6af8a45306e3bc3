"""Which columns of a file are audited, when nobody says so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from polyml.data.known_properties import recognise
from polyml.data.properties import SPREAD_SUFFIXES, WRITTEN_COLUMNS
from polyml.data.readers import cell_text
from polyml.data.rows import open_rows, plain_name
from polyml.data.table_reader import MISSING, parse_number

_NUMERIC = 0.9  # share of the filled cells of a column that are numbers
_MOSTLY = 0.5  # the same for a column with the name of a well-known property, text that means a number included
_LONGEST = 40  # characters of such a text
_OWN = frozenset({"line", "psmiles", "key"}) | WRITTEN_COLUMNS
_BESIDE = re.compile(
    r"(?:.*_)?(?:std|sd|stdev|se|err|error|uncertainty|variance|counts?|ids?|index|idx|cid|number|no|rows?|lines?|seed"
    r"|dates?|folds?|repeat|split|lower|upper|min|max|year)(?:_(?:k|c|ev|gpa|mpa|pa))?|column_\d+|unnamed.*"
)
"""Names of numbers that are no property: spreads, identifiers, folds."""


_NUMBER = r"[-+−]?(?:\d+(?:[.,]\d+)*|[.,]\d+)(?:[eE][-+]?\d+)?"
_UNIT = r"\s*(?:°?\s*[A-Za-zµμ%°][A-Za-z/.^°²³*·]{0,9})?"
_LIKE_NUMBER = re.compile(
    rf"(?:[<>~≈≤≥=]|ca\.?|about)*\s*{_NUMBER}(?:\s*(?:-|–|—|to|±|\+/-|\.\.\.?|…)\s*{_NUMBER})?{_UNIT}"
)
"""Numbers as people write them for people: a bound, a range, an error, a decimal comma, a unit behind it."""


@dataclass(frozen=True, eq=False)
class Header:
    """What is known of a file before its chemistry is read.

    Attributes
    ----------
    columns : tuple of str
    lines : list of int
        Lines of the rows.
    numeric : dict of str to float
        Share of numbers among the filled cells of each column.
    texts : dict of str to list of (int, str)
        Line and text of the cells that a person reads as a number and polyml does not (``>373``), for each column.
    filled : dict of str to int
        Number of filled cells of each column.
    """

    columns: tuple[str, ...]
    lines: list[int]
    numeric: dict[str, float]
    texts: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    filled: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Header:
        """Pass once over the rows."""
        source = open_rows(path)
        numbers, filled = [0] * len(source.columns), [0] * len(source.columns)
        lines: list[int] = []
        texts: dict[str, list[tuple[int, str]]] = {}
        for row in source.rows:
            lines.append(row.line)
            for place, cell in enumerate(row.cells):
                text = cell_text(cell)
                if text.lower() in MISSING:
                    continue
                filled[place] += 1
                if not isinstance(cell, bool) and parse_number(text) is not None:
                    numbers[place] += 1
                elif like_number(text):
                    texts.setdefault(source.columns[place], []).append((row.line, text))
        counts = dict(zip(source.columns, filled, strict=True))
        numeric = {name: n / counts[name] for name, n in zip(source.columns, numbers, strict=True) if counts[name]}
        return cls(source.columns, lines, numeric, texts, counts)


def like_number(text: str) -> bool:
    """Tell a text that a person reads as a number.

    Examples
    --------
    >>> [like_number(text) for text in (">373", "263-270", "1,234", "25 ± 3", "120 °C", "9003-53-6", "PS12", "*CC*")]
    [True, True, True, True, True, False, False, False]
    """
    return len(text) < _LONGEST and _LIKE_NUMBER.fullmatch(text) is not None


def text_columns(header: Header, structures: Sequence[str], chosen: Sequence[str]) -> list[str]:
    """Return the columns of numbers in which some cells hold text that a person reads as a number.

    These are columns that are audited, that bear the name of a well-known property and hold mostly such cells, or that
    hold nothing else.

    Examples
    --------
    >>> header = Header(("psmiles", "Tg"), [2, 3], {"psmiles": 0.0, "Tg": 0.5}, {"Tg": [(3, ">373")]}, {"Tg": 2})
    >>> text_columns(header, ["psmiles"], [])
    ['Tg']
    """
    found = []
    for name, cells in header.texts.items():
        known = recognise(name, []) is not None
        named = known or not (name in _OWN or _BESIDE.fullmatch(plain_name(name)))
        # Of a column that nothing is known of, 1a and 2b may be labels, and only a number without letters counts.
        count = len(cells) if known else sum(not any(map(str.isalpha, text)) for _, text in cells)
        share = header.numeric[name] + count / header.filled[name]
        if name not in structures and (name in chosen or (named and share >= (_MOSTLY if known else _NUMERIC))):
            found.append(name)
    return found


def target_columns(header: Header, structures: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the columns that look like properties, and the numeric ones that do not.

    Examples
    --------
    >>> target_columns(Header(("psmiles", "Tg", "tg_std_k", "id"), [], {"Tg": 1, "tg_std_k": 1, "id": 1}), ["psmiles"])
    (['Tg'], ['tg_std_k', 'id'])
    """
    numeric = [name for name in header.columns if name not in structures and header.numeric.get(name, 0) >= _NUMERIC]
    spreads = {name + suffix for name in numeric for suffix in SPREAD_SUFFIXES}
    beside = [name for name in numeric if _BESIDE.fullmatch(plain_name(name)) and recognise(name, []) is None]
    left_out = [name for name in numeric if name in _OWN | spreads or name in beside]
    return [name for name in numeric if name not in left_out], left_out
