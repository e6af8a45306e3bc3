"""A small trained model and a small library, real in every part."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from polyml.bundle import Bundle
from polyml.chem import RepeatUnit
from polyml.data.properties import Property
from polyml.models.catalog import make_model
from polyml.screening.shards import ShardStore

TRAINING = [
    "*CC*",
    "*OCC*",
    "*CC(*)c1ccccc1",
    "*CC(*)(C)C(=O)OC",
    "*[Si](C)(C)O*",
    "*CC(*)C",
    "*CC(*)Cl",
    "*C(F)(F)C(*)(F)F",
    "*CC(*)(C)C",
    "*NCCCCCC(*)=O",
    "*CC(*)OC(C)=O",
    "*CC(*)C#N",
]


def make_bundle(model: str = "pca_ridge") -> Bundle:
    """Fit a model to permeabilities that grow with the number of atoms; any smooth function of the structure does."""
    size = np.array([RepeatUnit.parse(text).n_atoms for text in TRAINING], dtype=float)
    rank = np.linspace(-0.2, 0.2, len(size))
    y = np.column_stack([0.2 * size + rank, 0.1 * size - rank, 20.0 + size])
    y[3, 2] = np.nan
    properties = (
        Property(name="O2", unit="Barrer", transform="log10"),
        Property(name="N2", unit="Barrer", transform="log10"),
        Property(name="Tg", unit="K"),
    )
    return Bundle(
        model=make_model(model).fit(TRAINING, y),
        properties=properties,
        keys=tuple(RepeatUnit.parse(text).key for text in TRAINING),
        psmiles=tuple(TRAINING),
        values=np.column_stack([item.from_model(y[:, i]) for i, item in enumerate(properties)]),
        data_digest="0" * 64,
        seed=1,
    )


@pytest.fixture(scope="session")
def bundle():
    return make_bundle()


@pytest.fixture(scope="session")
def bundle_of():
    """Return the function that trains the same small model with another catalog key."""
    return make_bundle


@pytest.fixture
def library(tmp_path):
    """Write candidates with everything a real library brings: new, known, repeated and refused polymers."""
    tails = ["C", "CC", "CCC", "CCCC", "O", "OC", "OCC", "F", "Br", "c1ccncc1", "C(C)C", "OC(C)C", "CO", "CCO"]
    rows = [f"*CC(*){tail}" for tail in tails] + [f"*C({tail})O*" for tail in tails]
    rows[3:3] = [
        "*C(c1ccccc1)C*",  # polystyrene, in the training set in the other direction
        "not a polymer",
        "*CC(*)(C)(*)*C",  # a broken four-star unit
        "*C",
        "",
        "C" * 5000,
        "*OC(CC)*",  # a shifted spelling of *C(CC)O*
    ]
    path = tmp_path / "library.csv"
    lines = [f"{text},monomer {i},class {i % 3}" for i, text in enumerate(rows)]
    path.write_text("psmiles,monomers,class\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def write_many(tmp_path: Path) -> Callable[[int], Path]:
    """Return a function that writes so many different candidates."""

    def write(count: int) -> Path:
        path = tmp_path / "many.smi"
        path.write_text("".join(f"*CC(*){'C' * (i % 20 + 1)}OC{'C' * (i // 20)}\n" for i in range(count)))
        return path

    return write


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[None]]:
    """Return a context in which Ctrl-C comes as soon as the chunk of a number is to be written."""

    @contextmanager
    def at(chunk: int):
        write = ShardStore.write

        def stop(self, number, *args):
            if number == chunk:
                raise KeyboardInterrupt
            write(self, number, *args)

        with monkeypatch.context() as patch:
            patch.setattr(ShardStore, "write", stop)
            with pytest.raises(KeyboardInterrupt, match="--resume"):
                yield

    return at
