"""The same head in every storage: the same regions, features and probability; lossy storage: how far they move."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from soak import Soak

from cnsifusion.analysis import Analyzer
from cnsifusion.errors import BadInput
from cnsifusion.imaging import Volume, read_image

ORDERS = [
    (axes, flips) for axes in itertools.permutations(range(3)) for flips in itertools.product([False, True], repeat=3)
]
_CONTAINERS = (".nii.gz", ".nrrd", ".mha", ".nii", ".nhdr", ".mhd")
_TYPES = (sitk.sitkUInt16, sitk.sitkInt16, sitk.sitkFloat32, sitk.sitkInt32, sitk.sitkFloat64, sitk.sitkUInt32)


def storage(soak: Soak) -> None:
    """All 48 axis orders, each in another container and type, analyzed whole: the same bits and probability."""
    head = read_image(soak.small)
    head = head.with_array(head.array.round())
    row = soak.row("whole analyses over axis orders, containers, types", len(ORDERS), 3)
    first = None
    while soak.more(row):
        axes, flips = ORDERS[row.tried]
        path = soak.folder / f"x{_CONTAINERS[row.tried % len(_CONTAINERS)]}"
        image = sitk.Flip(sitk.PermuteAxes(head.to_sitk(), axes), flips, False)
        sitk.WriteImage(sitk.Cast(image, _TYPES[row.tried // 2 % len(_TYPES)]), str(path))
        first = first or _analyzed(_plain(head, soak.folder), soak.folder / "plain")
        row.tried += 1
        row.failures += [f"{axes} {flips}: {d}" for d in differences(first, _analyzed(path, soak.folder / "out"))]


def differences(one: dict, other: dict) -> list[str]:
    """In what two analyses of the same head differ."""
    found = [name for name in ("regions", "maps", "keys", "contributions") if one[name] != other[name]]
    return found + (["probability"] if abs(one["probability"] - other["probability"]) > 1e-6 else [])


def drift(soak: Soak) -> None:
    """Lossy variants: how far the probability moves, and whether the result warns where it moves far."""
    head = sitk.ReadImage(str(soak.image))
    first = None
    for name, variant in variants(head).items():
        row = soak.row(f"storage with loss: {name}", 1, 1)
        path = soak.folder / "variant.nii.gz"
        sitk.WriteImage(variant, str(path))
        row.tried = 1
        try:
            result = Analyzer().analyze(path, soak.folder / "out")
        except BadInput as error:
            row.note = f"refused: {error}"
            continue
        first = first or result
        change = result.patient.probability - first.patient.probability
        new = [w for w in [*result.warnings, *result.out_of_distribution] if w not in first.warnings]
        row.note = f"p {result.patient.probability:.4f}, {change:+.4f}; {len(new)} warnings"
        if abs(change) > LARGE and not new:
            row.failures.append(f"moves by {change:+.3f} without a warning")


#: A change of the probability that must not go without a warning.
LARGE = 0.05


def variants(head: sitk.Image) -> dict[str, sitk.Image]:
    """The head as it is, then with less and less of it kept."""
    top = float(np.percentile(sitk.GetArrayViewFromImage(head), 99.9))

    def scaled(levels: int) -> sitk.Image:
        return sitk.Cast(sitk.Round(sitk.Clamp(head * (levels / top), sitk.sitkFloat32, 0, levels)), sitk.sitkUInt16)

    return {
        "the same": head,
        "whole numbers": sitk.Cast(sitk.Round(head), sitk.sitkInt16),
        "intensity x 3.7": head * 3.7,
        "256 levels (8 bit)": scaled(255),
        "64 levels": scaled(63),
        "24 levels": scaled(23),
        "8 levels": scaled(7),
        "pixel 0.8 mm, linear": resampled(head, 0.8, sitk.sitkLinear),
        "pixel 0.8 mm, B-spline": resampled(head, 0.8, sitk.sitkBSpline),
        "pixel 1.0 mm, linear": resampled(head, 1.0, sitk.sitkLinear),
        "shifted by half a pixel, linear": _shifted(head),
    }


def resampled(head: sitk.Image, pixel: float, how: int) -> sitk.Image:
    """The head with other square pixels."""
    size, spacing = head.GetSize(), head.GetSpacing()
    new = [int(size[0] * spacing[0] / pixel), int(size[1] * spacing[1] / pixel), size[2]]
    return sitk.Resample(head, new, sitk.Transform(), how, head.GetOrigin(), [pixel, pixel, spacing[2]],
                         head.GetDirection(), 0.0)  # fmt: skip


def _shifted(head: sitk.Image) -> sitk.Image:
    """Resampled half a pixel aside in plane: the smoothing of an interpolation, nothing else."""
    first = head.TransformContinuousIndexToPhysicalPoint((0.5, 0.5, 0.0))
    return sitk.Resample(head, head.GetSize(), sitk.Transform(), sitk.sitkLinear, first, head.GetSpacing(),
                         head.GetDirection(), 0.0)  # fmt: skip


def _plain(head: Volume, folder: Path) -> Path:
    sitk.WriteImage(sitk.Cast(head.to_sitk(), sitk.sitkFloat32), str(folder / "plain.nrrd"))
    return folder / "plain.nrrd"


def _analyzed(path: Path, out: Path) -> dict:
    result = Analyzer().analyze(path, out)  # a new analyzer: no cache may make two equal
    stored = json.loads((out / "result.json").read_text("utf-8"))
    return {
        "regions": (out / "rois.seg.nrrd").read_bytes(),
        "maps": [(out / name).read_bytes() for name in ("heatmap.nii.gz", "logmap.nii.gz")],
        "keys": [(i.key, i.side) for i in result.instances],
        "contributions": stored["contributions"],
        "probability": result.patient.probability,
    }
