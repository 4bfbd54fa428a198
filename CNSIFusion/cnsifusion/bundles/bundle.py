"""A trained model in memory: scores of instances and of the patient, heat maps, contributions, what is out of range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from cnsifusion.bundles.head import Contributions, HeadWeights, contributions
from cnsifusion.bundles.settings import QUANTILE_LEVELS, BundleSettings
from cnsifusion.errors import BadInput, BundleError

#: Instances per run of the graph; its memory is checked for this many (see shapes.MAX_ELEMENTS).
BATCH = 16


@dataclass(frozen=True, eq=False)
class Prediction:
    """Scores of n instances: ``logit`` (n, heads) log-odds; ``pooled`` (n, heads, P); ``features`` (n, F)
    standardised; ``out_of_range`` names, per instance, the features far outside training."""

    logit: np.ndarray
    pooled: np.ndarray
    features: np.ndarray
    out_of_range: list[list[str]]


@dataclass(frozen=True)
class PatientScore:
    """The patient's probability, its range over the fold models, and the log-odds behind it (before calibration)."""

    probability: float
    low: float
    high: float
    log_odds: float


class Bundle:
    """A validated bundle (made by ``load_bundle`` only). ``sha256`` identifies it in results."""

    def __init__(
        self,
        settings: BundleSettings,
        sha256: str,
        head: HeadWeights,
        session: ort.InferenceSession | None,
    ) -> None:
        self.settings, self.sha256 = settings, sha256
        self._head, self._session = head, session
        self._column = {name: i for i, name in enumerate(settings.features.names)}

    def predict(self, patches: np.ndarray | None, features: np.ndarray, feature_names: Sequence[str]) -> Prediction:
        """Score n instances.

        ``patches`` is (n, c, h, w) float32 as cut with ``settings.patches`` (None for a model of radiomics alone);
        ``features`` (n, any) float64 raw values with NaN where missing, its columns named by ``feature_names``.
        Raises BundleError for a feature the model needs that is not there, BadInput for wrong shapes or numbers.
        """
        standard, outside = self._standardise(features, feature_names)
        if self._session is None:
            pooled = np.zeros((len(standard), self.settings.architecture.heads, 1))
            return Prediction(self._head.logits(pooled, standard), pooled, standard, outside)
        images = self._checked_patches(patches, len(standard))
        parts = [
            self._session.run(
                ["logit", "pooled"],
                {"patches": images[i : i + BATCH], "features": standard[i : i + BATCH].astype(np.float32)},
            )
            for i in range(0, len(images), BATCH)
        ]
        logit, pooled = (np.concatenate(p).astype(np.float64) for p in zip(*parts))
        return Prediction(logit, pooled, standard, outside)

    def log_odds(self, pooled: np.ndarray, features: np.ndarray, feature_names: Sequence[str]) -> np.ndarray:
        """Log-odds (n,), mean over heads, of pooled maps (n, heads, P) with raw ``features`` as in ``predict``."""
        return self._head.logits(pooled, self._standardise(features, feature_names)[0]).mean(axis=1)

    def patient_score(self, logit: np.ndarray) -> PatientScore:
        """The patient's score from the log-odds (n, heads) of the instances: their mean, through Platt's map."""
        if logit.ndim != 2 or len(logit) == 0:
            raise BadInput("No instance could be scored, so there is no patient score.")
        per_head = logit.mean(axis=0)
        probabilities = self.probability(per_head)
        mean = float(per_head.mean())
        low, high = float(probabilities.min()), float(probabilities.max())
        return PatientScore(float(self.probability(mean)), low, high, mean)

    def probability(self, log_odds: np.ndarray | float) -> np.ndarray:
        """Calibrated probability of (mean) log-odds of any shape."""
        calibration = self.settings.calibration
        scaled = calibration.slope * np.asarray(log_odds, float) + calibration.intercept
        return 1 / (1 + np.exp(-np.clip(scaled, -60, 60)))

    def contributions(self, prediction: Prediction) -> list[Contributions]:
        """What each feature and the network block add to each instance's log-odds (mean over heads, uncalibrated)."""
        base_pooled = np.array(self.settings.baseline_pooled)
        base_features = np.zeros(prediction.features.shape[1])
        names = self.settings.features.names
        return [
            contributions(self._head, names, pooled, features, base_pooled, base_features)
            for pooled, features in zip(prediction.pooled, prediction.features)
        ]

    def percentile(self, feature: str, value: float) -> float:
        """Where a raw feature value stands in the training distribution, 0-100 (linear between stored quantiles)."""
        quantiles = self.settings.features.quantiles[self._column[feature]]
        return float(np.interp(value, quantiles, 100 * np.array(QUANTILE_LEVELS), left=0.0, right=100.0))

    def out_of_range(self, quantities: dict[str, float | None]) -> list[str]:
        """Sentences on those of the image's quantities (see ``settings.training_ranges``) that training never saw."""
        sentences = []
        for name, known in self.settings.training_ranges.items():
            value = quantities.get(name)
            if value is not None and not known.low <= value <= known.high:
                words = name.rsplit("_", 1)[0].replace("_", " ").capitalize()
                unit = f" {known.unit}" if known.unit else ""
                sentences.append(
                    f"{words} of {value:.3g}{unit} lies outside the training range "
                    f"({known.low:.3g} to {known.high:.3g}{unit})."
                )
        return sentences

    def _standardise(self, features: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, list[list[str]]]:
        wanted = self.settings.features
        features = np.asarray(features, np.float64)
        if features.ndim != 2 or features.shape[1] != len(names) or len(features) == 0:
            raise BadInput("The feature table is empty or has no name for each column.")
        if not wanted.names:
            return np.zeros((len(features), 1)), [[] for _ in features]
        column = {name: i for i, name in enumerate(names)}
        missing = [name for name in wanted.names if name not in column]
        if missing:
            raise BundleError(
                f"The model needs the feature {missing[0]}, which was not extracted; use the bundle's own settings."
            )
        raw = features[:, [column[name] for name in wanted.names]]
        if np.isinf(raw).any():
            raise BadInput("A radiomics feature is infinite; check the image's intensities in the region.")
        filled = np.where(np.isnan(raw), np.array(wanted.impute), raw)
        quantiles = np.array(wanted.quantiles)
        margin = 0.5 * (quantiles[:, -1] - quantiles[:, 0])
        far = (filled < quantiles[:, 0] - margin) | (filled > quantiles[:, -1] + margin)
        outside = [[wanted.names[i] for i in np.nonzero(row)[0]] for row in far]
        return (filled - np.array(wanted.mean)) / np.array(wanted.scale), outside

    def _checked_patches(self, patches: np.ndarray | None, count: int) -> np.ndarray:
        shape = (count, *self.settings.architecture.patch_shape)
        if patches is None or patches.shape != shape:
            found = None if patches is None else patches.shape
            raise BadInput(f"The patches have shape {found}; the model needs {shape}.")
        images = np.ascontiguousarray(patches, np.float32)
        if not np.isfinite(images).all():
            raise BadInput("The image holds values that are not numbers inside the region's patch.")
        return images
