"""From measured permeabilities to a ranked list of real candidates."""

from __future__ import annotations

import numpy as np
import pandas as pd

from polyml.bundle import Bundle
from polyml.chem import RepeatUnit
from polyml.data.catalog import embedded_path, properties_for
from polyml.models.catalog import make_model
from polyml.screening.robeson import upper_bound_selectivity
from polyml.screening.screen import ScreenSpec, screen


def test_gas_data_to_ranked_candidates_with_monomers(tmp_path):
    properties = properties_for("gas_permeability", ["O2", "N2", "CO2"])
    names = [item.name for item in properties]
    data = pd.read_csv(embedded_path("gas_permeability"))
    smiles = next(column for column in data if "smiles" in column.lower())
    data = data[data[smiles].str.count(r"\*") == 2].dropna(subset=names).head(120)
    y = np.column_stack([item.to_model(data[item.name]) for item in properties])
    bundle = Bundle(
        model=make_model("pca_ridge", features="ecfp_count").fit(list(data[smiles]), y),
        properties=properties,
        keys=tuple(RepeatUnit.parse(text).key for text in data[smiles]),
        psmiles=tuple(data[smiles]),
        values=data[names].to_numpy(),
        data_digest="",
        seed=1,
    )
    candidates = pd.read_parquet(embedded_path("candidates")).sample(400, random_state=3)
    candidates.to_csv(tmp_path / "candidates.csv", index=False)
    spec = ScreenSpec(
        derive={"CO2/N2": "CO2 / N2"},
        constraints=["O2 >= 1", "`CO2/N2` > 5"],
        objectives=['robeson("O2/N2")'],
        top=20,
        chunk_size=150,
    )
    summary = screen(tmp_path / "candidates.csv", bundle, spec, tmp_path / "out")
    ranked = pd.read_csv(tmp_path / "out" / "ranked.csv")

    assert summary.read == 400
    assert 0 < summary.ranked == len(ranked) <= 20
    assert not set(ranked["canonical"]) & set(bundle.keys)
    assert (ranked["O2"] >= 1).all()
    assert (ranked["CO2"] / ranked["N2"] > 5).all()
    above = np.log10(ranked["O2"] / ranked["N2"] / upper_bound_selectivity("O2/N2", ranked["O2"]))
    np.testing.assert_allclose(ranked["score"], above, rtol=1e-6)
    assert ranked["score"].is_monotonic_decreasing
    given = candidates.set_index("psmiles")
    for row in ranked.itertuples():
        assert row.polymer_class == given.loc[row.psmiles, "polymer_class"]
        assert row.monomer_1 == given.loc[row.psmiles, "monomer_1"]
    page = (tmp_path / "out" / "robeson.html").read_text()
    assert "upper bound 2008" in page
    assert len(pd.read_csv(tmp_path / "out" / "rejects.csv")) == summary.rejected > 0
