"""The basis in which targets are modelled: each by itself, or as contrasts to a related target.

Separate models of log10 P(O2) and log10 P(N2) make errors that do not cancel in their difference, the selectivity. A
model of the contrast log10 P(N2) - b log10 P(O2) learns the selectivity itself, from the polymers where both were
measured, and P(N2) follows from the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from polyml.errors import UserError

TARGET_MODES = ("separate", "decorrelated")
_MIN_SHARED_ROWS = 20
_MIN_CORRELATION = 0.5


def check_targets(mode: str) -> None:
    """Check the name of a basis.

    Raises
    ------
    UserError
        It is neither "separate" nor "decorrelated".
    """
    if mode not in TARGET_MODES:
        raise UserError(f"targets={mode!r} is not known", fix=f"use one of: {', '.join(TARGET_MODES)}")


@dataclass(frozen=True)
class TargetBasis:
    """A tree over the targets: a root is modelled as it is, any other target as its residual on its parent.

    The tree is the maximum spanning tree of the correlations (Chow and Liu, IEEE Trans. Inf. Theory 14, 462, 1968),
    rooted at the target with most values. An edge needs correlation 0.5 over at least 20 polymers with both values,
    and over half of the child's values; a target without such an edge is a root of its own, so unrelated properties
    stay separate. Nothing is imputed: the residual is NaN where the target or its parent is.

    Attributes
    ----------
    order : tuple of int
        Targets, parents before children.
    parent : tuple of int
        Parent of each target, -1 for a root.
    slope : tuple of float
        Least-squares slope of each target on its parent, 0 for a root.

    Examples
    --------
    >>> basis = TargetBasis(order=(0, 1), parent=(-1, 0), slope=(0.0, 1.0))
    >>> basis.to_basis(np.array([[2.0, 1.5], [np.nan, 1.0]]))
    array([[ 2. , -0.5],
           [ nan,  nan]])
    >>> basis.from_basis(np.array([[2.0, -0.5]]))
    array([[2. , 1.5]])
    """

    order: tuple[int, ...]
    parent: tuple[int, ...]
    slope: tuple[float, ...]

    def to_basis(self, y: np.ndarray) -> np.ndarray:
        """Return the modelled quantities of ``y`` (n, t), NaN where one of their parts was not measured."""
        out = y.copy()
        for child, parent in enumerate(self.parent):
            if parent >= 0:
                out[:, child] = y[:, child] - self.slope[child] * y[:, parent]
        return out

    def from_basis(self, z: np.ndarray) -> np.ndarray:
        """Return targets from modelled quantities, the inverse of :meth:`to_basis`; the last axis is the target."""
        return z @ self.matrix.T

    @property
    def matrix(self) -> np.ndarray:
        """The matrix ``(t, t)`` that turns modelled quantities into targets: ``y = matrix @ z``."""
        rows = np.eye(len(self.parent))
        for child in self.order:
            if self.parent[child] >= 0:
                rows[child] += self.slope[child] * rows[self.parent[child]]
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, for JSON."""
        return {"order": list(self.order), "parent": list(self.parent), "slope": list(self.slope)}

    @classmethod
    def from_dict(cls, spec: dict[str, Any]) -> TargetBasis:
        """Read what :meth:`to_dict` returned."""
        return cls(tuple(spec["order"]), tuple(spec["parent"]), tuple(float(value) for value in spec["slope"]))

    @classmethod
    def separate(cls, n_targets: int) -> TargetBasis:
        """Model every target by itself."""
        return cls(tuple(range(n_targets)), (-1,) * n_targets, (0.0,) * n_targets)

    @classmethod
    def fit(cls, y: np.ndarray, mode: str = "decorrelated") -> TargetBasis:
        """Choose the basis from training targets ``y`` of shape (n, t) with NaN.

        Raises
        ------
        UserError
            ``mode`` is neither "separate" nor "decorrelated".
        """
        check_targets(mode)
        t = y.shape[1]
        return cls.separate(t) if mode == "separate" or t == 1 else _spanning_tree(y)


def _spanning_tree(y: np.ndarray) -> TargetBasis:
    t = y.shape[1]
    counts = (~np.isnan(y)).sum(axis=0)
    left = sorted(range(t), key=lambda target: (-counts[target], target))
    order: list[int] = []
    parent, slope = [-1] * t, [0.0] * t
    while left:
        edges = [(_correlation(y, up, down), up, down) for up in order for down in left]
        best = max(edges, key=lambda edge: edge[0], default=(0.0, -1, -1))
        child = left[0] if best[0] < _MIN_CORRELATION else best[2]
        if best[0] >= _MIN_CORRELATION:
            parent[child], slope[child] = best[1], _slope(y[:, best[1]], y[:, child])
        order.append(child)
        left.remove(child)
    return TargetBasis(tuple(order), tuple(parent), tuple(slope))


def _correlation(y: np.ndarray, up: int, down: int) -> float:
    """Absolute correlation over the shared rows; 0 where they are too few to learn a contrast from."""
    shared = ~np.isnan(y[:, up]) & ~np.isnan(y[:, down])
    measured = int((~np.isnan(y[:, down])).sum())
    if shared.sum() < max(_MIN_SHARED_ROWS, measured / 2):
        return 0.0
    a, b = y[shared, up], y[shared, down]
    return 0.0 if np.ptp(a) == 0 or np.ptp(b) == 0 else float(abs(np.corrcoef(a, b)[0, 1]))


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    shared = ~np.isnan(x) & ~np.isnan(y)
    covariance = np.cov(x[shared], y[shared])
    return float(covariance[0, 1] / covariance[0, 0])
