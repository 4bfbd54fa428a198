"""From a manifest to a bundle: nested cross-validation, then its fold models as one ensemble."""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import sklearn
import torch

from cnsifusion import __version__
from cnsifusion.bundles import BundleSettings, check_bundle_folder, write_bundle
from cnsifusion.bundles.settings import SCHEMA_VERSION, Architecture, Calibration, Features, Figure, Range
from cnsifusion.bundles.settings import Cohort as TrainedOn
from cnsifusion.errors import BadInput
from cnsifusion.imaging.read import content_sha256
from cnsifusion.models.backbones import load_backbone, weights_sha256
from cnsifusion.models.settings import ModelSettings, get_model
from cnsifusion.source import source_hash
from cnsifusion.training.assemble import Graphs, common_features, logistic_graphs, network_graphs
from cnsifusion.training.calibration import fit_platt, threshold_at_sensitivity, threshold_youden
from cnsifusion.training.cases import QUANTITIES
from cnsifusion.training.cohort import Cohort
from cnsifusion.training.experiment import BackboneSource, Experiment
from cnsifusion.training.maps import load_maps
from cnsifusion.training.metrics import STRATEGIES, Predictions, bootstrap, patient_figures
from cnsifusion.training.nested import FoldResult, join
from cnsifusion.training.settings import digest

#: Image quantities kept as training ranges; what lies outside is out of distribution.
_RANGES = {
    "pixel_mm": "mm", "slice_spacing_mm": "mm", "repetition_time_ms": "ms", "echo_time_ms": "ms",
    "field_strength_t": "T",
}  # fmt: skip
#: Rooms of the program whose source takes part in a bundle.
_ROOMS = (
    "analysis", "bundles", "imaging", "inference.py", "models", "radiomics", "resources/template", "roi", "simulation",
    "training",
)  # fmt: skip
_FIGURES = ("auc", "accuracy", "precision", "sensitivity", "specificity", "f1", "brier", "calibration_slope")
_DEMONSTRATION = (
    "Trained on simulated patients only: it shows the way from image to result; its numbers mean nothing for patients."
)
_INTENDED = (
    "Research on axial T2-weighted FSE/TSE brain MRI of adults (in plane 0.4 to 1 mm, slices 1 to 6 mm) without a "
    "gross lesion in the regions. Not for diagnosis or treatment decisions."
)
_LIMITS = [
    "Not validated on patients of any other centre; internal cross-validation only.",
    "Calibrated at the training prevalence; another setting needs its own pre-test probability.",
    "Tested against its own controls only: other inflammatory or degenerative disease may look like infection to it.",
    "Out of scope: children, images after contrast agent, shunts, surgery, strong motion, lesions in the regions.",
]


def train_bundle(
    experiment: Experiment,
    model_name: str,
    out: str | Path,
    name: str | None = None,
    provenance: dict[str, Any] | None = None,
    controls: str | None = None,
) -> Path:
    """Train ``model_name`` by nested cross-validation and write its outer-fold models as one bundle.

    The bundle's figures are those of the nested cross-validation: each fold model on patients it never saw. Its
    calibration and thresholds are fitted to the out-of-fold scores of all patients. ``controls`` says for the card of
    what kind they were. Raises BadInput for a model that cannot be a bundle, and for a folder that holds anything else.
    """
    check_bundle_folder(out)
    model = get_model(model_name)
    if model.classifier == "boosting":
        raise BadInput("A boosting model can be evaluated but not exported; train radiomics-logistic instead.")
    if model.backbone is not None and experiment.settings.regime != "frozen":
        raise BadInput("Only the frozen regime gives a bundle, since its fold models share one backbone.")
    if any(p.placement for p in experiment.manifest.patients):
        raise BadInput("Patients with a placement file can be evaluated only: the analysis searches for the anatomy.")
    source = experiment.backbone(model)
    cohort = experiment.cohort()
    folds = experiment.run(cohort, [model_name])[model_name]
    features = common_features(cohort, folds, _selectors(folds)) if model.radiomics else _no_features()
    trained = _Trained(experiment, cohort, model, source, folds, features)
    graphs = _graphs(trained)
    settings = _settings(trained, graphs, name, controls)
    settings.provenance.update(provenance or {})
    return write_bundle(out, settings, graphs.contents)


@dataclass(frozen=True, eq=False)
class _Trained:
    """A cross-validated model and all it came from."""

    experiment: Experiment
    cohort: Cohort
    model: ModelSettings
    source: BackboneSource | None
    folds: list[FoldResult]
    features: Features


def _no_features() -> Features:
    return Features([], [], [], [], [], "none")


def _selectors(folds: list[FoldResult]) -> str:
    return ", ".join(sorted({f.choice.split(",")[0] for f in folds}))


def _graphs(trained: _Trained) -> Graphs:
    cohort, model, source, folds, features = (
        trained.cohort, trained.model, trained.source, trained.folds, trained.features,
    )  # fmt: skip
    if source is None:
        return logistic_graphs(folds, features, cohort.names, model.clip)
    maps = load_maps(list(trained.experiment.maps(cohort, model)))
    with np.load(cohort.cases[0], allow_pickle=False) as data:
        patches = data["patches"].astype(np.float32)[:8]
    backbone = load_backbone(model, source.path, source.sha256)
    return network_graphs(cohort, maps, model, backbone, folds, features, patches)


def _settings(trained: _Trained, graphs: Graphs, name: str | None, controls: str | None) -> BundleSettings:
    experiment, cohort, model, folds = trained.experiment, trained.cohort, trained.model, trained.folds
    predictions = join(cohort, folds, cohort.labels)
    platt = fit_platt(predictions.score, predictions.labels)
    probability = platt(predictions.score)
    simulated = experiment.manifest.simulated
    training, architecture = experiment.settings, _architecture(trained, graphs)
    return BundleSettings(
        schema_version=SCHEMA_VERSION,
        name=name or f"{model.name}, {experiment.region}",
        created=datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        region=experiment.region,
        submask=training.submask,
        architecture=architecture,
        preparation=training.preparation.to_dict(),
        patches=training.patches.to_dict(),
        radiomics=cohort.radiomics.to_dict(),
        features=trained.features,
        baseline_pooled=graphs.baseline_pooled.tolist(),
        calibration=Calibration(platt.slope, platt.intercept),
        thresholds={
            training.threshold: threshold_at_sensitivity(probability, predictions.labels, training.sensitivity),
            "youden": threshold_youden(probability, predictions.labels),
        },
        default_threshold=training.threshold,
        training_ranges=_ranges(cohort),
        cohort=_trained_on(cohort, simulated, controls),
        figures=_figures(predictions, training.bootstrap),
        figures_describe=_describe(experiment, len(folds)),
        demonstration=simulated,
        demonstration_text=_DEMONSTRATION if simulated else "",
        intended_use=_INTENDED,
        limits=[_DEMONSTRATION, *_LIMITS] if simulated else list(_LIMITS),
        files={},
        provenance=_provenance(trained, graphs),
    )


def _describe(experiment: Experiment, heads: int) -> str:
    settings = experiment.settings
    whom = "SIMULATED patients" if experiment.manifest.simulated else "internal"
    return (
        f"{settings.folds}x{settings.inner_folds} nested cross-validation ({whom}), per patient, each of the {heads} "
        "fold models on patients it never saw. The bundle is the ensemble of these fold models; its calibration and "
        "thresholds are fitted to the out-of-fold scores of all patients."
    )


def _architecture(trained: _Trained, graphs: Graphs) -> Architecture:
    model, source = trained.model, trained.source
    heads, pooled = graphs.baseline_pooled.shape
    if source is None:
        return Architecture(model.name, "none", "none", "", heads, pooled, (0, 0, 0), (0, 0), 0.0)
    with np.load(trained.cohort.cases[0], allow_pickle=False) as data:
        shape = data["patches"].shape[1:]
    cells = (shape[1] // model.stride, shape[2] // model.stride)
    backbone = load_backbone(model, source.path, source.sha256)
    cell_mm = model.stride * trained.experiment.settings.preparation.pixel_mm
    return Architecture(
        model.name, str(model.backbone), source.origin, weights_sha256(backbone), heads, pooled,
        (int(shape[0]), int(shape[1]), int(shape[2])), cells, cell_mm,
    )  # fmt: skip


def _ranges(cohort: Cohort) -> dict[str, Range]:
    ranges = {}
    for index, quantity in enumerate(QUANTITIES):
        values = cohort.quantities[:, index]
        if quantity in _RANGES and np.isfinite(values).any():
            low, high = float(np.nanmin(values)), float(np.nanmax(values))
            margin = max(0.05 * (high - low), 0.02 * abs(high))
            ranges[quantity] = Range(low - margin, high + margin, _RANGES[quantity])
    return ranges


def _trained_on(cohort: Cohort, simulated: bool, controls: str | None) -> TrainedOn:
    infected = int(cohort.labels.sum())
    sites = Counter(s for s in cohort.site.tolist() if s)
    ages = cohort.age[np.isfinite(cohort.age)]
    kind = "simulated, no infection" if simulated else controls or "not stated"
    parts = [f"{len(cohort.labels)} patients, {len(cohort.patient)} instances"]
    if sites:
        parts.append("sites: " + ", ".join(f"{s} ({n})" for s, n in sorted(sites.items())))
    if ages.size:
        parts.append(f"age {ages.min():.0f} to {ages.max():.0f} years")
    return TrainedOn(infected, len(cohort.labels) - infected, kind, "; ".join(parts), simulated)


def _figures(predictions: Predictions, resamples: int) -> list[Figure]:
    figures = []
    for strategy in STRATEGIES:
        values = patient_figures(predictions, strategy)
        names = _FIGURES if strategy == "mean" else ("accuracy", "sensitivity", "specificity")
        limits = bootstrap(predictions, partial(patient_figures, strategy=strategy), min(300, resamples), 0)
        for metric in names:
            low, high = limits[metric]
            if np.isfinite([values[metric], low, high]).all():
                figures.append(Figure(metric, strategy, values[metric], low, high))
    return figures


def _provenance(trained: _Trained, graphs: Graphs) -> dict[str, Any]:
    experiment, cohort = trained.experiment, trained.cohort
    return {
        **versions(),
        "source": source_hashes(),
        "seed": experiment.settings.seed,
        "settings_hash": digest(experiment.settings.to_dict(), trained.model),
        "training_settings": experiment.settings.to_dict(),
        "radiomics_hash": cohort.radiomics.hash,
        "cohort_hash": cohort.key,
        "manifest_sha256": content_sha256(experiment.manifest.path),
        "assigned": experiment.manifest.names,
        "fold_choices": [f.choice for f in trained.folds],
        "weights_float16": graphs.half,
        "parity_probability": graphs.parity,
        "warnings": experiment.manifest.warnings,
    }


def versions() -> dict[str, str]:
    """Versions of everything a figure depends on."""
    return {
        "cnsifusion": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "scikit_learn": sklearn.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def source_hashes(root: Path | None = None) -> dict[str, str]:
    """Hash (16 hex) of the program's own source, room by room, for all rooms a bundle depends on."""
    return {room: source_hash(room, root=root) for room in _ROOMS}
