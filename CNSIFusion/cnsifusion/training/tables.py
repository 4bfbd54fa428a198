"""Tables of the evaluation: figures by model, strategy and fold, intervals, differences, feature rankings."""

from __future__ import annotations

import re
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd

from cnsifusion.training.cohort import Cohort, patient_mean
from cnsifusion.training.learners import CONFOUNDERS
from cnsifusion.training.metrics import (
    STRATEGIES,
    Predictions,
    auc,
    bootstrap,
    fold_auc,
    instance_figures,
    paired_auc_difference,
    patient_figures,
)
from cnsifusion.training.nested import FoldResult

_INTERVALS = ("auc", "accuracy", "precision", "sensitivity", "specificity", "f1", "brier", "calibration_slope",
              "calibration_intercept", "indeterminate")  # fmt: skip


def patient_metrics(predictions: dict[str, Predictions]) -> pd.DataFrame:
    """One row per model, strategy and fold; ``fold`` is a number, or all (patients pooled), mean and sd over folds."""
    frames = []
    for model, p in predictions.items():
        for strategy in STRATEGIES:
            folds = [
                {"fold": str(f), **patient_figures(p.of(np.flatnonzero(p.fold == f)), strategy)}
                for f in np.unique(p.fold)
            ]
            table = pd.DataFrame([*folds, {"fold": "all", **patient_figures(p, strategy)}])
            numbers = table.iloc[: len(folds)].drop(columns="fold").replace([np.inf, -np.inf], np.nan)
            for name, row in (("mean", numbers.mean()), ("sd", numbers.std(ddof=1))):
                table.loc[len(table)] = {"fold": name, **row.to_dict()}
            table.insert(0, "strategy", strategy)
            table.insert(0, "model", model)
            frames.append(table)
    if not frames:
        return pd.DataFrame(columns=["model", "strategy", "fold", "auc", "accuracy", "precision"])
    return pd.concat(frames, ignore_index=True)


def site_metrics(cohort: Cohort, predictions: dict[str, Predictions]) -> pd.DataFrame:
    """``patient_metrics`` of models that each left one site out, with a column that names the site of every fold."""
    names = {str(f): str(cohort.site[n]) for p in predictions.values() for n, f in zip(p.patients, p.fold)}
    table = patient_metrics(predictions)
    table.insert(2, "site", table["fold"].map(names).fillna(""))
    return table


def patient_intervals(predictions: dict[str, Predictions], resamples: int, seed: int) -> pd.DataFrame:
    """Value over all patients with its 95 % patient-level bootstrap interval."""
    rows = []
    for model, p in predictions.items():
        for strategy in STRATEGIES:
            values = patient_figures(p, strategy)
            limits = bootstrap(p, partial(patient_figures, strategy=strategy), resamples, seed)
            for name in _INTERVALS:
                low, high = limits[name]
                rows.append({
                    "model": model, "strategy": strategy, "figure": name, "value": values[name], "low": low,
                    "high": high,
                })  # fmt: skip
    return pd.DataFrame(rows)


def instance_metrics(predictions: dict[str, Predictions]) -> pd.DataFrame:
    """Figures over instances by model and fold."""
    rows = []
    for model, p in predictions.items():
        for fold in np.unique(p.fold):
            rows.append({"model": model, "fold": str(fold), **instance_figures(p.of(np.flatnonzero(p.fold == fold)))})
        rows.append({"model": model, "fold": "all", **instance_figures(p)})
    return pd.DataFrame(rows)


def prediction_rows(cohort: Cohort, predictions: dict[str, Predictions]) -> pd.DataFrame:
    """One row per model and patient."""
    frames = []
    for model, p in predictions.items():
        frames.append(pd.DataFrame({
            "model": model, "patient_id": cohort.patient_ids[p.patients], "label": p.labels, "fold": p.fold,
            "log_odds": p.score, "probability": p.probability, "threshold": p.threshold,
        }))  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def instance_rows(cohort: Cohort, predictions: dict[str, Predictions]) -> pd.DataFrame:
    """One row per model and instance."""
    frames = []
    for model, p in predictions.items():
        frames.append(pd.DataFrame({
            "model": model, "patient_id": cohort.patient_ids[p.patients[p.owner]],
            "instance": cohort.keys[p.instances], "label": p.labels[p.owner], "probability": p.instance_probability,
        }))  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def differences(predictions: dict[str, Predictions], resamples: int, seed: int) -> pd.DataFrame:
    """Paired differences of the mean fold-wise AUC between all rows, on the same folds and patients."""
    rows = []
    for a, b in combinations(predictions, 2):
        value, low, high = paired_auc_difference(predictions[a], predictions[b], resamples, seed)
        rows.append({"model": a, "other": b, "auc_difference": value, "low": low, "high": high})
    return pd.DataFrame(rows, columns=["model", "other", "auc_difference", "low", "high"])


def feature_ranking(cohort: Cohort, folds: dict[str, list[FoldResult]]) -> pd.DataFrame:
    """How often each feature was chosen, by model: share of outer folds, and of inner folds. Confounder rows choose
    nothing, and their columns are no features.
    """
    rows = []
    for model, found in folds.items():
        if model in CONFOUNDERS or not all(f.frequency.size == len(cohort.names) for f in found):
            continue
        inner = np.mean([f.frequency for f in found], axis=0)
        outer = np.zeros(len(cohort.names))
        for fold in found:
            outer[fold.columns] += 1 / len(found)
        for column in np.argsort(-(outer + inner), kind="stable"):
            if outer[column] + inner[column] > 0:
                name = str(cohort.names[column])
                rows.append({
                    "model": model, "feature": name, "scale_mm": scale_of(name), "outer": outer[column],
                    "inner": inner[column],
                })  # fmt: skip
    return pd.DataFrame(rows, columns=["model", "feature", "scale_mm", "outer", "inner"])


def scale_ranking(cohort: Cohort, labels: np.ndarray) -> pd.DataFrame:
    """Discrimination by filter scale: univariate AUC (either direction) of patient means, best and mean of the top 10.

    Descriptive, over all patients that have the feature: for ranking scales, not for judging a model. A scale that
    the images do not show is left out.
    """
    known = ~np.isnan(cohort.features)
    with np.errstate(invalid="ignore"):
        means = patient_mean(cohort, np.where(known, cohort.features, 0.0)) / patient_mean(cohort, known)
    each = np.array([auc(column[has := ~np.isnan(column)], labels[has]) for column in means.T])
    strength = np.maximum(each, 1 - each)
    scales = np.array([scale_of(str(n)) for n in cohort.names])
    shape = np.array(["_shape" in str(n) for n in cohort.names])
    rows = []
    for scale in sorted(set(scales[~shape].tolist())):
        values = np.sort(strength[(scales == scale) & ~shape & np.isfinite(strength)])[::-1]
        if not values.size:
            continue
        top = float(values[:10].mean())
        rows.append({"scale_mm": scale, "features": len(values), "best_auc": float(values[0]), "top10_auc": top})
    return pd.DataFrame(rows, columns=["scale_mm", "features", "best_auc", "top10_auc"])


def choices(folds: dict[str, list[FoldResult]]) -> pd.DataFrame:
    """What the inner folds chose, with calibration and thresholds."""
    rows = [
        {"model": model, "fold": f.fold, "choice": f.choice, "slope": f.platt.slope, "intercept": f.platt.intercept,
         **f.thresholds}
        for model, found in folds.items() for f in found
    ]  # fmt: skip
    return pd.DataFrame(rows)


def ablations(
    changed: dict[str, Predictions], reference: Predictions | None, resamples: int, seed: int
) -> pd.DataFrame:
    """AUC of each ablation and its paired difference to the unchanged model."""
    rows = []
    for name, p in changed.items():
        assert reference is not None
        difference, low, high = paired_auc_difference(p, reference, resamples, seed)
        rows.append({"ablation": name, "auc": fold_auc(p), "difference": difference, "low": low, "high": high})
    return pd.DataFrame(rows, columns=["ablation", "auc", "difference", "low", "high"])


def scale_of(feature: str) -> float:
    """LoG width in mm of a feature's image; 0 for the original image."""
    match = re.match(r"log-sigma-(\d+)-(\d+)-mm", feature)
    return float(f"{match.group(1)}.{match.group(2)}") if match else 0.0
