"""Run the stages of a recipe: each skipped when nothing changed, each whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polyml
from polyml.data.files import write_json
from polyml.errors import UserError, unknown_name

if TYPE_CHECKING:
    from polyml.config import Recipe
    from polyml.data.places import DataFile

Inputs = Mapping[str, Path]
Report = Callable[[str, str], None]
RECORD = "stage.json"


@dataclass(frozen=True)
class Stage:
    """One stage of a recipe.

    Attributes
    ----------
    name : str
        Name on the command line and of its folder.
    run : callable
        ``run(recipe, folder, inputs)`` writes into ``folder``; ``inputs`` are the folders of the stages it needs.
    config : callable
        The part of the recipe that its files depend on, as plain data.
    needs : callable
        Names of the stages it reads.
    sources : callable
        Files outside the stages that it reads.
    continues : {"never", "same", "always"}
        Whether the stage itself picks up what an earlier run left in its folder: never (it starts anew, and its folder
        appears when it is complete), when its inputs are the same, or always (it checks each file by itself).
    """

    name: str
    run: Callable[[Recipe, Path, Inputs], None]
    config: Callable[[Recipe], dict[str, Any]]
    needs: Callable[[Recipe], Sequence[str]] = lambda recipe: ()
    sources: Callable[[Recipe], Sequence[DataFile]] = lambda recipe: ()
    continues: Literal["never", "same", "always"] = "never"


def _say_nothing(stage: str, message: str) -> None:
    return None


def run_stages(
    recipe: Recipe,
    stages: Sequence[Stage],
    chosen: Sequence[str] = (),
    *,
    force: bool = False,
    report: Report = _say_nothing,
) -> dict[str, Path]:
    """Run stages in order, and the stages they need.

    Parameters
    ----------
    recipe : Recipe
    stages : sequence of Stage
        All stages, each after the ones it needs.
    chosen : sequence of str
        Names of the stages wanted; all when empty. A stage that these need is run too when it is missing or out of
        date.
    force : bool
        Run the chosen stages even when nothing changed.
    report : callable
        Told ``(stage, message)`` as each begins and ends.

    Returns
    -------
    dict of str to Path
        The folder of each stage, in order.
    """
    table = {stage.name: stage for stage in stages}
    for name in chosen:
        if name not in table:
            raise unknown_name("stage", name, table, where="--stage")
    wanted = _with_needs(recipe, table, chosen or list(table))
    done: dict[str, Path] = {}
    digests: dict[str, str] = {}
    for stage in stages:
        if stage.name not in wanted:
            continue
        folder = recipe.folder / stage.name
        inputs = {name: done[name] for name in stage.needs(recipe)}
        record = _describe(recipe, stage, {name: digests[name] for name in inputs})
        digests[stage.name] = record["input_hash"]
        done[stage.name] = folder
        if is_current(folder, record["input_hash"]) and not (force and (not chosen or stage.name in chosen)):
            report(stage.name, f"nothing changed, kept {folder}")
            continue
        report(stage.name, "started")
        started = time.perf_counter()
        try:
            _run_whole(recipe, stage, folder, inputs, record)
        except KeyboardInterrupt as stop:
            how = str(stop) or "give the same command again; finished stages are kept"
            raise KeyboardInterrupt(f"in stage {stage.name}: {how}") from stop
        report(stage.name, f"done in {time.perf_counter() - started:.0f} s: {folder}")
    return done


def is_current(folder: Path, input_hash: str) -> bool:
    """Return whether a stage's folder is complete and was made from these inputs."""
    record = read_record(folder)
    return (
        record is not None
        and record.get("input_hash") == input_hash
        and all((folder / name).is_file() for name in record.get("files", ()))
    )


def read_record(folder: Path) -> dict[str, Any] | None:
    """Read a stage's ``stage.json``; None when the stage is not complete."""
    return _read_json(folder / RECORD)


def _with_needs(recipe: Recipe, table: Mapping[str, Stage], chosen: Sequence[str]) -> set[str]:
    wanted: set[str] = set()
    waiting = list(chosen)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting.extend(table[name].needs(recipe))
    return wanted


def _describe(recipe: Recipe, stage: Stage, needed: Mapping[str, str]) -> dict[str, Any]:
    """Write down everything the stage's files depend on, and its hash."""
    from polyml.data.sources import file_digests

    files = stage.sources(recipe)
    record: dict[str, Any] = {
        "stage": stage.name,
        "recipe": recipe.name,
        "version": polyml.__version__,
        "config": stage.config(recipe),
        "needs": dict(needed),
        "sources": list(zip((path.name for path in files), file_digests(files), strict=True)),
    }
    text = json.dumps(record, sort_keys=True, default=str)
    return record | {"input_hash": hashlib.sha256(text.encode()).hexdigest()}


def _run_whole(recipe: Recipe, stage: Stage, folder: Path, inputs: Inputs, record: dict[str, Any]) -> None:
    """Run one stage so that its record appears last, and only beside a complete set of files."""
    in_place = stage.continues != "never"
    work = folder if in_place else folder.with_name(f".{folder.name}.partial")
    started = folder.with_name(f".{folder.name}.started.json")  # beside: the folder is the stage's own
    try:
        _clear(stage, work, started, record["input_hash"])
        if in_place:
            write_json(started, record)
    except OSError as error:
        fix = "choose another folder: --set output.folder=DIR"
        raise UserError(f"cannot write: {error.strerror or error}", where=str(work), fix=fix) from error
    try:
        stage.run(recipe, work, inputs)
        names = (path.relative_to(work).as_posix() for path in work.rglob("*") if path.is_file())
        write_json(work / RECORD, record | {"files": sorted(names)})
        if not in_place:
            shutil.rmtree(folder, ignore_errors=True)
            work.replace(folder)
        started.unlink(missing_ok=True)
    finally:
        if not in_place:
            shutil.rmtree(work, ignore_errors=True)


def _clear(stage: Stage, work: Path, started: Path, input_hash: str) -> None:
    """Make the folder to work in; keep what an earlier run left in it only when the stage can go on with that."""
    marks = [mark for mark in (_read_json(started), read_record(work)) if mark]
    same = bool(marks) and marks[0].get("input_hash") == input_hash
    if stage.continues == "never" or (stage.continues == "same" and not same):
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    (work / RECORD).unlink(missing_ok=True)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return value if isinstance(value, dict) else None
