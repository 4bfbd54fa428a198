"""Fold results joined to out-of-fold predictions of the whole cohort."""

from __future__ import annotations

import numpy as np

from cnsifusion.training.cohort import Cohort
from cnsifusion.training.metrics import Predictions
from cnsifusion.training.nested import FoldResult


def join(
    cohort: Cohort, folds: list[FoldResult], labels: np.ndarray, threshold: str = "sensitivity95"
) -> Predictions:
    """Predictions of all patients, each by the fold model, calibration and threshold that never saw the patient."""
    patients = np.concatenate([f.patients for f in folds])
    instances = np.concatenate([f.instances for f in folds])
    position = np.full(len(labels), -1)
    position[patients] = np.arange(len(patients))
    return Predictions(
        patients=patients,
        labels=labels[patients],
        fold=np.concatenate([np.full(len(f.patients), f.fold) for f in folds]),
        probability=np.concatenate([f.platt(f.scores) for f in folds]),
        score=np.concatenate([f.scores for f in folds]),
        threshold=np.concatenate([np.full(len(f.patients), f.thresholds[threshold]) for f in folds]),
        owner=position[cohort.patient[instances]],
        instance_probability=np.concatenate([f.platt(f.logits) for f in folds]),
        instances=instances,
    )
