"""Rows of CSV, TSV and .smi text, a part at a time.

A part in which every line is a sound row is read as a whole; one with anything odd goes through row by row. Both give
the same rows, lines and faults.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from polyml.data.blocks import BLANK, OPEN_QUOTE, Block, Fault
from polyml.data.lines import TOO_LONG, LineReader, Lines

ROW_LINES = 5000
"""Lines of the longest row."""
ROW_LENGTH = 1 << 22
"""Characters of the longest row."""
_LEAST_PATIENCE = 50  # lines in which the end of a quote is looked for, however many were not closed before


class Parsed(NamedTuple):
    """One row as it stands: its first line, its cells, and what is wrong with it."""

    line: int
    cells: list[str]
    reason: str = ""
    detail: str = ""


class RowReader:
    """Read the rows of CSV lines one by one, and go on after any that is broken.

    A quote that is not closed costs the line that opens it: the lines after it are read again as rows of their own.

    Parameters
    ----------
    lines : LineReader
    delimiter : str
    width : int, optional
        Fields of a row. A row of several lines with another number of fields is then taken for one whose quote is not
        closed where it should be; without it the row stays as it is.
    """

    def __init__(self, lines: LineReader, delimiter: str, width: int | None = None) -> None:
        self.lines, self.delimiter, self.width = lines, delimiter, width
        self._texts: list[str] = []
        self._troubles: dict[int, Fault] = {}
        self._first, self._at, self._end = 1, 0, 0  # number of the first text; the row's texts are those from at to end
        self._patience = ROW_LINES

    def take(self, part: Lines) -> None:
        """Start with these lines."""
        self._texts, self._troubles = list(part.listed), dict(part.troubles)
        self._first, self._at, self._end = part.first, 0, 0

    @property
    def number(self) -> int:
        """Number of the next line."""
        return self._first + self._at

    def rows(self, stop: int) -> Iterator[Parsed]:
        """Yield the rows that start before a line, then give back what is left."""
        while self.number < stop and (row := self.row()) is not None:
            yield row
        self.give_back()

    def give_back(self) -> None:
        """Give back the lines after the last row that was read."""
        left = self._texts[self._at :]
        if left:
            troubles = {number: fault for number, fault in self._troubles.items() if number >= self.number}
            self.lines.give_back(Lines(self.number, None if troubles else "".join(left), left, troubles))

    def row(self) -> Parsed | None:
        """Read the next row; None where there is no line left."""
        start = self.number
        if self._troubles.get(start, ("",))[0] == TOO_LONG:
            self._at += 1
            return Parsed(start, [], *self._troubles[start])
        self._end = self._at
        try:
            cells = next(csv.reader(self._feed(), delimiter=self.delimiter, strict=True))
        except StopIteration:
            return None
        except csv.Error as error:
            broken = self._broken(start, str(error))
            self._at += 1
            return broken
        if self._end - self._at > 1 and self.width is not None and _is_odd(cells, self.width):
            self._at += 1
            return self._open_quote(start, f"{len(cells)} fields, the header has {self.width}")
        if self._end - self._at > 1:
            self._patience = ROW_LINES
        last, self._at = self._first + self._end, self._end
        if self._troubles:
            found = next((self._troubles[number] for number in range(start, last) if number in self._troubles), None)
            if found:
                return Parsed(start, cells, *found)
        return Parsed(start, cells)

    def _feed(self) -> Iterator[str]:
        """Give the csv module the lines of one row, as many as it takes."""
        length = 0
        while True:
            if self._end == len(self._texts):
                more = self.lines.next()
                if more is None:
                    return
                self._texts += more.listed
                self._troubles |= more.troubles
            text = self._texts[self._end]
            if self._end - self._at >= self._patience or length > ROW_LENGTH:
                raise csv.Error("the row is too long")
            if self._end > self._at and self._troubles.get(self._first + self._end, ("",))[0] == TOO_LONG:
                raise csv.Error("a line in it is too long")
            self._end += 1
            length += len(text)
            yield text

    def _broken(self, start: int, error: str) -> Parsed:
        if "end of data" in error:
            error = "the file ends before"
        elif self._end == self._at + 1 and "too long" not in error:
            if "field limit" in error:
                return Parsed(start, [], TOO_LONG, f"a field is longer than {csv.field_size_limit()} characters")
            return Parsed(start, [], "quotes", error)
        return self._open_quote(start, error)

    def _open_quote(self, line: int, why: str) -> Parsed:
        # Where one quote after another is open, few are going to close: each is looked for half as far as the last.
        self._patience = max(self._patience // 2, min(ROW_LINES, _LEAST_PATIENCE))
        return Parsed(line, [], OPEN_QUOTE, f"a quote that opens here is not balanced ({why})")


def _is_odd(cells: list[str], width: int) -> bool:
    """Return whether a row has a wrong number of fields; empty ones may be too many."""
    return len(cells) != width and (len(cells) < width or any(cells[width:]))


def csv_blocks(
    lines: LineReader, delimiter: str, width: int, *, keep_blank: bool, strict: bool = False
) -> Iterator[Block]:
    """Yield the rows below the header; ``strict`` never reads lines again that stand between two quotes."""
    careful = RowReader(lines, delimiter, None if strict else width)
    while (part := lines.next()) is not None:
        if not keep_blank and part.is_blank:
            continue
        rows = _whole(part, delimiter)
        if rows is not None and set(map(len, rows)) == {width}:
            yield Block(range(part.first, part.first + len(rows)), list(zip(*rows, strict=True)))
            continue
        items: Iterable[Parsed]
        if rows is None:
            careful.take(part)
            items = careful.rows(part.first + len(part.listed))
        else:
            items = map(Parsed, range(part.first, part.first + len(rows)), rows)
        block = _sorted_out(items, width, keep_blank=keep_blank)
        if len(block):
            yield block


def _whole(part: Lines, delimiter: str) -> list[list[str]] | None:
    """Return the cells of a part in which every line is one row; None where it may not be."""
    if part.text is None:
        return None
    if '"' not in part.text:
        bare = part.bare
        if max(map(len, bare)) > csv.field_size_limit():
            return None
        return [line.split(delimiter) if line else [] for line in bare]
    try:
        rows = list(csv.reader(part.listed, delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return rows if len(rows) == len(part.listed) else None


def _sorted_out(rows: Iterable[Parsed], width: int, *, keep_blank: bool) -> Block:
    """Put rows into a block, and find those that are blank or have a wrong number of fields."""
    lines: list[int] = []
    cells: list[list[str]] = []
    faults: dict[int, Fault] = {}
    for line, found, reason, detail in rows:
        if not reason:
            if not found or (len(found) < width and not "".join(found).strip()):
                if not keep_blank:
                    continue
                found, reason = [], BLANK
            elif _is_odd(found, width):
                reason, detail = "field count", f"{len(found)} fields, the header has {width}"
        if reason:
            faults[len(lines)] = (reason, detail)
        lines.append(line)
        cells.append(found if len(found) == width else (found + [""] * width)[:width])
    return Block(lines, list(zip(*cells, strict=True)) if cells else [()] * width, faults)


def smi_blocks(lines: LineReader, *, keep_blank: bool, is_header: bool) -> Iterator[Block]:
    """Yield the structure and the name in each line; ``is_header`` leaves the first line out."""
    while (part := lines.next()) is not None:
        if not keep_blank and part.is_blank:
            continue
        words = [line.strip().split(None, 1) for line in part.bare]
        first = part.first
        if is_header and first == 1:
            words, first = words[1:], 2
        sizes = set(map(len, words))
        if part.troubles or 0 in sizes:
            block = _smi_block(words, first, part.troubles, keep_blank=keep_blank)
        elif sizes == {2}:
            block = Block(range(first, first + len(words)), list(zip(*words, strict=True)))
        else:
            pairs = [word if len(word) == 2 else (word[0], "") for word in words]
            block = Block(range(first, first + len(words)), list(zip(*pairs, strict=True)))
        if len(block):
            yield block


def _smi_block(words: list[list[str]], first: int, troubles: dict[int, Fault], *, keep_blank: bool) -> Block:
    lines: list[int] = []
    cells: list[list[str]] = []
    faults: dict[int, Fault] = {}
    for number, found in enumerate(words, first):
        fault = troubles.get(number) or (None if found else (BLANK, ""))
        if fault is not None:
            if fault[0] == BLANK and not keep_blank:
                continue
            faults[len(lines)] = fault
        lines.append(number)
        cells.append([*found, "", ""][:2])
    return Block(lines, list(zip(*cells, strict=True)) if cells else [(), ()], faults)
