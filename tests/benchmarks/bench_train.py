"""Speed of training: beside chemprop, beside a bare loop, and of a tracked comparison beside the fits in it."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rdkit import RDLogger
from rich.console import Console
from rich.table import Table

from polyml.data.catalog import embedded_path, embedded_table
from polyml.data.splits import SplitSpec
from polyml.errors import RepeatUnitError
from polyml.models import make_model

torch = pytest.importorskip("torch")

POLYMERS, EPOCHS, ROUNDS = 1500, 3, 3
WIDTH, DEPTH, BATCH = 300, 3, 64  # chemprop's own defaults
MODELS = ("svm", "lightgbm", "mlp")


def readable(n: int) -> list[str]:
    from polyml.chem import RepeatUnit

    column = pd.read_parquet(embedded_path("candidates"), columns=["psmiles"])["psmiles"]
    kept: list[str] = []
    for text in column.sample(3 * n, random_state=1):
        try:
            RepeatUnit.parse(text)
        except RepeatUnitError:
            continue
        kept.append(text)
    return kept[:n]


def our_epochs(psmiles: list[str], y: np.ndarray, device: str) -> Callable[[], None]:
    """Return what trains polyml's D-MPNN for a few epochs; graphs are made before."""
    from polyml.models.nn.options import Optimisation
    from polyml.training.loop import Hardware, train_network

    model = make_model("dmpnn", width=WIDTH, depth=DEPTH, dropout=0.0, targets="separate")
    inputs = model._inputs(psmiles)
    model.shape_, model.n_targets_ = model._shape(inputs), 1
    options = Optimisation(max_epochs=EPOCHS, batch_size=BATCH)

    def run() -> None:
        network = model._network()
        model._fit_targets(network.targets, y)
        rows = np.arange(len(psmiles)), np.arange(0)
        train_network(network, inputs, y, rows, options, Hardware(device))

    return run


def chemprop_epochs(psmiles: list[str], y: np.ndarray, device: str) -> Callable[[], None]:
    """Return what trains chemprop's D-MPNN of the same width and depth on the same polymers, its graphs cached."""
    from chemprop import data, featurizers, models, nn
    from lightning import Trainer

    points = [data.MoleculeDatapoint.from_smi(text, row) for text, row in zip(psmiles, y, strict=True)]
    dataset = data.MoleculeDataset(points, featurizers.SimpleMoleculeMolGraphFeaturizer())
    dataset.cache = True
    loader = data.build_dataloader(dataset, batch_size=BATCH, shuffle=True, num_workers=0)

    def run() -> None:
        messages = nn.BondMessagePassing(d_h=WIDTH, depth=DEPTH)
        head = nn.RegressionFFN(input_dim=messages.output_dim, hidden_dim=WIDTH)
        network = models.MPNN(messages, nn.MeanAggregation(), head)
        Trainer(
            accelerator=device, devices=1, max_epochs=EPOCHS, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        ).fit(network, loader)  # fmt: skip

    return run


def rates(works: dict[str, Callable[[], None]], rows: int) -> dict[str, float]:
    """Return rows a second of the fastest of a few rounds, the works in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return {name: rows / min(found) for name, found in seconds.items()}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    RDLogger.DisableLog("rdApp.*")
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")


@pytest.mark.benchmark
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_dmpnn_beside_chemprop(device: str) -> None:
    pytest.importorskip("chemprop", reason="chemprop is not installed: pip install chemprop, in the bench environment")
    if device == "gpu" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    psmiles = readable(POLYMERS)
    y = np.random.default_rng(0).normal(size=(len(psmiles), 1))
    works = {"polyml dmpnn": our_epochs(psmiles, y, device), "chemprop": chemprop_epochs(psmiles, y, device)}
    found = rates(works, EPOCHS * len(psmiles))
    table = Table("", "graphs/s", "ratio", title=f"training, {device}, width {WIDTH}, depth {DEPTH}, batch {BATCH}")
    for name, rate in found.items():
        table.add_row(name, f"{rate:,.0f}", f"{rate / found['chemprop']:.2f}")
    Console().print(table)
    assert all(rate > 0 for rate in found.values())


@pytest.mark.benchmark
def test_lightning_beside_a_bare_loop() -> None:
    table = embedded_table("gas_permeability")
    y, rows = table.y, list(range(len(table)))
    console = Table("", "fit s", "share of the bare loop", title="25 epochs on the gas permeabilities")
    for key in ("mlp", "dmpnn"):
        model = make_model(key, max_epochs=25, ensemble=1)
        inputs = model._inputs(table.psmiles)
        model.shape_, model.n_targets_ = model._shape(inputs), y.shape[1]

        def network(model=model, inputs=inputs):
            made = model._network()
            model._prepare_encoder(made.encoder, inputs)
            model._fit_targets(made.targets, y)
            return made

        def bare(model=model, inputs=inputs, network=network) -> None:
            made, target = network(), torch.as_tensor(y, dtype=torch.float32)
            optimizer = torch.optim.AdamW(made.parameters(), lr=model.lr, fused=True)
            steps = 25 * math.ceil(len(rows) / model.batch_size)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, model.lr, total_steps=steps)
            for _ in range(25):
                order = torch.randperm(len(rows)).tolist()
                for at in range(0, len(rows), model.batch_size):
                    part = order[at : at + model.batch_size]
                    optimizer.zero_grad()
                    made.batch_loss(inputs.take(part), target[part]).backward()
                    torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
                    optimizer.step()
                    schedule.step()

        def lightning(model=model, inputs=inputs, network=network) -> None:
            from polyml.training.loop import Hardware, train_network

            whole = np.arange(len(rows)), np.arange(0)
            train_network(network(), inputs, y, whole, model._optimisation(), Hardware("cpu"))

        found = rates({"bare loop": bare, "Lightning": lightning}, 1)
        for name, rate in found.items():
            console.add_row(f"{key}: {name}", f"{1 / rate:.2f}", f"{found['bare loop'] / rate:.2f}")
    Console().print(console)


@pytest.mark.benchmark
def test_overhead_of_a_tracked_comparison(tmp_path: Path) -> None:
    from polyml.evaluation.compare import Compared, compare
    from polyml.settings import sqlite_uri
    from polyml.tracking import make_tracker

    table = embedded_table("gas_permeability")
    compare(table, [Compared("mean")], SplitSpec(), tmp_path / "warm", jobs=1)
    from polyml.features.batch import featurize

    featurize(["ecfp_count", "descriptors"], table.psmiles)
    uri = sqlite_uri(tmp_path / "mlflow.db")
    seconds = {}
    # The first tracked one imports mlflow and makes the store, which a folder does once.
    for name, tracked in (("not tracked", False), ("tracked, in a new store", True), ("tracked", True)):
        start = time.perf_counter()
        results = compare(
            table, [Compared(key) for key in MODELS], SplitSpec(), tmp_path / name, jobs=1,
            tracker=make_tracker("bench", enabled=tracked, uri=uri),
        )  # fmt: skip
        wall = time.perf_counter() - start
        folds = results.frame.drop_duplicates(["model", "repeat", "fold"])
        seconds[name] = (wall, float(folds["fit_seconds"].sum() + folds["predict_seconds"].sum()))
    console = Table("", "wall s", "in fit and predict", "overhead", title=f"{', '.join(MODELS)}: 5 folds, gas set")
    for name, (wall, work) in seconds.items():
        console.add_row(name, f"{wall:.1f}", f"{work:.1f}", f"{wall / work - 1:.1%}")
    Console().print(console)
    assert all(wall > work for wall, work in seconds.values())
