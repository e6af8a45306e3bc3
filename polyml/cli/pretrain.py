"""``polyml pretrain``: an encoder that models start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyml.cli import common

EXAMPLES = common.examples(
    "polyml pretrain candidates --sample 20000 -o encoder",
    "polyml pretrain candidates --per-class 2000 --class polymer_class -o even_encoder",
    "polyml pretrain candidates --encoder transformer --pretext masked_token --sample 20000 -o token_encoder",
    "polyml pretrain candidates --encoder gru --pretext autoencoding --sample 20000 -o text_encoder",
    "polyml pretrain dft.csv --pretext property --target Egc --without tg.csv -o gap_encoder",
    "polyml train tg.csv --target Tg --model dmpnn --param pretrained=encoder --param finetune=gradual",
)


def pretrain(
    file: common.DataFile,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the encoder.")],
    encoder: Annotated[
        str, typer.Option("--encoder", metavar="KEY", help="Graph or sequence model of the catalog.")
    ] = "dmpnn",
    pretext: Annotated[
        str, typer.Option("--pretext", help="descriptors, masked_atom, masked_token, autoencoding or property.")
    ] = "descriptors",
    target: common.Targets = None,
    log10: common.Log10 = None,
    smiles_column: common.SmilesColumn = None,
    sample: common.Sample = None,
    per_class: common.PerClass = None,
    class_: Annotated[
        str | None, typer.Option("--class", metavar="COL", help="Column of the classes that --per-class draws from.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="FILE", help="Leave out the polymers of this file or embedded set; repeat."),
    ] = None,
    param: common.Params = None,
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="Passes over the polymers.")] = 10,
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", min=1, help="Polymers a step.")] = 64,
    lr: Annotated[float, typer.Option("--lr", help="Highest learning rate.")] = 2e-3,
    seed: common.Seed = 1,
    jobs: common.Jobs = None,
    no_track: common.NoTrack = False,
    experiment: common.Experiment = None,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Pretrain the encoder of a network on polymers without labels, or on measured or calculated properties.

    Writes encoder.safetensors and card.json: what it was trained on, how, and how well it did on the tenth of the
    polymers set aside; and what became of the other rows: rejects.csv, warnings.csv and duplicates.csv. Models take it
    by their parameter pretrained; finetune and encoder_lr say how it is trained on. An encoder that has learned
    properties keeps which polymers had them (labelled.txt), and comparisons refuse to test these: leave them out with
    --without.
    """
    from polyml.data.table_reader import read_structures
    from polyml.errors import UserError
    from polyml.pipeline import pretraining, steps
    from polyml.transfer.pretexts import PretrainSpec

    spec = PretrainSpec(
        encoder=encoder, pretext=pretext, params=common.make_params(param), epochs=epochs, batch_size=batch_size, lr=lr,
        seed=seed,
    )  # fmt: skip
    spec.make_model()
    drawn = common.make_sample(sample, per_class, seed, class_)
    if pretext == "property":
        properties = common.make_properties(file, target, log10, None)
        table = steps.read(file, properties, smiles_column=smiles_column, sample=drawn)
    else:
        if target or log10:
            raise UserError(
                "a target is for the pretext task 'property'", where="--target", fix="add --pretext property"
            )
        table = read_structures(file, smiles_column=smiles_column, sample=drawn)
    common.note_table(table)
    rows = None
    if without:
        rows = pretraining.rows_without(table, without, smiles_column=smiles_column)
        common.note(f"{len(table) - len(rows)} of them left out, {len(rows)} polymers are left")
    card = pretraining.pretrain_encoder(
        table, output, spec, rows=rows, without=without or (), sample=drawn, jobs=jobs,
        tracking=common.make_tracking(not no_track, experiment, file),
    )  # fmt: skip
    if as_json:
        common.print_json({"folder": str(output), **{name: card[name] for name in ("encoder", "pretext", "checks")}})
        return
    told = ", ".join(f"{name} {value:.3f}" for name, value in card["checks"].items())
    common.note(
        f"pretrained {encoder} on {card['data']['polymers']} polymers: {output}" + (f" ({told})" if told else "")
    )
    size = "".join(f" --param {name}={value}" for name, value in spec.params.items())
    common.note(f"next: polyml train FILE --target COL --model {encoder} --param pretrained={output}{size}")
