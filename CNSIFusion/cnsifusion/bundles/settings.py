"""What ``bundle.json`` says about a trained model, as typed and checked dataclasses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import Any

from cnsifusion.bundles.decode import DecodeError

SCHEMA_VERSION = 1

#: Quantile levels of each feature that a bundle stores, for "the patient's place in the training distribution".
QUANTILE_LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

MODELS = (
    "dense-aspp-radfusion",
    "mobile-aspp-radfusion",
    "densenet201",
    "mobilenetv3-large",
    "radiomics-logistic",
    "radiomics-boosting",
)
REGION_NAMES = ("ventricles", "sublentiform")
SUBMASKS = ("whole", "without-pvs", "pvs-only")
BACKBONE_ORIGINS = ("imagenet", "simulated", "random", "none")

_MAX_FEATURES, _MAX_HEADS, _MAX_POOLED, _MAX_CELLS, _MAX_PIXELS = 5000, 64, 4096, 256, 1024


@dataclass(frozen=True)
class Architecture:
    """The network's shape. ``heads`` models of one ensemble share one backbone; a bundle of radiomics alone has
    ``backbone`` "none", ``pooled`` 1 (a constant zero) and no map.
    ``cell_mm``: side of a cell of the map."""

    model: str
    backbone: str
    backbone_origin: str
    backbone_sha256: str
    heads: int
    pooled: int
    patch_shape: tuple[int, int, int]  # channels, rows, columns of a patch
    map_cells: tuple[int, int]  # rows, columns of the backbone's map
    cell_mm: float

    @property
    def has_network(self) -> bool:
        """Whether the model looks at image patches (else at radiomics alone)."""
        return self.backbone != "none"


@dataclass(frozen=True)
class Features:
    """The selected features: their names, the common scaler (z = (value - mean) / scale), the value that replaces a
    missing one, and their training distribution at QUANTILE_LEVELS."""

    names: list[str]
    mean: list[float]
    scale: list[float]
    impute: list[float]
    quantiles: list[list[float]]
    selector: str


@dataclass(frozen=True)
class Calibration:
    """Platt's map: probability = sigmoid(slope * mean log-odds + intercept)."""

    slope: float
    intercept: float
    method: str = "platt"


@dataclass(frozen=True)
class Range:
    """What the training cohort covered of one quantity."""

    low: float
    high: float
    unit: str = ""


@dataclass(frozen=True)
class Cohort:
    """Whom the model was trained on."""

    infected: int
    controls: int
    kind_of_controls: str
    description: str
    simulated: bool

    @property
    def prevalence(self) -> float:
        """Share of infected patients in training: the prevalence the probability is calibrated at."""
        return self.infected / (self.infected + self.controls)


@dataclass(frozen=True)
class Figure:
    """One figure of merit with its 95 % interval."""

    metric: str
    strategy: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class FileEntry:
    """Size and hash of one file of the bundle."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class BundleSettings:
    """Everything a bundle says about itself. ``preparation``, ``patches`` and ``radiomics`` are the JSON forms of the
    settings of imaging, roi.patches and radiomics; ``thresholds`` are probabilities; ``baseline_pooled`` (heads x
    pooled) is the mean training instance, from which contributions are counted."""

    schema_version: int
    name: str
    created: str
    region: str
    submask: str
    architecture: Architecture
    preparation: dict[str, Any]
    patches: dict[str, Any]
    radiomics: dict[str, Any]
    features: Features
    baseline_pooled: list[list[float]]
    calibration: Calibration
    thresholds: dict[str, float]
    default_threshold: str
    training_ranges: dict[str, Range]
    cohort: Cohort
    figures: list[Figure]
    figures_describe: str
    demonstration: bool
    demonstration_text: str
    intended_use: str
    limits: list[str]
    files: dict[str, FileEntry]
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def threshold(self) -> float:
        """The default threshold (probability)."""
        return self.thresholds[self.default_threshold]


def check(settings: BundleSettings) -> None:
    """Raises DecodeError with the first thing in ``settings`` that cannot be right."""
    if settings.schema_version != SCHEMA_VERSION:
        found = settings.schema_version
        raise DecodeError(f"schema version {found} is unknown here (this version reads {SCHEMA_VERSION})")
    _one_of("region", settings.region, REGION_NAMES)
    _one_of("submask", settings.submask, SUBMASKS)
    _check_architecture(settings.architecture)
    _check_features(settings.features, settings.architecture)
    _check_baseline(settings)
    _check_decision(settings)
    expected = {"head.onnx"} | ({"model.onnx"} if settings.architecture.has_network else set())
    if set(settings.files) != expected:
        raise DecodeError(f"files must list exactly {', '.join(sorted(expected))}")
    for name, entry in settings.files.items():
        if not re.fullmatch(r"[0-9a-f]{64}", entry.sha256) or entry.bytes <= 0:
            raise DecodeError(f"files.{name} needs a SHA-256 and a size above 0")
    if settings.cohort.infected < 1 or settings.cohort.controls < 1:
        raise DecodeError("cohort needs at least one infected patient and one control")
    if settings.cohort.simulated and not settings.demonstration:
        raise DecodeError("demonstration must be true: the cohort is simulated, so a score means nothing for patients")
    if settings.demonstration and not settings.demonstration_text:
        raise DecodeError("demonstration_text must say what the demonstration bundle was trained on")
    for name, known in settings.training_ranges.items():
        if known.low > known.high:
            raise DecodeError(f"training_ranges.{name[:60]} has low above high")


def _one_of(place: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise DecodeError(f"{place} must be one of {', '.join(allowed)}")


def _within(place: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise DecodeError(f"{place} must lie between {low:g} and {high:g}")


def _check_architecture(architecture: Architecture) -> None:
    _one_of("architecture.model", architecture.model, MODELS)
    _one_of("architecture.backbone_origin", architecture.backbone_origin, BACKBONE_ORIGINS)
    if (architecture.backbone_origin == "none") != (architecture.backbone == "none"):
        raise DecodeError("architecture.backbone_origin must be none exactly where there is no backbone")
    _within("architecture.heads", architecture.heads, 1, _MAX_HEADS)
    _within("architecture.pooled", architecture.pooled, 1, _MAX_POOLED)
    low = 1 if architecture.has_network else 0
    for cells in architecture.map_cells:
        _within("architecture.map_cells", cells, low, _MAX_CELLS)
    _within("architecture.patch_shape", architecture.patch_shape[0], low, 2)
    for pixels in architecture.patch_shape[1:]:
        _within("architecture.patch_shape", pixels, low, _MAX_PIXELS)
    _within("architecture.cell_mm", architecture.cell_mm, 0, 1000)


def _check_features(features: Features, architecture: Architecture) -> None:
    count = len(features.names)
    _within("the number of features", count, 0 if architecture.has_network else 1, _MAX_FEATURES)
    if len(set(features.names)) != count:
        raise DecodeError("features.names repeats a name")
    for part in fields(Features):
        if part.name not in ("names", "selector") and len(getattr(features, part.name)) != count:
            raise DecodeError(f"features.{part.name} must have one entry per feature name")
    if any(scale <= 0 for scale in features.scale):
        raise DecodeError("features.scale must be above 0")
    if any(len(q) != len(QUANTILE_LEVELS) or sorted(q) != q for q in features.quantiles):
        raise DecodeError(f"features.quantiles must hold {len(QUANTILE_LEVELS)} ascending values per feature")


def _check_baseline(settings: BundleSettings) -> None:
    shape = settings.architecture
    rows = settings.baseline_pooled
    if len(rows) != shape.heads or any(len(row) != shape.pooled for row in rows):
        raise DecodeError("baseline_pooled must hold one row per head and one value per pooled channel")


def _check_decision(settings: BundleSettings) -> None:
    if settings.calibration.method != "platt":
        raise DecodeError("calibration.method must be platt")
    if settings.calibration.slope <= 0:
        raise DecodeError("calibration.slope must be above 0")
    if settings.default_threshold not in settings.thresholds:
        raise DecodeError("default_threshold must name one of the thresholds")
    for name, value in settings.thresholds.items():
        _within(f"thresholds.{name[:60]}", value, 0, 1)
