"""Trained models on their way to machines that share no disk with this one: packed here, unpacked once on each."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polyml.bundle_format import read_content, verify_files
from polyml.data.files import replaced_folder
from polyml.errors import DAMAGED, UserError


@dataclass(frozen=True)
class Parcel:
    """The files of a bundle, by relative path."""

    files: dict[str, bytes]

    @classmethod
    def pack(cls, folder: Path) -> Parcel:
        """Read the files that belong to a bundle, and no others.

        Raises
        ------
        UserError
            The folder is no bundle, or a file of it was changed.
        """
        content = read_content(folder)
        verify_files(folder, content)
        return cls({name: (folder / name).read_bytes() for name in ("bundle.json", *content.files)})

    def unpack(self, folder: Path) -> None:
        """Write the bundle, whole or not at all; whoever loads it checks its digests.

        Raises
        ------
        UserError
            A name leads out of the folder, or the disk is full.
        """
        root = folder.resolve()
        with replaced_folder(folder, "the trained model", ()) as new:
            for name, content in self.files.items():
                if not (root / name).resolve().is_relative_to(root):
                    raise UserError(f"a file outside its folder: {name}", where=str(folder), fix=DAMAGED)
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).write_bytes(content)


def unpacked(parcels: Sequence[Parcel], run: str) -> list[Path]:
    """Return the folders of bundles on this machine, unpacked by whichever process comes first.

    Parameters
    ----------
    parcels : sequence of Parcel
    run : str
        Name of the run, which nobody else can guess; all processes of it use the same folders.
    """
    from filelock import FileLock

    root = _root(run)
    root.mkdir(mode=0o700, exist_ok=True)
    folders = [root / f"model-{number}" for number in range(len(parcels))]
    with FileLock(root / ".lock"):
        for folder, parcel in zip(folders, parcels, strict=True):
            if not folder.is_dir():
                parcel.unpack(folder)
    return folders


def remove_unpacked(run: str) -> None:
    """Remove what :func:`unpacked` left on this machine."""
    shutil.rmtree(_root(run), ignore_errors=True)


def _root(run: str) -> Path:
    return Path(tempfile.gettempdir()) / f"polyml-{run}"
