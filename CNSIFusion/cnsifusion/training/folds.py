"""Splits of patients: stratified by label, never through a patient, seeded; by site as a second report."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import StratifiedKFold


def patient_folds(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Fold number (P,) of each patient, stratified by label."""
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    number = np.full(len(labels), -1)
    for fold, (_, test) in enumerate(split.split(np.zeros(len(labels)), labels)):
        number[test] = fold
    return number


def site_folds(site: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """Fold number (P,) by site (leave one site out), or None where fewer than two sites hold both classes."""
    names = [s for s in np.unique(site) if s != "" and len(np.unique(labels[site == s])) == 2]
    if len(names) < 2 or not np.isin(site, names).all():
        return None
    return np.searchsorted(names, site)


def permuted(labels: np.ndarray, seed: int) -> np.ndarray:
    """``labels`` shuffled between patients."""
    return np.random.default_rng([seed, 104729]).permutation(labels)
