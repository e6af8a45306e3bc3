"""Processes that die or stand still, in earnest: a candidate costs one row, the run goes on, the bytes are the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import closing, suppress

import pandas as pd
import psutil
import pytest

from polyml.errors import PolymlError
from polyml.screening.local import Chunks
from polyml.screening.pool import WHOLE, Done, Lost, WatchedPool, sendable
from polyml.screening.screen import ScreenSpec, screen

# Processes are told what to do with which candidate by the environment, so that it happens in them and nowhere else.
POISON = """
import os, signal, time
from polyml.chem import RepeatUnit

plan = dict(item.split("=") for item in os.environ.get("POISON", "").split(";") if item)
parse = RepeatUnit.parse

def act(text):
    if plan.get(text) == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if plan.get(text) == "hang":
        time.sleep(3600)
    if plan.get(text) == "seize":
        import ctypes
        open("seized", "w").close()
        ctypes.PyDLL(None).sleep(3600)

@classmethod
def poisoned(cls, text):
    act(text)
    return parse(text)

RepeatUnit.parse = poisoned
if plan.get("where") == "predict":
    RepeatUnit.parse = parse
    from polyml.models.linear import PCARidge
    predict = PCARidge.predict

    def fragile(self, units):
        for unit in units:
            act(unit.psmiles)
        return predict(self, units)

    PCARidge.predict = fragile
"""
SPEC = ScreenSpec(objectives=["log10(O2)"], top=10, chunk_size=12, time_limit=2, skip_known=False)


def everything(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.csv")}


@pytest.fixture
def poisoned(tmp_path, monkeypatch):
    """Return a function that makes some candidates deadly in the processes that are started from here on."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(POISON)

    def poison(**plan):
        monkeypatch.setenv("PYTHONPATH", str(site))
        monkeypatch.setenv("POISON", ";".join(f"{text}={what}" for text, what in plan.items()))

    return poison


@pytest.mark.parametrize(
    ("where", "deadly"),
    [
        ("parse", {"*CC(*)OCC": "crash", "*C(CCC)O*": "hang", "*CC(*)F": "crash"}),
        ("predict", {"*CC(*)F": "crash", "*C(CCC)O*": "hang"}),
    ],
)
def test_a_candidate_that_crashes_or_hangs_costs_one_row(bundle, library, tmp_path, poisoned, where, deadly):
    texts = pd.read_csv(library)["psmiles"].tolist()
    clean = tmp_path / "clean.csv"
    lines = library.read_text().splitlines()
    clean.write_text("\n".join(line for line in lines if line.split(",")[0] not in deadly) + "\n")
    bundle.save(tmp_path / "model")
    expected = screen(clean, tmp_path / "model", SPEC, tmp_path / "clean")
    poisoned(**deadly, where=where)
    run = start(library, tmp_path / "model", SPEC, tmp_path / "out")
    assert run.wait(timeout=200) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["read"] == len(texts) == expected.read + len(deadly)
    assert summary["rejected"] == expected.rejected + len(deadly)
    rejects = pd.read_csv(tmp_path / "out" / "rejects.csv").set_index("psmiles")
    reasons = {"crash": "crash", "hang": "time limit"}
    assert rejects.loc[list(deadly), "reason"].tolist() == [reasons[what] for what in deadly.values()]
    assert "SIGSEGV" in rejects.loc["*CC(*)F", "message"]
    assert rejects.loc["*C(CCC)O*", "message"] == "not done after 2 s"
    a, b = (pd.read_csv(tmp_path / name / "ranked.csv") for name in ("out", "clean"))
    pd.testing.assert_frame_equal(a.drop(columns="line"), b.drop(columns="line"), rtol=1e-5)


def test_a_process_that_is_killed_from_outside_changes_nothing(bundle, tmp_path):
    library = tmp_path / "many.smi"
    library.write_text("".join(f"*CC(*){'C' * (i % 20 + 1)}OC{'C' * (i // 20)}\n" for i in range(400)))
    bundle.save(tmp_path / "model")
    spec = SPEC.model_copy(update={"chunk_size": 10, "keep": "all", "time_limit": 30.0})
    screen(library, tmp_path / "model", spec, tmp_path / "whole")
    process = start(library, tmp_path / "model", spec, tmp_path / "out")
    killed = set()
    while process.poll() is None and len(killed) < 4:
        for worker in workers(process.pid):
            is_at_work = any((tmp_path / "out" / "shards").glob("[0-9]*.shard"))
            if is_at_work and worker.pid not in killed:
                worker.kill()
                killed.add(worker.pid)
        time.sleep(0.2)
    assert process.wait(timeout=120) == 0
    assert len(killed) >= 2
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")


def test_no_process_outlives_a_run_that_is_killed(bundle, library, tmp_path, poisoned, kill):
    """Not even one whose candidate holds it up, in code that gives Python no turn."""
    bundle.save(tmp_path / "model")
    poisoned(**{"*CC(*)F": "seize"})
    process = start(library, tmp_path / "model", SPEC.model_copy(update={"time_limit": 600.0}), tmp_path / "out")
    while not (tmp_path / "seized").exists():
        time.sleep(0.05)
    started, alive = kill(process)
    assert started >= 3  # the server that workers are forked from, and two of them
    assert not alive


def workers(pid):
    """Return the worker processes of a process: children of the server they are forked from."""
    with suppress(psutil.NoSuchProcess):
        servers = [child for child in psutil.Process(pid).children() if "forkserver" in " ".join(child.cmdline())]
        return [worker for server in servers for worker in server.children()]
    return []


def start(library, model, spec, folder, *, resume=False):
    script = f"""
        from polyml.screening.screen import ScreenSpec, screen
        if __name__ == "__main__":
            spec = ScreenSpec.model_validate_json({spec.model_dump_json()!r})
            screen({str(library)!r}, {str(model)!r}, spec, {str(folder)!r}, jobs=2, resume={resume})
    """
    path = folder.parent / "run.py"
    path.write_text(textwrap.dedent(script))
    return subprocess.Popen([sys.executable, path], start_new_session=True, cwd=folder.parent)


def power_cut(process):
    """Kill a process with all that it has started, and wait until they are gone."""
    started = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=10)
    psutil.wait_procs(started, timeout=10)


@pytest.mark.parametrize("pause", [0.0, 0.15])
def test_killed_at_any_moment_and_resumed_gives_the_same_bytes(bundle, tmp_path, pause):
    library = tmp_path / "many.smi"
    library.write_text("".join(f"*CC(*){'C' * (i % 20 + 1)}OC{'C' * (i // 20)}\n" for i in range(400)))
    bundle.save(tmp_path / "model")
    spec = SPEC.model_copy(update={"chunk_size": 10, "time_limit": 30.0, "keep": "all", "unique": True})
    screen(library, tmp_path / "model", spec, tmp_path / "whole")
    out = tmp_path / "out"
    process = start(library, tmp_path / "model", spec, out)
    while not any((out / "shards").glob("[0-9]*.shard")):
        time.sleep(0.02)
    time.sleep(pause)
    power_cut(process)
    assert not (out / "summary.json").exists()
    done = len(list((out / "shards").glob("[0-9]*.shard")))
    assert 0 < done < 40
    summary = screen(library, tmp_path / "model", spec, out, resume=True)
    assert summary.resumed == 10 * done
    assert everything(out) == everything(tmp_path / "whole")
    assert not list((out / "shards").glob(".*.shard"))


def test_a_run_that_is_stopped_and_goes_on_blames_nobody(bundle, tmp_path):
    library = tmp_path / "many.smi"
    library.write_text("".join(f"*CC(*){'C' * (i % 20 + 1)}OC{'C' * (i // 20)}\n" for i in range(400)))
    bundle.save(tmp_path / "model")
    spec = SPEC.model_copy(update={"chunk_size": 10, "time_limit": 3.0, "keep": "all"})
    screen(library, tmp_path / "model", spec, tmp_path / "whole")
    process = start(library, tmp_path / "model", spec, tmp_path / "out")
    while not any((tmp_path / "out" / "shards").glob("[0-9]*.shard")):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGSTOP)  # as Ctrl-Z does
    time.sleep(8)
    os.killpg(process.pid, signal.SIGCONT)
    assert process.wait(timeout=120) == 0
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")


def test_two_runs_do_not_work_in_one_folder(bundle, library, tmp_path):
    from filelock import FileLock

    from polyml.errors import UserError

    screen(library, bundle, SPEC, tmp_path / "out")
    with FileLock(tmp_path / "out" / "shards" / ".lock"), pytest.raises(UserError, match="another run is at work"):
        screen(library, bundle, SPEC, tmp_path / "out", resume=True)


class _Chunk:
    first_row = 0

    def __init__(self, length):
        self.lines = list(range(length))

    def __len__(self):
        return len(self.lines)


def play(length, deadly, outcome, limit=400):
    """Let a chunk take its process down whenever it holds a deadly row; return what is excluded in the end."""
    chunks = Chunks(iter([(0, _Chunk(length))]), lambda: 0.0, 30.0)
    for _ in range(limit):
        task = chunks.take()
        assert task is not None
        first, last = task.tried or (0, length)
        caught = [row for row in deadly if first <= row < last and row not in task.excluded]
        if caught:
            chunks.lost(outcome(task, caught))
        elif chunks.done(task):
            return dict(task.excluded)
    raise AssertionError("no end")


@pytest.mark.parametrize("deadly", [[0], [99], [3, 4, 50], list(range(0, 100, 9))])
@pytest.mark.parametrize("code", [-11, None])
def test_the_rows_at_fault_are_found_and_no_others(deadly, code):
    whole = play(100, deadly, lambda task, caught: Lost(task, WHOLE, code))
    told = play(100, deadly, lambda task, caught: Lost(task, caught[0], code))
    assert sorted(whole) == sorted(told) == deadly
    assert {reason for reason, _ in whole.values()} == {"time limit" if code is None else "crash"}


def test_no_row_is_blamed_for_what_happens_once():
    happened = []

    def once(task, caught):
        happened.append(1)
        return Lost(task, caught[0], -9)

    chunks = Chunks(iter([(0, _Chunk(10))]), lambda: 0.0, 30.0)
    chunks.lost(once(chunks.take(), [4]))
    task = chunks.take()
    assert not task.excluded
    assert chunks.done(task)
    assert chunks.take() is None


def test_a_chunk_that_dies_without_a_row_to_blame_ends_the_run():
    chunks = Chunks(iter([(0, _Chunk(4))]), lambda: 0.0, 30.0)

    def go_on():
        for _ in range(100):
            task = chunks.take()
            if task.tried is None:
                chunks.lost(Lost(task, WHOLE, -9))
            else:
                chunks.done(task)

    with pytest.raises(PolymlError, match="again and again in the rows 1 to 4"):
        go_on()


def test_few_chunks_are_read_ahead_and_each_is_told_the_floor_of_its_moment():
    floor, numbered = 1.0, iter([(number, _Chunk(4)) for number in range(9)])
    chunks = Chunks(numbered, lambda: floor, 30.0)
    for _ in range(5):
        chunks.prepare()
    floor = 2.0
    task = chunks.take()
    assert (task.number, task.floor) == (0, 2.0)
    assert next(numbered)[0] == 2


def test_an_error_that_cannot_be_sent_is_sent_in_words():
    plain = ArithmeticError("19 is too many")
    assert sendable(plain) is plain
    found = sendable(ArithmeticError(lambda: 19))
    assert isinstance(found, PolymlError)
    assert str(found).startswith("ArithmeticError: ")


class _Numbers:
    """A source of numbers that takes lost ones back."""

    def __init__(self, numbers):
        self.numbers = list(numbers)

    def take(self):
        return self.numbers.pop(0) if self.numbers else None

    def prepare(self):
        pass


def _nothing():
    pass


def _square(task, marks):
    marks[0] = task
    if task == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    if task == 17:
        time.sleep(3600)
    if task == 19:
        raise ArithmeticError("19 is too many")
    return task * task


def _never():
    os._exit(3)


def test_the_pool_tells_what_became_of_every_task():
    numbers = _Numbers([*range(10), 13, 17, *range(20, 30)])
    news = list(WatchedPool(2, _nothing, (), _square, limit=1).run(numbers))
    assert {item.task: item.result for item in news if isinstance(item, Done)} == {
        n: n * n for n in (*range(10), *range(20, 30))
    }
    lost = {item.task: item for item in news if isinstance(item, Lost)}
    assert (lost[13].item, lost[13].code) == (13, -signal.SIGKILL)
    assert (lost[17].item, lost[17].code) == (17, None)
    assert not workers(os.getpid())


def _sleepy():
    time.sleep(3600)


def test_a_worker_that_hangs_while_it_starts_is_replaced():
    """Its task is larger than a pipe holds: it is sent only to those who listen."""
    large = _Numbers(["x" * 10**6])
    pool = WatchedPool(1, _sleepy, (), _square, limit=0.2)
    with closing(pool.run(large)) as news:
        assert next(news).item == WHOLE


def test_an_error_of_the_function_ends_the_work():
    with pytest.raises(ArithmeticError, match="19 is too many"):
        list(WatchedPool(2, _nothing, (), _square, limit=30).run(_Numbers([1, 19, 2])))


def test_processes_that_cannot_start_are_an_error():
    with pytest.raises(PolymlError, match=r"die before they start to work \(exit code 3\)"):
        list(WatchedPool(1, _never, (), _square, limit=30).run(_Numbers(range(9))))
