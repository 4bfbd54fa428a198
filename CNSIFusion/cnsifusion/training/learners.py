"""What the inner folds choose between: every model as a list of candidates with log-odds for all instances.

A learner gets the instance rows of several training sets at once (the inner folds', then the whole outer training set)
and fits one member per set; it never looks at labels or features outside a member's rows to fit that member.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from cnsifusion.models.settings import ModelSettings
from cnsifusion.training.cases import ACQUISITION, ANATOMY, QUANTITIES
from cnsifusion.training.cohort import Cohort, instance_weights
from cnsifusion.training.finetune import Weights, finetune
from cnsifusion.training.maps import Maps
from cnsifusion.training.networks import Plan, train_heads
from cnsifusion.training.selection import Selection, select
from cnsifusion.training.settings import TrainingSettings

_LOGISTIC_STRENGTH = 0.1
_CLIP = 4.0

#: The protocol's confounder rows: name -> covariates.
CONFOUNDERS = {
    "age-sex": ("age", "male"),
    "age-sex-pvs-ventricles": ("age", "male", *ANATOMY),
    "acquisition": ACQUISITION,
}


@dataclass(frozen=True, eq=False)
class Candidate:
    """One choice: ``logits`` (N, members) of all instances, what it was, and what the last member learnt."""

    name: str
    logits: np.ndarray
    selections: list[Selection] | None = None
    state: dict[str, np.ndarray] = field(default_factory=dict)


def candidates(
    cohort: Cohort,
    source: Maps | Weights | None,
    model: ModelSettings,
    settings: TrainingSettings,
    training: list[np.ndarray],
    seed: int,
) -> Iterator[Candidate]:
    """All candidates of ``model``, each fitted on every training set (instance rows) in ``training``.

    ``source`` is what a network starts from: cached maps (``frozen``), weights (``finetune``); None: radiomics alone.
    """
    for selector, count in _selections(model, settings):
        chosen = None
        if selector:
            chosen = [
                select(cohort, rows, selector, count, settings.minimum_icc, settings.include_shape, seed)
                for rows in training
            ]
        label = f"{selector}-{count}" if selector else "image alone"
        if model.backbone is None:
            assert chosen is not None
            fit = _logistic if model.classifier == "logistic" else _boosting
            yield fit(cohort, training, chosen, label, seed)
            continue
        for decay in settings.weight_decays:
            plan = Plan(model, settings, training, chosen, decay, seed)
            if isinstance(source, Weights):
                fitted = finetune(cohort, source, plan)
            else:
                assert source is not None
                fitted = train_heads(cohort, source, plan)
            for epochs, logits, state in zip(sorted(settings.checkpoints), fitted.logits, fitted.states):
                yield Candidate(f"{label}, weight decay {decay:g}, {epochs} epochs", logits, chosen, state)


def confounder_candidate(cohort: Cohort, training: list[np.ndarray], seed: int) -> Candidate:
    """A logistic model of all columns of a confounder cohort (see ``confounder_cohort``)."""
    chosen = [_all_columns(cohort, rows) for rows in training]
    return _logistic(cohort, training, chosen, "all covariates", seed)


def confounder_cohort(cohort: Cohort, names: tuple[str, ...]) -> Cohort | None:
    """``cohort`` with covariates of the patient in place of radiomics; None where one is unknown for most patients."""
    known = {"age": cohort.age, "male": cohort.male}
    known |= {name: cohort.quantities[:, i] for i, name in enumerate(QUANTITIES)}
    table = np.stack([known[name] for name in names], axis=1)
    if np.isnan(table).mean(axis=0).max() > 0.5:
        return None
    features = table[cohort.patient]
    return replace(cohort, names=np.array(names), features=features, altered=np.zeros((0, *features.shape)))


def _selections(model: ModelSettings, settings: TrainingSettings) -> list[tuple[str, int]]:
    if not model.radiomics:
        return [("", 0)]
    return [(selector, count) for selector in settings.selectors for count in settings.feature_counts]


def _all_columns(cohort: Cohort, rows: np.ndarray) -> Selection:
    features = cohort.features[rows]
    impute = np.nan_to_num(np.nanmedian(features, axis=0))
    filled = np.where(np.isnan(features), impute, features)
    return Selection(np.arange(filled.shape[1]), impute, filled.mean(axis=0), np.maximum(filled.std(axis=0), 1e-12))


def _logistic(
    cohort: Cohort, training: list[np.ndarray], selections: list[Selection], label: str, seed: int
) -> Candidate:
    labels, weights, logits, state = cohort.labels[cohort.patient], instance_weights(cohort), [], {}
    for rows, selection in zip(training, selections):
        model = LogisticRegression(C=_LOGISTIC_STRENGTH, max_iter=500, random_state=seed)
        model.fit(selection.apply(cohort.features[rows], _CLIP), labels[rows], sample_weight=weights[rows])
        logits.append(model.decision_function(selection.apply(cohort.features, _CLIP)))
        state = {"weight": model.coef_[0].copy(), "bias": model.intercept_.copy()}
    return Candidate(label, np.stack(logits, axis=1), selections, state)


def _boosting(
    cohort: Cohort, training: list[np.ndarray], selections: list[Selection], label: str, seed: int
) -> Candidate:
    labels, weights, logits = cohort.labels[cohort.patient], instance_weights(cohort), []
    for rows, selection in zip(training, selections):
        model = HistGradientBoostingClassifier(
            max_iter=60, learning_rate=0.08, max_depth=3, min_samples_leaf=10, l2_regularization=1.0,
            early_stopping=False, random_state=seed,
        )  # fmt: skip
        model.fit(selection.apply(cohort.features[rows], _CLIP), labels[rows], sample_weight=weights[rows])
        logits.append(model.decision_function(selection.apply(cohort.features, _CLIP)))
    return Candidate(label, np.stack(logits, axis=1), selections)
