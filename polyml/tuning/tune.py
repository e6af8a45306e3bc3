"""Tune a model on a table: a study in a database, shared by processes, tracked, with its outcome in a folder."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polyml
from polyml.errors import UserError
from polyml.models.pretrained import check_unseen, encoder_digests
from polyml.progress import progress_bar
from polyml.tuning.files import FILES, check_model, write_files
from polyml.tuning.inner import Problem, make_problem
from polyml.tuning.samplers import quiet_optuna
from polyml.tuning.search import SearchSettings, left, make_parts, queue_first, run_trials
from polyml.tuning.space import SpaceOption
from polyml.tuning.storage import load, open_study, shown, storage_errors, storage_url
from polyml.tuning.track import SearchTracking
from polyml.tuning.trials import FINISHED, SearchResult, collect, read_trials
from polyml.workers import call_in_processes, limited_threads

if TYPE_CHECKING:
    from polyml.data.table import PolymerTable
    from polyml.tracking import Tracker


@dataclass(frozen=True)
class SharedStudy:
    """Where a study lies, and whether it may go on or be replaced.

    Attributes
    ----------
    url, name : str
    resume, force : bool
    """

    url: str
    name: str
    resume: bool = False
    force: bool = False


def tune(
    key: str,
    table: PolymerTable,
    y: Any,
    folder: Path,
    *,
    tracker: Tracker,
    params: Mapping[str, Any] | None = None,
    space: SpaceOption = None,
    settings: SearchSettings | None = None,
    study: str | None = None,
    storage: str | None = None,
    resume: bool = False,
    force: bool = False,
    jobs: int = 1,
    timeout: float | None = None,
) -> SearchResult:
    """Search the parameters of a model, in a study that is kept.

    Parameters
    ----------
    key : str
        Model of the catalog.
    table : PolymerTable
    y : ndarray of shape (n, t), or (n,) labels
    folder : Path
        Gets best_params.yaml (to paste in a recipe), best_params.json, trials.csv, tuning.html, and study.db unless
        ``storage`` names another.
    tracker : Tracker
        One parent run for the search, a child run a trial.
    params, space, settings
        As for :func:`polyml.tuning.search.search`.
    study : str, optional
        Name of the study; made from the data's and the model's if none is given.
    storage : str, optional
        URL of a database that Optuna can use, or a SQLite file.
    resume : bool
        Go on with a study, or join the processes that work on it.
    force : bool
        Replace a study of this name, and what a search of another model has left in the folder.
    jobs : int
        Processes; with more than one the trials depend on which ends first.
    timeout : float, optional
        Seconds after which no trial begins.

    Raises
    ------
    UserError
        Wrong names or ranges, a folder with the outcome of another model, a storage that cannot be used, a study made
        on another basis, no complete trial, or a pretrained encoder that has learned labels of these polymers.
    KeyboardInterrupt
        On Ctrl-C, with a message that says what is kept and how to go on.
    """
    settings = settings or SearchSettings()
    _check_numbers(jobs, timeout)
    with quiet_optuna():
        problem = make_problem(
            key, table.psmiles, y,
            params=params or {}, space=space, folds=settings.folds, repeats=settings.repeats, seed=settings.seed,
        )  # fmt: skip
        settings.check(problem.space)
        if not (force or resume):
            check_model(folder, key)
        encoders = problem.encoders()
        check_unseen(encoders, table.keys, where=f"model '{key}'", source=table.source)
        shared = SharedStudy(
            storage_url(storage, folder), study or f"{Path(table.source).stem}_{key}", resume=resume, force=force
        )
        opened = open_study(
            shared.url,
            shared.name,
            _basis(problem, encoder_digests(encoders)),
            make_parts(settings, len(problem.folds)),
            lambda new: queue_first(new, problem.space, settings),
            resume=resume,
            force=force,
        )
        if resume:  # after the study, which knows better on what another basis it stands
            check_model(folder, key)
        deadline = math.inf if timeout is None else time.time() + timeout
        tracking = SearchTracking(tracker, opened, problem)
        described = _describe(problem, settings, shared, jobs)
        frame = table.frame[["psmiles", *table.names]]
        with storage_errors(shared.url), tracking.search(described, frame, table.digest, table.source):
            try:
                _run(opened, shared, problem, settings, jobs, deadline, tracking.log_trial)
            except KeyboardInterrupt as stop:
                with suppress(UserError):
                    write_files(opened, collect(opened, problem), folder, described)
                raise KeyboardInterrupt(_how_to_resume(opened, problem, settings, shared)) from stop
            result = collect(opened, problem)
            write_files(opened, result, folder, described)
            tracking.log_finished()
            tracking.finish(result, folder, FILES)
    return result


def _check_numbers(jobs: int, timeout: float | None) -> None:
    if jobs < 1:
        raise UserError(f"jobs must be at least 1, got {jobs}", fix="leave it out for one process a core")
    if timeout is not None and not timeout > 0:
        raise UserError(f"the time limit is {timeout:g} s", where="timeout", fix="give a number of seconds above 0")


def _basis(problem: Problem, encoders: Mapping[str, str]) -> dict[str, Any]:
    """Say what the scores of a study depend on; the names stand in the message when a study is refused."""
    folds = [[fold.repeat, fold.fold, fold.test.tolist()] for fold in problem.folds]
    return {
        "model": problem.key,
        "set of fixed parameters": json.dumps(dict(problem.params), sort_keys=True, default=str),
        "set of data": problem.digest,
        "search space": json.dumps(problem.space.describe(), sort_keys=True, default=str),
        "seed": problem.seed,
        "number of inner folds": len(problem.folds),
        "division into folds": hashlib.sha256(json.dumps(folds).encode()).hexdigest()[:16],
        "version of polyml": polyml.__version__,
        **({"content of pretrained encoders": dict(encoders)} if encoders else {}),
    }


def _describe(problem: Problem, settings: SearchSettings, shared: SharedStudy, jobs: int) -> dict[str, Any]:
    return {
        "model": problem.key,
        "params": dict(problem.params),
        "space": problem.space.describe(),
        **asdict(settings),
        "folds": len(problem.folds) // settings.repeats,
        "metric": f"inner {problem.metric}",
        "polymers": len(problem.psmiles),
        "study": shared.name,
        "storage": shown(shared.url),
        "jobs": jobs,
    }


def _run(
    study: Any,
    shared: SharedStudy,
    problem: Problem,
    settings: SearchSettings,
    jobs: int,
    deadline: float,
    log: Callable[[int], None],
) -> None:
    """Run the trials that are left, here or in a pool of processes."""
    _warm_features(problem, jobs)
    todo = left(study, settings)
    with progress_bar(f"tuning {problem.key}", todo) as bar:

        def note(number: int) -> None:
            log(number)
            best = max((t.score for t in read_trials(study, problem.space) if t.state == "complete"), default=math.nan)
            bar.update(bar.task_ids[0], advance=1, description=f"tuning {problem.key}: best {best:.4f}")

        if jobs == 1 or todo <= 1:
            with limited_threads(1):
                run_trials(study, problem, settings, deadline=deadline, on_trial=note)
            return
        while (todo := left(study, settings)) and time.time() < deadline:
            before = len(study.get_trials(deepcopy=False))
            trials = (number for number in range(todo) if time.time() < deadline)
            call = partial(_one_trial, shared.url, shared.name, problem, settings, deadline)
            fix = "run again with --resume and --jobs 1; finished trials are kept"
            with closing(call_in_processes(call, trials, min(jobs, todo), fix=fix)) as numbers:
                for number in numbers:
                    if number >= 0:
                        note(number)
            if len(study.get_trials(deepcopy=False)) == before and left(study, settings) == todo:
                break  # the workers found nothing to do


def _warm_features(problem: Problem, jobs: int) -> None:
    """Compute the features of all polymers once; each polymer's are its own, and no value is read."""
    from polyml.features.batch import featurize
    from polyml.models.catalog import make_model
    from polyml.models.inspect import feature_keys

    for key in feature_keys(make_model(problem.key, **problem.params)):
        with suppress(Exception):  # the trials that read them will fail and say why
            featurize(key, problem.psmiles, jobs=jobs)


def _one_trial(url: str, name: str, problem: Problem, settings: SearchSettings, deadline: float, _: int) -> int:
    """Run a trial in a process of its own, and return its number; -1 where there was nothing to do."""
    numbers: list[int] = []
    with quiet_optuna(), limited_threads(1), storage_errors(url):
        study = _loaded(url, name, settings, len(problem.folds))
        run_trials(study, problem, settings, most=1, deadline=deadline, on_trial=numbers.append)
    return numbers[0] if numbers else -1


@lru_cache(maxsize=4)
def _loaded(url: str, name: str, settings: SearchSettings, folds: int) -> Any:
    return load(url, name, make_parts(settings, folds))


def _how_to_resume(study: Any, problem: Problem, settings: SearchSettings, shared: SharedStudy) -> str:
    finished = sum(trial.state in FINISHED for trial in read_trials(study, problem.space))
    return (
        f"{finished} of {settings.trials} trials are finished and kept in {shown(shared.url)}\n"
        "  → give the same command again with --resume to continue"
    )
