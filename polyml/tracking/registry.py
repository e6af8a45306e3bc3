"""Trained predictors in MLflow: write and register one, and find one by name."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING

from polyml.errors import UserError, unknown_name
from polyml.settings import TrackingStore, cache_folder, tracking_store
from polyml.tracking.store import connect, current_store, store_errors
from polyml.versions import installed_versions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

_MODEL = "model"  # name of the model inside its run
_FORMS = "a folder, runs:/RUN_ID/model, models:/NAME@ALIAS or models:/NAME/VERSION"


def log_bundle(
    store: TrackingStore,
    run_id: str,
    bundle: Path,
    columns: tuple[Sequence[str], Sequence[str]],
    input_example: Sequence[str],
    registered_name: str | None = None,
    alias: str = "champion",
) -> str:
    """Write a bundle as an MLflow pyfunc model of a run, and register it.

    Parameters
    ----------
    store : TrackingStore
    run_id : str
    bundle : Path
        Folder written by ``Bundle.save``; copied whole, nothing in it is pickled.
    columns : pair of sequences of str
        The columns that it predicts, of numbers and of text (``Bundle.output_columns``).
    input_example : sequence of str
        A few pSMILES, shown with the model.
    registered_name : str, optional
        Register the model under this name and let ``alias`` point to the new version.
    alias : str

    Returns
    -------
    str
        ``models:/NAME/VERSION`` if registered, else ``runs:/RUN_ID/model``.
    """
    if registered_name is not None:
        check_registered_name(registered_name)
    client = connect(store)
    with store_errors(store), current_store(store), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice on type hints and model formats, for authors of models
        import mlflow
        import pandas as pd

        # mlflow prints what it registered; whoever asked for the model says it in words of their own.
        with mlflow.start_run(run_id=run_id, log_system_metrics=False), redirect_stderr(io.StringIO()):
            info = mlflow.pyfunc.log_model(
                name=_MODEL,
                python_model=str(Path(__file__).with_name("pyfunc_model.py")),
                artifacts={"bundle": str(bundle)},
                signature=_signature(*columns),
                input_example=pd.DataFrame({"psmiles": list(input_example)}),
                pip_requirements=_requirements(),  # given, or mlflow would start a process to find them
                registered_model_name=registered_name,
            )
        client.update_run(run_id, status="RUNNING")  # leaving the block ended the run, which goes on
        if registered_name is None:
            return f"runs:/{run_id}/{_MODEL}"
        number = str(info.registered_model_version)
        client.set_registered_model_alias(registered_name, alias, number)
        return f"models:/{registered_name}/{number}"


def check_registered_name(name: str) -> None:
    """Refuse a name that could not be found again in ``models:/NAME@ALIAS``.

    Raises
    ------
    UserError
    """
    if not name.strip() or re.search(r"[/:@]", name):
        raise UserError(f"'{name}' cannot name a registered model", fix="use a name without '/', ':' and '@'")


def resolve_model(name: str, *, uri: str | None = None) -> Path:
    """Find the bundle of a model named by folder, run or registry URI.

    Parameters
    ----------
    name : str
        A folder, ``runs:/RUN_ID`` or ``runs:/RUN_ID/model``, ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, or
        ``models:/NAME`` for the alias ``champion``.
    uri : str, optional
        Tracking URI.

    Returns
    -------
    Path
        Folder for ``Bundle.load``. A model of a remote server is downloaded once, to the cache.

    Raises
    ------
    UserError
        There is no such folder, run, model, alias or version; what there is, is listed.
    """
    if not name.startswith(("runs:/", "models:/")):
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise UserError(f"there is no model '{name}'", fix=f"name a model by {_FORMS}")
        return _bundle_of(folder) if (folder / "MLmodel").is_file() else folder
    store = tracking_store(uri)
    if store.database and not store.database.exists():
        fix = "run this where the model was trained, or set MLFLOW_TRACKING_URI"
        raise UserError(f"there is no tracking store to look '{name}' up in", where=str(store.database), fix=fix)
    client = connect(store)
    with store_errors(store):
        exact = _exact_run(client, name) if name.startswith("runs:/") else _exact_version(client, name)
        return _bundle_of(_download(store, exact))


def _exact_run(client: MlflowClient, name: str) -> str:
    from mlflow.exceptions import MlflowException

    run_id, _, path = name.removeprefix("runs:/").partition("/")
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        fix = f"copy the run's id from the page of the run (polyml ui); a model is named by {_FORMS}"
        raise UserError(f"there is no run '{run_id}'", where="tracking store", fix=fix) from error
    path = path.strip("/") or _MODEL
    # A model is an output of its run (mlflow 3); an older server holds it among the run's artifacts.
    outputs = run.outputs.model_outputs if run.outputs else []
    if path == _MODEL and not outputs and not client.list_artifacts(run_id, path):
        title = f"the run '{run.info.run_name}' holds no model"
        raise UserError(title, where=name, fix="name the run of a 'train' stage, or models:/NAME@champion")
    return f"runs:/{run_id}/{path}"


def _exact_version(client: MlflowClient, name: str) -> str:
    """Turn an alias into a version, after checking that model, alias and version exist."""
    match = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))?/?", name)
    if match is None:
        raise UserError(f"'{name}' is not a model's name", fix=f"name a model by {_FORMS}")
    model, alias, number = match[1], match[2], match[3]
    models = {item.name: item for item in client.search_registered_models(max_results=1000)}
    if model not in models:
        if not models:
            raise UserError(
                f"there is no model '{model}': none is registered",
                fix=f"train one with: polyml train ... --register {model}",
            )
        raise unknown_name("registered model", model, models, where="tracking store")
    if number is None:
        aliases = {key: str(value) for key, value in client.get_registered_model(model).aliases.items()}
        wanted = alias or "champion"
        if wanted not in aliases:
            raise unknown_name("alias", wanted, aliases or ["(none)"], where=f"models:/{model}")
        number = aliases[wanted]
    versions = [str(item.version) for item in client.search_model_versions(f"name = '{model}'")]
    if number not in versions:
        raise unknown_name("version", number, versions, where=f"models:/{model}")
    return f"models:/{model}/{number}"


def _download(store: TrackingStore, exact: str) -> Path:
    from mlflow.artifacts import download_artifacts

    if not store.is_remote:  # artifacts on this machine are used where they lie
        with current_store(store):
            return Path(download_artifacts(artifact_uri=exact, tracking_uri=store.uri))
    # A version or a run's model never changes, so what was fetched once from this server stays right.
    home = cache_folder() / "models"
    target = home / hashlib.sha256(f"{store.uri}\n{exact}".encode()).hexdigest()[:32]
    if not target.is_dir():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as temporary, current_store(store):
            fetched = Path(download_artifacts(artifact_uri=exact, dst_path=temporary, tracking_uri=store.uri))
            _settle(fetched, target)
    return target


def _settle(fetched: Path, target: Path) -> None:
    try:
        fetched.replace(target)
    except OSError:
        if not target.is_dir():  # otherwise another process has just put the same model there
            shutil.copytree(fetched, target)


def _bundle_of(folder: Path) -> Path:
    """Find the bundle's folder in a downloaded MLflow model."""
    import yaml

    description = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
    try:
        path = description["flavors"]["python_function"]["artifacts"]["bundle"]["path"]
    except (KeyError, TypeError) as error:
        raise UserError(
            "this MLflow model was not made by polyml",
            where=str(folder),
            fix="name a model that polyml train has logged",
        ) from error
    return folder / Path(path.replace("\\", "/"))


def _signature(numbers: Sequence[str], texts: Sequence[str]) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    outputs = Schema([*(ColSpec("double", name) for name in numbers), *(ColSpec("string", name) for name in texts)])
    return ModelSignature(Schema([ColSpec("string", "psmiles")]), outputs)


def _requirements() -> list[str]:
    """Return what a model needs where it is served: this version of polyml, and of the libraries behind it."""
    versions = {name: text.split("+")[0] for name, text in installed_versions().items() if name != "python"}
    return [f"{'polyml-chem' if name == 'polyml' else name}=={text}" for name, text in versions.items()]
