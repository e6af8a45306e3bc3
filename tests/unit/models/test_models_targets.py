from __future__ import annotations

import numpy as np
import pytest

from polyml.errors import UserError
from polyml.models.targets import TargetBasis


def related_targets(n: int = 200) -> np.ndarray:
    rng = np.random.default_rng(1)
    root = rng.normal(size=n)
    contrast = 0.2 * rng.normal(size=n)
    return np.column_stack([1.1 * root + contrast, root, rng.normal(size=n)])


def test_related_targets_hang_together_and_an_unrelated_one_stands_alone():
    y = related_targets()
    y[:5, 0] = np.nan  # the second target has more values: it is the root
    basis = TargetBasis.fit(y)
    assert basis.parent == (1, -1, -1)
    assert basis.slope[0] == pytest.approx(1.1, abs=0.05)
    assert basis.order.index(1) < basis.order.index(0)


def test_basis_is_invertible_and_keeps_nan():
    y = related_targets()
    y[3, 1] = np.nan
    basis = TargetBasis.fit(y)
    z = basis.to_basis(y)
    assert basis.parent == (-1, 0, -1)
    assert np.isnan(z[3]).tolist() == [False, True, False]
    assert z[3, [0, 2]].tolist() == y[3, [0, 2]].tolist()
    whole = ~np.isnan(y).any(axis=1)
    np.testing.assert_allclose(basis.from_basis(z[whole]), y[whole], atol=1e-12)


def test_contrast_is_uncorrelated_with_its_parent():
    y = related_targets()
    basis = TargetBasis.fit(y)
    child = next(target for target in (0, 1) if basis.parent[target] >= 0)
    z = basis.to_basis(y)
    assert abs(np.corrcoef(z[:, child], y[:, 1 - child])[0, 1]) < 1e-10


def test_too_few_shared_rows_give_separate_models():
    y = related_targets()
    y[:181, 0] = np.nan  # 19 values shared
    assert TargetBasis.fit(y).parent == (-1, -1, -1)
    assert TargetBasis.fit(related_targets(), "separate").parent == (-1, -1, -1)


def test_chain_of_three_is_rebuilt_from_the_root():
    rng = np.random.default_rng(0)
    a = rng.normal(size=300)
    b = a + 0.3 * rng.normal(size=300)
    y = np.column_stack([b + 0.3 * rng.normal(size=300), b, a])
    basis = TargetBasis.fit(y)
    assert sorted(basis.parent).count(-1) == 1
    np.testing.assert_allclose(basis.from_basis(basis.to_basis(y)), y, atol=1e-12)
    assert TargetBasis.from_dict(basis.to_dict()) == basis


def test_unknown_mode_is_refused():
    with pytest.raises(UserError, match="use one of: separate, decorrelated"):
        TargetBasis.fit(related_targets(), "both")
