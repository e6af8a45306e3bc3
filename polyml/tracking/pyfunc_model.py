"""The MLflow form of a trained predictor.

MLflow stores this file as text beside the model and runs it when the model is loaded ("models from code"), so nothing
is pickled. polyml must be installed where the model is loaded.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class PolymlPredictor(PythonModel):
    """Predict from a column of pSMILES; a refused row has NaN and the reason in ``error``."""

    def load_context(self, context: Any) -> None:
        """Load the bundle that was stored with the model."""
        from polyml.bundle import Bundle

        self.bundle = Bundle.load(context.artifacts["bundle"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return a mean and a standard deviation per property in user units, and the error per row.

        Parameters
        ----------
        context : PythonModelContext
        model_input : DataFrame with the column ``psmiles``
        params : dict, optional
            None are known.

        Returns
        -------
        DataFrame
            ``NAME`` and ``NAME_std`` for each property, then ``error`` (empty where there is a prediction).
        """
        from polyml.chem import RepeatUnit
        from polyml.errors import UserError

        psmiles = [str(text) for text in model_input["psmiles"]]
        errors = []
        for text in psmiles:
            try:
                RepeatUnit.parse(text)
                errors.append("")
            except UserError as error:
                errors.append(error.what)
        good = [row for row, error in enumerate(errors) if not error]
        names = [item.name for item in self.bundle.properties]
        output = pd.DataFrame(float("nan"), index=range(len(psmiles)), columns=_columns(names))
        if good:
            prediction = self.bundle.predict([psmiles[row] for row in good])
            for place, name in enumerate(names):
                output.loc[good, name] = prediction.mean[:, place]
                output.loc[good, f"{name}_std"] = prediction.std[:, place]
        return output.assign(error=errors)


def _columns(names: list[str]) -> list[str]:
    return [column for name in names for column in (name, f"{name}_std")]


set_model(PolymlPredictor())
