"""Is this volume usable at all? Geometry and voxels only; the contrast is judged where the anatomy is known (roi)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cnsifusion.imaging.neighbours import misfit
from cnsifusion.imaging.volume import Volume

#: Fewer grey values of tissue: a simulated head's probability moved by 0.11 with 15 of them, by 0.03 with 39.
_FEW_SHADES = 30
_ORDER = {"ok": 0, "warn": 1, "refuse": 2}


@dataclass(frozen=True)
class Finding:
    """One observation: a stable ``code``, a ``level`` (ok | warn | refuse) and a sentence for the reader."""

    code: str
    level: str
    text: str


@dataclass(frozen=True)
class CheckReport:
    """The input check's findings; the verdict is the worst of them."""

    findings: list[Finding] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """``ok`` | ``warn`` | ``refuse``."""
        return max((f.level for f in self.findings), key=_ORDER.__getitem__, default="ok")

    @property
    def reasons(self) -> list[str]:
        """The sentences behind the verdict, refusals first."""
        worst = sorted((f for f in self.findings if f.level != "ok"), key=lambda f: -_ORDER[f.level])
        return [f.text for f in worst]

    def __add__(self, other: CheckReport) -> CheckReport:
        return CheckReport([*self.findings, *other.findings])

    def to_dict(self) -> dict:
        """JSON form: verdict and all findings."""
        return {"verdict": self.verdict, "findings": [vars(f) for f in self.findings]}


def check_image(volume: Volume) -> CheckReport:
    """Geometry, voxel values and acquisition of ``volume`` against the protocol's intended input."""
    report = CheckReport([*_values(volume.array), *_geometry(volume), *_acquisition(volume)])
    misfits = misfit(volume) if report.verdict != "refuse" else None
    return report + CheckReport([Finding(misfits[0], "warn", misfits[1])] if misfits else [])


def _values(array: np.ndarray) -> list[Finding]:
    finite = np.isfinite(array)
    if not finite.all():
        share = 1 - finite.mean()
        text = f"{share:.2%} of the voxels are not numbers (NaN or infinite); export the image again."
        return [Finding("not-finite", "refuse", text)]
    low, high = float(array.min()), float(array.max())
    if high - low <= 0:
        return [Finding("constant", "refuse", "All voxels have the same value; this is no image.")]
    findings = []
    if _air_below_zero(array):
        text = "The air lies far below zero: a CT, a standardised or an inverted image, not a magnitude T2 as it came."
        return [Finding("shifted", "refuse", text)]
    levels = len(np.unique(array[array.shape[0] // 2]))
    if levels < 16:
        values = f"{levels} grey values" if levels > 1 else "one grey value"
        text = f"The middle slice has only {values}: a labelmap or a mask, not a T2 image."
        findings.append(Finding("few-grey-levels", "refuse", text))
    elif 0 < (shades := _shades(array[array.shape[0] // 2])) < _FEW_SHADES:
        text = (
            f"The tissue has only {shades} grey values: the image was stored with loss (rescaled to few levels), "
            "which moves the probability. Use the original series."
        )
        findings.append(Finding("stored-with-loss", "warn", text))
    if low < 0:
        text = "The image has negative intensities: not a plain magnitude T2, or filtered since."
        findings.append(Finding("negative", "warn", text))
    if np.abs(high) > 1e30:
        findings.append(Finding("huge", "refuse", "The intensities are beyond any scanner's range; export it again."))
    return findings


def _air_below_zero(array: np.ndarray) -> bool:
    """Whether more than a tenth of the voxels lie further below zero than ringing or interpolation takes them."""
    low, dark, bright = np.percentile(array[:, ::4, ::4], (1, 10, 99))
    return bool(dark < -0.1 * (bright - low))


def _shades(plane: np.ndarray) -> int:
    """Different values of a slice in the middle 90 % of its brighter part: one bright spot must not hide few levels.

    0 where nothing is brighter than most of the slice.
    """
    bright = plane[plane > np.percentile(plane, 60)]
    if not len(bright):
        return 0
    low, high = np.percentile(bright, (5, 95))
    return len(np.unique(bright[(bright >= low) & (bright <= high)]))


def _geometry(volume: Volume) -> list[Finding]:
    spacing, size = np.array(volume.grid.spacing), np.array(volume.grid.size)
    extent = spacing * size
    thick = int(np.argmax(spacing))
    findings = []
    if spacing[thick] > 1.5 * np.median(spacing) and thick != 2:
        plane = ("sagittal", "coronal")[thick]
        text = f"The slices are {plane}, not axial; choose the axial T2 series."
        return [Finding("not-axial", "refuse", text)]
    tilt = float(np.degrees(np.arccos(np.clip(abs(volume.grid.matrix[2, 2]), 0, 1))))
    if tilt > 35:
        findings.append(Finding("oblique", "refuse", f"The slices are tilted {tilt:.0f} degrees from axial."))
    elif tilt > 20:
        text = f"The slices are tilted {tilt:.0f} degrees from axial (intended: up to 20)."
        findings.append(Finding("oblique", "warn", text))
    pixel = float(spacing[:2].max())
    if pixel > 2 or spacing[:2].max() > 1.5 * spacing[:2].min():
        text = f"Pixels of {spacing[0]:.2f} x {spacing[1]:.2f} mm are too coarse or uneven (intended: 0.4-1 mm)."
        findings.append(Finding("pixel", "refuse", text))
    elif pixel > 1.05 or spacing[:2].min() < 0.35:
        findings.append(Finding("pixel", "warn", f"Pixels of {pixel:.2f} mm lie outside the intended 0.4-1 mm."))
    if spacing[2] > 10:
        findings.append(Finding("slice", "refuse", f"Slices {spacing[2]:.1f} mm apart are too far (intended: 1-6 mm)."))
    elif spacing[2] > 6.6 or spacing[2] < 0.7:
        text = f"Slices {spacing[2]:.1f} mm apart lie outside the intended 1-6 mm."
        findings.append(Finding("slice", "warn", text))
    if size[2] < 5 or extent[2] < 50:
        slices = "slice" if size[2] == 1 else "slices"
        text = f"Only {size[2]} {slices} over {extent[2]:.0f} mm: the ventricles and the basal ganglia must be covered."
        findings.append(Finding("coverage", "refuse", text))
    elif extent[2] < 90:
        findings.append(Finding("coverage", "warn", f"The slices cover {extent[2]:.0f} mm, less than a whole head."))
    if extent[:2].min() < 100 or extent.max() > 500:
        text = f"A field of view of {extent[0]:.0f} x {extent[1]:.0f} x {extent[2]:.0f} mm does not fit an adult head."
        findings.append(Finding("field-of-view", "refuse", text))
    return findings


def _acquisition(volume: Volume) -> list[Finding]:
    a, findings = volume.acquisition, []
    if a.inversion_time:
        text = f"The file gives an inversion time of {a.inversion_time:.0f} ms: an inversion-recovery image (FLAIR?)."
        findings.append(Finding("inversion", "warn", text))
    if a.echo_time is not None and a.echo_time < 60:
        text = f"An echo time of {a.echo_time:.0f} ms is short for a T2 image."
        findings.append(Finding("echo-time", "warn", text))
    if a.contrast_agent:
        findings.append(Finding("contrast-agent", "warn", "The file says a contrast agent was given."))
    if a.patient_age_years is not None and a.patient_age_years < 18:
        findings.append(Finding("child", "warn", "The patient is under 18; the tool is meant for adults."))
    if a.acquired_pixel_mm is None:
        text = "The acquired matrix is unknown: the finest filter scales may show the scanner's interpolation."
        findings.append(Finding("unknown-matrix", "ok", text))
    return findings
