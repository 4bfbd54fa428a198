"""Curves of the evaluation as tables: ROC, calibration, decision curve."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cnsifusion.training.metrics import Predictions, net_benefit

#: Prevalences (protocol: 1-30 %) and threshold probabilities of the decision curve.
PREVALENCES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
_THRESHOLDS = np.round(np.arange(0.01, 0.505, 0.01), 2)
_BINS = 5


def roc(predictions: dict[str, Predictions]) -> pd.DataFrame:
    """Sensitivity and 1 - specificity at every threshold, all folds pooled (calibrated probabilities)."""
    rows = []
    for model, p in predictions.items():
        order = np.argsort(-p.probability, kind="stable")
        labels, values = p.labels[order], p.probability[order]
        last = np.append(np.diff(values) != 0, True)  # ties move together
        sensitivity = np.cumsum(labels)[last] / max(1, labels.sum())
        false_alarm = np.cumsum(1 - labels)[last] / max(1, (1 - labels).sum())
        rows.append({"model": model, "threshold": np.inf, "false_positive_rate": 0.0, "sensitivity": 0.0})
        rows += [
            {"model": model, "threshold": t, "false_positive_rate": f, "sensitivity": s}
            for t, f, s in zip(values[last], false_alarm, sensitivity)
        ]
    return pd.DataFrame(rows, columns=["model", "threshold", "false_positive_rate", "sensitivity"])


def calibration(predictions: dict[str, Predictions]) -> pd.DataFrame:
    """Mean predicted probability and observed share in equally filled groups of patients."""
    rows = []
    for model, p in predictions.items():
        order = np.argsort(p.probability, kind="stable")
        for group in np.array_split(order, min(_BINS, max(1, len(order) // 5))):
            rows.append({
                "model": model, "patients": len(group), "predicted": p.probability[group].mean(),
                "observed": p.labels[group].mean(),
            })  # fmt: skip
    return pd.DataFrame(rows, columns=["model", "patients", "predicted", "observed"])


def decision(predictions: dict[str, Predictions]) -> pd.DataFrame:
    """Net benefit by prevalence and threshold probability, beside treating all (treating none is 0)."""
    rows = []
    for model, p in predictions.items():
        if len(np.unique(p.labels)) < 2:
            continue
        for prevalence in PREVALENCES:
            for threshold in _THRESHOLDS:
                everyone = prevalence - (1 - prevalence) * threshold / (1 - threshold)
                benefit = net_benefit(p.probability, p.labels, prevalence, float(threshold))
                rows.append({
                    "model": model, "prevalence": prevalence, "threshold": threshold, "net_benefit": benefit,
                    "treat_all": everyone,
                })  # fmt: skip
    return pd.DataFrame(rows, columns=["model", "prevalence", "threshold", "net_benefit", "treat_all"])
