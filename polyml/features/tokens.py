"""pSMILES as sequences of tokens, and the featurizer that writes each polymer in several ways.

The vocabulary is fixed: it holds everything that RDKit writes, so nothing is learned from data and no token is unknown.
The text in brackets is taken apart, so that ``[C@@H]`` and ``[13CH3]`` need no tokens of their own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from rdkit import Chem

from polyml.chem import RepeatUnit
from polyml.chem.variants import random_spellings
from polyml.errors import UserError
from polyml.features.base import Featurizer

SPECIALS = ("<pad>", "<mask>", "<start>", "<end>")
PAD, MASK, START, END = range(len(SPECIALS))

_ELEMENTS = tuple(Chem.GetPeriodicTable().GetElementSymbol(number) for number in range(1, 119))
_AROMATIC = ("b", "c", "n", "o", "p", "s", "as", "se", "si", "te")
_BONDS = ("-", "=", "#", "$", ":", "/", "\\", "~", "->", "<-")
_DIGITS = tuple("0123456789")
_RINGS = (*(f"%{number}" for number in range(10, 100)), "%(", ")")
_CHIRALITY = ("@", "@@", "@TH", "@AL", "@SP", "@TB", "@OH")

VOCABULARY: tuple[str, ...] = tuple(
    dict.fromkeys(
        (*SPECIALS, "*", *_ELEMENTS, *_AROMATIC, *_BONDS, "(", ")", ".", *_DIGITS, *_RINGS, "[", "]", *_CHIRALITY, "+")
    )
)
"""Every token; its place is its code. Weights on disk depend on the order: append, never insert."""

_CODES = {token: code for code, token in enumerate(VOCABULARY)}


def _any_of(tokens: Iterable[str]) -> str:
    return "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True))


_PIECE = re.compile(r"\[[^\]]*\]|Cl|Br|%\d\d|%\(|->|<-|.", re.DOTALL)
_BARE = {*"*BCNOPSFIbcnops", "Cl", "Br", *_BONDS, "(", ".", *_DIGITS, *_RINGS}
_BRACKET = re.compile(
    rf"\[(\d*)({_any_of(('*', *_ELEMENTS, *_AROMATIC))})(?:({_any_of(_CHIRALITY)})(\d*))?(?:(H)(\d*))?"
    r"([+-]*)(\d*)(?:(:)(\d+))?\]"
)


def tokenize(psmiles: str) -> list[str]:
    """Take a SMILES or pSMILES apart; the tokens put together are the text again.

    Raises
    ------
    UserError
        A part that is no SMILES.

    Examples
    --------
    >>> tokenize("*C[C@@H](*)Cl")
    ['*', 'C', '[', 'C', '@@', 'H', ']', '(', '*', ')', 'Cl']
    """
    return [VOCABULARY[code] for code in encode(psmiles)]


def encode(psmiles: str) -> list[int]:
    """Return the codes of the tokens of a text.

    Raises
    ------
    UserError
        A part that is no SMILES.
    """
    return [code for piece in _PIECE.findall(psmiles) for code in _encode_piece(piece)]


def decode(codes: Iterable[int]) -> str:
    """Return the text of token codes; padding and the other special tokens are left out.

    Examples
    --------
    >>> decode(encode("*c1ccc(*)[se]1"))
    '*c1ccc(*)[se]1'
    """
    return "".join(VOCABULARY[code] for code in codes if code >= len(SPECIALS))


@lru_cache(maxsize=4096)
def _encode_piece(piece: str) -> tuple[int, ...]:
    if not piece.startswith("["):
        if piece not in _BARE:
            raise UserError(
                f"{piece!r} is no part of a SMILES", fix="check the spelling; RDKit writes SMILES that can be read"
            )
        return (_CODES[piece],)
    match = _BRACKET.fullmatch(piece)
    if match is None:
        raise UserError(
            f"{piece!r} is no atom of a SMILES",
            fix="write an element as in the periodic table, in brackets where it has a charge or isotope",
        )
    isotope, symbol, turn, number, hydrogen, count, sign, charge, colon, label = (part or "" for part in match.groups())
    tokens = ("[", *isotope, symbol, turn, *number, hydrogen, *count, *sign, *charge, colon, *label, "]")
    return tuple(_CODES[token] for token in tokens if token)


class PsmilesTokens(Featurizer):
    """Token codes of the canonical pSMILES and of other ways to write the polymer.

    A polymer is an int16 array (variants, length), each row a text between ``<start>`` and ``<end>``, filled up with
    ``<pad>``. The first row is the canonical text. The others cut the chain elsewhere and list the atoms in another
    order, drawn by a generator that the canonical text seeds: they too are the same for every way to write the polymer.

    Parameters
    ----------
    variants : int
        Ways of writing a polymer, the canonical one included.

    References
    ----------
    Bjerrum, arXiv:1703.07076 (2017) (SMILES enumeration); Arús-Pous et al., J. Cheminform. 11, 71 (2019) (randomised
    SMILES).

    Examples
    --------
    >>> rows = PsmilesTokens(variants=3).transform(["*OCC*", "*CCOCCO*"])
    >>> bool((rows[0] == rows[1]).all()), decode(rows[0][0])
    (True, '*CCO*')
    """

    key = "psmiles_tokens"
    output_kind = "tokens"

    def __init__(self, variants: int = 8) -> None:
        self.variants = variants

    def featurize_units(self, units: Sequence[RepeatUnit]) -> list[np.ndarray]:
        """Return one array (variants, length) a unit."""
        check_variants(self.variants, f"features '{self.key}'")
        return [_pad([encode(text) for text in _spellings(unit.key, self.variants)]) for unit in units]

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the tokens in the order of their codes."""
        return np.array(VOCABULARY, dtype=object)


def check_variants(variants: object, where: str) -> None:
    """Refuse a number of variants that is no whole number of at least 1."""
    if not isinstance(variants, int) or isinstance(variants, bool) or variants < 1:
        raise UserError(
            f"variants must be a whole number of at least 1, got {variants!r}",
            where=where,
            fix="leave it out for the default",
        )


def _spellings(key: str, count: int) -> list[str]:
    """Return the canonical text and ``count - 1`` others that depend on it alone."""
    if count == 1:
        return [key]
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return [key, *random_spellings(key, count - 1, np.random.default_rng(seed))]


def _pad(rows: list[list[int]]) -> np.ndarray:
    padded = np.full((len(rows), max(map(len, rows)) + 2), PAD, dtype=np.int16)
    for row, codes in zip(padded, rows, strict=True):
        row[: len(codes) + 2] = [START, *codes, END]
    return padded
