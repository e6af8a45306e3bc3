from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.model_selection import KFold

from polyml.chem import RepeatUnit
from polyml.data.catalog import load_embedded
from polyml.data.fold_files import load_folds, save_folds
from polyml.data.groups import scaffold
from polyml.data.properties import Property
from polyml.data.splits import SplitSpec, check_folds, make_folds
from polyml.data.table_reader import read_table
from polyml.errors import UserError


def chain(n, element="O"):
    return "*" + "C" * n + element + "*"


CHAINS = [chain(n) for n in range(1, 40)]


@pytest.fixture(scope="module")
def gas():
    rows = load_embedded("gas_permeability")["psmiles"]
    return [text for text in rows if text.count("*") == 2 and "=*" not in text and "*=" not in text][:120]


@settings(max_examples=30, deadline=None)
@given(
    picks=st.lists(st.integers(0, len(CHAINS) - 1), min_size=12, max_size=40),
    folds=st.integers(2, 4),
    seed=st.integers(0, 99),
)
def test_each_row_is_tested_once_and_no_polymer_is_on_both_sides(picks, folds, seed):
    polymers = [CHAINS[i] for i in picks]
    if len(set(polymers)) < folds:
        return
    result = make_folds(polymers, SplitSpec(folds=folds, seed=seed))
    tested = np.concatenate([fold.test for fold in result])
    assert sorted(tested) == list(range(len(polymers)))
    for fold in result:
        assert sorted(np.concatenate([fold.train, fold.test])) == list(range(len(polymers)))
        assert not {polymers[i] for i in fold.train} & {polymers[i] for i in fold.test}


def test_other_spellings_of_a_polymer_stay_together():
    polymers = ["*OCC*", "*COC*", "*CCOCCO*", "*CS*", "*CC*", "*C=C*"]
    for fold in make_folds(polymers, SplitSpec(folds=4)):
        assert len({0, 1, 2} & set(fold.test.tolist())) in (0, 3)


@pytest.mark.parametrize("kind", ["kfold", "scaffold", "cluster"])
def test_folds_do_not_depend_on_the_order_of_the_rows(gas, kind):
    polymers = gas[:60]
    order = np.random.default_rng(0).permutation(len(polymers))
    spec = SplitSpec(kind=kind, folds=3)
    first = {frozenset(polymers[i] for i in fold.test) for fold in make_folds(polymers, spec)}
    shuffled = [polymers[i] for i in order]
    assert first == {frozenset(shuffled[i] for i in fold.test) for fold in make_folds(shuffled, spec)}


def test_repeats_and_seeds_divide_anew():
    def parts(spec):
        folds = make_folds(CHAINS, spec)
        return [[tuple(f.test) for f in folds if f.repeat == r] for r in range(spec.repeats)]

    repeated = parts(SplitSpec(kind="repeated_kfold", folds=3, repeats=3))
    assert len({str(part) for part in repeated}) == 3
    assert repeated[0] == parts(SplitSpec(folds=3))[0]
    assert parts(SplitSpec(folds=3, seed=2)) != parts(SplitSpec(folds=3))


def test_a_scaffold_is_never_on_both_sides_and_folds_are_balanced(gas):
    groups = np.array([scaffold(text) for text in gas])
    folds = make_folds(gas, SplitSpec(kind="scaffold", folds=5))
    for fold in folds:
        assert not set(groups[fold.train]) & set(groups[fold.test])
    sizes = [len(fold.test) for fold in folds]
    assert max(sizes) - min(sizes) <= max(pd.Series(groups).value_counts())


def test_clusters_are_harder_than_random_folds(gas):
    from sklearn.preprocessing import normalize

    from polyml.features.catalog import make_featurizer

    counts = normalize(np.asarray(make_featurizer("ecfp_count").transform(gas), dtype=float))

    def nearest(kind):
        folds = make_folds(gas, SplitSpec(kind=kind, folds=4))
        return np.mean(np.concatenate([(counts[f.test] @ counts[f.train].T).max(axis=1) for f in folds]))

    assert nearest("cluster") < nearest("kfold") - 0.02


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("*CC(*)c1ccccc1", "*C(c1ccc(C)cc1)C*"),
        ("*c1ccc(Oc2ccc(*)cc2)cc1", "*Oc1ccc(-c2ccc(*)c(Cl)c2)cc1"),
        ("*CC(C)(C(=O)OC)*", "*CC*"),
        ("*c1ccc(*)n1C", "*c1ccc(*)[nH]1"),
    ],
)
def test_side_chains_and_frames_do_not_change_the_scaffold(left, right):
    assert scaffold(left) == scaffold(right)


def test_different_rings_and_linkers_are_different_scaffolds():
    polymers = ["*CC(*)c1ccccc1", "*Cc1ccc(*)cc1", "*CC(*)C1CCCCC1", "*Oc1ccc(*)cc1", "*CC*", "*CO*"]
    assert len({scaffold(text) for text in polymers}) == len(polymers)


def test_fewer_groups_than_folds_is_a_user_error():
    with pytest.raises(
        UserError, match=r"5 folds need at least 5 different polymers, the 3 rows \(2 polymers\) have 2"
    ):
        make_folds(["*CC*", "*CO*", "*OC*"], SplitSpec(folds=5))
    with pytest.raises(UserError, match="different scaffolds"):
        make_folds(["*CC(*)C", "*CC(*)CC", "*CC(*)CCC"], SplitSpec(kind="scaffold", folds=2))
    with pytest.raises(UserError, match="clusters"):
        make_folds(["*CC*", "*CCCC*"], SplitSpec(kind="cluster", folds=2))


@pytest.mark.parametrize("wrong", [{"folds": 1}, {"kind": "random"}, {"repeats": 2}, {"fold": 5}])
def test_wrong_specs_are_refused(wrong):
    with pytest.raises(ValidationError):
        SplitSpec(**wrong)


def test_a_fold_without_values_is_named():
    folds = make_folds(CHAINS[:6], SplitSpec(folds=3))
    y = np.ones((6, 2))
    check_folds(folds, y)
    y[folds[1].test, 1] = np.nan
    with pytest.raises(UserError, match="repeat 1, fold 2: the test part has no value of 'Tg'"):
        check_folds(folds, y, ["O2", "Tg"])
    y[:, 0] = np.nan
    y[folds[2].test, 0] = 1
    with pytest.raises(UserError, match="the test part has no value of 'O2'"):
        check_folds(folds[:1], y, ["O2", "Tg"])
    with pytest.raises(UserError, match="the training part has no value of 'O2'"):
        check_folds(folds[2:], y, ["O2", "Tg"])


def test_folds_of_a_table_that_keeps_duplicates(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("psmiles,x\n*OCC*,1\n*CS*,2\n*CCO*,3\n*CN*,4\n")
    table = read_table(path, [Property(name="x")], merge_duplicates=False)
    for fold in make_folds(table, SplitSpec(folds=3)):
        assert (0 in fold.test) == (2 in fold.test)


def test_folds_survive_a_file(tmp_path):
    folds = make_folds(CHAINS, SplitSpec(kind="repeated_kfold", folds=3, repeats=2))
    path = tmp_path / "folds.csv"
    save_folds(folds, pd.DataFrame({"line": range(2, len(CHAINS) + 2), "key": CHAINS, "psmiles": CHAINS}), path)
    assert list(pd.read_csv(path).columns) == ["repeat", "fold", "part", "line", "key", "psmiles"]
    order = np.random.default_rng(1).permutation(len(CHAINS))
    shuffled = [CHAINS[i] for i in order]
    loaded = load_folds(path, shuffled)
    for old, new in zip(folds, loaded, strict=True):
        assert (old.repeat, old.fold) == (new.repeat, new.fold)
        assert {CHAINS[i] for i in old.test} == {shuffled[i] for i in new.test}
    with pytest.raises(UserError, match="name 1 polymers that the data do not have"):
        load_folds(path, CHAINS[1:])
    with pytest.raises(UserError, match=r"incomplete: 1 polymers of the data are in none: '\*CN\*'"):
        load_folds(path, [*CHAINS, "*CN*"])
    path.write_text("key,repeat\n*CC*,1\n")
    with pytest.raises(UserError, match="not a file of folds"):
        load_folds(path, CHAINS)


PAIRS = [(f"*C/C=C/{'C' * n}O*", f"*C/C=C\\{'C' * n}O*") for n in range(1, 13)]


@pytest.mark.parametrize("kind", ["kfold", "repeated_kfold", "scaffold", "cluster"])
def test_polymers_unlike_in_configurations_alone_stay_together(kind):
    polymers = [text for pair in PAIRS for text in pair] + CHAINS[:12]
    repeats = 2 if kind == "repeated_kfold" else 1
    for fold in make_folds(polymers, SplitSpec(kind=kind, folds=3, repeats=repeats)):
        inside = np.isin(np.arange(24), fold.test).reshape(12, 2)
        assert (inside[:, 0] == inside[:, 1]).all()


def test_a_pair_of_twins_moves_no_other_polymer():
    spec, plain = SplitSpec(folds=5, seed=3), [first for first, _ in PAIRS] + CHAINS[:12]
    keys = sorted({RepeatUnit.parse(text).key for text in [*plain, PAIRS[0][1]]})
    number = np.empty(len(keys), dtype=int)
    seed = int(np.random.SeedSequence([3, 0]).generate_state(1)[0])
    for fold, (_, test) in enumerate(KFold(5, shuffle=True, random_state=seed).split(keys)):
        number[test] = fold
    by_key = dict(zip(keys, number, strict=True))
    for fold in make_folds([*plain, PAIRS[0][1]], spec):
        for row in fold.test[fold.test < len(plain)]:
            own = RepeatUnit.parse(plain[row]).key
            twin = RepeatUnit.parse(PAIRS[0][1]).key if row == 0 else own
            assert by_key[min(own, twin)] == fold.fold


def test_as_many_folds_as_constitutions_leave_none_empty():
    polymers = [text for pair in PAIRS[:4] for text in pair]
    folds = make_folds(polymers, SplitSpec(folds=4))
    assert sorted(sorted(fold.test.tolist()) for fold in folds) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    with pytest.raises(UserError, match="8 polymers"):
        make_folds(polymers, SplitSpec(folds=5))


def test_many_forms_of_few_polymers_are_dealt_evenly():
    signs = ("", "@")
    forms = [
        text.format(a, b, c)
        for text in ("*[C@{}H](C)O[C@{}H](F)C[C@{}H](Cl)*", "*[C@{}H](C)S[C@{}H](F)C[C@{}H](Cl)*")
        for a in signs
        for b in signs
        for c in signs
    ]
    polymers = forms + CHAINS[:20]
    for seed in range(1, 6):
        sizes = [len(fold.test) for fold in make_folds(polymers, SplitSpec(folds=3, seed=seed))]
        assert min(sizes) >= len(polymers) // 6
