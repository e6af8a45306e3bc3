"""Single values that cannot be right, or stand far from all others; placeholders and rounding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from polyml.audit.findings import Finding, Severity, counted
from polyml.audit.logarithms import holds_logarithms
from polyml.audit.neighbours import Near
from polyml.audit.placeholders import repeated_value
from polyml.audit.robust import MANY, robust_deviation
from polyml.audit.sources import AuditedFile, AuditedProperty
from polyml.audit.spec import AuditSpec

_HEAPED = 0.3  # share of multiples of ten of the last digit, where a tenth is expected


def value_findings(item: AuditedFile, spec: AuditSpec) -> list[Finding]:
    """Look at the values of each property by themselves."""
    found = [_text(item, name, cells) for name, cells in item.texts.items()]
    for p in item.measured:
        values = item.values[p.name].to_numpy(dtype=float)
        checks = (_refused, _outside, _constant, _placeholder, _heaped)
        found += [finding for check in checks if (finding := check(item, p, values)) is not None]
        outliers = _far(item, p, spec)
        found += [outliers] if outliers else []
    return found


def _text(item: AuditedFile, name: str, cells: pd.DataFrame) -> Finding:
    """Say which cells of a column hold text that a person reads as a number."""
    shown = ", ".join(f"'{text}'" for text in cells["text"].drop_duplicates().head(3))
    left_out = "" if name in {p.name for p in item.properties} else "; the column is not audited"
    return Finding(
        f"text {name}", "warning", (item.name,),
        f"column {name} has {counted(len(cells), 'cell')} with text such as {shown}{left_out}",
        "polyml reads no bounds, ranges, units or decimal commas in a cell: these values are left out.",
        "write one number with a decimal point in a cell, and the unit in the name of the column; leave bounds out",
        len(cells), cells,
    )  # fmt: skip


def rows_at(item: AuditedFile, mask: np.ndarray, p: AuditedProperty, **columns: np.ndarray) -> pd.DataFrame:
    """Return line, text and value of the rows of a mask, and further columns that are given for all rows."""
    rows = item.frame.loc[mask, ["line", "text"]].assign(**{p.name: item.values.loc[mask, p.name]})
    return rows.assign(**{name: values[mask] for name, values in columns.items()}).reset_index(drop=True)


def _refused(item: AuditedFile, p: AuditedProperty, values: np.ndarray) -> Finding | None:
    bad = p.item.outside_domain(values) & ~item.placeholders(p)
    if not bad.any():
        return None
    what = f"{p.name}: {counted(int(bad.sum()), 'value')} without a logarithm, as not positive"
    return Finding(
        f"no logarithm {p.name}", "error", (item.name,), what,
        f"{p.name} is modelled as log10; these values are lost, or the column holds logarithms in places.",
        "remove placeholders such as 0; where a value is a logarithm, write the value itself",
        int(bad.sum()), rows_at(item, bad, p),
    )  # fmt: skip


def _outside(item: AuditedFile, p: AuditedProperty, values: np.ndarray) -> Finding | None:
    outside = p.item.outside_range(values) & np.isfinite(values) & ~item.placeholders(p)
    if p.item.transform == "log10" or (p.is_temperature and p.item.unit == "K"):
        outside &= values > 0  # the others are told as what they are: without a logarithm, Celsius
    if not outside.any() or holds_logarithms(p, item.believed(p)):
        return None
    low, high = (
        unbounded if end is None else f"{end:g}" for end, unbounded in ((p.item.lower, "-∞"), (p.item.upper, "∞"))
    )
    kind = p.known.known.name if p.known else p.name
    what = f"{p.name}: {counted(int(outside.sum()), 'value')} outside {low} to {high} {p.item.unit}".rstrip()
    return Finding(
        f"outside range {p.name}", "error", (item.name,), what,
        f"No polymer is expected to have such a {kind}: a unit, a decimal point or a placeholder is more likely.",
        "check these rows in their source; declare another range in a recipe (lower, upper) if they are right",
        int(outside.sum()), rows_at(item, outside, p),
    )  # fmt: skip


def _far(item: AuditedFile, p: AuditedProperty, spec: AuditSpec) -> Finding | None:
    y = item.modelled(p)
    center, spread = robust_deviation(y)
    if np.count_nonzero(~np.isnan(y)) < MANY or not spread > 0:
        return None
    score = np.abs(y - center) / spread
    far = np.nan_to_num(score) > spec.outlier
    if not far.any():
        return None
    what = (
        f"{p.item.model_label}: {counted(int(far.sum()), 'value')} more than {spec.outlier:g} robust SD (of "
        f"{spread:.3g}) from the median of {center:.3g}"
    )
    rows = rows_at(item, far, p, robust_z=score).sort_values("robust_z", ascending=False, ignore_index=True)
    return Finding(
        f"outliers {p.name}", "info", (item.name,), what,
        "A few values like these decide the RMSE, and the loss of a network.",
        "check them; a property that spans decades is better modelled as log10 (--log10)", int(far.sum()), rows,
    )  # fmt: skip


def _constant(item: AuditedFile, p: AuditedProperty, values: np.ndarray) -> Finding | None:
    known = values[np.isfinite(values)]
    if len(known) and len(np.unique(known)) > 1:
        return None
    what = f"all {len(known)} values of {p.name} are {known[0]:g}" if len(known) else f"{p.name} has no value"
    why, fix = "There is nothing to learn.", "leave this column out"
    return Finding(f"constant {p.name}", "warning", (item.name,), what, why, fix, len(known))


def _placeholder(item: AuditedFile, p: AuditedProperty, values: np.ndarray) -> Finding | None:
    """Find values that stand where nothing was measured: impossible ones, and one that is repeated again and again."""
    impossible = item.placeholders(p)
    number = int(np.isfinite(values).sum())
    words = [f"{value:g} in {counted(count, 'row')}" for value, count in _counts(values[impossible])]
    severity: Severity = "error" if words else "warning"
    repeated = repeated_value(values[~impossible])
    if repeated is not None:
        value, count, following = repeated
        words.append(f"{value:g} in {counted(count, 'row')} (the next frequent value stands {following} times)")
        impossible = impossible | (values == value)
    if not words:
        return None
    what = f"{p.name}: {counted(int(impossible.sum()), 'placeholder')} among {number} values: {', '.join(words)}"
    return Finding(
        f"placeholder {p.name}", severity, (item.name,), what,
        "An impossible value, or one that comes again and again, more likely stands where nothing was measured.",
        "leave the cell empty where nothing was measured", int(impossible.sum()), rows_at(item, impossible, p),
    )  # fmt: skip


def _counts(values: np.ndarray, shown: int = 3) -> list[tuple[float, int]]:
    """Return the most frequent values with their counts."""
    numbers, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:shown]
    return [(float(numbers[place]), int(counts[place])) for place in order]


def _heaped(item: AuditedFile, p: AuditedProperty, values: np.ndarray) -> Finding | None:
    """Find values that people have rounded: more multiples of ten of the last digit than a tenth."""
    from scipy.stats import binomtest

    if p.item.transform == "log10":
        return None  # values over decades have as many digits as their size allows
    best: tuple[float, float, int, int] | None = None
    known = values[np.isfinite(values)]
    offsets: Sequence[float] = (0.0, 0.15) if p.is_temperature else (0.0,)
    for offset in offsets:
        for step in (1.0, 0.1, 0.01):
            scaled = (known - offset) / step
            if np.mean(np.abs(scaled - np.round(scaled)) < 1e-6 * np.maximum(1, np.abs(scaled))) > 0.95:
                whole = np.round(scaled).astype(np.int64) - (273 if offset else 0)
                tens = int(np.sum(whole % 10 == 0))
                best = max(best or (0.0, 0.0, 0, 0), (tens / len(known), step, tens, len(known)))
                break
    if best is None or best[3] < MANY or best[0] < _HEAPED or np.ptp(known) < 20 * best[1]:
        return None
    if binomtest(best[2], best[3], 0.1, alternative="greater").pvalue > 1e-6:
        return None
    what = f"{best[0]:.0%} of the values of {p.name} are multiples of {10 * best[1]:g}, where 10 % are expected"
    return Finding(
        f"rounded {p.name}", "info", (item.name,), what,
        "Rounded values carry an error of their own, which no model can explain.",
        "nothing to mend: do not read more into a score than the rounding allows", best[2],
    )  # fmt: skip


def neighbour_findings(item: AuditedFile, near: Near, spec: AuditSpec) -> list[Finding]:
    """Find values that disagree with those of near-identical polymers by more than ``spec.outlier`` robust SD."""
    found = []
    for p in item.measured:
        residual = residuals(item, near, p)
        _, spread = robust_deviation(residual)
        if np.count_nonzero(~np.isnan(residual)) < MANY or not spread > 0:
            continue
        score = np.abs(residual) / spread
        far = np.nan_to_num(score) > spec.outlier
        if not far.any():
            continue
        expected = np.full(len(residual), np.nan)
        expected[near.rows] = p.item.from_model(near.estimates[p.name])
        rows = rows_at(item, far, p, expected=expected, robust_z=score)
        what = (
            f"{p.item.model_label}: {counted(int(far.sum()), 'value')} apart from those of near-identical polymers "
            f"by more than {spec.outlier:g} robust SD (of {spread:.3g})"
        )
        found.append(
            Finding(
                f"neighbours {p.name}", "warning", (item.name,), what,
                "Either the structure matters more here than elsewhere, or the value or the structure is mistyped.",
                "check the first rows of the list in their source", int(far.sum()),
                rows.sort_values("robust_z", ascending=False, ignore_index=True),
            )
        )  # fmt: skip
    return found


def residuals(item: AuditedFile, near: Near, p: AuditedProperty) -> np.ndarray:
    """Return the value less that of the nearest polymers of every row, modelled scale; NaN where none is near."""
    residual = np.full(len(item.frame), np.nan)
    residual[near.rows] = item.modelled(p)[near.rows] - near.estimates[p.name]
    return residual
