"""Memory of a screen as the library grows, rows a second of counting polymers, and what kills cost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.table import Table

from polyml.data.catalog import embedded_path
from polyml.screening.duplicates import count_once
from polyml.screening.screen import ScreenSpec, screen

MEMORY_ROWS = (500_000, 5_000_000)
KILLS, KILLED_ROWS, CHUNK = 20, 20_000, 500
TABLES = ("ranked.csv", "rejects.csv", "predictions.csv")
# The script runs in the workers too, where it notes each chunk that is begun.
SCRIPT = """
    import os, sys
    from polyml.screening.screen import ScreenSpec, screen
    from polyml.screening.screener import ChunkScreener

    done = ChunkScreener.screen

    def noted(self, chunk, **asked):
        with open({notes!r}, "a") as file:
            file.write(f"{{os.getpid()}} {{chunk.first_row}}\\n")
        return done(self, chunk, **asked)

    ChunkScreener.screen = noted
    if __name__ == "__main__":
        spec = ScreenSpec.model_validate_json({spec!r})
        screen({library!r}, {model!r}, spec, sys.argv[1], jobs=2)
"""


def repeated_library(path: Path, rows: int) -> None:
    """Write the embedded candidates again and again up to so many rows, with attachment points in other spellings.

    They are shuffled: those at the end are larger, and a library of any length is to have the same share of them.
    """
    texts = pd.read_parquet(embedded_path("candidates"))["psmiles"].sample(frac=1, random_state=1)
    stars = ["*", "[*]", "[1*]", "[2*]", "[3*]", "[4*]", "[5*]", "[6*]", "[7*]"]
    with pq.ParquetWriter(path, pa.schema([("psmiles", pa.string())])) as writer:
        for number, star in enumerate(stars):
            part = texts.str.replace("[*]", "*", regex=False).str.replace("*", star, regex=False)
            part = part[: max(0, rows - number * len(texts))]
            if len(part):
                writer.write_table(pa.table({"psmiles": pa.array(part, pa.string())}), row_group_size=50_000)


def prepare(folder: Path, library: Path, model: Path, spec: ScreenSpec) -> Path:
    given = {"notes": folder / "notes", "library": library, "model": model}
    script = textwrap.dedent(SCRIPT).format(spec=spec.model_dump_json(), **{k: str(v) for k, v in given.items()})
    (folder / "run.py").write_text(script)
    return folder / "run.py"


def memory_of(pid: int) -> np.ndarray:
    """Return the memory of a process tree in MiB: all (shared pages once), the first process, the largest other one.

    The sum counts proportional set sizes, which shrink where strangers use the same libraries; the other two are
    resident set sizes, which do not.
    """
    total, resident = 0.0, []
    with suppress(psutil.NoSuchProcess):
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                used = process.memory_full_info()
                total, resident = total + used.pss, [*resident, used.rss]
    return np.array([total, max(resident[:1], default=0), max(resident[1:], default=0)]) / 2**20


def peaks(process: subprocess.Popen) -> np.ndarray:
    """Watch a process twice a second until it ends; return the largest of each figure."""
    most = np.zeros(3)
    while process.poll() is None:
        most = np.maximum(most, memory_of(process.pid))
        time.sleep(0.5)
    assert process.returncode == 0
    return most


@pytest.mark.benchmark
def test_memory_of_screening(trained, show, tmp_path):
    # The model that costs least: what is looked for grows with the rows, not with the model.
    spec = ScreenSpec(objectives=['robeson("O2/N2")'], constraints=["O2 >= 1"], top=100)
    model = trained("mean")
    columns = ("candidates", "all (sum of PSS)", "main process (RSS)", "largest worker (RSS)", "main + worker")
    table = Table(*columns, "seconds", title="peak memory of a screen on 2 processes, MiB")
    found = []
    for rows in MEMORY_ROWS:
        repeated_library(tmp_path / "library.parquet", rows)
        script = prepare(tmp_path, tmp_path / "library.parquet", model, spec)
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, script, tmp_path / f"out {rows}"])
        peak = peaks(process)
        found.append(np.append(peak, peak[1:].sum()))
        table.add_row(f"{rows:,}", *(f"{value:,.0f}" for value in found[-1]), f"{time.perf_counter() - start:.0f}")
    table.add_row("ratio, aim <= 1.10", *(f"{value:.3f}" for value in found[1] / found[0]), "")
    show(table)
    assert found[0].min() > 0


def begin(script: Path, out: Path, notes: Path) -> subprocess.Popen:
    """Start a screen, and wait until a worker begins its first chunk."""
    notes.unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, script, out], start_new_session=True)
    while process.poll() is None and not notes.exists():
        time.sleep(0.01)
    return process


def power_cut(process: subprocess.Popen) -> None:
    """Kill a process group, if it has not ended by itself, and wait until all that it has started is gone."""
    if process.poll() is not None:
        return
    started = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    psutil.wait_procs(started, timeout=30)


def finished(folder: Path) -> int:
    """Return the number of finished chunks."""
    return len(list((folder / "shards").glob("[0-9]*.shard")))


def lost(folder: Path, notes: Path) -> int:
    """Return the most chunks that one worker had begun and that are not on the disk."""
    begun = [line.split() for line in notes.read_text().splitlines()]
    missing = [pid for pid, row in begun if not (folder / "shards" / f"{int(row) // CHUNK:08d}.shard").exists()]
    return max((missing.count(pid) for pid in set(missing)), default=0)


@pytest.mark.benchmark
def test_kills_at_random_moments(trained, show, tmp_path):
    pd.read_parquet(embedded_path("candidates")).sample(KILLED_ROWS, random_state=1).to_parquet(tmp_path / "in.parquet")
    library, model = tmp_path / "in.parquet", trained("pca_ridge", features=["ecfp_count"])
    spec = ScreenSpec(objectives=["O2"], constraints=["O2 >= 10"], chunk_size=CHUNK, keep="all", unique=True)
    script = prepare(tmp_path, library, model, spec)
    process = begin(script, tmp_path / "whole", tmp_path / "notes")
    assert process.wait() == 0
    whole = {name: (tmp_path / "whole" / name).read_bytes() for name in TABLES}
    moments, done, costs, same, chunks = random.Random(1), [], [], 0, -(-KILLED_ROWS // CHUNK)
    while len(done) < KILLS:
        out = tmp_path / f"out {moments.random()}"
        process = begin(script, out, tmp_path / "notes")
        try:
            after = moments.randint(0, chunks)  # of so many finished chunks, and up to a second: at any speed
            while process.poll() is None and finished(out) < after:
                time.sleep(0.01)
            process.wait(timeout=moments.uniform(0.0, 1.0))
            continue  # it was quicker
        except subprocess.TimeoutExpired:
            pass
        finally:
            power_cut(process)
        done.append(finished(out))
        costs.append(lost(out, tmp_path / "notes"))
        screen(library, model, spec, out, resume=True)
        same += {name: (out / name).read_bytes() for name in TABLES} == whole
        print(f"kill {len(done)}: {done[-1]} chunks were finished, {costs[-1]} lost by one worker, {same} same so far")
    title = f"{KILLS} kills of all processes at random moments of a screen of {KILLED_ROWS:,} rows"
    table = Table("", "", title=title)
    table.add_row("resumed, with the bytes of an uninterrupted run", f"{same} of {KILLS}")
    table.add_row(f"finished chunks when it was killed, of {chunks}", " ".join(map(str, done)))
    table.add_row("most chunks that one worker lost (aim: 1)", f"{max(costs)}")
    table.add_row("kills in which a worker lost a chunk", f"{sum(cost > 0 for cost in costs)}")
    show(table)
    assert same == KILLS


@pytest.mark.benchmark
def test_speed_of_counting_polymers(show, tmp_path):
    def mixed(numbers: np.ndarray) -> np.ndarray:
        return (numbers ^ numbers >> np.uint64(29)) * np.uint64(0xBF58476D1CE4E5B9)

    def records(rows: int):
        """Yield made-up records, a third of them copies."""
        for start in range(0, rows, 5000):
            row = np.arange(start, start + 5000, dtype=np.uint64)
            polymer = np.where(row % 3 == 2, row // 2, row) * np.uint64(0x9E3779B97F4A7C15)
            yield np.column_stack([mixed(mixed(polymer)), mixed(polymer), row * np.uint64(2)]).astype("<u8")

    table = Table("rows", "seconds", "rows/s", "polymers", title="counting each polymer once, the step alone")
    for rows in (5_000_000, 20_000_000):
        start = time.perf_counter()
        made = sum(len(part) for part in records(rows))
        middle = time.perf_counter()
        with count_once(records(rows), tmp_path / "x", rows=rows, valid=rows, keep_copies=True) as once:
            seconds = time.perf_counter() - middle - (middle - start)  # without making the records
        table.add_row(*(f"{cell:,.0f}" for cell in (made, seconds, rows / seconds, once.counts["distinct"])))
    show(table)
    assert once.counts["distinct"] < rows
