"""Choosing features on training patients alone: stability filter, mRMR or L1, and the scaler of what was chosen."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.svm import l1_min_c

from cnsifusion.errors import BadInput
from cnsifusion.training.cohort import Cohort, instance_weights

_MAX_MISSING = 0.2


@dataclass(frozen=True, eq=False)
class Selection:
    """Chosen features (column numbers), what replaces a missing value, and the scaler; all from training patients."""

    columns: np.ndarray
    impute: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    def apply(self, features: np.ndarray, clip: float) -> np.ndarray:
        """Standardised chosen features (n, k), missing ones imputed, held within +- ``clip``."""
        raw = features[:, self.columns]
        filled = np.where(np.isnan(raw), self.impute, raw)
        return np.clip((filled - self.mean) / self.scale, -clip, clip)


def icc21(ratings: np.ndarray) -> np.ndarray:
    """ICC(2,1), two-way random effects, absolute agreement, single rater (Shrout and Fleiss, Psychol Bull 1979;86:420).

    ``ratings`` (raters, subjects, features); returns (features,), NaN where nothing varies.
    """
    k, n, _ = ratings.shape
    grand = ratings.mean(axis=(0, 1))
    rows = k * ((ratings.mean(axis=0) - grand) ** 2).sum(axis=0) / (n - 1)
    columns = n * ((ratings.mean(axis=1) - grand) ** 2).sum(axis=0) / (k - 1)
    total = ((ratings - grand) ** 2).sum(axis=(0, 1))
    error = (total - rows * (n - 1) - columns * (k - 1)) / ((n - 1) * (k - 1))
    denominator = rows + (k - 1) * error + k * (columns - error) / n
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, (rows - error) / denominator, np.nan)


def stability(cohort: Cohort, rows: np.ndarray) -> np.ndarray:
    """ICC(2,1) (F,) of every feature over mask jitter, slice shift and noise, on those instances of ``rows`` that have
    it in all versions; NaN where fewer than three do.
    """
    ratings = np.concatenate([cohort.features[None, rows], cohort.altered[:, rows]])
    patterns, which = np.unique(~np.isnan(ratings).any(axis=0), axis=1, return_inverse=True)
    icc = np.full(ratings.shape[2], np.nan)
    for n, present in enumerate(patterns.T):  # few: features are missing image by image
        if present.sum() >= 3:
            columns = which.ravel() == n
            icc[columns] = icc21(ratings[:, present][:, :, columns])
    return icc


def candidates(cohort: Cohort, rows: np.ndarray, minimum_icc: float, include_shape: bool, least: int) -> np.ndarray:
    """Columns that may be chosen: not shape (unless asked for), rarely missing, not constant, stable.

    Where fewer than ``least`` are stable enough, the most stable ones are taken. Raises BadInput where there is none.
    """
    features = cohort.features[rows]
    usable = np.isnan(features).mean(axis=0) <= _MAX_MISSING
    if not include_shape:
        usable &= np.array(["_shape2D_" not in n and "_shape_" not in n for n in cohort.names])
    spread = np.nanstd(np.where(usable, features, 0.0), axis=0)
    usable &= spread > 1e-12
    icc = np.where(usable, np.nan_to_num(stability(cohort, rows), nan=-1.0), -np.inf)
    if not usable.any():
        raise BadInput("No radiomics feature can be used: all are missing or constant; check images and regions.")
    stable = np.flatnonzero(icc >= minimum_icc)
    if len(stable) >= least:
        return stable
    order = np.argsort(-icc, kind="stable")
    return np.sort(order[: min(least, int(usable.sum()))])


def select(
    cohort: Cohort, rows: np.ndarray, selector: str, count: int, minimum_icc: float, include_shape: bool, seed: int
) -> Selection:
    """At most ``count`` features chosen and scaled on the instances ``rows`` (all of training patients)."""
    allowed = candidates(cohort, rows, minimum_icc, include_shape, least=count)
    weights = instance_weights(cohort)[rows]
    impute, mean, scale = _scaler(cohort.features[rows][:, allowed], weights)
    full = Selection(allowed, impute, mean, scale)
    patients, index = np.unique(cohort.patient[rows], return_inverse=True)
    table = np.zeros((len(patients), len(allowed)))
    np.add.at(table, index, full.apply(cohort.features[rows], 4.0) * weights[:, None])
    labels = cohort.labels[patients]
    chosen = mrmr(table, labels, count) if selector == "mrmr" else l1(table, labels, count, seed)
    chosen = np.sort(chosen)
    return Selection(allowed[chosen], impute[chosen], mean[chosen], scale[chosen])


def mrmr(table: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Columns by minimum redundancy, maximum relevance (Peng, Long, Ding, IEEE TPAMI 2005;27:1226), difference form.

    Mutual information is that of a Gaussian with the columns' correlation, -log(1 - r^2) / 2.
    """
    with np.errstate(invalid="ignore"):
        correlation = np.nan_to_num(np.corrcoef(np.column_stack([table, labels]), rowvar=False))
    information = -0.5 * np.log(1 - np.clip(correlation**2, 0, 1 - 1e-9))
    relevance, redundancy = information[:-1, -1], information[:-1, :-1]
    chosen = [int(np.argmax(relevance))]
    while len(chosen) < min(count, len(relevance)):
        score = relevance - redundancy[:, chosen].mean(axis=1)
        score[chosen] = -np.inf
        chosen.append(int(np.argmax(score)))
    return np.array(chosen)


def l1(table: np.ndarray, labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Columns with a weight in the least penalised L1 logistic model that keeps at most ``count`` of them."""
    best = mrmr(table, labels, 1)
    for strength in l1_min_c(table, labels, loss="log") * np.logspace(0.05, 1.5, 12):
        model = LogisticRegression(l1_ratio=1.0, C=strength, solver="liblinear", random_state=seed, max_iter=500)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not converged within max_iter: the chosen columns are still valid
            model.fit(table, labels)
        found = np.flatnonzero(model.coef_[0])
        if len(found) > count:
            break
        if len(found):
            best = found
    return best


def _scaler(features: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median (for missing values), weighted mean and SD of each column."""
    impute = np.nanmedian(features, axis=0)
    filled = np.where(np.isnan(features), impute, features)
    share = (weights / weights.sum())[:, None]
    mean = (filled * share).sum(axis=0)
    scale = np.sqrt(((filled - mean) ** 2 * share).sum(axis=0))
    return impute, mean, np.maximum(scale, 1e-12)


def frequency(selections: list[Selection], features: int) -> np.ndarray:
    """How often each of ``features`` columns was chosen, as a share of the selections."""
    counts = np.zeros(features)
    for selection in selections:
        counts[selection.columns] += 1
    return counts / max(1, len(selections))
