from __future__ import annotations

import numpy as np
import pytest

from polyml.errors import UserError
from polyml.models import make_model
from polyml.models.checks import TOY_POLYMERS, toy_targets
from polyml.models.targets import TargetBasis

torch = pytest.importorskip("torch")


def build_scaler(y: np.ndarray):
    from polyml.models.nn.targets import TargetScaler

    return TargetScaler(y.shape[1]).fit(y, TargetBasis((0, 1), (-1, 0), (0.0, 1.0)))


def test_masked_loss_ignores_what_was_not_measured():
    y = np.array([[1.0, 2.0], [3.0, 3.5], [2.0, 2.2]])
    scaler = build_scaler(y)
    out = torch.randn(3, 2)
    gap = torch.tensor(y, dtype=torch.float32)
    gap[1] = torch.nan
    kept = torch.tensor([0, 2])
    assert torch.isclose(scaler.loss(out, gap), scaler.loss(out[kept], gap[kept]))
    assert scaler.loss(out, torch.full((3, 2), torch.nan)) == 0


def test_loss_is_zero_for_the_exact_outputs_and_they_give_y():
    y = np.array([[1.0, 2.0], [3.0, 3.5], [2.0, 2.2]])
    scaler = build_scaler(y)
    z = np.column_stack([y[:, 0], y[:, 1] - y[:, 0]])
    out = torch.tensor((z - z.mean(axis=0)) / z.std(axis=0), dtype=torch.float32)
    np.testing.assert_allclose(scaler(out).numpy(), y, atol=1e-5)
    assert scaler.loss(out, torch.tensor(y, dtype=torch.float32)) < 1e-9


def test_a_contrast_counts_only_where_both_parts_are_known():
    y = np.array([[1.0, 2.0], [3.0, 3.5], [2.0, 2.2]])
    scaler = build_scaler(y)
    gap = torch.tensor([[torch.nan, 2.0]])
    out = torch.tensor([[0.3, 0.7]], requires_grad=True)
    scaler.loss(out, gap).backward()
    predicted = scaler(out)[0, 1]
    expected = ((predicted - 2.0) / scaler.y_scale[1]) ** 2
    assert torch.isclose(scaler.loss(out, gap), expected)


@pytest.mark.parametrize("key", ["gcn", "gat", "gin", "dmpnn", "attentivefp", "gps"])
def test_a_doubled_unit_gets_the_same_vector(key):
    from torch_geometric.data import Data

    from polyml.models.nn.graphs import ENCODERS
    from polyml.models.nn.inputs import GraphInputs

    torch.manual_seed(0)
    x, bond = torch.randn(2, 5), torch.randn(2, 3)
    # Atoms a, b in a chain ...-a-b-a-b-...: bond 0 inside the unit, bond 1 across the period.
    ends = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 1]])
    once = Data(x=x, edge_index=ends, edge_attr=bond[[0, 0, 1, 1]], reverse=torch.tensor([1, 0, 3, 2]))
    pairs = [(0, 1, 0), (1, 2, 1), (2, 3, 0), (3, 0, 1)]
    ends = [(a, b) for a, b, _ in pairs] + [(b, a) for a, b, _ in pairs]
    kinds = [kind for *_, kind in pairs] * 2
    back = torch.tensor([4, 5, 6, 7, 0, 1, 2, 3])
    twice = Data(x=x.repeat(2, 1), edge_index=torch.tensor(ends).T, edge_attr=bond[kinds], reverse=back)
    encoder = ENCODERS[key](5, 3, width=8, depth=3).eval()
    rows = encoder(GraphInputs([once, twice]).take([0, 1]))
    assert rows.shape == (2, encoder.out_width)
    assert rows.std() > 1e-3
    torch.testing.assert_close(rows[0], rows[1])


def test_validation_polymers_are_grouped_and_few_polymers_are_all_trained_on():
    from polyml.training.loop import split_validation

    keys = [f"polymer {row // 3}" for row in range(60)]
    train, validation = split_validation(keys, 0.15, seed=1)
    assert sorted([*train, *validation]) == list(range(60))
    assert len(validation) == 9
    assert not {keys[row] for row in train} & {keys[row] for row in validation}
    train, validation = split_validation(keys[:27], 0.15, seed=1)
    assert (len(train), len(validation)) == (27, 0)


@pytest.mark.parametrize(("polymers", "part"), [(999, 0.0), (1000, 0.12)])
def test_none_of_a_few_polymers_is_set_aside_by_default(polymers, part):
    assert make_model("dmpnn")._optimisation().validation_part(polymers) == part
    assert make_model("dmpnn", validation=0.3)._optimisation().validation_part(polymers) == 0.3


def test_best_weights_come_back_and_the_history_tells_the_epochs():
    model = make_model("mlp", width=16, ensemble=1, max_epochs=12, patience=3, lr=0.3, batch_size=8, validation=0.12)
    model.fit(TOY_POLYMERS, toy_targets())
    losses = [row["val_loss"] for row in model.history_]
    assert [row["epoch"] for row in model.history_] == list(range(len(losses)))
    assert all(np.isfinite([row["train_loss"], row["lr"]]).all() for row in model.history_)
    from polyml.chem import RepeatUnit
    from polyml.training.loop import RowBatches, split_validation

    keys = [RepeatUnit.parse(text).key for text in TOY_POLYMERS]
    _, validation = split_validation(keys, model.validation, seed=0)
    inputs, y = RowBatches(model._inputs(TOY_POLYMERS), toy_targets())(validation.tolist())
    with torch.inference_mode():
        assert float(model.networks_[0].batch_loss(inputs, y)) == pytest.approx(min(losses), rel=1e-4)


def test_fit_leaves_no_files_and_restores_the_random_state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    make_model("mlp", width=8, ensemble=1, max_epochs=2).fit(TOY_POLYMERS, toy_targets())
    assert torch.equal(torch.rand(3), expected)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_gpu_is_a_user_error():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match="accelerator='gpu'"):
        make_model("mlp", accelerator="gpu", max_epochs=1).fit(TOY_POLYMERS, toy_targets())


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("gin", [2, 2, 7, 7, 7]),  # atoms, bonds, then each layer with its norm
        ("attentivefp", [2, 5, 4, 8, 8, 4, 4]),
        ("transformer", [1, 2, 12, 12, 12, 2]),
        ("lstm", [1, 8, 8, 8, 2]),
        ("cnn", [1, 4, 4, 4]),
    ],
)
def test_encoders_are_taken_apart_layer_by_layer(key, expected):
    from polyml.models.nn import graphs, sequences
    from polyml.models.nn.layers import stages

    make = {**graphs.ENCODERS, **sequences.ENCODERS}[key]
    encoder = make(9, 5, 16, 3) if key in graphs.ENCODERS else make(30, 16, 3)
    assert [len(stage) for stage in stages(encoder)] == expected
    assert sum(expected) == len(list(encoder.parameters()))
