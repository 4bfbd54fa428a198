"""Nested cross-validation of several models, every figure of the protocol, and the files and report that hold them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cnsifusion.errors import BadInput
from cnsifusion.imaging.read import content_sha256
from cnsifusion.imaging.write import atomic_path, write_text
from cnsifusion.models.settings import get_model
from cnsifusion.training import curves, tables
from cnsifusion.training.cohort import Cohort
from cnsifusion.training.experiment import Experiment
from cnsifusion.training.folds import patient_folds, site_folds
from cnsifusion.training.learners import CONFOUNDERS
from cnsifusion.training.manifest import patients_needed
from cnsifusion.training.metrics import Predictions, auc, fold_auc
from cnsifusion.training.nested import FoldResult, join
from cnsifusion.training.settings import TrainingSettings

#: Above this AUC, acquisition alone tells the label (protocol).
ACQUISITION_LIMIT = 0.65
_CHEAP = "radiomics-logistic"
#: Written before the other files: where it lies they are an evaluation's and may be replaced.
STAMP = "evaluation.json"

#: What each of settings.ABLATIONS changes. The model is radiomics-logistic.
_CHANGES: dict[str, Callable[[TrainingSettings], TrainingSettings]] = {
    "with-shape": lambda s: replace(s, include_shape=True),
    "without-pvs": lambda s: replace(s, submask="without-pvs"),
    "pvs-only": lambda s: replace(s, submask="pvs-only"),
    "no-bias-correction": lambda s: replace(s, preparation=replace(s.preparation, bias_correction=False)),
    "brain-normalisation": lambda s: replace(s, preparation=replace(s.preparation, normalisation="brain")),
    "no-normalisation": lambda s: replace(s, preparation=replace(s.preparation, normalisation="none")),
}


@dataclass
class Evaluation:
    """All results of one run: out-of-fold predictions and fold results by row, further tables, warnings, seconds."""

    cohort: Cohort
    labels: np.ndarray
    predictions: dict[str, Predictions] = field(default_factory=dict)
    folds: dict[str, list[FoldResult]] = field(default_factory=dict)
    by_site: dict[str, Predictions] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    ablations: dict[str, Predictions] = field(default_factory=dict)
    learning: list[tuple[int, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def evaluate_models(
    experiment: Experiment, models: list[str], out: str | Path, permute_labels: bool = False
) -> Path:
    """Evaluate ``models`` and the confounder rows; writes CSV files and ``report.html`` to ``out``, returns its path.

    With ``permute_labels`` the labels are shuffled between patients first: every AUC must then lie near 0.5. Work is
    cached in the experiment's folder, so an interrupted run goes on where it stopped and ends with the same figures.
    """
    from cnsifusion.training.report import write_report

    if not models:
        raise BadInput("No model was named; use --models, for instance radiomics-logistic,mobile-aspp-radfusion.")
    models = list(dict.fromkeys(models))  # one named twice would count every patient twice
    directory = Path(out)
    _check_folder(directory)
    origins = _origins(experiment, models)
    started = time.monotonic()
    cohort = experiment.cohort()
    permutation = 1 if permute_labels else None
    result = Evaluation(cohort, experiment.labels(cohort, permutation), origins=origins)
    result.seconds["prepare patients"] = time.monotonic() - started
    started = time.monotonic()
    result.folds = experiment.run(cohort, [*models, *CONFOUNDERS], permutation=permutation)
    result.predictions = {row: join(cohort, found, result.labels) for row, found in result.folds.items()}
    result.seconds["cross-validate"] = time.monotonic() - started
    _second_reports(experiment, result, models, permutation)
    result.warnings += [*experiment.manifest.warnings, *_confounding(result), *_rows_left_out(result)]
    write_files(experiment, result, directory)
    return write_report(experiment, result, directory)


def _check_folder(folder: Path) -> None:
    """Refuse before any work a folder with files of others: tables there may have the names of ours."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if STAMP not in names and any(name != "work" and not name.startswith(".") for name in names):
        raise BadInput("The output folder holds other files than an evaluation's; give a new folder.")


def write_files(experiment: Experiment, result: Evaluation, out: Path) -> None:
    """The CSV files behind every figure and ``evaluation.json`` with settings, versions and hashes."""
    seed, resamples = experiment.settings.seed, experiment.settings.bootstrap
    frames = {
        "patient_metrics.csv": tables.patient_metrics(result.predictions),
        "patient_intervals.csv": tables.patient_intervals(result.predictions, resamples, seed),
        "instance_metrics.csv": tables.instance_metrics(result.predictions),
        "predictions.csv": tables.prediction_rows(result.cohort, result.predictions),
        "instance_predictions.csv": tables.instance_rows(result.cohort, result.predictions),
        "differences.csv": tables.differences(result.predictions, resamples, seed),
        "features.csv": tables.feature_ranking(result.cohort, result.folds),
        "scales.csv": tables.scale_ranking(result.cohort, result.labels),
        "choices.csv": tables.choices(result.folds),
        "roc.csv": curves.roc(result.predictions),
        "calibration.csv": curves.calibration(result.predictions),
        "decision.csv": curves.decision(result.predictions),
        "learning.csv": pd.DataFrame(result.learning, columns=["patients", "auc"]),
        "ablations.csv": tables.ablations(result.ablations, result.predictions.get(_CHEAP), resamples, seed),
        "by_site.csv": tables.site_metrics(result.cohort, result.by_site),
    }
    write_text(json.dumps(stamp(experiment, result), indent=1), out / STAMP)
    for name, frame in frames.items():
        with atomic_path(out / name) as temporary:
            frame.to_csv(temporary, index=False, float_format="%.6g")


def stamp(experiment: Experiment, result: Evaluation) -> dict[str, Any]:
    """What the figures depend on."""
    from cnsifusion.training.train import source_hashes, versions

    return {
        "region": experiment.region,
        "settings": experiment.settings.to_dict(),
        "radiomics": result.cohort.radiomics.to_dict(),
        "versions": versions(),
        "source": source_hashes(),
        "manifest_sha256": content_sha256(experiment.manifest.path),
        "assigned": experiment.manifest.names,
        "cohort_hash": result.cohort.key,
        "permuted": not np.array_equal(result.labels, result.cohort.labels),
        "patients": len(result.labels),
        "infected": int(result.labels.sum()),
        "instances": len(result.cohort.patient),
        "backbone_origins": result.origins,
        "simulated": experiment.manifest.simulated,
        "warnings": result.warnings,
        "seconds": {name: round(value, 1) for name, value in result.seconds.items()},
    }


def _origins(experiment: Experiment, models: list[str]) -> dict[str, str]:
    """Origin of each model's backbone; raises BadInput before any work where a model or its backbone is missing."""
    origins = {}
    for name in models:
        source = experiment.backbone(get_model(name))
        origins[name] = source.origin if source else "none"
    return origins


def _second_reports(experiment: Experiment, result: Evaluation, models: list[str], permutation: int | None) -> None:
    """Leave-one-site-out, the learning curve and the ablations."""
    cohort, started = result.cohort, time.monotonic()
    sites = _sites(experiment, result) if experiment.settings.leave_site_out else None
    if sites is not None:
        for row, found in experiment.run(cohort, models, outer=sites, permutation=permutation).items():
            result.by_site[row] = join(cohort, found, result.labels)
        result.seconds["leave one site out"] = time.monotonic() - started
    started = time.monotonic()
    if _CHEAP in result.predictions and permutation is None:
        result.learning = learning_curve(experiment, cohort)
        for name in experiment.settings.ablations:
            try:
                result.ablations[name] = _ablation(experiment, name)
            except BadInput as error:  # most often pvs-only: few patients have a slice with 64 pixels of PVS
                reason = str(error).split("\n")[0].split(";")[0]
                result.warnings.append(f"The ablation {name} was left out: {reason}.")
        result.seconds["learning curve and ablations"] = time.monotonic() - started


def _sites(experiment: Experiment, result: Evaluation) -> np.ndarray | None:
    try:
        return site_folds(result.cohort.site, result.labels, experiment.settings.inner_folds)
    except BadInput as error:
        result.warnings.append(f"Leave-one-site-out was left out: {error}.")
        return None


def learning_curve(experiment: Experiment, cohort: Cohort) -> list[tuple[int, float]]:
    """Mean fold-wise AUC of radiomics-logistic with a growing share of the patients, stratified, seeded."""
    points: list[tuple[int, float]] = []
    folds, inner = experiment.settings.folds, experiment.settings.inner_folds
    least = max(2 * folds, patients_needed(folds, inner))
    if np.bincount(cohort.labels, minlength=2).min() < max(5, 2 * experiment.settings.folds):
        return points  # too few patients to leave some out
    share = patient_folds(cohort.labels, 5, experiment.settings.seed + 77)
    for parts in range(2, 6):
        kept = np.flatnonzero(share < parts)
        smaller = cohort.of_patients(kept)
        if np.bincount(smaller.labels, minlength=2).min() < least:
            continue
        smaller.save(experiment.cohort_path(smaller))
        points.append((len(kept), fold_auc(experiment.predictions(smaller, _CHEAP))))
    return points


def _ablation(experiment: Experiment, name: str) -> Predictions:
    changed = replace(experiment, settings=_CHANGES[name](experiment.settings))
    return changed.predictions(changed.cohort(), _CHEAP)


def _rows_left_out(result: Evaluation) -> list[str]:
    missing = [row for row in CONFOUNDERS if row not in result.folds]
    return [f"The row {row} was left out: a part of it is not known of most patients." for row in missing]


def _confounding(result: Evaluation) -> list[str]:
    predictions = result.predictions.get("acquisition")
    if predictions is None:
        return []
    value = max(fold_auc(predictions), auc(predictions.probability, predictions.labels))
    if value <= ACQUISITION_LIMIT:
        return []
    return [
        f"Acquisition alone (noise, sharpness, spacing, slice distance) tells the label with an AUC of {value:.2f} "
        f"(limit {ACQUISITION_LIMIT}): other figures may reflect the scanner, not the disease."
    ]
