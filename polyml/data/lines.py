r"""Lines of a stream, in parts of many, with their numbers and what is wrong with some of them.

A line ends with ``\n``, ``\r\n`` or a lone ``\r``, as in text editors. No line is held that is longer than a limit.
"""

from __future__ import annotations

import io
from functools import cached_property

from polyml.data.blocks import Fault
from polyml.data.streams import Stream

LONGEST = 1 << 20
"""Bytes of the longest line that is read."""
TOO_LONG = "too long"
_BOM = b"\xef\xbb\xbf"


class Lines:
    """Consecutive lines.

    Attributes
    ----------
    first : int
        Number of the first one.
    text : str or None
        All of them; None where one is in trouble.
    troubles : dict of int to (str, str)
        By number: what is wrong with the bytes of a line. A line that is too long is empty here.
    """

    def __init__(
        self, first: int, text: str | None, listed: list[str] | None = None, troubles: dict[int, Fault] | None = None
    ) -> None:
        self.first, self.text, self._listed, self.troubles = first, text, listed, troubles or {}

    @property
    def is_blank(self) -> bool:
        """Whether all lines are empty."""
        return self.text is not None and not self.text.strip("\r\n")

    @cached_property
    def listed(self) -> list[str]:
        """Each line with its end."""
        return io.StringIO(self.text, newline="").readlines() if self._listed is None else self._listed

    @cached_property
    def bare(self) -> list[str]:
        """Each line without its end."""
        if self._listed is not None or self.text is None:
            return [line.rstrip("\r\n") for line in self.listed]
        text = self.text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in self.text else self.text
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        return lines


class LineReader:
    """Read a stream in parts of whole lines.

    Attributes
    ----------
    number : int
        Lines read so far, those that were given back among them.
    """

    def __init__(self, stream: Stream) -> None:
        self.where, self.stream, self.number = stream.where, stream, 0
        self._rest = b""  # a line whose end has not come yet
        self._back: list[Lines] = []
        self._ended = False

    def next(self) -> Lines | None:
        """Return the next lines; None at the end, and where the stream breaks off."""
        if self._back:
            return self._back.pop()
        data = self._whole_lines()
        if self.number == 0:
            data = data.removeprefix(_BOM)
        return self._decoded(data) if data else None

    def give_back(self, lines: Lines) -> None:
        """Let lines come again, before any others."""
        self._back.append(lines)

    @property
    def damage(self) -> str:
        """Why the stream broke off; the line it happened in, after ``number``, is lost."""
        return self.stream.error

    def _whole_lines(self) -> bytes:
        while not self._ended:
            more = self.stream.part()
            data = self._rest + more
            if not more:
                self._ended, self._rest = True, b""
                return b"" if self.damage else data
            # A return at the very end may be half of a line end.
            cut = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
            self._rest = data[cut:]
            if len(self._rest) > LONGEST + 1:
                self._rest = self._rest[: LONGEST + 1] + (b"\r" if self._rest.endswith(b"\r") else b"")
            if cut:
                return data[:cut]
        return b""

    def _decoded(self, data: bytes) -> Lines:
        first = self.number + 1
        if len(data) <= LONGEST and b"\0" not in data:
            try:
                text = data.decode("utf-8")
            except UnicodeDecodeError:
                pass
            else:
                self.number += data.count(b"\n") if b"\r" not in data else len(data.splitlines())
                self.number += b"\r" not in data and not data.endswith(b"\n")
                return Lines(first, text)
        troubles: dict[int, Fault] = {}
        listed = [_line(raw, number, troubles) for number, raw in enumerate(data.splitlines(keepends=True), first)]
        self.number += len(listed)
        return Lines(first, None, listed, troubles)


def _line(raw: bytes, number: int, troubles: dict[int, Fault]) -> str:
    if len(raw.rstrip(b"\r\n")) > LONGEST:
        troubles[number] = (TOO_LONG, f"the line is longer than {LONGEST:,} bytes")
        return "\n"
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        troubles[number] = ("not UTF-8", f"byte {error.start + 1} (0x{raw[error.start]:02x}) is not UTF-8")
        return raw.decode("utf-8", errors="backslashreplace")
    if "\0" in text:
        troubles[number] = ("NUL byte", f"byte {raw.index(0) + 1} is NUL")
    return text.replace("\0", "\\x00")
