"""Every choice of training and evaluation, typed and validated; travels with every output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from typing import Any

from cnsifusion import __version__
from cnsifusion.errors import BadInput
from cnsifusion.fields import misfits
from cnsifusion.imaging import PreparationSettings
from cnsifusion.radiomics import RadiomicsSettings
from cnsifusion.roi.patches import PatchSettings
from cnsifusion.source import source_hash

SELECTORS = ("mrmr", "l1")
ABLATIONS = (
    "with-shape", "without-pvs", "pvs-only", "no-bias-correction", "brain-normalisation", "no-normalisation",
)  # fmt: skip


@dataclass(frozen=True)
class TrainingSettings:
    """Choices of the nested cross-validation.

    ``folds`` outer and ``inner_folds`` inner folds; ``seed`` of every random draw. ``radiomics`` None: LoG in plane
    where slices are above 3 mm apart, 3-D otherwise. ``feature_counts`` x ``selectors`` are tried in the inner folds,
    for networks also the ``weight_decays``, and the number of epochs among ``checkpoints``. A feature needs an
    ICC(2,1) of at least ``minimum_icc`` under mask jitter, noise and slice shift. ``augmentations`` altered copies of
    each patch are trained on. ``bootstrap`` patient-level resamples give the intervals. ``leave_site_out`` adds the
    second report by site, ``ablations`` names further rows (those that change the preparation start from the images).
    """

    folds: int = 5
    inner_folds: int = 5
    seed: int = 0
    regime: str = "frozen"
    submask: str = "whole"
    preparation: PreparationSettings = field(default_factory=PreparationSettings)
    patches: PatchSettings = field(default_factory=PatchSettings)
    radiomics: RadiomicsSettings | None = None
    include_shape: bool = False
    selectors: tuple[str, ...] = SELECTORS
    feature_counts: tuple[int, ...] = (8,)
    minimum_icc: float = 0.5
    checkpoints: tuple[int, ...] = (5, 10, 15, 20)
    weight_decays: tuple[float, ...] = (0.01,)
    learning_rate: float = 3e-3
    batch: int = 32
    dropout: float = 0.2
    augmentations: int = 1
    sensitivity: float = 0.95
    bootstrap: int = 1000
    leave_site_out: bool = True
    ablations: tuple[str, ...] = ("with-shape",)

    def __post_init__(self) -> None:
        if misfit := misfits(self):
            raise BadInput(f"Training settings: {'; '.join(misfit)}.")
        problems = [
            (not 0 <= self.seed < 1 << 31, "seed must lie between 0 and 2147483647"),
            (set(self.ablations) - set(ABLATIONS), f"ablations may name {', '.join(ABLATIONS)}"),
            (not 2 <= self.folds <= 20 or not 2 <= self.inner_folds <= 20, "folds must lie between 2 and 20"),
            (self.regime not in ("frozen", "finetune"), "regime is frozen or finetune"),
            (self.submask not in ("whole", "without-pvs", "pvs-only"), "submask is whole, without-pvs or pvs-only"),
            (not self.selectors or set(self.selectors) - set(SELECTORS), f"selectors are {', '.join(SELECTORS)}"),
            (not self.feature_counts or min(self.feature_counts) < 1, "feature_counts are at least 1"),
            (not 0 <= self.minimum_icc < 1, "minimum_icc lies between 0 and 1"),
            (not self.checkpoints or min(self.checkpoints) < 1, "checkpoints are epochs, at least 1"),
            (not self.weight_decays or min(self.weight_decays) < 0, "weight_decays are not negative"),
            (not 0 < self.learning_rate < 1 or self.batch < 1, "learning_rate and batch must be positive"),
            (not 0 <= self.dropout < 1 or not 0 <= self.augmentations <= 16, "dropout or augmentations out of range"),
            (not 0.5 <= self.sensitivity <= 1 or self.bootstrap < 10, "sensitivity or bootstrap out of range"),
        ]
        for wrong, sentence in problems:
            if wrong:
                raise BadInput(f"Training settings: {sentence}.")

    @property
    def threshold(self) -> str:
        """Name of the default threshold, which says at what sensitivity (per cent) it was set."""
        return f"sensitivity{100 * self.sensitivity:g}"

    def to_dict(self) -> dict[str, Any]:
        """JSON form; ``from_dict`` gives the same settings back."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["preparation"], values["patches"] = asdict(self.preparation), asdict(self.patches)
        values["radiomics"] = self.radiomics.to_dict() if self.radiomics else None
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def of_fold(self) -> dict[str, Any]:
        """What a fold's result depends on: all but the choices that concern reports alone."""
        return {k: v for k, v in self.to_dict().items() if k not in ("bootstrap", "leave_site_out", "ablations")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingSettings:
        """Settings from JSON; what is left out keeps its default. Raises BadInput for unknown names or wrong types."""
        if not isinstance(values, Mapping) or set(values) - {f.name for f in fields(cls)}:
            raise BadInput("Training settings: the file holds an unknown name, or is not a JSON object.")
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        try:
            for name, kind in (("preparation", PreparationSettings), ("patches", PatchSettings)):
                if isinstance(plain.get(name), Mapping):
                    plain[name] = kind(**plain[name])
            if isinstance(plain.get("radiomics"), Mapping):
                plain["radiomics"] = RadiomicsSettings.from_dict(plain["radiomics"])
            return cls(**plain)
        except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise BadInput(f"Training settings: a value has the wrong type or name ({error}).") from error


def digest(*parts: Any) -> str:
    """SHA-256 (hex, 16 characters) of JSON values and this program's version: the name of a cached result."""
    text = json.dumps([__version__, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache(maxsize=1)
def learning_source() -> str:
    """Hash of the source that maps, folds and figures depend on beyond the prepared patients: with ``digest`` in the
    name of each cached one, a newer clone of the same version goes on with none that an older one made.
    """
    return source_hash("models", "training")
