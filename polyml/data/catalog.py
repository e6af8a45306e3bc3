"""The data sets and recipes that come with polyml, found by name in a checkout and in an installed package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polyml
from polyml.data.properties import Property
from polyml.errors import UserError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

    from polyml.data.table import PolymerTable


@dataclass(frozen=True)
class EmbeddedSet:
    """One data set that comes with polyml.

    Attributes
    ----------
    name, file : str
        The name users write, and the file in ``data/``.
    description : str
        One line for ``polyml data``.
    rows : int
        Number of rows.
    properties : tuple of Property
        What was measured; empty for a set without targets.
    """

    name: str
    file: str
    description: str
    rows: int
    properties: tuple[Property, ...] = ()


def _permeability(gas: str) -> Property:
    # 1e-5 is a tenth of the best barrier polymers (vinyl alcohol copolymers), 1e5 above the most permeable one (PTMSP).
    return Property(name=gas, unit="Barrer", transform="log10", lower=1e-5, upper=1e5)


EMBEDDED: dict[str, EmbeddedSet] = {
    item.name: item
    for item in (
        EmbeddedSet(
            name="gas_permeability",
            file="gas_permeability.csv",
            description="permeability of 786 polymers to CH4, CO2, H2, N2 and O2",
            rows=786,
            properties=tuple(_permeability(gas) for gas in ("CH4", "CO2", "H2", "N2", "O2")),
        ),
        EmbeddedSet(
            name="candidates",
            file="candidates.parquet",
            description="574,837 polymers generated from common monomers by polymerisation rules",
            rows=574837,
            properties=(Property(name="polymer_class", transform="class"),),
        ),
        EmbeddedSet(
            name="monomers",
            file="monomers.csv",
            description="1,083 common monomers with PubChem identifiers and names (molecules, not repeat units)",
            rows=1083,
        ),
    )
}


def _embedded_root() -> Path:
    """Return the folder that holds ``data/`` and ``pipelines/``: inside the package, or the checkout around it."""
    package = Path(polyml.__file__).parent
    inside = package / "_embedded"
    return inside if inside.is_dir() else package.parent


def embedded_folder() -> Path:
    """Return the folder of the embedded data sets."""
    return _embedded_root() / "data"


def recipe_folder() -> Path:
    """Return the folder of the recipes that come with polyml."""
    return _embedded_root() / "pipelines"


def suite_folder() -> Path:
    """Return the folder of the benchmark suites that come with polyml."""
    return recipe_folder() / "suites"


def embedded_path(name: str) -> Path:
    """Return the file of an embedded data set.

    Raises
    ------
    UserError
        The name is unknown, or the file is missing.

    Examples
    --------
    >>> embedded_path("gas_permeability").name
    'gas_permeability.csv'
    """
    if name not in EMBEDDED:
        raise unknown_name("data set", name, EMBEDDED)
    path = embedded_folder() / EMBEDDED[name].file
    if not path.is_file():
        raise UserError(f"the embedded data set '{name}' is missing", where=str(path), fix="run: make data")
    return path


def data_path(source: str | Path) -> Path:
    """Resolve what a user wrote: an existing file first, then the name of an embedded set; ``-`` is standard input.

    Raises
    ------
    UserError
        Neither a file nor a known name.
    """
    path = Path(source)
    if str(source) == "-" or (path.exists() and not path.is_dir()):
        return path
    if str(source) in EMBEDDED:
        return embedded_path(str(source))
    if path.is_dir():
        raise UserError("this is a folder, not a data file", where=str(source), fix="give the path of a file in it")
    if "*" in str(source):
        fix = f"give a file; a single repeat unit goes in by standard input: echo '{source}' | polyml VERB ... - ..."
        raise UserError("this is a repeat unit or a pattern, not a file", where=str(source), fix=fix)
    if path.suffix or len(path.parts) > 1:
        fix = f"give the path of a file, or one of the embedded sets: {', '.join(EMBEDDED)}"
        raise UserError("there is no such file", where=str(source), fix=fix)
    raise unknown_name("file or data set", source, EMBEDDED)


def properties_for(source: str | Path, targets: Sequence[str] | None = None) -> list[Property]:
    """Return the properties of ``targets`` as declared for an embedded set, or plain ones for a user's file.

    Parameters
    ----------
    source : str or Path
        A path or the name of an embedded set.
    targets : sequence of str, optional
        Columns; by default all properties of the embedded set.

    Raises
    ------
    UserError
        No targets are given for a file without declared properties.

    Examples
    --------
    >>> properties_for("gas_permeability", ["O2"])[0].transform
    'log10'
    >>> properties_for("my_polymers.csv", ["Tg"])[0].transform
    'identity'
    """
    declared = {item.name: item for item in declared_properties(source)}
    if targets is None:
        if not declared:
            if not isinstance(source, str) or source not in EMBEDDED:
                data_path(source)  # a name that is misspelt is told as such
            raise UserError("no target is named", where=str(source), fix="name the columns to predict, as --target COL")
        return list(declared.values())
    if len(set(targets)) != len(targets):
        raise UserError(
            f"a target is named twice: {', '.join(targets)}", where=str(source), fix="name each target once"
        )
    return [declared.get(name, Property(name=name)) for name in targets]


def declared_properties(source: str | Path) -> tuple[Property, ...]:
    """Return the properties that an embedded set declares; none for a user's file."""
    path = Path(source)
    for item in EMBEDDED.values():
        if path.is_file() and path.resolve() == (embedded_folder() / item.file).resolve():
            return item.properties
        if str(source) == item.name and not path.is_file():
            return item.properties
    return ()


def load_embedded(name: str) -> pd.DataFrame:
    """Read an embedded set as it stands in the file, without any parsing of structures.

    Examples
    --------
    >>> load_embedded("gas_permeability").shape
    (786, 6)
    """
    import pandas as pd

    path = embedded_path(name)
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def embedded_table(name: str, targets: Sequence[str] | None = None) -> PolymerTable:
    """Read an embedded set of measurements as a :class:`~polyml.data.table.PolymerTable` with its declared units."""
    from polyml.data.table_reader import read_table

    return read_table(embedded_path(name), properties_for(name, targets))


def list_recipes() -> list[str]:
    """Return the names of the recipes that come with polyml."""
    return _names_in(recipe_folder())


def list_suites() -> list[str]:
    """Return the names of the benchmark suites that come with polyml."""
    return _names_in(suite_folder())


def recipe_path(name: str | Path) -> Path:
    """Resolve a recipe: an existing file first, then the name of a recipe that comes with polyml.

    Raises
    ------
    UserError
        Neither a file nor a known name.
    """
    return _document_path(name, recipe_folder(), "recipe")


def suite_path(name: str | Path) -> Path:
    """Resolve a benchmark suite as :func:`recipe_path` does a recipe."""
    return _document_path(name, suite_folder(), "suite")


def _names_in(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _document_path(name: str | Path, folder: Path, kind: str) -> Path:
    path, known = Path(name), _names_in(folder)
    if path.is_file():
        return path
    if str(name) in known:
        return folder / f"{name}.yaml"
    if path.suffix or len(path.parts) > 1:
        fix = f"give the path of a {kind}, or one of: {', '.join(known)}"
        raise UserError(f"there is no such {kind} file", where=str(name), fix=fix)
    raise unknown_name(kind, name, known)
