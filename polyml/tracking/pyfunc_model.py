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
        """Return one row a pSMILES, in order: the columns of ``polyml.prediction.predict_frame`` without ``psmiles``.

        Parameters
        ----------
        context : PythonModelContext
        model_input : DataFrame with the column ``psmiles``
        params : dict, optional
            None are known.
        """
        psmiles = ["" if pd.isna(text) else str(text) for text in model_input["psmiles"]]
        from polyml.prediction import predict_frame

        return predict_frame(self.bundle, psmiles).drop(columns="psmiles")


set_model(PolymlPredictor())
