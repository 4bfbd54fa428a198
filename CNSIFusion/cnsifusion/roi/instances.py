"""Instances: one region part, one side, one axial slice. What a model classifies, and what is left out and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion

from cnsifusion.errors import BadInput
from cnsifusion.imaging import Grid
from cnsifusion.roi.anatomy import Anatomy
from cnsifusion.roi.case import Case
from cnsifusion.roi.names import PARTS, PVS_LEFT, PVS_RIGHT, REGIONS, SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT, VENTRICLES
from cnsifusion.roi.regions import Plane, RegionSet
from cnsifusion.roi.tools.parts import assign_parts

#: Smallest instance, in resampled pixels (protocol).
MIN_PIXELS = 64
SUBMASKS = ("whole", "without-pvs", "pvs-only")
#: Pixels darker than the ventricle's median by this many robust SD are choroid plexus, septum or flow void.
_DARK_ROBUST_SD = 4.0


@dataclass(frozen=True, eq=False)
class Instance:
    """``mask`` is a bool picture [j, i] on slice ``slice_index`` of the resampled image."""

    region: str
    part: str
    side: str
    slice_index: int
    mask: np.ndarray

    @property
    def key(self) -> str:
        """A readable identity, unique within a patient: part|side|slice."""
        return f"{self.part}|{self.side}|{self.slice_index}"

    @property
    def pixels(self) -> int:
        """Number of resampled pixels."""
        return int(self.mask.sum())


@dataclass(frozen=True)
class NotClassified:
    """A piece of a region that no model looks at, and the reason."""

    part: str
    side: str
    slice_index: int | None
    reason: str


def make_instances(case: Case, region: str, submask: str = "whole") -> tuple[list[Instance], list[NotClassified]]:
    """Instances of ``region`` (``ventricles`` | ``sublentiform``) in slice order, and what was not classified.

    ``submask`` selects pixels of the sub-lentiform region: ``whole`` | ``without-pvs`` | ``pvs-only``. Raises BadInput
    for unknown names.
    """
    if region not in REGIONS or submask not in SUBMASKS:
        raise BadInput(f"Unknown region '{region}' or sub-mask '{submask}'; use {', '.join(REGIONS)} and {SUBMASKS}.")
    instances: list[Instance] = []
    left_out: list[NotClassified] = []
    pieces = _ventricles(case) if region == "ventricles" else _sublentiform(case, submask)
    for part, side, drawn, mask in pieces:
        slices = np.flatnonzero(mask.any(axis=(1, 2)))
        if not slices.size:
            nothing = "drawn, but too small" if drawn.any() else "not drawn"
            reason = case.regions.withheld.get(_segment(part, side), nothing)
            left_out.append(NotClassified(part, side, None, reason))
        for k in (int(v) for v in slices):
            pixels = int(mask[k].sum())
            if pixels < MIN_PIXELS:
                reason = f"{pixels} pixels, fewer than {MIN_PIXELS}"
                left_out.append(NotClassified(part, side, k, reason))
            else:
                instances.append(Instance(region, part, side, k, mask[k]))
    return instances, left_out


def ventricle_parts(regions: RegionSet, anatomy: Anatomy) -> np.ndarray:
    """Part label (names.PARTS) of every voxel of the CSF mask, uint8 [k, j, i]; drawn voxels join the nearest part."""
    mask = regions.masks[VENTRICLES]
    parts = regions.parts
    if parts is None or not parts.any():
        priors = np.stack([_part_prior(anatomy, name) for name in PARTS.values()])
        parts = np.where(priors.max(axis=0) > 0.5, priors.argmax(axis=0) + 1, 0).astype(np.uint8)
    return assign_parts(mask, parts, regions.grid.spacing)


def _part_prior(anatomy: Anatomy, part: str) -> np.ndarray:
    if part == "lateral":
        return anatomy.prior("lateral_left") + anatomy.prior("lateral_right")
    return anatomy.prior(part)


def _segment(part: str, side: str) -> str:
    if part == "sublentiform":
        return SUBLENTIFORM_LEFT if side == "left" else SUBLENTIFORM_RIGHT
    return VENTRICLES


def _sublentiform(case: Case, submask: str) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Part, side, what is drawn of it, and that on the resampled image."""
    masks = case.regions.masks
    empty = np.zeros(case.volume.grid.shape, bool)
    for side, name, pvs_name in (("left", SUBLENTIFORM_LEFT, PVS_LEFT), ("right", SUBLENTIFORM_RIGHT, PVS_RIGHT)):
        mask, pvs = masks.get(name, empty), masks.get(pvs_name, empty)
        if submask == "without-pvs":
            mask = mask & ~pvs
        elif submask == "pvs-only":
            mask = mask & pvs
        yield "sublentiform", side, mask, case.prepared.resample_mask(mask)


def _ventricles(case: Case) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """As _sublentiform; of each part without its rim and what is no CSF."""
    if VENTRICLES not in case.regions.masks:
        nothing = np.zeros(case.prepared.resampled.grid.shape, bool)
        yield "lateral", "none", nothing, nothing
        return
    parts = ventricle_parts(case.regions, case.anatomy)
    plane = case.regions.midplane or case.anatomy.midplane
    left = on_left(case.volume.grid, plane)
    image = case.prepared.resampled.array
    for value, part in PARTS.items():
        mask = parts == value
        sides = (("left", mask & left), ("right", mask & ~left)) if part == "lateral" else (("none", mask),)
        for side, piece in sides:
            yield part, side, piece, _pure_csf(case.prepared.resample_mask(piece), image)


def on_left(grid: Grid, plane: Plane) -> np.ndarray:
    """Bool array [k, j, i]: voxels on the patient's left of the mid-sagittal plane."""
    steps = grid.matrix * grid.spacing  # columns: LPS step of one voxel along i, j, k
    normal = np.asarray(plane.normal)
    ni, nj, nk = grid.size
    start = (np.asarray(grid.origin) - plane.point) @ normal
    along = [np.arange(n) * (steps[:, axis] @ normal) for axis, n in enumerate((ni, nj, nk))]
    return (start + along[2][:, None, None] + along[1][:, None] + along[0]) > 0


def _pure_csf(mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    """``mask`` without its outermost pixel and without plexus, septum and flow voids (dark pixels)."""
    inner = binary_erosion(mask, np.ones((1, 3, 3), bool))
    if not inner.any():
        return inner
    values = image[inner]
    median = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - median))
    return inner & (image > median - _DARK_ROBUST_SD * spread)
