"""Which columns of a file are audited, when nobody says so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polyml.data.known_properties import recognise
from polyml.data.properties import SPREAD_SUFFIXES, WRITTEN_COLUMNS
from polyml.data.readers import cell_text
from polyml.data.rows import open_rows, plain_name
from polyml.data.table_reader import MISSING, parse_number

_NUMERIC = 0.9  # share of the filled cells of a column that are numbers
_OWN = frozenset({"line", "psmiles", "key"}) | WRITTEN_COLUMNS
_BESIDE = re.compile(
    r"(?:.*_)?(?:std|sd|stdev|se|err|error|uncertainty|variance|counts?|ids?|index|idx|cid|number|no|rows?|lines?|seed"
    r"|folds?|repeat|split|lower|upper|min|max|year)(?:_(?:k|c|ev|gpa|mpa|pa))?|column_\d+|unnamed.*"
)
"""Names of numbers that are no property: spreads, identifiers, folds."""


@dataclass(frozen=True, eq=False)
class Header:
    """What is known of a file before its chemistry is read: columns, lines of its rows, share of numbers a column."""

    columns: tuple[str, ...]
    lines: list[int]
    numeric: dict[str, float]

    @classmethod
    def read(cls, path: Path) -> Header:
        """Pass once over the rows."""
        source = open_rows(path)
        numbers, filled = [0] * len(source.columns), [0] * len(source.columns)
        lines = []
        for row in source.rows:
            lines.append(row.line)
            for place, cell in enumerate(row.cells):
                text = cell_text(cell)
                if text.lower() not in MISSING:
                    filled[place] += 1
                    numbers[place] += not isinstance(cell, bool) and parse_number(text) is not None
        shares = zip(source.columns, numbers, filled, strict=True)
        return cls(source.columns, lines, {name: n / all_ for name, n, all_ in shares if all_})


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
