"""The errors of polyml: one root, and one branch for mistakes a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

DAMAGED = "the folder was changed, or not copied whole: copy it again, or train the model anew"
"""How to mend a saved model that cannot be read."""


class PolymlError(Exception):
    """Root of every error that polyml raises on purpose."""


class UserError(PolymlError, ValueError):
    """Something in the input is wrong; the message says what, where, and how to mend it.

    The command line prints the message without a traceback and ends with exit code 2.

    Parameters
    ----------
    what : str
        The fault, in one sentence.
    where : str, optional
        File, line, column or recipe key.
    fix : str, optional
        What to do about it.

    Examples
    --------
    >>> print(UserError("column 'Tg' is missing", where="data.csv", fix="the columns are: smiles, tg"))
    data.csv: column 'Tg' is missing
      → the columns are: smiles, tg
    """

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        self.what, self.where, self.fix = what, where, fix
        text = f"{where}: {what}" if where else what
        super().__init__(f"{text}\n  → {fix}" if fix else text)


class RepeatUnitError(UserError):
    """A string that cannot be read as a repeat unit, with the reason.

    Attributes
    ----------
    reason : str
        A short code that is the same for every string refused for this reason, to count by (``"attachment points"``).
    """

    def __init__(self, what: str, *, reason: str, where: str | None = None, fix: str | None = None) -> None:
        self.reason = reason
        super().__init__(what, where=where, fix=fix)


def unknown_name(kind: str, name: object, known: Iterable[str], *, where: str | None = None) -> UserError:
    """Build the error for a name that is not in a list, with the nearest right one.

    Examples
    --------
    >>> print(unknown_name("model", "lightbgm", ["lightgbm", "svm"]))
    unknown model 'lightbgm'
      → did you mean 'lightgbm'? known: lightgbm, svm
    """
    names = sorted(str(item) for item in known)
    return UserError(
        f"unknown {kind} '{name}'", where=where, fix=f"{did_you_mean(name, names)}known: {', '.join(names)}"
    )


def did_you_mean(name: object, known: Iterable[str], prefix: str = "") -> str:
    """Return a question after the nearest known name, with a space behind; nothing where none is near.

    Examples
    --------
    >>> did_you_mean("lightbgm", ["lightgbm", "svm"])
    "did you mean 'lightgbm'? "
    """
    nearest = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f"did you mean '{prefix}{nearest[0]}'? " if nearest else ""
