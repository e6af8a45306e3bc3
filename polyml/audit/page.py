"""The page of an audit: findings with their first rows, and pictures of overlap, similarity and folds."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from polyml.audit.findings import SEVERITIES, Audit, Finding, counted, files_table, severity_count
from polyml.report.html import embedded_figures, format_number, page
from polyml.report.theme import colour, new_figure, plain

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_SHOWN = 5
_LONG = 30  # characters of a cell from which on it is broken
_MOST_PICTURES = 24  # distributions that are drawn; the tables hold all
_STYLE = """<style>
.error { color: #a33b00; font-weight: 600; } .warning { color: #8a6100; font-weight: 600; }
.info { color: var(--muted); }
article { border-left: 4px solid var(--line); padding: .1rem 0 .1rem 1rem; margin: 1.2rem 0; }
article.is-error { border-color: #d55e00; } article.is-warning { border-color: #e69f00; }
article h3 { font-size: 1rem; margin: 0 0 .2rem; font-weight: 600; } article p { margin: 0 0 .3rem; }
td.long { max-width: 28rem; overflow-wrap: anywhere; white-space: normal; }
td, th { font-size: .9rem; padding: .3rem .6rem; } th { white-space: normal; vertical-align: bottom; }
</style>"""


def audit_page(audit: Audit, row_files: Sequence[str] = ()) -> str:
    """Return an audit as one HTML page that works offline.

    Parameters
    ----------
    audit : Audit
    row_files : sequence of str
        For each finding the file with its rows, beside the page; empty for none.
    """
    names = list(row_files) or [""] * len(audit.findings)
    counted_by = {name: audit.count(name) for name in SEVERITIES}
    counts = ", ".join(f'<span class="{name}">{severity_count(n, name)}</span>' for name, n in counted_by.items())
    findings = "\n".join(_article(item, name) for item, name in zip(audit.findings, names, strict=True))
    notes = "".join(f"<li>{_text(note)}</li>" for note in audit.notes)
    charts, head = embedded_figures(audit_figures(audit))
    body = (
        f"<p>Findings: {counts}</p><h2>Files</h2>{_table(files_table(audit))}"
        f"<p>RDKit SMILES: different RDKit canonical SMILES. Polymers: different ones, however they are written. "
        f"Hidden repeats: those that RDKit canonical SMILES do not see. The other columns count the texts beside the "
        f"first one of their polymer, by how they differ from it.</p>"
        f"<h2>Findings</h2>{findings or '<p>Nothing was found.</p>'}"
        f"<h2>Splits</h2>{_table(splits_table(audit))}{charts}"
        f"<h2>What was taken for granted</h2><ul>{notes}</ul>"
    )
    return page("Audit", body, head=_STYLE + head)


def splits_table(audit: Audit) -> pd.DataFrame:
    """Return one row for each split of each file: polymers on both sides, and how near the test polymers are."""
    leaks, similarity = audit.tables["leaks"], audit.tables["similarity"]
    if leaks.empty or similarity.empty:
        return leaks
    return leaks.merge(similarity, on=["file", "split"], how="left")


def _article(item: Finding, name: str) -> str:
    link = f' · <a href="{html.escape(name)}">{counted(len(item.rows), "row")}</a>' if name else ""
    rows = f'<div class="scroll">{_table(item.rows.head(_SHOWN))}</div>' if len(item.rows) else ""
    return (
        f'<article class="is-{item.severity}"><h3><span class="{item.severity}">{item.severity}</span> '
        f"{_text(item.check)} · {_text(', '.join(item.files))}{link}</h3>"
        f"<p>{_text(item.what)}</p><p>{_text(item.why)} → {_text(item.fix)}</p>{rows}</article>"
    )


def _table(frame: pd.DataFrame) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in frame.columns)
    rows = "".join(f"<tr>{''.join(map(_cell, values))}</tr>" for values in frame.itertuples(index=False, name=None))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return f"<td>{_text(value)}</td>"
    if isinstance(value, int | float | np.integer | np.floating):
        return f'<td class="number">{"–" if value != value else format_number(float(value))}</td>'
    text = "" if value is None or value != value else str(value)
    return f"<td{' class=long' if len(text) > _LONG else ''}>{_text(text)}</td>"


def _text(value: object) -> str:
    return html.escape(str(value))


def audit_figures(audit: Audit) -> dict[str, Figure]:
    """Draw what an audit counted, by heading."""
    figures: dict[str, Figure] = {}
    if not audit.tables["overlap"].empty:
        figures["Shared polymers"] = overlap_figure(audit.files, audit.tables["overlap"])
    histogram = audit.tables["histogram"]
    if not histogram.empty:
        for kind, part in histogram.groupby("split", sort=False):
            figures[f"Similarity to the nearest training polymer, split {kind}"] = similarity_figure(part)
    folds = audit.tables["folds"]
    if "mean_test" in folds:
        places = list(folds.groupby(["file", "property", "split"], sort=False))
        for (file, name, split), part in places[:_MOST_PICTURES]:
            figures[f"{file}: {name} in each test part, split {split}"] = folds_figure(part, str(part["label"].iloc[0]))
    return figures


def overlap_figure(files: pd.DataFrame, overlap: pd.DataFrame) -> Figure:
    """Draw the share of the polymers of each file (row) that stand in each other file (column), with their number."""
    import plotly.graph_objects as go

    names = list(dict.fromkeys([*overlap["first"], *overlap["second"]]))
    sizes = files.set_index("file")["polymers"]
    share = pd.DataFrame(1.0, index=names, columns=names)
    count = pd.DataFrame({name: sizes[names].to_numpy() for name in names}, index=names)
    for row in overlap.to_dict("records"):
        share.loc[row["first"], row["second"]] = row["share_of_first"]
        share.loc[row["second"], row["first"]] = row["share_of_second"]
        count.loc[row["first"], row["second"]] = count.loc[row["second"], row["first"]] = row["shared_polymers"]
    labels = [plain(name) for name in names]
    figure = new_figure("", "stand in", "polymers of")
    figure.add_trace(
        go.Heatmap(
            z=share.to_numpy(), x=labels, y=labels, text=count.to_numpy(), texttemplate="%{text}", colorscale="Blues",
            zmin=0.0, zmax=1.0, colorbar={"title": "share", "tickformat": ".0%"},
            hovertemplate="%{z:.1%} of the polymers of %{y} stand in %{x} (%{text})<extra></extra>",
        )
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", type="category", automargin=True)
    return figure.update_xaxes(type="category", automargin=True).update_layout(height=260 + 36 * len(names))


def similarity_figure(histogram: pd.DataFrame) -> Figure:
    """Draw how similar test polymers are to the nearest training polymer, a line a file."""
    import plotly.graph_objects as go

    figure = new_figure("", "Tanimoto similarity (periodic ECFP)", "share of the test polymers")
    for index, (file, part) in enumerate(histogram.groupby("file", sort=False)):
        total = max(part["count"].sum(), 1)
        line = {"shape": "hv", "color": colour(index)}
        x, y = [*part["from"], 1.0], [*(part["count"] / total), 0.0]
        figure.add_trace(go.Scatter(x=x, y=y, mode="lines", name=plain(file), line=line))
    figure.update_yaxes(tickformat=".0%")
    return figure.update_layout(height=420)


def folds_figure(folds: pd.DataFrame, name: str) -> Figure:
    """Draw mean and standard deviation of a property in the test part of each fold, with the range of its values.

    ``name`` is the property with its unit, on the modelled scale.
    """
    import plotly.graph_objects as go

    figure = new_figure("", "fold", name)
    labels = [str(fold) for fold in folds["fold"]]
    ends = [("min_test", "smallest"), ("max_test", "largest")]
    mean = {"mode": "markers", "name": "mean ± SD", "marker": {"color": colour(0), "size": 9}}
    figure.add_trace(go.Scatter(x=labels, y=folds["mean_test"], error_y={"array": folds["sd_test"]}, **mean))
    for column, title in ends:
        marker = {"color": colour(6), "symbol": "line-ew-open", "size": 14}
        figure.add_trace(go.Scatter(x=labels, y=folds[column], mode="markers", name=title, marker=marker))
    train = {"color": colour(1), "dash": "dot"}
    figure.add_trace(go.Scatter(x=labels, y=folds["mean_train"], mode="lines", name="mean of training", line=train))
    return figure.update_xaxes(type="category").update_layout(height=340)
