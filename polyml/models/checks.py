"""The test that every model has to pass; one call checks a new model.

``check_model("my_model")`` fits the model with its ``toy_params`` on a few polymers and tries what the contract
promises. It raises AssertionError with the promise that was broken. It is meant for tests.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyml.errors import UserError
from polyml.models.base import PolymerModel
from polyml.models.catalog import load_model, make_model, model_class

TOY_POLYMERS = (
    *("*CC*", "*CC(*)C", "*CC(*)CC", "*CC(*)c1ccccc1", "*CC(*)(C)C(=O)OC", "*CC(*)Cl", "*CC(*)F", "*CC(*)C#N"),
    *("*OCC*", "*OCCC*", "*OCCCC*", "*CC(*)O", "*CC(*)OC(C)=O", "*CC(*)(F)F", "*C(F)(F)C(*)(F)F", "*[Si](C)(C)O*"),
    *("*CC=CC*", "*CC=C(C)C*", "*NCCCCCC(*)=O", "*Oc1ccc(*)cc1", "*Sc1ccc(*)cc1", "*CC(*)C(=O)OCC", "*OC(C)C(*)=O"),
)
_SPELLINGS: Mapping[str, Sequence[str]] = {
    "*OCC*": ("*COC*",),
    "*CC(*)C": ("*C(C)C*",),
    "*OCCC*": ("*CCCOCCCO*",),
    "*[Si](C)(C)O*": ("*O[Si](C)(C)*",),
    # A ring in the backbone: cut elsewhere, read backwards, tripled.
    "*Oc1ccc(C(*)=O)cc1": (
        *("*C(=O)Oc1ccc(*)cc1", "*C(=O)c1ccc(O*)cc1"),
        "*Oc1ccc(C(=O)Oc2ccc(C(=O)Oc3ccc(C(*)=O)cc3)cc2)cc1",
    ),
    # A ladder: one oxygen on each side of the cut, then read backwards.
    "*Oc1cc2cc(*)c(*)cc2cc1O*": ("*Oc1cc2cc(O*)c(*)cc2cc1*", "*c1cc2cc(O*)c(O*)cc2cc1*"),
}
_NO_POLYMERS = {"a malformed pSMILES": "*CC(*", "a molecule without attachment points": "CCO"}
PROMISES = (
    *("predictions", "rows", "frames", "file", "seed", "one target", "bad input", "overfit", "known", "novelty"),
    *("probabilities", "labels", "overfit classes"),
)
"""What a model promises, the last three of them a classifier; a class may be exempt from some, with a reason."""
_BY_HEART = 0.8
_FLOAT32 = 1e-5  # tolerance, for targets of size one; no model of the catalog needs a tenth of it


def toy_targets(missing: bool = True) -> np.ndarray:
    """Return two related targets for :data:`TOY_POLYMERS`, shape (23, 2), with NaN where ``missing``."""
    carbon = np.array([text.count("C") + text.count("c") for text in TOY_POLYMERS], dtype=float)
    hetero = np.array([sum(text.count(x) for x in "ONSF") for text in TOY_POLYMERS], dtype=float)
    y = np.column_stack([0.3 * carbon - 0.5 * hetero, 0.25 * carbon - 0.3 * hetero + 1.0])
    if missing:
        y[3, 0] = y[7, 1] = np.nan
    return y


def check_model(key: str, **params: Any) -> None:
    """Check a model of the catalog against the contract.

    Parameters
    ----------
    key : str
        Catalog key.
    **params
        Parameters on top of the class's ``toy_params``.

    Raises
    ------
    AssertionError
        The first promise that the model breaks.
    """
    cls = model_class(key)
    for promise, reason in cls.exempt.items():
        _require(promise in PROMISES and len(reason) > 20, f"the exemption from '{promise}' is known and explained")

    def build(**more: Any) -> PolymerModel:
        return make_model(key, **{**cls.toy_params, **params, **more})

    check_parameters(build())
    if "regression" in cls.tasks:
        check_regression(build, cls)
    if "classification" in cls.tasks:
        check_classification(build, cls)


def check_regression(build: Callable[..., PolymerModel], cls: type[PolymerModel]) -> None:
    """All promises of a model that predicts numbers, but those it is exempt from."""
    fitted = build().fit(TOY_POLYMERS, toy_targets())
    calls: dict[str, Callable[[], None]] = {
        "predictions": lambda: check_predictions(fitted),
        "rows": lambda: check_rows_are_independent(fitted.predict),
        "frames": lambda: check_frames(fitted.predict),
        "file": lambda: check_file(fitted, predicted_numbers),
        "seed": lambda: check_seed(fitted, build, toy_targets(), predicted_numbers),
        "one target": lambda: check_one_target(build),
        "bad input": lambda: check_bad_input(fitted, build),
        "overfit": lambda: check_overfit(build, cls.overfit_params),
        "known": lambda: check_known(fitted) if fitted.uses_known else None,
        "novelty": lambda: check_novelty(fitted) if fitted.gives_novelty else None,
    }
    _call(calls, cls)


def _call(calls: Mapping[str, Callable[[], None]], cls: type[PolymerModel]) -> None:
    for promise, call in calls.items():
        if promise not in cls.exempt:
            call()


def check_known(model: PolymerModel) -> None:
    """Other known properties change a prediction, the property itself does not, and none need be known."""
    plain, y = model.predict(TOY_POLYMERS), toy_targets()
    predict: Any = model.predict
    nothing = np.full(y.shape, np.nan)
    _require(_same(predict(TOY_POLYMERS, known=nothing), plain), "nothing known gives the plain prediction")
    other = y.copy()
    other[:, 0] += 1.0
    given, changed = predict(TOY_POLYMERS, known=y), predict(TOY_POLYMERS, known=other)
    _require(_same(changed[:, 0], given[:, 0]), "a property's own value is not used for its prediction")
    _require(bool(np.abs(changed[:, 1] - given[:, 1]).max() > 0), "the value of another property is used")


def check_novelty(model: PolymerModel) -> None:
    """How strange a polymer is does not depend on its company or its frame, and is small where it is known."""
    found = model.novelty(TOY_POLYMERS)
    _require(found.shape == (len(TOY_POLYMERS),) and bool((found >= 0).all()), "novelty is one number a polymer")
    _require(float(np.median(found)) < 2.0, "a training polymer is no stranger than another one like it")
    _require(model.novelty([]).shape == (0,), "no polymers have no novelty")
    check_rows_are_independent(model.novelty)
    check_frames(model.novelty)


def check_classification(build: Callable[..., PolymerModel], cls: type[PolymerModel]) -> None:
    """All promises of a model that predicts classes, but those it is exempt from."""

    def classifier(**more: Any) -> PolymerModel:
        return build(task="classification", **more)

    fitted = classifier().fit(TOY_POLYMERS, toy_labels())
    calls: dict[str, Callable[[], None]] = {
        "probabilities": lambda: check_probabilities(fitted),
        "rows": lambda: check_rows_are_independent(fitted.predict_proba),
        "frames": lambda: check_frames(fitted.predict_proba),
        "file": lambda: check_file(fitted, predicted_classes),
        "seed": lambda: check_seed(fitted, classifier, toy_labels(), predicted_classes),
        "labels": lambda: check_labels(classifier),
        "overfit classes": lambda: check_overfit_classes(fitted, classifier, cls.overfit_params),
    }
    _call(calls, cls)


def check_labels(build: Callable[[], PolymerModel]) -> None:
    """Labels may be numbers; one class alone, or a label too few, is refused."""
    labels = toy_labels()
    numbers = np.array([np.nan if label is None else float(len(label)) for label in labels])
    from_numbers = build().fit(TOY_POLYMERS, numbers).predict(TOY_POLYMERS)
    _require(set(from_numbers.tolist()) <= set(numbers[numbers == numbers].tolist()), "labels may be numbers")
    for name, wrong in (("one class", np.full(len(labels), "a")), ("too few labels", labels[:-1])):
        _refused(f"fit refuses {name}", build().fit, TOY_POLYMERS, wrong)


def check_overfit_classes(model: PolymerModel, build: Callable[..., PolymerModel], params: Mapping[str, Any]) -> None:
    """The model can learn the classes of a tiny set by heart: 80 % of them; with ``params`` if not without."""
    labels = toy_labels()
    known = np.array([label is not None for label in labels])

    def hits(fitted: PolymerModel) -> float:
        return float(np.mean(fitted.predict(TOY_POLYMERS)[known] == labels[known]))

    if hits(model) <= _BY_HEART:
        share = hits(build(**params).fit(TOY_POLYMERS, labels))
        _require(share > _BY_HEART, f"the model learns classes by heart: it hits {share:.2f} of them")


def toy_labels() -> np.ndarray:
    """Return a label for each of :data:`TOY_POLYMERS`, None for one of them: three classes of unequal size."""
    labels: list[str | None] = [
        "oxygen" if "O" in text else "aromatic" if "c1" in text else "other" for text in TOY_POLYMERS
    ]
    labels[5] = None
    return np.array(labels, dtype=object)


def check_probabilities(model: PolymerModel) -> None:
    """Probabilities are some, and the label is the likeliest class; a polymer without a label gets one."""
    n, classes = len(TOY_POLYMERS), ["aromatic", "other", "oxygen"]
    proba, labels = model.predict_proba(TOY_POLYMERS), model.predict(TOY_POLYMERS)
    _require(list(model.classes_) == classes, "classes_ are the different labels, sorted")
    _require(proba.shape == (n, 3) and bool((proba >= 0).all()), "predict_proba returns shape (n, classes)")
    _close(proba.sum(axis=1), np.ones(n), 1e-5, "probabilities sum to one")
    _require(labels.shape == (n,) and _same(labels, np.array(classes)[proba.argmax(axis=1)]), "the likeliest class")
    _require(model.predict([]).shape == (0,), "no polymers give no labels")
    _require(model.predict_proba([]).shape == (0, 3), "no polymers give no probabilities")
    _refused("predict_dist of a classifier refuses", model.predict_dist, TOY_POLYMERS)


def _same(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.array_equal(found, expected, equal_nan=found.dtype.kind == "f"))


def check_parameters(model: PolymerModel) -> None:
    """``get_params``, ``set_params`` and ``clone`` agree."""
    from sklearn.base import clone

    params = model.get_params()
    _require(clone(model).get_params() == params, "clone keeps the parameters")
    _require(model.set_params(**params).get_params() == params, "set_params(get_params()) changes nothing")
    for name in ("key", "family", "title", "citation", "input_kind", "tasks"):
        _require(bool(getattr(model, name)), f"the class names its {name}")


def check_predictions(model: PolymerModel) -> None:
    """Shapes, finite numbers, and a standard deviation exactly where ``gives_std`` promises one."""
    n = len(TOY_POLYMERS)
    mean = model.predict(TOY_POLYMERS)
    dist = model.predict_dist(TOY_POLYMERS)
    _require(mean.shape == (n, 2) and bool(np.isfinite(mean).all()), "predict returns finite numbers of shape (n, t)")
    _require(dist.mean.shape == dist.std.shape == dist.lower.shape == dist.upper.shape == (n, 2), "shapes of the parts")
    _close(dist.mean, mean, 1e-6, "predict is the mean of predict_dist")
    _require(bool(np.isfinite(dist.std).all()) == model.gives_std, "gives_std tells whether there is a std")
    if model.gives_std:
        _require(bool((dist.std >= 0).all() and (dist.lower <= dist.upper).all()), "the interval is in order")
    _require(model.predict([]).shape == (0, 2), "no polymers give no rows")


def check_rows_are_independent(predict: Callable[[Sequence[str]], np.ndarray]) -> None:
    """A polymer gets the same prediction alone, in a batch, and in any order."""
    all_rows = predict(TOY_POLYMERS)
    _close(predict(TOY_POLYMERS[4:5]), all_rows[4:5], _FLOAT32, "one row equals the same row of a batch")
    _close(predict(TOY_POLYMERS[::-1]), all_rows[::-1], _FLOAT32, "the order of the rows does not matter")


def check_frames(predict: Callable[[Sequence[str]], np.ndarray]) -> None:
    """Every spelling of one polymer gets the same prediction: shifted, reversed, doubled, tripled, or of a ladder.

    Models of arrays and of token sequences are exactly invariant: the features are, and the sequences are the canonical
    text and spellings that are derived from it. Graphs have as many atoms as the unit that is written: their sums are
    rounded otherwise.
    """
    pairs = [(text, other) for text, others in _SPELLINGS.items() for other in others]
    expected, found = (predict(list(texts)) for texts in zip(*pairs, strict=True))
    for (text, other), one, two in zip(pairs, expected, found, strict=True):
        _close(two, one, _FLOAT32, f"{other} predicts the same as {text}")


def check_file(model: PolymerModel, outputs: Callable[[PolymerModel], Mapping[str, np.ndarray]]) -> None:
    """A saved and loaded model predicts the same, and nothing is pickled."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model")
        again = load_model(Path(folder) / "model")
        saved = [path.suffix for path in (Path(folder) / "model").rglob("*")]
    _require(type(again) is type(model), "load gives the same class")
    _require(not {".pkl", ".joblib", ".pt", ".ckpt"} & set(saved), "no pickle on disk")
    found = outputs(again)
    for name, expected in outputs(model).items():
        _require(_same(found[name], expected), f"a loaded model predicts the same {name}")


def check_seed(
    model: PolymerModel,
    build: Callable[[], PolymerModel],
    y: np.ndarray,
    outputs: Callable[[PolymerModel], Mapping[str, np.ndarray]],
) -> None:
    """The same ``random_state`` gives the same numbers, and the caller's random numbers are left alone."""
    before = _global_random_states()
    found = outputs(build().fit(TOY_POLYMERS, y))
    after = _global_random_states()
    for library, state in before.items():
        _require(after[library] == state, f"fit and predict leave the global random state of {library} as it was")
    for name, expected in outputs(model).items():
        _require(_same(found[name], expected), f"the seed decides the {name}")


def predicted_numbers(model: PolymerModel) -> dict[str, np.ndarray]:
    """Return all that a model of numbers tells of the toy polymers."""
    dist = model.predict_dist(TOY_POLYMERS)
    return {"prediction": model.predict(TOY_POLYMERS), "mean": dist.mean, "std": dist.std}


def predicted_classes(model: PolymerModel) -> dict[str, np.ndarray]:
    """Return all that a classifier tells of the toy polymers."""
    return {"labels": model.predict(TOY_POLYMERS), "probabilities": model.predict_proba(TOY_POLYMERS)}


def _global_random_states() -> dict[str, bytes]:
    """Return the state of each library's global random numbers; torch's only where torch is in use."""
    states = {"random": repr(random.getstate()).encode(), "numpy": repr(_numpy_state()).encode()}
    if "torch" in sys.modules:
        states["torch"] = sys.modules["torch"].get_rng_state().numpy().tobytes()
    return states


def _numpy_state() -> list[Any]:
    state = np.random.get_state(legacy=True)  # noqa: NPY002
    return [part.tobytes() if isinstance(part, np.ndarray) else part for part in state]


def check_one_target(build: Callable[[], PolymerModel]) -> None:
    """``y`` of shape (n,) gives predictions of shape (n,), also for polymers with a missing value."""
    y = toy_targets()[:, 0]
    mean = build().fit(TOY_POLYMERS, y).predict(TOY_POLYMERS)
    _require(mean.shape == y.shape, "y of shape (n,) gives predictions of shape (n,)")
    _require(bool(np.isfinite(mean).all()), "a polymer without a value gets a prediction")


def check_bad_input(model: PolymerModel, build: Callable[[], PolymerModel]) -> None:
    """Input without sense is refused with a UserError; a text that is no polymer also by the fitted model."""
    y = toy_targets()
    empty_target = y.copy()
    empty_target[:, 1] = np.nan
    infinite = y.copy()
    infinite[0, 0] = np.inf
    cases: list[tuple[str, Sequence[str], np.ndarray]] = [
        ("no rows", [], np.empty((0, 2))),
        ("more polymers than rows of y", TOY_POLYMERS, y[:-1]),
        ("a target without a value", TOY_POLYMERS, empty_target),
        ("an infinite target", TOY_POLYMERS, infinite),
        ("one string", "*CC*", y[:1]),
        *((name, [*TOY_POLYMERS[:-1], text], y) for name, text in _NO_POLYMERS.items()),
    ]
    for name, psmiles, targets in cases:
        _refused(f"fit refuses {name}", build().fit, psmiles, targets)
    for name, text in _NO_POLYMERS.items():
        _refused(f"predict refuses {name}", model.predict, ["*CC*", text])


def _refused(promise: str, call: Callable[..., object], *args: object) -> None:
    try:
        call(*args)
    except UserError:
        return
    raise AssertionError(promise)


def check_overfit(build: Callable[..., PolymerModel], params: Mapping[str, Any]) -> None:
    """The model can learn a tiny set by heart: it explains 80 % of the variance of what it was trained on."""
    y = toy_targets(missing=False)
    mean = build(**params).fit(TOY_POLYMERS, y).predict(TOY_POLYMERS)
    explained = 1.0 - float(((y - mean) ** 2).sum() / ((y - y.mean(axis=0)) ** 2).sum())
    _require(
        explained > _BY_HEART, f"the model learns a tiny set by heart: it explains {explained:.2f} of its variance"
    )


def _require(holds: bool, promise: str) -> None:
    if not holds:
        raise AssertionError(promise)


def _close(found: np.ndarray, expected: np.ndarray, tolerance: float, promise: str) -> None:
    worst = float(np.max(np.abs(found - expected), initial=0.0))
    _require(worst <= tolerance, f"{promise} (they differ by {worst:.2g})")
