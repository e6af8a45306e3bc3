"""One bad row costs one row: read and predict many polymers where some cannot be read or predicted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from polyml.chem import RepeatUnit
from polyml.errors import PolymlError, RepeatUnitError
from polyml.workers import collecting_later

Parsed = list[tuple[int, RepeatUnit]]
"""Units with their position in the input."""
T = TypeVar("T")


def parse_all(
    psmiles: Sequence[str], *, skip: Collection[int] = (), mark: Callable[[int, int], object] | None = None
) -> tuple[Parsed, dict[int, RepeatUnitError]]:
    """Parse every text.

    Parameters
    ----------
    psmiles : sequence of str
    skip : collection of int
        Positions that are left out.
    mark : callable, optional
        Called as ``mark(0, position)`` before each text is read.

    Returns
    -------
    parsed : list of (int, RepeatUnit)
        Position and unit of what could be read.
    refused : dict of int to RepeatUnitError
        Why the text at a position was refused.
    """
    parsed: Parsed = []
    refused: dict[int, RepeatUnitError] = {}
    parse = RepeatUnit.parse
    with collecting_later():
        for row, text in enumerate(psmiles):
            if row in skip:
                continue
            if mark is not None:
                mark(0, row)
            try:
                parsed.append((row, parse(text)))
            except RepeatUnitError as error:
                refused[row] = error.with_traceback(None)  # which would keep the molecule
            except Exception as error:  # RDKit can fail in its own ways; one text must never cost the others
                refused[row] = RepeatUnitError(describe(error), reason="failed")
    return parsed, refused


def in_batches(
    call: Callable[[list[RepeatUnit]], T], parsed: Parsed, *, sound: Callable[[], list[RepeatUnit]] | None = None
) -> tuple[Parsed, list[T], dict[int, PolymlError]]:
    """Call on all units at once; where that fails, halve the batch until the units at fault stand alone.

    Parameters
    ----------
    call : callable
    parsed : list of (int, RepeatUnit)
    sound : callable, optional
        Returns units with which the call is known to work, polymers that a model was trained on.

    Returns
    -------
    good : list of (int, RepeatUnit)
        Those that went well, in order.
    results : list
        What ``call`` returned for them, batch by batch.
    faults : dict of int to PolymlError
        Why it failed for the others, by position.

    Raises
    ------
    PolymlError
        When it fails for each of several units, and for those that are known to be ``sound``: then the fault is not
        theirs.
    """
    good: Parsed = []
    results: list[T] = []
    faults: dict[int, PolymlError] = {}
    pending = [parsed] if parsed else []
    while pending:
        batch = pending.pop()
        try:
            results.append(call([unit for _, unit in batch]))
            good.extend(batch)
        except Exception as error:  # whatever one unit does to a library must not cost the others
            if len(batch) == 1:
                faults[batch[0][0]] = PolymlError(describe(error))
            else:
                half = len(batch) // 2
                pending += [batch[half:], batch[:half]]
    if len(faults) > 1 and not good and not (sound is not None and _works(call, sound())):
        raise PolymlError(f"the computation fails on every polymer: {next(iter(faults.values()))}")
    return good, results, faults


def _works(call: Callable[[list[RepeatUnit]], object], units: list[RepeatUnit]) -> bool:
    try:
        call(units)
    except Exception:
        return False
    return True


def describe(error: Exception) -> str:
    """Return an error of a library as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
