"""Each polymer counted once: against a dict, through files, after kills, on a full disk, in constant memory."""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import sys
import textwrap
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyml.chem import RepeatUnit
from polyml.chem.variants import random_variant
from polyml.errors import RepeatUnitError, UserError
from polyml.screening import duplicates
from polyml.screening.duplicates import count_once, key_records
from polyml.screening.screen import ScreenSpec, screen
from polyml.screening.shards import ShardStore

SPEC = ScreenSpec(constraints=["O2 >= 6"], objectives=["log10(O2)"], top=10, chunk_size=7, unique=True)


def oracle(rows):
    """Count with a dict: rows are (row, key, passes)."""
    first, passing = {}, set()
    for row, key, passes in rows:
        first.setdefault(key, row)
        passing |= {key} if passes else set()
    counts = {"distinct": len(first), "distinct_passing": len(passing)}
    return counts, {row: first[key] for row, key, _ in rows if first[key] != row}


def counted(parts, folder, rows, *, bucket):
    """Count with files; look the copies up in uneven steps."""
    valid = sum(len(part) for part in parts)
    with count_once(iter(parts), folder, rows=rows, valid=valid, keep_copies=True, bucket=bucket) as once:
        steps = np.array_split(np.arange(rows), max(1, rows // 3))
        found = np.concatenate([once.copies.first_rows(step) for step in steps])
        counts = once.counts
    assert not folder.exists()
    return counts, {int(row): int(found[row]) for row in np.flatnonzero(found >= 0)}


@st.composite
def libraries(draw):
    """Draw rows of few polymers, some of them refused (they leave no record), in chunks of uneven length."""
    keys = draw(st.lists(st.none() | st.integers(0, draw(st.sampled_from([1, 5, 200]))), max_size=120))
    passes = draw(st.lists(st.booleans(), min_size=len(keys), max_size=len(keys)))
    cuts = sorted(draw(st.sets(st.integers(0, len(keys)), max_size=6)) | {0, len(keys)})
    return list(zip(keys, passes, strict=True)), cuts


@settings(max_examples=150, deadline=None)
@given(libraries(), st.sampled_from([1, 2, 7, 1000]))
def test_counts_like_a_dict(tmp_path_factory, library, bucket):
    cells, cuts = library
    rows = [(row, f"*{key}*", passes) for row, (key, passes) in enumerate(cells) if key is not None]
    parts = []
    for start, end in itertools.pairwise(cuts):
        part = [item for item in rows if start <= item[0] < end]
        parts.append(
            key_records([row for row, _, _ in part], [key for _, key, _ in part], [row for row, _, ok in part if ok])
        )
    folder = tmp_path_factory.mktemp("count") / "polymers"
    assert counted(parts, folder, len(cells), bucket=bucket) == oracle(rows)


def test_hashes_that_agree_in_one_half_stay_apart(tmp_path):
    rng = np.random.default_rng(0)
    halves = rng.integers(0, 3, size=(400, 2), dtype=np.uint64) << np.uint64(62)
    records = np.column_stack([halves, np.arange(400, dtype=np.uint64) * np.uint64(2)]).astype("<u8")
    counts, copies = counted(np.array_split(records, 9), tmp_path / "x", 400, bucket=16)
    expected = oracle([(row, tuple(half), False) for row, half in enumerate(halves.tolist())])
    assert (counts, copies) == expected
    assert counts == {"distinct": 9, "distinct_passing": 0}


def test_records_are_spread_over_files_and_one_polymer_may_fill_many_blocks(tmp_path, monkeypatch):
    most = 0
    take = duplicates._Spill.take

    def watch(self, number, size):
        nonlocal most
        most = max(most, len(list((tmp_path / "x" / "hashes").iterdir())))
        for block in take(self, number, size):
            assert len(block) <= 32
            yield block

    monkeypatch.setattr(duplicates._Spill, "take", watch)
    keys = [f"{i}" if i % 2 else "always the same" for i in range(3000)]
    records = key_records(range(3000), keys, range(0, 3000, 2))
    counts, copies = counted(np.array_split(records, 20), tmp_path / "x", 3000, bucket=16)
    assert most > 100
    assert counts == {"distinct": 1501, "distinct_passing": 1}
    assert copies == dict.fromkeys(range(2, 3000, 2), 0)


def test_records_are_in_the_order_of_the_rows_and_know_their_key():
    records = key_records([5, 3, 4], ["*CC*", "*CO*", "*CC*"], passing=[4])
    assert records[:, 2].tolist() == [6, 9, 10]
    assert (records[1, :2] == records[2, :2]).all()
    assert (records[0, :2] != records[1, :2]).all()
    assert key_records([], [], []).shape == (0, 3)


@contextmanager
def files_no_longer_than(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_takes_no_more_is_a_user_error_and_leaves_nothing(tmp_path):
    records = key_records(range(500), [str(i) for i in range(500)], ())
    asked = {"rows": 500, "valid": 500, "keep_copies": False}
    counting = count_once([records], tmp_path / "x", **asked)
    with files_no_longer_than(1000), pytest.raises(UserError, match="cannot be counted"):
        counting.__enter__()
    assert not list(tmp_path.iterdir())


@pytest.fixture
def repeated(tmp_path):
    """Write a library whose polymers come again in other spellings, with refused rows between them."""
    tails = ["C", "CC", "O", "OC", "OCC", "F", "Br", "c1ccncc1", "C(C)C", "OC(C)C", "CO", "CCO"]
    once = [f"*CC(*){tail}" for tail in tails] + ["*CC*", "not a polymer", "*C(c1ccccc1)C*"]
    rng = np.random.default_rng(7)
    rows = [once[i] for i in rng.integers(0, len(once), size=80)]
    texts = [text if "poly" in text else random_variant(RepeatUnit.parse(text), rng) for text in rows]
    path = tmp_path / "repeated.csv"
    path.write_text("psmiles\n" + "\n".join(texts) + "\n")
    return path


def expected_of(bundle, library):
    """Return counts and first rows by a dict, from parsing and predicting row by row."""
    rows = []
    for row, text in enumerate(pd.read_csv(library)["psmiles"]):
        try:
            unit = RepeatUnit.parse(text)
        except RepeatUnitError:
            continue
        rows.append((row, unit.key, bundle.predict([unit]).mean[0][0] >= 6))
    return oracle(rows)


@pytest.fixture
def small_buckets(monkeypatch):
    real = duplicates.count_once
    monkeypatch.setattr(duplicates, "count_once", lambda *args, **asked: real(*args, **asked, bucket=4))


@pytest.mark.usefixtures("small_buckets")
@pytest.mark.parametrize("keep", ["ranked", "all"])
@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_a_library_is_counted_and_every_later_copy_is_marked(bundle, repeated, tmp_path, keep, chunk_size):
    spec = SPEC.model_copy(update={"keep": keep, "chunk_size": chunk_size})
    summary = screen(repeated, bundle, spec, tmp_path / "out")
    counts, copies = expected_of(bundle, repeated)
    assert {"distinct": summary.distinct, "distinct_passing": summary.distinct_passing} == counts
    assert 0 < counts["distinct_passing"] < counts["distinct"] < summary.valid
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["distinct"] == summary.distinct
    if keep == "ranked":
        return
    table = pd.read_csv(tmp_path / "out" / "predictions.csv", keep_default_na=False)
    marked = table[table["outcome"] == "duplicate"]
    assert dict(zip(marked["row"] - 1, marked["message"], strict=True)) == {
        row: f"row {first + 1}" for row, first in copies.items()
    }
    assert (marked["reason"] == "").all()
    firsts = table[~table["outcome"].isin(["duplicate", "refused"])]
    assert len(firsts) == summary.distinct
    assert firsts["canonical"].is_unique
    assert (firsts["outcome"] != "fails").sum() == summary.distinct_passing


def test_without_unique_nothing_is_counted_and_the_rest_is_the_same(bundle, repeated, tmp_path):
    plain = SPEC.model_copy(update={"unique": False, "keep": "all"})
    a = screen(repeated, bundle, plain, tmp_path / "a")
    b = screen(repeated, bundle, plain.model_copy(update={"unique": True}), tmp_path / "b")
    assert (a.distinct, a.distinct_passing) == (None, None)
    for name in ("ranked.csv", "rejects.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    one, two = (pd.read_csv(tmp_path / name / "predictions.csv") for name in "ab")
    same = [name for name in one if name not in ("outcome", "reason", "message")]
    pd.testing.assert_frame_equal(one[same], two[same])
    first = two["outcome"] != "duplicate"
    pd.testing.assert_frame_equal(one[first], two[first], check_dtype=False)
    assert (a.valid, a.passing, a.ranked, a.duplicate) == (b.valid, b.passing, b.ranked, b.duplicate)


def test_what_the_quick_model_discards_is_counted_too(bundle, repeated, tmp_path):
    spec = SPEC.model_copy(update={"prefilter": ["O2 >= 8"], "keep": "all"})
    summary = screen(repeated, bundle, spec, tmp_path / "out", quick=bundle)
    assert summary.shortlisted < summary.valid
    assert summary.distinct == expected_of(bundle, repeated)[0]["distinct"]
    table = pd.read_csv(tmp_path / "out" / "predictions.csv", keep_default_na=False)
    assert set(table["outcome"]) >= {"prefilter", "duplicate", "refused"}
    assert (table["outcome"] == "duplicate").sum() == summary.valid - summary.distinct


def test_a_key_that_cannot_be_made_costs_one_row(bundle, repeated, tmp_path, monkeypatch):
    clean = screen(repeated, bundle, SPEC, tmp_path / "clean")
    poison = RepeatUnit.parse("*CC(*)F").key
    key = RepeatUnit.key.func

    def fragile(self):
        found = key(self)
        if found == poison:
            raise ArithmeticError("no key")
        return found

    monkeypatch.setattr(RepeatUnit, "key", property(fragile))
    summary = screen(repeated, bundle, SPEC, tmp_path / "out")
    assert summary.distinct == clean.distinct - 1
    rejects = pd.read_csv(tmp_path / "out" / "rejects.csv")
    assert (rejects["reason"] == "canonical key").sum() == clean.valid - summary.valid > 1


@pytest.mark.parametrize("after", [0, 4, 9])
def test_resumed_and_on_two_processes_gives_the_same_bytes(bundle, repeated, tmp_path, interrupted, after):
    spec = SPEC.model_copy(update={"keep": "all"})
    whole = screen(repeated, bundle, spec, tmp_path / "whole")
    with interrupted(after):
        screen(repeated, bundle, spec, tmp_path / "stopped")
    resumed = screen(repeated, bundle, spec, tmp_path / "stopped", resume=True)
    assert (resumed.distinct, resumed.distinct_passing) == (whole.distinct, whole.distinct_passing)
    screen(repeated, bundle, spec, tmp_path / "two", jobs=2)
    for name in ("ranked.csv", "rejects.csv", "predictions.csv"):
        content = (tmp_path / "whole" / name).read_bytes()
        assert (tmp_path / "stopped" / name).read_bytes() == content
        assert (tmp_path / "two" / name).read_bytes() == content


def test_a_full_disk_while_counting_loses_nothing(bundle, repeated, tmp_path, monkeypatch):
    spec = SPEC.model_copy(update={"keep": "all"})
    out = tmp_path / "out"

    def full(self):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(duplicates._Spill, "flush", full)
        with pytest.raises(UserError, match=r"No space left(.|\n)*--resume"):
            screen(repeated, bundle, spec, out)
    assert [item.name for item in out.iterdir()] == ["shards"]
    assert not (out / "shards" / ".scratch").exists()
    summary = screen(repeated, bundle, spec, out, resume=True)
    assert summary.resumed == summary.read
    assert summary.distinct == expected_of(bundle, repeated)[0]["distinct"]


def test_what_a_killed_count_left_behind_goes_away(bundle, repeated, tmp_path):
    out = tmp_path / "out"
    summary = screen(repeated, bundle, SPEC, out)
    left = out / "shards" / ".scratch" / "hashes"
    left.mkdir(parents=True)
    (left / "00000").write_bytes(b"half a record")
    assert screen(repeated, bundle, SPEC, out, resume=True).distinct == summary.distinct
    assert not (out / "shards" / ".scratch").exists()


@pytest.mark.parametrize("turned", [-60, 40])
def test_damaged_records_are_noticed_and_made_again(bundle, repeated, tmp_path, turned):
    summary = screen(repeated, bundle, SPEC, tmp_path / "out")
    path = tmp_path / "out" / "shards" / "00000001.shard"
    content = bytearray(path.read_bytes())
    content[turned] ^= 1
    path.write_bytes(content)
    store = ShardStore(tmp_path / "out")
    if turned < 0:
        with pytest.raises(UserError, match="gone or damaged"):
            store.read_records(1)
    with pytest.raises(UserError, match="gone or damaged"):
        store.read_records(99)
    again = screen(repeated, bundle, SPEC, tmp_path / "out", resume=True)
    assert again.read - again.resumed == 7
    assert again.distinct == summary.distinct


def peak(rows):
    """Return the growth of the memory of a process, in MiB, that counts so many rows, a third of them copies."""
    script = f"""
        import resource, tempfile
        from pathlib import Path
        import numpy as np
        from polyml.screening.duplicates import count_once

        def mixed(numbers):
            return (numbers ^ numbers >> np.uint64(29)) * np.uint64(0xBF58476D1CE4E5B9)

        def records():
            for start in range(0, {rows}, 5000):
                row = np.arange(start, start + 5000, dtype=np.uint64)
                polymer = np.where(row % 3 == 2, row // 2, row) * np.uint64(0x9E3779B97F4A7C15)
                yield np.column_stack([mixed(mixed(polymer)), mixed(polymer), row * np.uint64(2)]).astype("<u8")

        next(records())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with tempfile.TemporaryDirectory() as folder:
            with count_once(records(), Path(folder) / "x", rows={rows}, valid={rows}, keep_copies=True) as once:
                steps = (np.arange(start, start + 5000) for start in range(0, {rows}, 5000))
                found = sum(int((once.copies.first_rows(step) >= 0).sum()) for step in steps)
                assert once.counts["distinct"] + found == {rows}, once.counts
                assert found > {rows} // 10, found
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def test_memory_does_not_grow_with_the_number_of_rows():
    small, large = peak(1_000_000), peak(5_000_000)
    assert large < 200
    assert large < 1.5 * small + 20
