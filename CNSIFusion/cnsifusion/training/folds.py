"""Splits of patients: stratified by label, never through a patient, seeded; by site as a second report."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import StratifiedKFold

from cnsifusion.errors import BadInput


def patient_folds(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Fold number (P,) of each patient, stratified by label."""
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    number = np.full(len(labels), -1)
    for fold, (_, test) in enumerate(split.split(np.zeros(len(labels)), labels)):
        number[test] = fold
    return number


def site_folds(site: np.ndarray, labels: np.ndarray, inner_folds: int) -> np.ndarray | None:
    """Fold number (P,) by site (leave one site out), or None where the patients are of one site or of none known.

    Raises BadInput with the reason where there are several sites, but not each can be left out.
    """
    names = np.unique(site[site != ""])
    if len(names) < 2:
        return None
    if (site == "").any():
        raise BadInput("some patients have no site")
    if single := [s for s in names if len(np.unique(labels[site == s])) < 2]:
        raise BadInput(f"not both classes at site {', '.join(single)}")
    if small := [s for s in names if np.bincount(labels[site != s], minlength=2).min() < inner_folds]:
        raise BadInput(f"too few patients of a class remain for {inner_folds} inner folds without {', '.join(small)}")
    return np.searchsorted(names, site)


def permuted(labels: np.ndarray, seed: int) -> np.ndarray:
    """``labels`` shuffled between patients."""
    return np.random.default_rng([seed, 104729]).permutation(labels)
