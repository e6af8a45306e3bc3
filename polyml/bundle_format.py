"""The folder of a bundle: what ``bundle.json`` says, and how the folder is read with suspicion."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from polyml.data.files import sha256_file
from polyml.data.properties import Property
from polyml.errors import DAMAGED, UserError

FORMAT_VERSION = 1


class BundleFile(BaseModel):
    """The content of ``bundle.json``; ``model`` is the key to load it by, ``called`` what people call it."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["polyml-bundle"] = "polyml-bundle"
    format_version: int = FORMAT_VERSION
    model: str
    called: str = ""
    properties: list[Property] = Field(min_length=1)
    n_training: int
    data_digest: str
    seed: int
    versions: dict[str, str]
    scores: dict[str, Any] | None = None
    files: dict[str, str]


def content_digest(content: BundleFile) -> str:
    """Digest of what a bundle predicts: its files and properties, not when or with which versions it was made."""
    return hashlib.sha256(content.model_dump_json(exclude={"versions", "scores", "called"}).encode()).hexdigest()


def file_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, by relative path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in paths}


def read_content(folder: Path) -> BundleFile:
    """Read ``bundle.json``; a :class:`UserError` says why a folder is no bundle that this version reads."""
    path = folder / "bundle.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        fix = "make one with: polyml train ... -o FOLDER"
        raise UserError("there is no trained model here (no bundle.json)", where=str(folder), fix=fix) from None
    except (OSError, ValueError) as error:
        raise UserError(f"bundle.json cannot be read: {error}", where=str(folder), fix=DAMAGED) from error
    if not isinstance(raw, dict) or raw.get("format") != "polyml-bundle":
        raise UserError(
            "bundle.json does not describe a model of polyml",
            where=str(folder),
            fix="name a folder that polyml train has written",
        )
    number = raw.get("format_version")
    if isinstance(number, int) and number > FORMAT_VERSION:
        raise UserError(
            f"the trained model has format {number}, and this version of polyml reads up to {FORMAT_VERSION}",
            where=str(folder),
            fix="install a newer polyml: pip install --upgrade polyml-chem",
        )
    try:
        return BundleFile.model_validate(raw)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise UserError(f"bundle.json is damaged: {place}: {fault['msg']}", where=str(folder), fix=DAMAGED) from None


def saved_digest(folder: Path) -> str:
    """Return the digest of the bundle in a folder; empty when there is none that can be read."""
    try:
        return content_digest(read_content(folder))
    except UserError:
        return ""


def verify_files(folder: Path, content: BundleFile) -> None:
    """Check that every file of the bundle is there and is the one that was saved."""
    root = folder.resolve()
    for name, expected in content.files.items():
        path = (folder / name).resolve()
        if not path.is_relative_to(root):
            raise UserError(f"bundle.json names a file outside its folder: {name}", where=str(folder), fix=DAMAGED)
        if not path.is_file():
            raise UserError(
                f"the trained model lacks its file {name}", where=str(folder), fix="copy the whole folder again"
            )
        if sha256_file(path) != expected:
            raise UserError(
                f"{name} is not the file that was saved (its checksum differs)",
                where=str(folder),
                fix="copy the whole folder again, or train anew",
            )
