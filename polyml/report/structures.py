"""Drawn repeat units: candidates with their structure, predictions and verdict, side by side."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from polyml.bundle import VERDICT
from polyml.chem import RepeatUnit
from polyml.data.properties import Property
from polyml.report.html import format_number

WIDTH, HEIGHT = 250, 170  # pixels of a drawing
_LONG = 80  # characters of a text in a card
_DOUBTS = {"warning": "look twice", "nearest_warning": "the nearest measured polymer"}
_VERDICTS = {"outside": "outside the domain", "edge": "edge of the domain", "inside": "in the domain"}


def structure_svg(unit: str | RepeatUnit, width: int = WIDTH, height: int = HEIGHT) -> str:
    """Return the drawing of a repeat unit as an SVG element to stand in a page; wavy lines cross the chain's bonds.

    Parameters
    ----------
    unit : str or RepeatUnit
    width, height : int
        Pixels.

    Raises
    ------
    RepeatUnitError
        The text is no repeat unit.

    Examples
    --------
    >>> drawing = structure_svg("*CC(*)c1ccccc1")
    >>> drawing.startswith("<svg "), drawing.rstrip().endswith("</svg>")
    (True, True)
    """
    from rdkit.Chem.Draw import rdMolDraw2D

    if not isinstance(unit, RepeatUnit):
        unit = RepeatUnit.parse(unit)
    drawer = rdMolDraw2D.MolDraw2DSVG(width, height)
    options: Any = drawer.drawOptions()
    options.dummiesAreAttachments = True
    options.clearBackground = False
    options.fixedBondLength = 28.0  # at most: a small unit is not blown up
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, unit.mol)
    drawer.FinishDrawing()
    text: str = drawer.GetDrawingText()
    return text[text.index("<svg") :]


def candidate_cards(
    ranked: pd.DataFrame, properties: Sequence[Property], *, columns: Sequence[str] = (), most: int = 24
) -> str:
    """Return the best candidates as a part of a page: a card each with its structure and what is predicted.

    A structure that cannot be drawn is shown as text.

    Parameters
    ----------
    ranked : DataFrame
        Best first: psmiles and the properties in user units; where they are there also rank, the ends of the intervals
        (``O2_lower``, ``O2_upper``), the verdict of the domain, and doubts (``warning``, ``nearest_warning``).
    properties : sequence of Property
    columns : sequence of str
        Other columns to show: selectivities, a probability, the monomers. Those that are not there are left out, and
        so are texts that are empty.
    most : int
        Cards.
    """
    records = [{str(name): value for name, value in row.items()} for row in ranked.head(most).to_dict("records")]
    cards = (_card(record, properties, columns, place) for place, record in enumerate(records, start=1))
    return f'<div class="cards">{"".join(cards)}</div>'


def _card(record: Mapping[str, Any], properties: Sequence[Property], columns: Sequence[str], place: int) -> str:
    text = str(record["psmiles"])
    verdict = str(record.get(VERDICT, ""))
    rank = record.get("rank", place)
    told = f'<span class="verdict {_text(verdict)}">{_text(_VERDICTS.get(verdict, verdict))}</span>' if verdict else ""
    rows = [_row(item.name, record, item.unit) for item in properties]
    rows += [_row(name, record) for name in columns if record.get(name, "") != ""]
    doubts = [f"{words}: {record[name]}" for name, words in _DOUBTS.items() if isinstance(record.get(name), str)]
    warned = "".join(f'<p class="warned">{_text(doubt)}</p>' for doubt in doubts if not doubt.endswith(": "))
    return (
        f'<section class="card"><header><b>{_text(rank)}</b> {told}</header>'
        f'<div class="structure">{_drawing(text)}</div>'
        f"<table>{''.join(rows)}</table>{warned}<code>{_text(text)}</code></section>"
    )


def _drawing(text: str) -> str:
    try:
        return structure_svg(text)
    except Exception:  # one structure that RDKit cannot lay out costs its drawing, not the page
        return "<p>cannot be drawn</p>"


def _row(name: str, record: Mapping[str, Any], unit: str = "") -> str:
    cell = record[name]
    if isinstance(cell, str):
        text = cell if len(cell) <= _LONG else f"{cell[: _LONG - 1]}…"
        return f'<tr><td class="text" colspan="3"><span class="spread">{_text(name)}</span> {_text(text)}</td></tr>'
    low, high = record.get(f"{name}_lower"), record.get(f"{name}_upper")
    ends = "" if pd.isna(low) or pd.isna(high) else f"({_shown(low)} to {_shown(high)})"
    told = f' <span class="spread">{_text(unit)}</span>' if unit else ""
    value = f'<td class="number">{_shown(cell)}</td><td class="spread">{ends}</td>'
    return f'<tr><th scope="row">{_text(name)}{told}</th>{value}</tr>'


def _shown(value: Any) -> str:
    return "–" if pd.isna(value) else format_number(float(value))


def _text(value: object) -> str:
    return html.escape(str(value))
