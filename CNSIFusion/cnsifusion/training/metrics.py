"""Figures of merit per patient and per instance, strategies of deciding on a patient, and their intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from cnsifusion.training.calibration import calibration_line

STRATEGIES = ("mean", "majority", "any", "strict")
INDETERMINATE = -1


@dataclass(frozen=True, eq=False)
class Predictions:
    """Out-of-fold predictions of one row of the evaluation, patient by patient.

    ``patients`` index, ``labels``, ``fold``, calibrated ``probability``, ``score`` (log-odds) and ``threshold`` (p,);
    for the instances: ``owner`` (n,) position of the patient, ``instance_probability`` and ``instances`` row numbers.
    """

    patients: np.ndarray
    labels: np.ndarray
    fold: np.ndarray
    probability: np.ndarray
    score: np.ndarray
    threshold: np.ndarray
    owner: np.ndarray
    instance_probability: np.ndarray
    instances: np.ndarray

    def of(self, positions: np.ndarray) -> Predictions:
        """The same of some patients (a resample may repeat one, which then counts as another patient)."""
        rows = [np.flatnonzero(self.owner == p) for p in positions]
        owner = np.repeat(np.arange(len(positions)), [len(r) for r in rows])
        inside = np.concatenate(rows) if rows else np.zeros(0, int)
        patient = {n: getattr(self, n)[positions] for n in _PER_PATIENT}
        return Predictions(
            **patient, owner=owner, instance_probability=self.instance_probability[inside],
            instances=self.instances[inside],
        )  # fmt: skip


_PER_PATIENT = ("patients", "labels", "fold", "probability", "score", "threshold")


def auc(score: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve (Mann-Whitney, ties count half); NaN with one class."""
    positive = int((labels == 1).sum())
    negative = len(labels) - positive
    if positive == 0 or negative == 0:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[labels == 1].sum() - positive * (positive + 1) / 2) / (positive * negative))


def decisions(predictions: Predictions, strategy: str) -> np.ndarray:
    """Decision per patient: 1 infected, 0 not, INDETERMINATE (strict alone, where instances disagree)."""
    if strategy == "mean":
        return (predictions.probability >= predictions.threshold).astype(int)
    count = len(predictions.labels)
    above = predictions.instance_probability >= predictions.threshold[predictions.owner]
    positive = np.bincount(predictions.owner, above, minlength=count)
    total = np.bincount(predictions.owner, minlength=count)
    if strategy == "majority":
        return (2 * positive >= total).astype(int)
    if strategy == "any":
        return (positive > 0).astype(int)
    return np.where(positive == total, 1, np.where(positive == 0, 0, INDETERMINATE))


def counted(decision: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Decisions with every indeterminate patient counted as an error (protocol)."""
    return np.where(decision == INDETERMINATE, 1 - labels, decision)


def decision_figures(decision: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy, precision, sensitivity, specificity, F1, LR+ and LR-; NaN where a denominator is 0."""
    d = counted(decision, labels)
    tp, fp = int(((d == 1) & (labels == 1)).sum()), int(((d == 1) & (labels == 0)).sum())
    fn, tn = int(((d == 0) & (labels == 1)).sum()), int(((d == 0) & (labels == 0)).sum())
    sensitivity, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    return {
        "accuracy": _ratio(tp + tn, len(labels)),
        "precision": _ratio(tp, tp + fp),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "lr_plus": _ratio(sensitivity, 1 - specificity),
        "lr_minus": _ratio(1 - sensitivity, specificity),
    }


def patient_figures(predictions: Predictions, strategy: str) -> dict[str, float]:
    """All figures of one strategy over the given patients."""
    labels, decision = predictions.labels, decisions(predictions, strategy)
    slope, intercept = calibration_line(predictions.probability, labels)
    determinate = decision != INDETERMINATE
    return {
        "auc": auc(predictions.probability, labels),
        **decision_figures(decision, labels),
        "brier": float(((predictions.probability - labels) ** 2).mean()),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
        "indeterminate": float((~determinate).mean()),
        "accuracy_determinate": _ratio(int((decision == labels)[determinate].sum()), int(determinate.sum())),
        "instances_per_patient": len(predictions.owner) / max(1, len(labels)),
    }


def instance_figures(predictions: Predictions) -> dict[str, float]:
    """Figures over instances, each counted once (patients with more slices weigh more: read with care)."""
    labels = predictions.labels[predictions.owner]
    decision = (predictions.instance_probability >= predictions.threshold[predictions.owner]).astype(int)
    brier = float(((predictions.instance_probability - labels) ** 2).mean())
    return {"auc": auc(predictions.instance_probability, labels), **decision_figures(decision, labels), "brier": brier}


def bootstrap(
    predictions: Predictions, figures: Callable[[Predictions], dict[str, float]], resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals over resampled patients, stratified by label (Efron, 1979)."""
    random = np.random.default_rng([seed, 424243])
    groups = [np.flatnonzero(predictions.labels == value) for value in (0, 1)]
    drawn = [
        figures(predictions.of(np.concatenate([random.choice(g, len(g)) for g in groups]))) for _ in range(resamples)
    ]
    return {name: _interval([d[name] for d in drawn]) for name in drawn[0]}


def paired_auc_difference(a: Predictions, b: Predictions, resamples: int, seed: int) -> tuple[float, float, float]:
    """AUC of ``a`` minus ``b`` on the same patients, with a 95 % paired bootstrap interval.

    AUC is averaged over folds, since scores of different fold models need not be comparable.
    """
    random = np.random.default_rng([seed, 31337])
    order = np.argsort(b.patients)[np.searchsorted(np.sort(b.patients), a.patients)]
    b = b.of(order)
    groups = [np.flatnonzero((a.labels == v) & (a.fold == f)) for v in (0, 1) for f in np.unique(a.fold)]
    difference = fold_auc(a) - fold_auc(b)
    drawn = []
    for _ in range(resamples):
        chosen = np.concatenate([random.choice(g, len(g)) for g in groups if len(g)])
        drawn.append(fold_auc(a, chosen) - fold_auc(b, chosen))
    return (difference, *_interval(drawn))


def fold_auc(predictions: Predictions, chosen: np.ndarray | slice = slice(None)) -> float:
    """Mean over folds of the AUC within the fold, for the patients at positions ``chosen`` (all by default)."""
    fold, score, labels = predictions.fold[chosen], predictions.score[chosen], predictions.labels[chosen]
    return float(np.nanmean([auc(score[fold == f], labels[fold == f]) for f in np.unique(fold)]))


def net_benefit(probability: np.ndarray, labels: np.ndarray, prevalence: float, threshold: float) -> float:
    """Net benefit of acting above ``threshold`` at another prevalence.

    Vickers and Elkin, Med Decis Making 2006;26:565. Probabilities are moved to that prevalence by Bayes' rule on the
    odds; classes are re-weighted accordingly.
    """
    trained = labels.mean()
    odds = np.clip(probability, 1e-9, 1 - 1e-9) / (1 - np.clip(probability, 1e-9, 1 - 1e-9))
    odds = odds * (prevalence / (1 - prevalence)) / (trained / (1 - trained))
    above = odds / (1 + odds) >= threshold
    sensitivity, false_alarm = above[labels == 1].mean(), above[labels == 0].mean()
    return float(sensitivity * prevalence - false_alarm * (1 - prevalence) * threshold / (1 - threshold))


def _ratio(a: float, b: float) -> float:
    return float(a) / float(b) if b else float("nan")


def _interval(values: list[float]) -> tuple[float, float]:
    finite = np.array(values)[np.isfinite(values)]
    if finite.size < 0.5 * len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)
