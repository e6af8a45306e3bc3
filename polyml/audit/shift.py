"""The same property in two files, or from two sources in one file: offset, slope, and units that were mixed up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from polyml.audit.findings import Finding, Severity
from polyml.audit.sources import AuditedFile, AuditedProperty
from polyml.audit.spec import AuditSpec
from polyml.data.known_properties import ZERO_CELSIUS

SHIFT_COLUMNS = [
    "property", "first", "second", "shared", "offset", "offset_p", "slope", "slope_sd", "r", "sd",
    "n_first", "n_second", "ks", "ks_p",
    "relation",
]  # fmt: skip
_P = 0.01
_ENOUGH = 5  # shared polymers for a word on their labels
_KS = 0.2
_SLOPE = 0.15
_SMALL = 0.05  # SD below which even a systematic offset is not worth a word


@dataclass(frozen=True, eq=False)
class _Source:
    """Values of one property from one source: user units and modelled scale, with the keys of their polymers."""

    name: str
    file: str
    p: AuditedProperty
    keys: np.ndarray
    values: np.ndarray
    y: np.ndarray


def shift_table(files: Sequence[AuditedFile], spec: AuditSpec) -> tuple[pd.DataFrame, list[Finding]]:
    """Compare the labels of a property between every two of its sources.

    Returns
    -------
    table : DataFrame
        Offset (second less first) with the p-value of a paired t-test, slope and correlation of the second against the
        first on shared polymers (means per polymer, modelled scale); Kolmogorov-Smirnov distance over all values.
    findings : list of Finding
    """
    records: list[dict[str, object]] = []
    found: list[Finding] = []
    for first, second in _pairs(files, spec):
        record, rows = _compare(first, second)
        records.append(record)
        finding = _finding(record, first, second, rows, spec)
        found += [finding] if finding else []
    return pd.DataFrame(records, columns=SHIFT_COLUMNS), found


def _pairs(files: Sequence[AuditedFile], spec: AuditSpec) -> Iterator[tuple[_Source, _Source]]:
    by_quantity: dict[str, list[_Source]] = {}
    for item in files:
        for p in item.measured:
            by_quantity.setdefault(p.quantity, []).extend(_split(item, p))
    for sources in by_quantity.values():
        yield from ((a, b) for a, b in combinations(sources, 2) if len(a.y) and len(b.y))


def _split(item: AuditedFile, p: AuditedProperty) -> Iterator[_Source]:
    """Yield the values of a column, those of each source by themselves."""
    y, values = item.modelled(p), item.believed(p)
    keys, source = item.frame["key"].to_numpy(), item.frame["source"].to_numpy()
    for name in dict.fromkeys(source):
        rows = (source == name) & np.isfinite(values)
        label = f"{item.name}:{p.name}" + (f" [{name}]" if name else "")
        yield _Source(label, item.name, p, keys[rows], values[rows], y[rows])


def _compare(first: _Source, second: _Source) -> tuple[dict[str, object], pd.DataFrame]:
    from scipy import stats

    a, b = first.y[~np.isnan(first.y)], second.y[~np.isnan(second.y)]
    same_scale = first.p.item.transform == second.p.item.transform
    rows = _shared(first, second, "values").rename_axis("key").reset_index()
    pair = _shared(first, second, "y")
    x, z = pair["first"].to_numpy(), pair["second"].to_numpy()
    ks = stats.ks_2samp(a, b, method="asymp") if same_scale and len(a) and len(b) else None
    record: dict[str, object] = dict.fromkeys(SHIFT_COLUMNS, np.nan)
    record |= {"property": first.p.quantity, "first": first.name, "second": second.name, "shared": len(rows)}
    record |= {
        "n_first": len(a),
        "n_second": len(b),
        "sd": float(np.std(np.concatenate([a, b]))) if same_scale else np.nan,
    }
    record |= {"ks": float(ks.statistic), "ks_p": float(ks.pvalue)} if ks else {}
    record["relation"] = unit_relation(rows["first"], rows["second"], temperature=first.p.is_temperature)
    if len(x) >= 2 and same_scale:
        record["offset"] = float(np.mean(z - x))
        with np.errstate(all="ignore"):  # a constant offset has no spread: then it is certain
            record["offset_p"] = (
                float(stats.ttest_rel(z, x).pvalue) if np.ptp(z - x) > 1e-9 else float(np.allclose(x, z))
            )
        if len(x) >= 3 and np.ptp(x) > 0 and np.ptp(z) > 0:
            line = stats.linregress(x, z)
            record |= {"slope": float(line.slope), "slope_sd": float(line.stderr), "r": float(line.rvalue)}
    return record, rows


def _shared(first: _Source, second: _Source, field: str) -> pd.DataFrame:
    """Return the means of the polymers that both have, with the keys as index."""
    means = {
        name: pd.Series(getattr(source, field), index=source.keys).dropna().groupby(level=0).mean()
        for name, source in (("first", first), ("second", second))
    }
    return pd.concat(means, axis=1, join="inner")


def unit_relation(x: Sequence[float] | pd.Series, y: Sequence[float] | pd.Series, *, temperature: bool) -> str:
    """Tell whether values of shared polymers are the same ones in another unit; empty where they are not.

    Examples
    --------
    >>> unit_relation([1.0, 2.0, 3.0, 4.0, 5.0], [1000, 2000, 3000, 4000, 5000], temperature=False)
    'second = first × 1e+3'
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if len(a) < _ENOUGH or np.std(b) == 0:
        return ""
    spread = np.std(b)
    best, words = np.median(np.abs(a - b)), ""
    for name, image in _images(a, temperature):
        distance = np.median(np.abs(image - b))
        if distance < 0.25 * best and distance < 0.25 * spread:
            best, words = distance, name
    return words


def _images(a: np.ndarray, temperature: bool) -> Iterator[tuple[str, np.ndarray]]:
    if temperature:
        yield "second = first + 273.15", a + ZERO_CELSIUS
        yield "second = first - 273.15", a - ZERO_CELSIUS
        return
    for decades in (1, 2, 3, 6, 9):
        yield f"second = first × 1e+{decades}", a * 10.0**decades
        yield f"second = first × 1e-{decades}", a * 10.0**-decades
    if (a > 0).all():
        yield "second = log10(first)", np.log10(a)
    if (np.abs(a) < 12).all():
        yield "second = 10^first", 10.0**a


def _finding(record: dict, first: _Source, second: _Source, rows: pd.DataFrame, spec: AuditSpec) -> Finding | None:
    files = tuple(dict.fromkeys((first.file, second.file)))
    if record["relation"]:
        return _two_units(record, first, second, rows)
    words, small = _differences(record, spec), _small_offset(record)
    units = [source.p.item.unit for source in (first, second)]
    if all(units) and units[0] != units[1]:
        return _taken_for_two_units(record, first, second, rows, words)
    if not (words or small):
        return None
    return Finding(
        f"label shift {record['property']}",
        "warning" if words and record["shared"] >= _ENOUGH else "info", files,
        f"{first.name} and {second.name}: {words or small}",
        "The same quantity from two sources is two targets: a model that is given both as one learns the sources.",
        "keep them apart, as two targets of one polymer, or correct one to the other on the shared polymers",
        len(rows), rows,
    )  # fmt: skip


def _two_units(record: dict, first: _Source, second: _Source, rows: pd.DataFrame) -> Finding:
    """Say that two sources are one in two units: an error, unless they are known to be in different ones."""
    units = [source.p.item.unit for source in (first, second)]
    certain = [source.p.known is not None and source.p.known.certain for source in (first, second)]
    differ = all(units) and units[0] != units[1]
    severity: Severity = "error"
    if differ and any(certain):
        severity = "info" if all(certain) else "warning"
    what = f"{first.name} and {second.name}: on {record['shared']} shared polymers {record['relation']}"
    taken = f"; they are taken for {units[0]} and {units[1]}" if differ else ""
    return Finding(
        f"unit mix-up {record['property']}" if severity == "error" else f"different units {record['property']}",
        severity, tuple(dict.fromkeys((first.file, second.file))), what + taken,
        "Brought together, the two make one column in two units.", "convert one of them before you join them",
        len(rows), rows,
    )  # fmt: skip


def _taken_for_two_units(record: dict, first: _Source, second: _Source, rows: pd.DataFrame, words: str) -> Finding:
    """Say that two sources are taken for different units, where no shared polymers tell whether they are."""
    certain = all(source.p.known is not None and source.p.known.certain for source in (first, second))
    what = f"{first.name} is taken for {first.p.item.unit} and {second.name} for {second.p.item.unit}"
    return Finding(
        f"different units {record['property']}", "info" if certain else "warning",
        tuple(dict.fromkeys((first.file, second.file))), f"{what}; {words}" if words else what,
        "Brought together, the two make one column in two units.",
        "convert one of them before you join them; where the unit was not meant so, say it with --unit",
        len(rows), rows,
    )  # fmt: skip


def _small_offset(record: dict) -> str:
    """Say that the labels of one source are above those of the other throughout, by less than matters to a score."""
    if record["shared"] < 2 * _ENOUGH or not record["offset_p"] < _P / 10:
        return ""
    if abs(record["offset"]) < _SMALL * record["sd"]:
        return ""
    return (
        f"on {record['shared']} shared polymers a systematic offset of {record['offset']:+.3g} "
        f"({record['offset'] / record['sd']:+.2f} SD, p = {record['offset_p']:.1g})"
    )


def _differences(record: dict, spec: AuditSpec) -> str:
    """Say what differs both beyond chance and enough to matter; empty where nothing does."""
    words = []
    if record["shared"] >= _ENOUGH:
        if record["offset_p"] < _P and abs(record["offset"]) > spec.shift * record["sd"]:
            words.append(f"offset {record['offset']:+.3g} ({record['offset'] / record['sd']:+.2f} SD)")
        if record["shared"] >= 2 * _ENOUGH and abs(record["slope"] - 1) > max(_SLOPE, 3 * record["slope_sd"]):
            words.append(f"slope {record['slope']:.2f}, correlation {record['r']:.2f}")
        if words:
            return f"on {record['shared']} shared polymers " + ", ".join(words)
    if record["ks"] > _KS and record["ks_p"] < _P / 10 and record["shared"] < _ENOUGH:
        return (
            f"Kolmogorov-Smirnov distance {record['ks']:.2f} between {record['n_first']} and {record['n_second']} "
            "values, with too few shared polymers to tell chemistry from measurement"
        )
    return ""
