"""One outer fold of the nested cross-validation: the inner folds choose, the outer test patients only get scored."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnsifusion.imaging.write import atomic_path
from cnsifusion.models.settings import ModelSettings
from cnsifusion.training.calibration import Platt, fit_platt, threshold_at_sensitivity, threshold_youden
from cnsifusion.training.cohort import Cohort, patient_mean
from cnsifusion.training.finetune import Weights
from cnsifusion.training.folds import patient_folds
from cnsifusion.training.learners import (
    CONFOUNDERS,
    Candidate,
    candidates,
    confounder_candidate,
    confounder_cohort,
)
from cnsifusion.training.maps import load_maps
from cnsifusion.training.metrics import Predictions
from cnsifusion.training.selection import frequency
from cnsifusion.training.settings import TrainingSettings, digest, learning_source


@dataclass(frozen=True)
class FoldTask:
    """One row (model or confounder) and one outer fold; paths and numbers only.

    ``outer`` holds the fold number of every patient; ``labels`` replaces the cohort's labels where given (permutation).
    ``maps`` are the cached map files in the cohort's order (empty for rows without a network, and for the ``finetune``
    regime, which starts from ``weights``).
    """

    row: str
    model: ModelSettings | None
    fold: int
    outer: tuple[int, ...]
    cohort: str
    cohort_key: str
    maps: tuple[str, ...]
    weights: Weights | None
    settings: TrainingSettings
    labels: tuple[int, ...] | None
    out: str

    @property
    def path(self) -> Path:
        """The result's file; its name holds everything the result depends on."""
        maps = [Path(m).stem for m in self.maps]
        labels = self.cohort_key if self.labels is None else digest(self.cohort_key, self.labels)
        started = self.weights.sha256 if self.weights else maps
        name = digest(learning_source(), labels, self.model, self.outer, self.fold, started, self.settings.of_fold())
        return Path(self.out) / f"{self.row}-{self.fold}-{name}.npz"


@dataclass(frozen=True, eq=False)
class FoldResult:
    """What one fold model says of its test patients, and what it is.

    ``instances`` (n,) rows of the test patients' instances and their ``logits``; ``patients`` (p,) and their mean
    ``scores``; ``platt`` and ``thresholds`` from the inner folds; the chosen ``columns`` with
    ``impute``, ``mean``, ``scale``; ``frequency`` (F,) over inner folds; ``state`` the weights.
    """

    row: str
    fold: int
    choice: str
    instances: np.ndarray
    logits: np.ndarray
    patients: np.ndarray
    scores: np.ndarray
    platt: Platt
    thresholds: dict[str, float]
    columns: np.ndarray
    impute: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    frequency: np.ndarray
    state: dict[str, np.ndarray]

    @property
    def default_threshold(self) -> str:
        """The name of the threshold that was set at a sensitivity."""
        return next(name for name in self.thresholds if name.startswith("sensitivity"))


def run_fold(task: FoldTask) -> str:
    """Fit and score one outer fold, unless its file exists; returns the file's path."""
    path = task.path
    if not path.exists():
        result = _fit_fold(task)
        with atomic_path(path) as temporary:
            np.savez(temporary, **_to_arrays(result))  # type: ignore[arg-type]
    return str(path)


def load_fold(path: str | Path) -> FoldResult:
    """Read what ``run_fold`` wrote."""
    with np.load(path, allow_pickle=False) as data:
        arrays = {name: data[name] for name in data.files}
    words = json.loads(str(arrays.pop("words")))
    state = {name[6:]: arrays.pop(name) for name in list(arrays) if name.startswith("state_")}
    return FoldResult(
        words["row"], words["fold"], words["choice"], platt=Platt(*words["platt"]), thresholds=words["thresholds"],
        state=state, **arrays,
    )  # fmt: skip


def join(cohort: Cohort, folds: list[FoldResult], labels: np.ndarray) -> Predictions:
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
        threshold=np.concatenate([np.full(len(f.patients), f.thresholds[f.default_threshold]) for f in folds]),
        owner=position[cohort.patient[instances]],
        instance_probability=np.concatenate([f.platt(f.logits) for f in folds]),
        instances=instances,
    )


def _to_arrays(result: FoldResult) -> dict[str, np.ndarray]:
    words = {
        "row": result.row, "fold": result.fold, "choice": result.choice,
        "platt": [result.platt.slope, result.platt.intercept], "thresholds": result.thresholds,
    }  # fmt: skip
    names = (
        "instances", "logits", "patients", "scores", "columns", "impute", "mean",
        "scale", "frequency",
    )  # fmt: skip
    arrays = {name: getattr(result, name) for name in names}
    state = {f"state_{name}": array for name, array in result.state.items()}
    return {"words": np.array(json.dumps(words)), **arrays, **state}


def _fit_fold(task: FoldTask) -> FoldResult:
    cohort = Cohort.load(Path(task.cohort))
    if task.labels is not None:
        cohort = cohort.with_labels(np.array(task.labels))
    settings, outer = task.settings, np.array(task.outer)
    train_patients = np.flatnonzero(outer != task.fold)
    inner = patient_folds(cohort.labels[train_patients], settings.inner_folds, settings.seed + 1000 + task.fold)
    in_training = np.isin(cohort.patient, train_patients)
    inner_of = np.full(len(cohort.labels), -1)
    inner_of[train_patients] = inner
    training = [
        np.flatnonzero(in_training & (inner_of[cohort.patient] != k)) for k in range(settings.inner_folds)
    ] + [np.flatnonzero(in_training)]
    best, best_loss, best_scores = None, np.inf, np.zeros(0)
    for candidate in _candidates(task, cohort, training):
        scores = _out_of_fold(cohort, candidate, inner_of)[train_patients]
        loss = _log_loss(scores, cohort.labels[train_patients])
        if loss < best_loss - 1e-9:
            best, best_loss, best_scores = candidate, loss, scores
    assert best is not None
    return _result(task, cohort, best, train_patients, best_scores)


def _candidates(task: FoldTask, cohort: Cohort, training: list[np.ndarray]) -> Iterable[Candidate]:
    seed = task.settings.seed + 7919 * task.fold
    if task.model is None:
        covariates = confounder_cohort(cohort, CONFOUNDERS[task.row])
        assert covariates is not None
        return [confounder_candidate(covariates, training, seed)]
    source = load_maps(list(task.maps)) if task.maps else task.weights
    return candidates(cohort, source, task.model, task.settings, training, seed)


def _out_of_fold(cohort: Cohort, candidate: Candidate, inner_of: np.ndarray) -> np.ndarray:
    """Patient scores (P,), each from the inner member that did not train on the patient (0 outside training)."""
    scores = patient_mean(cohort, candidate.logits)
    return np.where(inner_of >= 0, scores[np.arange(len(scores)), inner_of], 0.0)


def _log_loss(scores: np.ndarray, labels: np.ndarray) -> float:
    """Log-loss of the scores after Platt's map: lower is better, whatever the scores' scale."""
    p = np.clip(fit_platt(scores, labels)(scores), 1e-9, 1 - 1e-9)
    return float(-(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean())


def _result(
    task: FoldTask, cohort: Cohort, best: Candidate, train_patients: np.ndarray, inner_scores: np.ndarray
) -> FoldResult:
    labels = cohort.labels[train_patients]
    platt = fit_platt(inner_scores, labels)
    probability = platt(inner_scores)
    test = np.flatnonzero(np.array(task.outer) == task.fold)
    rows = np.flatnonzero(np.isin(cohort.patient, test))
    logits = best.logits[:, -1]
    selections = best.selections or []
    last = selections[-1] if selections else None
    empty = np.zeros(0)
    return FoldResult(
        row=task.row,
        fold=task.fold,
        choice=best.name,
        instances=rows,
        logits=logits[rows],
        patients=test,
        scores=patient_mean(cohort, logits)[test],
        platt=platt,
        thresholds={
            task.settings.threshold: threshold_at_sensitivity(probability, labels, task.settings.sensitivity),
            "youden": threshold_youden(probability, labels),
        },
        columns=last.columns if last else empty.astype(int),
        impute=last.impute if last else empty,
        mean=last.mean if last else empty,
        scale=last.scale if last else empty,
        frequency=frequency(selections[:-1], len(cohort.names)) if selections else empty,
        state=best.state,
    )
