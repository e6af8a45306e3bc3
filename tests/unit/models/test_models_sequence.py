from __future__ import annotations

import numpy as np
import pytest

from polyml.errors import UserError
from polyml.features import make_featurizer
from polyml.features.tokens import PAD, VOCABULARY
from polyml.models.catalog import make_model
from polyml.models.checks import TOY_POLYMERS, toy_targets

torch = pytest.importorskip("torch")

from polyml.models.nn.inputs import TokenBatch, TokenInputs  # noqa: E402
from polyml.models.nn.sequences import ENCODERS, pool_tokens  # noqa: E402

KEYS = list(ENCODERS)
NORMED = [(key, norm) for key in KEYS for norm in ("layer", "batch", "none") if key != "transformer" or norm == "layer"]
QUICK = {"width": 16, "depth": 1, "batch_size": 8, "variants": 3}


@pytest.fixture(scope="module")
def inputs() -> TokenInputs:
    return TokenInputs(make_featurizer("psmiles_tokens", variants=5).transform(TOY_POLYMERS))


def build(key: str, norm: str = "layer", activation: str = "gelu"):
    torch.manual_seed(0)
    return ENCODERS[key](len(VOCABULARY), 16, 2, activation=activation, norm=norm)


def padded(batch: TokenBatch, more: int) -> TokenBatch:
    return TokenBatch(torch.nn.functional.pad(batch.tokens, (0, more), value=PAD), batch.lengths)


# --- inputs ---


def test_a_batch_holds_the_rows_of_the_featurizer_padded_to_its_longest(inputs):
    rows = make_featurizer("psmiles_tokens", variants=5).transform(TOY_POLYMERS)
    for view in range(5):
        batch = inputs.take([3, 0, 3], view)
        expected = [rows[row][view][rows[row][view] != PAD] for row in (3, 0, 3)]
        assert batch.lengths.tolist() == [len(codes) for codes in expected]
        assert batch.tokens.shape == (3, max(map(len, expected)))
        assert batch.tokens.dtype == torch.int64
        for found, codes in zip(batch.tokens.numpy(), expected, strict=True):
            assert np.array_equal(found[: len(codes)], codes)
            assert (found[len(codes) :] == PAD).all()


def test_training_draws_every_view_by_the_seed(inputs):
    row = TOY_POLYMERS.index("*NCCCCCC(*)=O")

    def draw(count: int) -> list[bytes]:
        return [inputs.take([row], None).tokens.numpy().tobytes() for _ in range(count)]

    torch.manual_seed(1)
    drawn = draw(60)
    assert set(drawn) == {inputs.take([row], view).tokens.numpy().tobytes() for view in range(5)}
    torch.manual_seed(1)
    assert draw(60) == drawn


def test_texts_of_like_length_are_read_together(inputs):
    lengths = inputs._lengths.amax(dim=1)[inputs.order()].tolist()
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 3


def test_rows_of_one_batch_draw_their_own_views(inputs):
    torch.manual_seed(0)
    row = TOY_POLYMERS.index("*NCCCCCC(*)=O")
    assert len({tuple(tokens) for tokens in inputs.take([row] * 40, None).tokens.tolist()}) == 5


def test_a_fit_reads_all_views(monkeypatch):
    seen: list[int | None] = []
    take = TokenInputs.take

    def spy(self, rows, view=0):
        seen.append(view)
        return take(self, rows, view)

    monkeypatch.setattr(TokenInputs, "take", spy)
    model = make_model("cnn", **QUICK, max_epochs=2, validation=0.2).fit(TOY_POLYMERS, toy_targets())
    assert {None, 0} == set(seen)  # training draws, early stopping watches the canonical text
    seen.clear()
    model.predict(TOY_POLYMERS[:2])
    assert seen == [0, 1, 2]


# --- encoders ---


@pytest.mark.parametrize(("key", "norm"), NORMED)
def test_a_vector_does_not_depend_on_padding_or_batch(inputs, key, norm):
    encoder = build(key, norm).eval()
    rows = list(range(len(inputs)))
    batch = inputs.take(rows)
    with torch.no_grad():
        vectors = encoder(batch)
        assert vectors.shape == (len(rows), encoder.out_width)
        torch.testing.assert_close(encoder(padded(batch, 13)), vectors, atol=1e-5, rtol=0)
        for row in (0, 3, 18):
            torch.testing.assert_close(encoder(inputs.take([row]))[0], vectors[row], atol=1e-5, rtol=0)
    spread = (vectors - vectors[0]).abs().amax(dim=1)[1:]
    assert (spread > 1e-3).all(), "the encoder tells the polymers apart"


@pytest.mark.parametrize(("key", "norm"), NORMED)
def test_padding_does_not_touch_training_either(inputs, key, norm):
    encoder = build(key, norm).train()
    for part in encoder.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
        elif isinstance(part, torch.nn.RNNBase):
            part.dropout = 0.0
    batch = inputs.take(range(8))
    expected = encoder(batch)
    torch.testing.assert_close(encoder(padded(batch, 7)), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("key", KEYS)
def test_gradients_reach_the_embeddings_of_the_tokens_that_occur_and_every_weight(inputs, key):
    encoder = build(key).train()
    batch = inputs.take(range(len(inputs)))
    encoder(batch).square().sum().backward()
    moved = set(encoder.embed.weight.grad.abs().sum(dim=1).nonzero().flatten().tolist())
    assert moved == set(batch.tokens.unique().tolist()) - {PAD}
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in encoder.parameters())


@pytest.mark.parametrize("key", KEYS)
def test_the_order_of_the_tokens_counts(key):
    encoder = build(key).eval()
    tokens = torch.tensor([[5, 6, 7, 8, 9], [9, 8, 7, 6, 5], [5, 7, 6, 8, 9]])
    with torch.no_grad():
        one, other, swapped = encoder(TokenBatch(tokens, torch.full((3,), 5)))
    assert (one - other).abs().max() > 1e-4
    assert (one - swapped).abs().max() > 1e-4


def test_pooling_is_the_mean_and_the_maximum_of_the_tokens_alone():
    x = torch.tensor([[[1.0], [-4.0], [7.0]], [[-1.0], [9.0], [9.0]]])
    inside = torch.tensor([[True, True, True], [True, False, False]])
    torch.testing.assert_close(pool_tokens(x, inside), torch.tensor([[4 / 3, 7.0], [-1.0, -1.0]]))


# --- models ---


@pytest.mark.parametrize("key", KEYS)
def test_every_way_to_write_a_polymer_gives_exactly_the_same_number(key):
    model = make_model(key, **QUICK, max_epochs=2).fit(TOY_POLYMERS, toy_targets())
    ways = ["*NCCCCCC(*)=O", "*C(=O)CCCCCN*", "*CCC(=O)NCCC*", "*CCCCCNC(=O)CCCCCNC(*)=O", "O=C([2*])CCCCCN[1*]"]
    found = [model.predict([text]) for text in ways]
    assert all(np.array_equal(row, found[0]) for row in found)


def test_features_stand_beside_the_text():
    model = make_model("gru", **QUICK, max_epochs=2, features="descriptors").fit(TOY_POLYMERS, toy_targets())
    assert model.networks_[0].encoder.out_width == 2 * 16 + 16
    assert model.predict(TOY_POLYMERS[:3]).shape == (3, 2)


@pytest.mark.parametrize(
    ("key", "params", "says"),
    [
        ("cnn", {"variants": 0}, "variants"),
        ("cnn", {"variants": 2.5}, "variants"),
        ("cnn", {"depth": 0}, "depth"),
        ("lstm", {"width": 33}, "even"),
        ("transformer", {"heads": 3, "width": 64}, "divide"),
        ("transformer", {"heads": 0}, "heads"),
        ("transformer", {"norm": "batch"}, "norm"),
    ],
)
def test_parameters_without_sense_are_refused(key, params, says):
    with pytest.raises(UserError, match=says):
        make_model(key, **params)
