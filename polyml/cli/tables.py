"""The first rows of a ranked list, laid out for the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

    from polyml.screening.spec import ScreenSpec

_ROBESON = "robeson "  # how the columns with the distance to an upper bound begin
_SIMILARITY = "similarity"
_DOMAIN = "domain"
_WARNINGS = ("warning", "nearest_warning")
_PAIR = ("best\npair", "perm.\nBarrer", "selec-\ntivity")  # for each candidate: the pair it is best for
_SPREAD = ("_std", "_lower", "_upper")
_NARROW, _WIDE = 24, 80  # characters of a repeat unit, at least and at most
_CELL = 20  # characters of what else came with a candidate
_OTHERS = 2  # columns of that
_PADDING = 2


@dataclass(frozen=True)
class RankedList:
    """The best candidates: rank, repeat unit over its monomers, what they were judged by, similarity, class.

    Attributes
    ----------
    frame : DataFrame
        The first rows of ``ranked.csv``.
    judged : sequence of str
        The columns the constraints and objectives are about.
    units : mapping
        Unit by property.
    by_pair : bool
        Whether they were judged by upper bounds, so that the pair that each is best for is of interest.
    """

    frame: pd.DataFrame
    judged: Sequence[str]
    units: Mapping[str, str] = field(default_factory=dict)
    by_pair: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the table, with long texts shortened in the middle so that it fits."""
        frame = self.frame.assign(**self._best_pair())
        monomers, others = self._given()
        numbers = [*self.judged, *(name for name in _PAIR if name in frame), _SIMILARITY]
        cells = {"rank": [str(rank) for rank in frame["rank"]]}
        cells |= {name: [_number(value) for value in frame[name]] for name in numbers}
        cells |= {name: [shorten(_text(value), _CELL) for value in frame[name]] for name in others}
        room = options.max_width - _PADDING - sum(_width(self._title(name), cells[name]) for name in cells)
        while room < _NARROW and others:
            dropped = others.pop()
            room += _width(self._title(dropped), cells[dropped])
        room = min(max(room, _NARROW), _WIDE)
        cells["psmiles"] = [shorten(text, room) for text in frame["psmiles"]]
        made_from = [[_text(row[name]) for name in monomers if _text(row[name])] for _, row in frame.iterrows()]
        table = Table(title="Top candidates", title_justify="left", title_style="bold", header_style="bold", box=None)
        for name in (order := ["rank", "psmiles", *numbers, *others]):
            left = name in ("psmiles", *others)
            table.add_column(self._title(name), justify="left" if left else "right", no_wrap=True)
        for row, parts in enumerate(made_from):
            texts = {name: Text(cells[name][row]) for name in order}
            if parts:
                texts["psmiles"].append("\n" + _monomers(parts, room), style="dim")
            table.add_row(*texts.values())
        yield table
        if any("bound" in self._title(name) for name in self.judged):
            yield Text("bound: decades above (below if negative) Robeson's upper bound of 2008", style="dim")
        yield Text("similarity: to the nearest polymer of the training set, from 0 to 1", style="dim")
        if outside := [str(row["rank"]) for _, row in frame.iterrows() if row.get(_DOMAIN) == "outside"]:
            yield Text(
                f"outside the applicability domain: rank {', '.join(outside)}; hardly a polymer like them was measured"
            )
        doubtful = [str(row["rank"]) for _, row in frame.iterrows() if any(_text(row.get(name)) for name in _WARNINGS)]
        if doubtful:
            yield Text(
                f"look twice at rank {', '.join(doubtful)}: it or the measured polymer nearest to it has a warning"
            )

    def _given(self) -> tuple[list[str], list[str]]:
        """Find what came with the candidates: their monomers, and a few other columns."""
        from polyml.screening.outputs import given_columns

        given = [name for name in given_columns(self.frame) if self.frame[name].notna().any()]
        monomers = [name for name in given if name.startswith("monomer")]
        others = [name for name in given if name not in monomers][-_OTHERS:]
        # Their names stand in the file: two texts for each would leave no room for either.
        return [name for name in monomers if not (name.endswith("_name") and name[:-5] in monomers)], others

    def _best_pair(self) -> dict[str, list[Any]]:
        """Find the gas pair each candidate is best for, when it was judged by none in particular."""
        frame = self.frame
        bounds = [name for name in frame if str(name).startswith(_ROBESON)]
        if not self.by_pair or len(bounds) < 2 or any(name in self.judged for name in bounds):
            return {}
        pairs = [str(name).removeprefix(_ROBESON) for name in frame[bounds].idxmax(axis=1)]
        gases = [pair.split("/") for pair in pairs]
        fast, slow = ([row[gas[i]] for gas, (_, row) in zip(gases, frame.iterrows(), strict=True)] for i in (0, 1))
        ratio = [a / b for a, b in zip(fast, slow, strict=True)]
        return dict(zip(_PAIR, (pairs, fast, ratio), strict=True))

    def _title(self, name: str) -> str:
        if name.startswith(_ROBESON):
            return f"bound\n{name.removeprefix(_ROBESON)}"
        if name in _PAIR:
            return name
        unit = self.units.get(name, "")
        words = {"psmiles": "pSMILES", "polymer_class": "class", _SIMILARITY: "simi-\nlarity"}.get(name, name)
        return f"{words}\n{unit}" if unit else words.replace(" ", "\n", 1)


def read_ranked(path: Path, spec: ScreenSpec, *, units: Mapping[str, str] | None = None, rows: int = 10) -> RankedList:
    """Read the first rows of a ranked list and choose the columns its spec is about."""
    import pandas as pd

    frame = pd.read_parquet(path).head(rows) if path.suffix == ".parquet" else pd.read_csv(path, nrows=rows)
    texts = [*spec.derive.values(), *(item.expression for item in spec.objectives)]
    by_pair = any("robeson" in text for text in texts)
    return RankedList(frame, judged_columns(list(frame.columns), spec), units or {}, by_pair)


def judged_columns(columns: Sequence[str], spec: ScreenSpec) -> list[str]:
    """Choose the columns of a ranked list that its constraints and objectives are about.

    The score is among them where the objective has no column of its own.

    Examples
    --------
    >>> from polyml.screening.spec import ScreenSpec
    >>> spec = ScreenSpec(constraints=["O2 >= 100", "O2 / N2 >= 4"], objectives=['robeson("O2/N2")'])
    >>> names = "rank score psmiles canonical N2 N2_std O2 O2_std O2/N2".split()
    >>> judged_columns([*names, "robeson O2/N2", "similarity"], spec)
    ['O2', 'O2/N2', 'robeson O2/N2']
    """
    first, last = columns.index("canonical") + 1, columns.index(_SIMILARITY)
    values = [name for name in columns[first:last] if not name.endswith(_SPREAD)]
    plain = {name.replace(" ", ""): name for name in values}
    judged: list[str] = []
    objectives = [item.expression for item in spec.objectives]
    for text in [*spec.constraints, *objectives]:
        for side in re.split(r"[<>=!]=?", text):
            bare = _bare(side)
            judged += [plain[bare]] if bare in plain else [name for name in values if _names(side, name)]
    if len(objectives) > 1 or any(_bare(text) not in plain for text in objectives):
        judged += ["score"] if spec.rank_by == "score" else []
    if not spec.objectives:  # then the first bound decides, or the first property
        judged += [name for name in values if name.startswith(_ROBESON)][:1] or values[:1]
    return list(dict.fromkeys(judged))


def _bare(text: str) -> str:
    """Return an expression as the name of the column that it may be."""
    return re.sub(r"robeson\(\s*[\"'](.+?)[\"']\s*\)", r"robeson\1", text.replace("`", "")).replace(" ", "")


def _names(text: str, name: str) -> bool:
    """Tell whether an expression reads a column; inside of backticks stands the name of another one."""
    outside = "" if f"`{name}`" in text else re.sub("`.*?`", "", text)
    return f"`{name}`" in text or re.search(rf"(?<!\w){re.escape(name)}(?!\w)", outside) is not None


def shorten(text: str, width: int) -> str:
    """Cut a text in the middle, so that both ends of a repeat unit can be seen.

    Examples
    --------
    >>> shorten("*CC(*)c1ccc(C)cc1", 9)
    '*CC(…)cc1'
    """
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[-tail:] if tail else ''}"


def _width(title: str, cells: Sequence[str]) -> int:
    return max(map(len, (*title.splitlines(), *cells))) + _PADDING


def _monomers(parts: Sequence[str], width: int) -> str:
    """Name the monomers in one line; short ones leave their room to the others."""
    room = width - len("from ") - len(" + ") * (len(parts) - 1)
    shown: dict[int, str] = {}
    for done, position in enumerate(sorted(range(len(parts)), key=lambda i: len(parts[i]))):
        shown[position] = shorten(parts[position], max(3, room // (len(parts) - done)))
        room -= len(shown[position])
    return "from " + " + ".join(shown[position] for position in range(len(parts)))


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def _number(value: Any) -> str:
    if isinstance(value, str) or value != value:
        return "" if value != value else value
    size = abs(value)
    return f"{value:.2f}" if size < 10 else f"{value:.1f}" if size < 100 else f"{value:,.0f}"
