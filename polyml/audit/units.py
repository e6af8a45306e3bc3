"""Unit mix-ups: Celsius for kelvin, powers of ten, logarithms for values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from polyml.audit.findings import Finding, Severity, counted
from polyml.audit.logarithms import holds_logarithms, may_be_logarithms, scatters_evenly
from polyml.audit.neighbours import Near
from polyml.audit.robust import robust_deviation
from polyml.audit.sources import AuditedFile, AuditedProperty
from polyml.audit.values import residuals, rows_at
from polyml.data.known_properties import ZERO_CELSIUS

_NEAR_ZERO_CELSIUS = 0.5  # people take 273, 273.15 and 273.2
_REPEATED = 15.0  # K around 273.15 within which repeats are counted together: measurements scatter
_POWER = 0.001  # decades by which a ratio may differ from a power of ten: written values, not measurements
_DECADES = 3.0  # beyond which a property that is given linearly should be modelled as log10
_WIDTH = 1.5  # robust SD around a shift
_P = 1e-3  # probability of so many by chance
_CHANCE = 0.3  # rows around a shift by chance, beside those around its mirror image
_CLEAR = 4.0  # robust SD that a shift must be away from zero
_WHY = "A label in another unit is wrong by far, and a model learns it as if it were right."


@dataclass(frozen=True)
class Mixup:
    """A way in which one value becomes the other: its words, and what to add on a scale."""

    words: str
    check: str


CELSIUS = Mixup("Celsius for kelvin", "kelvin")
POWER = Mixup("a power of ten", "power of ten")
LOGARITHM = Mixup("a logarithm for the value", "logarithm")


def mixup(x: float, y: float, *, temperature: bool) -> Mixup | None:
    """Tell whether two values of one polymer look like one value in two units.

    Examples
    --------
    >>> mixup(373.15, 100.0, temperature=True).words, mixup(2.5, 2500.0, temperature=False).words
    ('Celsius for kelvin', 'a power of ten')
    >>> mixup(2000.0, 3.301, temperature=False).words
    'a logarithm for the value'
    >>> mixup(2.5, 3.1, temperature=False) is None
    True
    """
    if temperature:
        return CELSIUS if abs(abs(x - y) - ZERO_CELSIUS) <= _NEAR_ZERO_CELSIUS else None
    small, large = sorted((x, y))
    if large > 30 and abs(small - np.log10(large)) < 0.006:
        return LOGARITHM
    if small > 0 and large / small > 9:
        decades = np.log10(large / small)
        return POWER if abs(decades - round(decades)) < _POWER else None
    return None


def repeat_findings(item: AuditedFile) -> list[Finding]:
    """Find repeats of a polymer within a file whose values are one value in two units."""
    found = []
    for p in item.measured:
        table = pd.DataFrame(_mixed_repeats(item, p), columns=["mixup", "lines", "text", "values"])
        for words, rows in table.groupby("mixup", sort=False):
            # Exactly ten times another value can be chance once; Celsius for kelvin to half a degree is not often.
            severity: Severity = "error" if words == CELSIUS.words or len(rows) >= 3 else "warning"
            what = f"{p.name}: {counted(len(rows), 'repeat')} of a polymer apart as by {words}"
            check = next(kind.check for kind in (CELSIUS, POWER, LOGARITHM) if kind.words == words)
            found.append(
                Finding(
                    f"{check} repeats {p.name}", severity, (item.name,), what, _WHY,
                    "bring these rows to one unit", len(rows), rows.reset_index(drop=True),
                )
            )  # fmt: skip
    return found


def _mixed_repeats(item: AuditedFile, p: AuditedProperty) -> Iterator[tuple[str, str, str, str]]:
    pairs = list(_repeats(item, p))
    celsius = p.is_temperature and _celsius_among([abs(a["value"] - b["value"]) for a, b in pairs])
    for a, b in pairs:
        kind = mixup(a["value"], b["value"], temperature=p.is_temperature)
        if celsius and abs(abs(a["value"] - b["value"]) - ZERO_CELSIUS) <= _REPEATED:
            kind = CELSIUS
        if kind is not None:
            yield kind.words, f"{a['line']};{b['line']}", a["text"], f"{a['value']:g};{b['value']:g}"


def _repeats(item: AuditedFile, p: AuditedProperty) -> Iterator[tuple[pd.Series, pd.Series]]:
    """Yield every two different values of a polymer, as rows with line, text and value."""
    frame = item.frame[["line", "text", "key"]].assign(value=item.believed(p)).dropna()
    repeated = frame[frame["key"].duplicated(keep=False)]
    for _, group in repeated.groupby("key", sort=False):
        rows = group.drop_duplicates("value").head(20)
        for (_, a), (_, b) in combinations(rows.iterrows(), 2):
            yield a, b


def _celsius_among(differences: Sequence[float]) -> bool:
    """Tell whether repeats heap up around 273.15 K, beyond the scatter on both sides of it.

    Examples
    --------
    >>> _celsius_among([270.1, 275.0, 273.2, 268.9, 280.3, 4.0, 12.0]), _celsius_among([230.0, 250, 270, 290, 310, 330])
    (True, False)
    """
    from scipy.stats import poisson

    apart = np.abs(np.asarray(differences, dtype=float) - ZERO_CELSIUS)
    count = int(np.sum(apart <= _REPEATED))
    beside = int(np.sum((apart > _REPEATED) & (apart <= 3 * _REPEATED))) / 2  # on twice the width
    return count >= 3 and bool(poisson.sf(count - 1, beside + _CHANCE) < _P)


def column_findings(item: AuditedFile) -> list[Finding]:
    """Find columns whose values as a whole speak of another unit or scale than the one they are taken in."""
    found = []
    for p in item.measured:
        values = item.believed(p)
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        for check in (_undecided, _below_zero_kelvin, _decades, _logarithms):
            finding = check(item, p, values)
            found += [finding] if finding else []
    return found


def _undecided(item: AuditedFile, p: AuditedProperty, values: np.ndarray) -> Finding | None:
    """Find a column of temperatures whose values speak for kelvin and for Celsius."""
    if p.known is None or p.known.rival is None:
        return None
    kelvin, celsius = p.known.scale, p.known.rival
    may_be = (values >= kelvin.lower) & (values <= kelvin.upper)
    alone = (values >= celsius.lower) & (values <= celsius.upper) & ~may_be
    what = (
        f"{p.name}: the unit cannot be told; {int(may_be.sum())} of {len(values)} values may be {kelvin.unit}, "
        f"{int(alone.sum())} only {celsius.unit}"
    )
    column = item.values[p.name].to_numpy(dtype=float)
    return Finding(
        f"unit {p.name}", "warning", (item.name,), what,
        "Either the column holds two units, or it is all in Celsius; no range was checked.",
        f"say which (--unit {p.name}=K or --unit {p.name}=°C); the values that do not fit are listed then",
        int(alone.sum()), rows_at(item, np.isin(column, values[alone]), p),
    )  # fmt: skip


def _below_zero_kelvin(item: AuditedFile, p: AuditedProperty, values: np.ndarray) -> Finding | None:
    below = item.believed(p) <= 0
    if not p.is_temperature or p.item.unit != "K" or not below.any():
        return None
    what = f"{p.name}: {int(below.sum())} of {len(values)} values not above 0 K"
    whole = (
        "; the whole column looks like Celsius" if np.median(values) < 200 else ": a part of the column is in Celsius"
    )
    return Finding(
        f"kelvin {p.name}", "error", (item.name,), what + whole, _WHY,
        f"add 273.15 where the source gives Celsius, or declare the unit (--unit {p.name}=°C)",
        int(below.sum()), rows_at(item, below, p),
    )  # fmt: skip


def _decades(item: AuditedFile, p: AuditedProperty, values: np.ndarray) -> Finding | None:
    if p.item.transform == "log10" or (values <= 0).any() or len(values) < 10:
        return None
    low, high = np.quantile(values, [0.01, 0.99])
    if np.log10(high / low) < _DECADES:
        return None
    what = f"{p.name} spans {np.log10(high / low):.1f} decades (1st to 99th percentile) and is modelled linearly"
    return Finding(
        f"linear {p.name}", "warning", (item.name,), what,
        "On a linear scale the few largest values decide every score, and the others are not learned.",
        f"model it as log10: --log10 {p.name}", len(values),
    )  # fmt: skip


def _logarithms(item: AuditedFile, p: AuditedProperty, values: np.ndarray) -> Finding | None:
    """Find logarithms in a column of a property that is positive and spans decades."""
    if p.known is None or not holds_logarithms(p, values):
        return None
    below = counted(int((values <= 0).sum()), "value")
    return _logarithm(item, p, f"with {below} not positive", len(values))


def _logarithm(item: AuditedFile, p: AuditedProperty, why: str, count: int) -> Finding:
    kind = p.known.known.name if p.known else p.name
    return Finding(
        f"logarithm {p.name}", "warning", (item.name,), f"{p.name}: looks like log10 of a {kind}, {why}",
        "Ranges, ratios and screens read the column as the value itself.",
        "write the values themselves (10 to the power of the column) and model them with --log10; no power of ten was "
        "checked",
        count,
    )  # fmt: skip


def neighbour_unit_findings(item: AuditedFile, near: Near) -> list[Finding]:
    """Find values that are off from near-identical polymers by just a unit.

    The rows whose residual lies around the shift are counted against those around the same shift to the other side,
    which tell how many are there by chance.
    """
    found = []
    for p in item.measured:
        values, estimates = item.believed(p), np.full(len(item.frame), np.nan)
        estimates[near.rows] = p.item.from_model(near.estimates[p.name])
        doubtful = may_be_logarithms(p, values)
        if holds_logarithms(p, values):
            continue  # told already; those near zero scatter by decades
        if doubtful and scatters_evenly(values, estimates):
            why = "as it scatters as much where it is large as where it is small, by near-identical polymers"
            found.append(_logarithm(item, p, why, int(np.isfinite(values).sum())))
            continue
        for words, residual, shift in _shifts(item, near, p):
            hit = _hits(residual, shift)
            if hit is not None:
                what = f"{p.name}: {counted(int(hit.sum()), 'value')} off from near-identical polymers as by {words}"
                fix = "check these rows in their source, and bring them to one unit"
                found.append(
                    Finding(
                        f"units by neighbours {p.name}", "warning" if doubtful else "error", (item.name,), what, _WHY,
                        f"{fix}; or is the whole column log10 of the property?" if doubtful else fix,
                        int(hit.sum()), rows_at(item, hit, p, expected=estimates),
                    )
                )  # fmt: skip
    return found


def _shifts(item: AuditedFile, near: Near, p: AuditedProperty) -> Iterator[tuple[str, np.ndarray, float]]:
    """Yield what a shift would mean, the residuals on the scale where it is one, and the shift."""
    if p.is_temperature and p.item.transform == "identity":
        residual = residuals(item, near, p)
        mixed = p.known is not None and p.known.rival is not None
        yield "kelvin and Celsius mixed" if mixed else "Celsius for kelvin", residual, -ZERO_CELSIUS
        yield "kelvin and Celsius mixed" if mixed else "kelvin for Celsius", residual, ZERO_CELSIUS
        return
    values = item.believed(p)
    estimate = np.full(len(values), np.nan)
    estimate[near.rows] = p.item.from_model(near.estimates[p.name])
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = np.where((values > 0) & (estimate > 0), np.log10(values) - np.log10(estimate), np.nan)
    for decades in (1, 2, 3, 6, 9):
        for sign in (-1, 1):
            yield f"a factor of 1e{sign * decades:+d}", residual, float(sign * decades)


def _hits(residual: np.ndarray, shift: float) -> np.ndarray | None:
    """Mark the rows around a shift, where they are clearly more than around its mirror image."""
    from scipy.stats import poisson

    _, spread = robust_deviation(residual)
    known = np.count_nonzero(~np.isnan(residual))
    if known < 20 or not spread > 0 or abs(shift) < _CLEAR * spread:
        return None
    width = min(_WIDTH * spread, abs(shift) / 4)
    hit = np.abs(np.nan_to_num(residual) - shift) < width
    mirrored = np.count_nonzero(np.abs(np.nan_to_num(residual) + shift) < width)
    count = np.count_nonzero(hit)
    return hit if count >= 3 and poisson.sf(count - 1, mirrored + _CHANCE) < _P else None
