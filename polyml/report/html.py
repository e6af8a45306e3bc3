"""Pages that work offline and on their own: the leaderboard, and pages of figures."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def figures_page(title: str, figures: Mapping[str, Figure]) -> str:
    """Return one HTML page with figures under their headings; plotly.js (5 MB) is in it once.

    Parameters
    ----------
    title : str
    figures : mapping
        Heading to figure; an empty heading is not shown.
    """
    body, head = embedded_figures(figures)
    return page(title, body, head=head)


def embedded_figures(figures: Mapping[str, Figure]) -> tuple[str, str]:
    """Return figures under their headings as a part of a page, and what the head of the page needs for them.

    Parameters
    ----------
    figures : mapping
        Heading to figure; an empty heading is not shown.
    """
    from plotly.offline import get_plotlyjs

    parts = []
    for place, (heading, figure) in enumerate(figures.items()):
        config = {"displaylogo": False, "responsive": True}
        chart = figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"figure-{place}", config=config)
        parts.append(f"<section>{f'<h2>{_text(heading)}</h2>' if heading else ''}{chart}</section>")
    # The MLflow UI shows a page inside a frame without access to other files, so the library must be in the page.
    return "\n".join(parts), f"<script>{get_plotlyjs()}</script>"


def leaderboard_page(
    leaderboard: pd.DataFrame, title: str, notes: str = "", headings: Mapping[str, str] | None = None
) -> str:
    """Return a leaderboard as one HTML page; a click on a heading sorts.

    Parameters
    ----------
    leaderboard : DataFrame
        One row a model; columns as in :meth:`polyml.evaluation.results.Results.leaderboard`. A column ``x`` that has
        a companion ``x_sd`` is shown as mean ± standard deviation over folds, and ``x_pooled`` with ``x_low`` and
        ``x_high`` as a score with its interval. A row whose status is "failed" shows its error.
    title : str
    notes : str
        Plain text under the title: protocol, number of polymers, scale of the scores.
    headings : mapping, optional
        The columns to show, in this order, each with its heading; else every column under its own name.
    """
    companions = _companions(list(leaderboard.columns))
    hidden = {*(name for own in companions.values() for name in own), "error", "status"}
    columns = [name for name in headings or leaderboard.columns if name not in hidden]
    told = headings or {name: name for name in columns}
    numeric = {name for name in columns if pd.api.types.is_numeric_dtype(leaderboard[name])}
    head = "".join(
        f'<th scope="col" tabindex="0"{_number(name in numeric)}>{_text(told[name])}</th>' for name in columns
    )
    rows = []
    for values in leaderboard.to_dict("records"):
        record = {str(name): value for name, value in values.items()}
        cells = [_cell(record, name, companions.get(name, ()), name in numeric) for name in columns]
        failed = record.get("status") == "failed"
        if failed:
            place = columns.index("model") if "model" in columns else 0
            error = f"<details><summary>failed</summary><pre>{_text(record.get('error') or 'no reason is known')}</pre>"
            cells[place] = cells[place].replace("</td>", f"{error}</details></td>")
        rows.append(f"<tr{' class=failed' if failed else ''}>{''.join(cells)}</tr>")
    table = f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    lead = f"<p>{_text(notes)}</p>" if notes else ""
    return page(title, f'{lead}<div class="scroll">{table}</div>', head=f"<script>{_asset('sort.js')}</script>")


def page(title: str, body: str, head: str = "") -> str:
    """Put a body, which must be safe HTML, into a whole page in the house style; ``title`` is plain text."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_asset("page.css")}</style>{head}</head>'
        f"<body><h1>{_text(title)}</h1>\n{body}\n</body></html>\n"
    )


def _companions(columns: list[str]) -> dict[str, tuple[str, ...]]:
    """Return what is shown beside each score: its standard deviation, or the ends of its interval."""
    found = {}
    for name in columns:
        spread = (companion_column(name, "sd"),)
        ends = tuple(name.replace("_pooled", f"_{end}", 1) for end in ("low", "high")) if "_pooled" in name else ()
        found[name] = next((own for own in (spread, ends) if own and all(item in columns for item in own)), ())
    return found


def _cell(record: Mapping[str, object], name: str, beside: Sequence[str], is_number: bool) -> str:
    value = record[name]
    if not is_number:
        return f"<td>{_text('' if _is_missing(value) else value)}</td>"
    if _is_missing(value):
        return '<td class="number" data-value="">–</td>'
    text = format_number(float(str(value)))
    if beside and not any(_is_missing(record[item]) for item in beside):
        numbers = [format_number(float(str(record[item]))) for item in beside]
        told = f"± {numbers[0]}" if len(numbers) == 1 else f"({' to '.join(numbers)})"
        text += f' <span class="spread">{told}</span>'
    return f'<td class="number" data-value="{float(str(value))!r}">{text}</td>'


def format_number(value: float) -> str:
    """Return a number as people read it: three digits that count, no exponent in the middle range.

    Examples
    --------
    >>> [format_number(value) for value in (0.012345, 3.0, 1234.5, 1.2e-7)]
    ['0.0123', '3', '1,234', '1.2e-07']
    """
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.3g}"
    return f"{value:.3g}"


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def companion_column(metric: str, suffix: str) -> str:
    """Return the column of a leaderboard that belongs to that of a metric.

    Examples
    --------
    >>> companion_column("rmse", "sd"), companion_column("rmse[O2]", "low")
    ('rmse_sd', 'rmse_low[O2]')
    """
    name, bracket, rest = metric.partition("[")
    return f"{name}_{suffix}{bracket}{rest}"


def _number(is_number: bool) -> str:
    return ' class="number"' if is_number else ""


def _text(value: object) -> str:
    return html.escape(str(value))


@cache
def _asset(name: str) -> str:
    return files("polyml.report").joinpath("assets", name).read_text(encoding="utf-8")
