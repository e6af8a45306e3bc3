from __future__ import annotations

from pathlib import Path

import pytest

from polyml.config import Recipe, parse_recipe
from polyml.errors import UserError
from polyml.pipeline.runner import Inputs, Stage, read_record, run_stages


class Bench:
    """Two tiny stages, the second reading the first, and a log of what ran."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.source = tmp_path / "source.txt"
        self.source.write_text("1")
        self.ran: list[str] = []
        self.fail = False
        self.stages = [
            Stage("first", self.first, lambda r: {"seed": r.seed}, sources=lambda r: [self.source]),
            Stage("second", self.second, lambda r: {"folds": r.split.folds}, needs=lambda r: ("first",)),
        ]

    def recipe(self, **changes: object) -> Recipe:
        tree = {"name": "x", "data": {"source": "d.csv", "targets": ["Tg"]}, "compare": {"models": ["mean"]}}
        return parse_recipe({**tree, "output": {"folder": str(self.folder / "out")}, **changes})

    def first(self, recipe: Recipe, folder: Path, inputs: Inputs) -> None:
        self.ran.append("first")
        (folder / "a.txt").write_text(self.source.read_text())

    def second(self, recipe: Recipe, folder: Path, inputs: Inputs) -> None:
        self.ran.append("second")
        (folder / "b.txt").write_text((inputs["first"] / "a.txt").read_text() + "!")
        if self.fail:
            raise RuntimeError("broken")

    def run(self, *chosen: str, force: bool = False, **changes: object) -> list[str]:
        self.ran.clear()
        run_stages(self.recipe(**changes), self.stages, chosen, force=force)
        return list(self.ran)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_stages_run_once_and_are_skipped_when_nothing_changed(bench: Bench) -> None:
    assert bench.run() == ["first", "second"]
    assert (bench.folder / "out/x/second/b.txt").read_text() == "1!"
    assert bench.run() == []


def test_a_change_runs_what_depends_on_it_and_no_more(bench: Bench) -> None:
    bench.run()
    assert bench.run(split={"folds": 3}) == ["second"]
    assert bench.run(split={"folds": 3}, seed=2) == ["first", "second"]
    assert bench.run(split={"folds": 3}, seed=2, explore={"clusters": 4}) == []


def test_a_changed_source_or_a_lost_file_runs_again(bench: Bench) -> None:
    bench.run()
    bench.source.write_text("2")
    assert bench.run() == ["first", "second"]
    (bench.folder / "out/x/second/b.txt").unlink()
    assert bench.run() == ["second"]


def test_one_stage_alone_brings_what_it_needs(bench: Bench) -> None:
    assert bench.run("second") == ["first", "second"]
    assert bench.run("first") == []
    assert bench.run("second", force=True) == ["second"]


def test_unknown_stage(bench: Bench) -> None:
    with pytest.raises(UserError, match="did you mean 'second'"):
        bench.run("secnod")


def test_a_failed_stage_leaves_nothing_and_keeps_the_old(bench: Bench) -> None:
    bench.fail = True
    with pytest.raises(RuntimeError):
        bench.run()
    assert sorted(path.name for path in (bench.folder / "out/x").iterdir()) == ["first"]
    bench.fail = False
    assert bench.run() == ["second"]
    bench.fail = True
    with pytest.raises(RuntimeError):
        bench.run(split={"folds": 3})
    assert read_record(bench.folder / "out/x/second") is not None  # the last good one
    assert bench.run() == []


@pytest.mark.parametrize(("continues", "kept"), [("never", False), ("same", True), ("always", True)])
def test_a_stage_that_continues_finds_its_files_again(tmp_path: Path, continues: str, kept: bool) -> None:
    found: list[bool] = []

    def work(recipe: Recipe, folder: Path, inputs: Inputs) -> None:
        found.append((folder / "done.txt").exists())
        (folder / "done.txt").write_text("1")
        if len(found) == 1:
            raise KeyboardInterrupt

    stages = [Stage("work", work, lambda r: {"seed": r.seed}, continues=continues)]  # type: ignore[arg-type]
    recipe = Bench(tmp_path).recipe()
    with pytest.raises(KeyboardInterrupt, match="in stage work: give the same command again"):
        run_stages(recipe, stages)
    run_stages(recipe, stages)
    assert found == [False, kept]
    run_stages(recipe.model_copy(update={"seed": 9}), stages)
    assert found == [False, kept, continues == "always"]


def test_the_record_holds_the_resolved_config(bench: Bench) -> None:
    bench.run(split={"folds": 7})
    record = read_record(bench.folder / "out/x/second")
    assert record is not None
    assert record["config"] == {"folds": 7}
    assert record["files"] == ["b.txt"]
    assert set(record["needs"]) == {"first"}
