from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from polyml.models import make_model
from polyml.models.checks import TOY_POLYMERS, toy_targets
from polyml.training.diagnosis import diagnose, diagnosis_text

EPOCHS = np.arange(60)
LEVELS_OUT = 0.2 + np.exp(-EPOCHS / 6)


def curve(train, val=None, norm=None) -> pd.DataFrame:
    frame = pd.DataFrame({"epoch": np.arange(len(train)), "train_loss": train})
    frame["val_loss"] = np.nan if val is None else val
    frame["grad_norm"] = 1.0 if norm is None else norm
    return frame


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (curve(LEVELS_OUT, LEVELS_OUT * 1.2), ["sound"]),
        (curve(LEVELS_OUT), ["sound", "overfitting not judged"]),
        (curve(np.exp(-EPOCHS / 6), 0.3 + np.exp(-EPOCHS / 6)), ["overfitting"]),
        (curve(LEVELS_OUT, LEVELS_OUT + np.maximum(0, EPOCHS - 20) * 0.01), ["trained past the best epoch"]),
        (curve(0.97**EPOCHS, 0.1 + 0.97**EPOCHS), ["not converged"]),
        (curve(np.full(60, 2.0), np.full(60, 2.0)), ["underfitting"]),
        (curve(np.full(60, 2.0), np.full(60, 2.0), 0.5**EPOCHS), ["vanishing gradients"]),
        (curve(LEVELS_OUT, LEVELS_OUT, np.where(EPOCHS == 30, 500.0, 1.0)), ["exploding gradients"]),
        (curve(np.exp(-EPOCHS / 90)), ["not converged", "overfitting not judged"]),
        (curve(1.9 + 0.6 * np.exp(-EPOCHS / 6)).assign(constant_loss=2.0), ["underfitting", "overfitting not judged"]),
        (
            curve(1.9 + 0.6 * np.exp(-EPOCHS / 6)).assign(constant_loss=2.0, grad_ratio=1e-12),
            ["vanishing gradients", "overfitting not judged"],
        ),
        (curve(LEVELS_OUT).assign(constant_loss=2.0, grad_ratio=1e-3), ["sound", "overfitting not judged"]),
        (curve([1.0, 0.5, np.inf], [1.0, 0.5, np.nan]), ["diverged"]),
        (curve(-5 + LEVELS_OUT, -5 + LEVELS_OUT * 1.2), ["sound"]),
        (curve([1.0, 0.5]), []),
        (pd.DataFrame(), []),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else "",
)
def test_curves_are_told_apart(frame, expected):
    assert list(diagnose(frame)) == expected


def test_without_a_validation_loss_the_folds_tell_overfitting():
    found = diagnose(curve(LEVELS_OUT), [(0.98, 0.7), (0.97, 0.8), (0.9, 0.89)])
    assert list(found) == ["overfitting"]
    assert found["overfitting"].startswith("in 2 of 3 folds (score 0.95 on the polymers trained on, 0.80 on others)")
    assert list(diagnose(curve(LEVELS_OUT), [(0.9, 0.8), (0.9, 0.89)])) == ["sound"]
    assert list(diagnose(curve(LEVELS_OUT, LEVELS_OUT * 1.2), [(0.98, 0.7)])) == ["sound"]  # the loss has judged


def test_curves_are_counted_and_the_commonest_finding_comes_first():
    parts = [curve(np.exp(-EPOCHS / 6), 0.3 + np.exp(-EPOCHS / 6)).assign(fold=fold) for fold in range(3)]
    parts.append(curve(np.full(60, 2.0), np.full(60, 2.0)).assign(fold=3))
    findings = diagnose(pd.concat(parts))
    assert list(findings) == ["overfitting", "underfitting"]
    assert findings["overfitting"].startswith("in 3 of 4 learning curves, ")
    assert diagnosis_text(findings).count("\n") == 1


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"depth": 20, "activation": "sigmoid", "norm": "none"}, "vanishing gradients"),
        ({"lr": 1e-6, "schedule": "constant"}, "underfitting"),
        ({"lr": 3e-4, "schedule": "constant", "max_epochs": 30}, "not converged"),
        ({"lr": 1e-2}, "sound"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_real_networks_are_told_apart(params, expected):
    options = {"width": 32, "ensemble": 1, "batch_size": 8, "max_epochs": 60, "validation": 0.0, "dropout": 0.0}
    model = make_model("mlp", **{**options, **params}).fit(TOY_POLYMERS, toy_targets())
    assert next(iter(diagnose(pd.DataFrame(model.history_)))) == expected
