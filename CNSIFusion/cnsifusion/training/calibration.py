"""From log-odds to a probability and a decision: Platt's map and thresholds, fitted on inner out-of-fold patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_MIN_SLOPE = 1e-3


@dataclass(frozen=True)
class Platt:
    """probability = sigmoid(slope * score + intercept)."""

    slope: float
    intercept: float

    def __call__(self, score: np.ndarray | float) -> np.ndarray:
        """Probability of scores of any shape."""
        return sigmoid(self.slope * np.asarray(score, float) + self.intercept)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return 1 / (1 + np.exp(-np.clip(x, -60, 60)))


def logistic_fit(design: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Maximum-likelihood logistic coefficients by Newton's method; a tiny ridge keeps separable data finite."""
    beta = np.zeros(design.shape[1])
    ridge = np.eye(design.shape[1]) * 1e-6
    for _ in range(100):
        p = sigmoid(design @ beta)
        weight = np.maximum(p * (1 - p), 1e-9)
        step = np.linalg.solve((design.T * weight) @ design + ridge, design.T @ (target - p) - ridge @ beta)
        beta = beta + step * min(1.0, 5.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    return beta


def fit_platt(scores: np.ndarray, labels: np.ndarray) -> Platt:
    """Platt's map with his smoothed targets (Platt, Advances in Large Margin Classifiers, 1999).

    A score that does not rise with infection gets the smallest positive slope: every patient near the prevalence.
    """
    positive, negative = labels.sum(), (1 - labels).sum()
    target = np.where(labels == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    spread = max(float(scores.std()), 1e-9)
    center = float(scores.mean())
    intercept, slope = logistic_fit(np.column_stack([np.ones(len(scores)), (scores - center) / spread]), target)
    slope = slope / spread
    if slope < _MIN_SLOPE:
        base = np.log((positive + 1) / (negative + 1))
        return Platt(_MIN_SLOPE, float(base - _MIN_SLOPE * center))
    return Platt(float(slope), float(intercept - slope * center))


def calibration_line(probability: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Calibration slope, and intercept at slope 1 (calibration in the large), of predicted probabilities.

    Cox, Biometrika 1958;45:562; Van Calster et al., J Clin Epidemiol 2016;74:167.
    """
    p = np.clip(probability, 1e-9, 1 - 1e-9)
    logit = np.log(p / (1 - p))
    if np.ptp(logit) < 1e-9 or len(np.unique(labels)) < 2:
        return float("nan"), float("nan")
    slope = float(logistic_fit(np.column_stack([np.ones(len(p)), logit]), labels)[1])
    shift = 0.0
    for _ in range(100):
        q = sigmoid(logit + shift)
        step = (labels - q).sum() / max((q * (1 - q)).sum(), 1e-9)
        shift += float(np.clip(step, -5, 5))
        if abs(step) < 1e-10:
            break
    return slope, shift


def threshold_at_sensitivity(probability: np.ndarray, labels: np.ndarray, sensitivity: float) -> float:
    """The highest threshold at which at least this share of the infected lie at or above it."""
    infected = np.sort(probability[labels == 1])[::-1]
    needed = int(np.ceil(sensitivity * len(infected) - 1e-9))
    return float(infected[max(0, needed - 1)])


def threshold_youden(probability: np.ndarray, labels: np.ndarray) -> float:
    """The threshold with the largest sensitivity + specificity - 1 (Youden, Cancer 1950;3:32), midway."""
    levels = np.unique(probability)
    cuts = np.concatenate([[levels[0]], (levels[1:] + levels[:-1]) / 2])
    above = probability[None, :] >= cuts[:, None]
    youden = above[:, labels == 1].mean(axis=1) - above[:, labels == 0].mean(axis=1)
    return float(cuts[int(np.argmax(youden))])
