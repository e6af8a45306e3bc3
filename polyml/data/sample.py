"""Read some rows of a large file only, drawn at random before any chemistry is done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from polyml.data.properties import Property
from polyml.data.readers import cell_text
from polyml.errors import UserError

if TYPE_CHECKING:
    from polyml.data.rows import Row


class SampleSpec(BaseModel):
    """How many rows are drawn, each row at most once.

    Parameters
    ----------
    rows : int, optional
        Rows in all; with fewer in the file all are taken.
    per_class : int, optional
        Rows of each class, for a target that is a class.
    seed : int
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int | None = Field(None, ge=1)
    per_class: int | None = Field(None, ge=1)
    seed: int = Field(1, ge=0)


def choose_rows(
    rows: Iterable[Row], spec: SampleSpec, properties: Sequence[Property], columns: Sequence[str]
) -> list[Row]:
    """Draw rows, in the order of the file.

    Raises
    ------
    UserError
        Rows of each class are asked for, and the target is no class.
    """
    held = list(rows)
    rng = np.random.default_rng(spec.seed)
    order = rng.permutation(len(held))
    if spec.per_class is not None:
        if not properties[0].is_class:
            raise UserError(
                f"the target '{properties[0].name}' is no class", where="sample.per_class", fix="use sample.rows"
            )
        at = list(columns).index(properties[0].name)
        order = _first_of_each([cell_text(row.cells[at]) for row in held], order, spec.per_class)
    chosen = np.sort(order[: spec.rows] if spec.rows is not None else order)
    return [held[i] for i in chosen]


def _first_of_each(labels: Sequence[str], order: np.ndarray, count: int) -> np.ndarray:
    seen: dict[str, int] = {}
    kept = []
    for i in order:
        seen[labels[i]] = seen.get(labels[i], 0) + 1
        if seen[labels[i]] <= count:
            kept.append(i)
    return np.array(kept, dtype=int)
