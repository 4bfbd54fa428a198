"""What to extract and how: one immutable, hashable description that travels with every feature."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from cnsifusion.errors import BadInput
from cnsifusion.fields import misfits

#: Name and version of the native engine; the version changes whenever a number it produces can change.
ENGINE, ENGINE_VERSION = "cnsifusion", "1.0"

TEXTURE_CLASSES = ("glcm", "glrlm", "glszm", "gldm", "ngtdm")
FEATURE_CLASSES = ("shape", "shape2D", "firstorder", *TEXTURE_CLASSES)

#: Grey-level widths for images whose deep white matter has median 0 and robust SD 100 (Resources/Docs/radiomics.md).
DEFAULT_BIN_WIDTH = MappingProxyType({"original": 50.0, "log": 25.0})


@dataclass(frozen=True)
class RadiomicsSettings:
    """Settings of a feature extraction; the names in parentheses are pyradiomics' own.

    ``bin_width`` (binWidth) maps an image type to a grey-level width in the image's units: ``"original"``, ``"log"``
    for every LoG image, or one LoG image by its full name (``"log-sigma-1-0-mm-3D"``), which goes first.
    ``bin_count`` (binCount), when set, replaces it. ``log_sigmas_mm`` are the widths of the Laplacian of Gaussian;
    ``log_mode`` filters the volume ("3D") or every slice by itself ("2D"). ``force_2d`` (force2D) takes neighbours
    within slices perpendicular to array axis ``force_2d_axis`` (force2Ddimension; 0 is k). ``feature_classes`` is by
    default every class, with shape2D where ``force_2d`` and shape elsewhere. ``distances``, ``gldm_a``,
    ``voxel_array_shift``, ``minimum_dimensions`` (minimumROIDimensions), ``normalize``, ``normalize_scale`` and
    ``remove_outliers`` are as in pyradiomics. ``standard_deviation`` adds firstorder StandardDeviation.
    The GLCM is symmetric and directions are averaged (weightingNorm None); no other choice exists.

    Raises BadInput for values that make no sense.
    """

    bin_width: Mapping[str, float] = field(default_factory=lambda: DEFAULT_BIN_WIDTH)
    bin_count: int | None = None
    original: bool = True
    log_sigmas_mm: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 3.0)
    log_mode: str = "3D"
    force_2d: bool = True
    force_2d_axis: int = 0
    feature_classes: tuple[str, ...] = ()
    distances: tuple[int, ...] = (1,)
    gldm_a: int = 0
    voxel_array_shift: float = 0.0
    minimum_dimensions: int = 2
    standard_deviation: bool = False
    normalize: bool = False
    normalize_scale: float = 1.0
    remove_outliers: float | None = None

    def __post_init__(self) -> None:
        if wrong := misfits(self):
            raise BadInput(f"Radiomics settings: {'; '.join(wrong)}.")
        if not isinstance(self.bin_width, Mapping):
            raise BadInput('Radiomics settings: bin_width is by image type, as {"original": 50, "log": 25}.')
        classes = tuple(self.feature_classes) or tuple(
            c for c in FEATURE_CLASSES if c != ("shape" if self.force_2d else "shape2D")
        )
        widths = {str(k): float(v) for k, v in self.bin_width.items()}
        for name, value in (
            ("feature_classes", classes),
            ("log_sigmas_mm", tuple(float(s) for s in self.log_sigmas_mm)),
            ("distances", tuple(self.distances)),
            ("bin_width", MappingProxyType(widths)),
        ):
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        problems = [
            (set(self.feature_classes) - {*FEATURE_CLASSES}, f"feature_classes may hold {', '.join(FEATURE_CLASSES)}"),
            ("shape2D" in self.feature_classes and not self.force_2d, "the class shape2D needs force_2d"),
            (self.log_mode not in ("2D", "3D"), 'log_mode is "2D" or "3D"'),
            (any(not 0.05 <= s <= 100 for s in self.log_sigmas_mm), "log_sigmas_mm lie between 0.05 and 100 mm"),
            (len(set(self.log_sigmas_mm)) < len(self.log_sigmas_mm), "log_sigmas_mm holds a value twice"),
            (not (self.original or self.log_sigmas_mm), "no image is left to extract from"),
            (any(not 0 < w < float("inf") for w in self.bin_width.values()), "every bin_width is positive"),
            (self.bin_count is not None and self.bin_count < 1, "bin_count is at least 1"),
            (not self.distances or min(self.distances) < 1, "distances are whole voxels, at least 1"),
            (self.gldm_a < 0, "gldm_a is not negative"),
            (self.force_2d_axis not in (0, 1, 2), "force_2d_axis is 0, 1 or 2"),
            (self.minimum_dimensions not in (1, 2, 3), "minimum_dimensions is 1, 2 or 3"),
            (self.normalize_scale <= 0, "normalize_scale is positive"),
            (self.remove_outliers is not None and self.remove_outliers <= 0, "remove_outliers is positive"),
        ]
        if self.bin_count is None:
            missing = [name for name in self.image_names() if self._width_key(name) is None]
            problems.append((missing, f"bin_width has no entry for {', '.join(missing)}"))
        for wrong, sentence in problems:
            if wrong:
                raise BadInput(f"Radiomics settings: {sentence}.")

    def log_name(self, sigma: float) -> str:
        """Name of the LoG image of one sigma (mm): pyradiomics' for 3-D, the same with 2D for in-plane filtering."""
        return f"log-sigma-{str(float(sigma)).replace('.', '-')}-mm-{self.log_mode}"

    def image_names(self) -> tuple[str, ...]:
        """Names of the images features come from, in their order: the original, then one per sigma."""
        return (("original",) if self.original else ()) + tuple(self.log_name(s) for s in self.log_sigmas_mm)

    def _width_key(self, image_name: str) -> str | None:
        kinds = (image_name, "log" if image_name.startswith("log") else "original")
        return next((k for k in kinds if k in self.bin_width), None)

    def width_of(self, image_name: str) -> float:
        """Grey-level width used for one image, in that image's units."""
        key = self._width_key(image_name)
        if key is None:
            raise BadInput(f"Radiomics settings: bin_width has no entry for {image_name}.")
        return self.bin_width[key]

    def to_dict(self) -> dict[str, Any]:
        """All settings as JSON values; ``from_dict`` gives the same settings back."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["bin_width"] = dict(self.bin_width)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RadiomicsSettings:
        """Settings from ``to_dict``'s form; names left out keep their defaults. Raises BadInput for unknown names."""
        if not isinstance(values, Mapping):
            raise BadInput("Radiomics settings: a JSON object with the settings' names is needed.")
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise BadInput(f"Radiomics settings: unknown {', '.join(sorted(unknown))}; remove it or update.")
        try:
            plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            return cls(**plain)
        except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise BadInput(f"Radiomics settings: a value has the wrong type ({error}).") from error

    def digest(self, engine: str = ENGINE, version: str = ENGINE_VERSION) -> str:
        """SHA-256 (hex) of the settings in canonical JSON and of the engine that applies them."""
        content = {"engine": engine, "version": version, "settings": self.to_dict()}
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def hash(self) -> str:
        """``digest`` for the native engine: equal hashes mean comparable features."""
        return self.digest()
