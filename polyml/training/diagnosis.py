"""What learning curves say, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

_FEW = 8  # epochs below which a curve says nothing
_GAP = 3.0  # validation loss over training loss, at the best epoch
_RISE = 1.15  # last validation loss over the best
_FLAT = 0.85  # last training loss over the first
_FALL = 0.97  # validation loss of the last tenth of the epochs over the tenth before
_STILL = 0.03  # fall of the training loss between these, over its whole fall, where there is no validation loss
_CONSTANT = 0.9  # last training loss over that of the best constant prediction
_EXPLODED = 100.0  # largest gradient norm over the median
_VANISHED = 1e-3  # median gradient norm of the second half over the largest of the first epochs
_UNEQUAL = 1e-6  # smallest gradient norm of a weight matrix over the largest

_ADVICE = {
    "diverged": "the loss became NaN or infinite: lower lr, or set a smaller clip",
    "exploding gradients": "the norm of the gradient jumps to a hundred times its median: lower lr or clip",
    "vanishing gradients": "the gradient has all but vanished, in some layers at least, and little is learned: fewer "
    "layers, another activation (relu, silu), skip connections or a norm",
    "underfitting": "the training loss hardly falls, or not below that of a constant prediction: a wider network, a "
    "larger lr, more epochs, less dropout or weight decay",
    "overfitting": "the network knows its training polymers far better than others: more polymers, a smaller network, "
    "more dropout or weight decay, an ensemble",
    "not converged": "the loss was still falling when training ended: more max_epochs, or a larger lr",
    "trained past the best epoch": "the validation loss rose again; the best epoch was kept, fewer max_epochs or less "
    "patience would save time",
}
_UNJUDGED = "no polymers were set aside during training; validation=0.12 sets some aside and shows their loss"


def diagnose(history: pd.DataFrame, fits: Sequence[tuple[float, float]] = ()) -> dict[str, str]:
    """Say what the learning curves of a model show.

    Parameters
    ----------
    history : DataFrame
        One row an epoch: epoch, train_loss, val_loss, grad_norm, grad_ratio, constant_loss (see
        :data:`polyml.models.nn.module.HISTORY`), and what tells the curves apart (repeat, fold, member). Columns that
        are missing are not judged.
    fits : sequence of (float, float)
        Where there is no validation loss: R² (or the share of right classes) of each fold on the polymers trained on
        and on those of its test part, which the training knew nothing of.

    Returns
    -------
    dict
        Finding to what was seen and what to try, those seen in most curves first; ``{"sound": ...}`` when nothing is
        wrong. ``{"overfitting not judged": ...}`` besides where there is no validation loss. Empty when no curve is
        long enough to say.

    Examples
    --------
    >>> epochs = np.arange(40)
    >>> curve = pd.DataFrame({"epoch": epochs, "train_loss": 0.9**epochs, "val_loss": 1.1 * 0.9**epochs})
    >>> list(diagnose(curve))
    ['not converged']
    """
    curves = [curve for curve in _curves(history) if len(curve) >= _FEW or _diverged(curve)]
    if not curves:
        return {}
    seen: dict[str, int] = {}
    for curve in curves:
        for finding in _findings(curve):
            seen[finding] = seen.get(finding, 0) + 1
    order = sorted((name for name in _ADVICE if name in seen), key=lambda name: -seen[name])
    found = {name: f"in {_of(seen[name], len(curves))}, {_ADVICE[name]}" for name in order}
    if not found:
        found["sound"] = f"the losses fell and levelled out in {_of(len(curves), len(curves))}"
    if any(curve["val_loss"].notna().any() for curve in curves if "val_loss" in curve):
        return found
    told = {"overfitting": _overfitted(fits)} if fits else {"overfitting not judged": _UNJUDGED}
    found |= {name: words for name, words in told.items() if words}
    if "overfitting" in found:
        found.pop("sound", None)
    return found


def _overfitted(fits: Sequence[tuple[float, float]]) -> str:
    """Compare what is explained of the polymers trained on and of others; empty where they are not far apart."""
    apart = [1 - test > _GAP * max(1 - train, 1e-6) for train, test in fits]
    if not any(apart):
        return ""
    train, test = np.mean(fits, axis=0)
    seen = "the fold" if len(fits) == 1 else f"{sum(apart)} of {len(fits)} folds"
    return f"in {seen} (score {train:.2f} on the polymers trained on, {test:.2f} on others), {_ADVICE['overfitting']}"


def _of(count: int, total: int) -> str:
    return "the learning curve" if total == 1 else f"{count} of {total} learning curves"


def _curves(history: pd.DataFrame) -> Iterator[pd.DataFrame]:
    if not len(history) or "train_loss" not in history:
        return
    by = [name for name in ("repeat", "fold", "member") if name in history.columns]
    parts = [part for _, part in history.groupby(by)] if by else [history]
    yield from (part.sort_values("epoch") for part in parts)


def _diverged(curve: pd.DataFrame) -> bool:
    return bool(np.isinf(curve["train_loss"]).any())


def _findings(curve: pd.DataFrame) -> Iterator[str]:
    if _diverged(curve):
        yield "diverged"
    finite = curve[np.isfinite(curve["train_loss"])]
    train = finite["train_loss"].to_numpy(dtype=float)
    if len(train) < _FEW:
        return
    tenth = max(1, len(train) // 10)
    norm, ratio, constant = (_column(finite, name) for name in ("grad_norm", "grad_ratio", "constant_loss"))
    last = _level(train[-tenth:])
    stands = last > _FLAT * _level(train[:1]) or bool(len(constant) and last > _below(constant[0], 1 - _CONSTANT))
    if any(norm[i] > _EXPLODED * max(float(np.median(norm[:i])), 1e-12) for i in range(3, len(norm))):
        yield "exploding gradients"
    vanished = bool(len(norm)) and float(np.median(norm[len(norm) // 2 :])) < _VANISHED * max(norm[:3].max(), 1e-12)
    vanished |= bool(len(ratio)) and _level(ratio) < _UNEQUAL
    if stands and (vanished or (len(norm) and norm.max() < 1e-6)):
        yield "vanishing gradients"
    elif stands:
        yield "underfitting"
    if "val_loss" in finite and finite["val_loss"].notna().all():
        yield from _validation_findings(train, finite["val_loss"].to_numpy(dtype=float), tenth, stands)
    elif not stands and _level(train[-2 * tenth : -tenth]) - last > _STILL * (train[0] - train.min()):
        yield "not converged"


def _validation_findings(train: np.ndarray, val: np.ndarray, tenth: int, stands: bool) -> Iterator[str]:
    best = int(np.argmin(val))
    last, before = _level(val[-tenth:]), _level(val[-2 * tenth : -tenth])
    if min(train.min(), val.min()) > 0:
        falling = last < _FALL * before
        apart, risen = val[best] > _GAP * train[best], val[-1] > _RISE * val[best]
    else:  # a likelihood has no zero to measure a ratio from; how far it fell stands in for it
        falling = before - last > (1 - _FALL) * (val[0] - val[best])
        apart = val[best] - train[best] > 0.5 * (train[0] - train[best])
        risen = val[-1] - val[best] > (_RISE - 1) * (val[0] - val[best])
    if apart and not stands:
        yield "overfitting"
    if best >= len(val) - tenth and falling:
        yield "not converged"
    elif best < len(val) - max(_FEW, tenth) and risen:
        yield "trained past the best epoch"


def _column(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Return the finite values of a column; none where it is missing."""
    values = frame[name].to_numpy(dtype=float) if name in frame else np.empty(0)
    finite: np.ndarray = values[np.isfinite(values)]
    return finite


def _below(value: float, part: float) -> float:
    return value - part * abs(value)  # a likelihood may be negative


def _level(values: np.ndarray) -> float:
    return float(np.median(values))


def diagnosis_text(findings: dict[str, str]) -> str:
    """Return the findings as a text of a few lines.

    Examples
    --------
    >>> diagnosis_text({"sound": "the losses fell"})
    'sound: the losses fell'
    """
    return "\n".join(f"{name}: {words}" for name, words in findings.items())
