"""Bring a mask from its file's grid to the image's grid, or say in one sentence why it does not belong there."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813

from cnsifusion.errors import BadInput
from cnsifusion.imaging import Grid
from cnsifusion.imaging.grid import CLOSE_MM
from cnsifusion.imaging.volume import Volume

#: More of a region than this outside the image means that it was drawn on another one.
_MAX_OUTSIDE = 0.05


def fit_to_grid(mask: np.ndarray, grid: Grid, target: Grid) -> tuple[np.ndarray, str]:
    """``mask`` (bool [k, j, i] on ``grid``, both canonical) on ``target``, and a sentence on what was done, if any.

    A grid that differs only by its extent is cropped or padded, any other is resampled to the nearest voxel. Raises
    BadInput, naming what differs, when more than 5 % of the mask lies outside ``target``.
    """
    if grid.is_close(target):
        return mask, ""
    _check_inside(mask, grid, target)
    offset = _lattice_offset(grid, target)
    if offset is not None:
        # A crop loses and moves nothing, so the reader need not hear of it.
        return _pasted(mask, offset, target), ""
    fitted = _resampled(mask, grid, target)
    if mask.any() and not fitted.any():
        raise BadInput(f"The regions vanish on the image's grid: {_difference(grid, target)}.")
    return fitted, f"The regions were drawn on another grid ({_difference(grid, target)}); taken to the nearest voxel."


def _check_inside(mask: np.ndarray, grid: Grid, target: Grid) -> None:
    voxels = np.argwhere(mask)[:, ::-1]
    if not len(voxels):
        return
    ijk = target.to_ijk(grid.to_lps(voxels))
    outside = float(np.mean(np.any((ijk < -0.5) | (ijk > np.array(target.size) - 0.5), axis=1)))
    if outside > _MAX_OUTSIDE:
        raise BadInput(
            f"The regions do not belong to this image: {outside:.0%} of a region lies outside it "
            f"({_difference(grid, target)}); choose the image they were drawn on."
        )


def _lattice_offset(grid: Grid, target: Grid) -> tuple[int, int, int] | None:
    """Index (i, j, k) in ``target`` of the first voxel of ``grid`` if both share one lattice, else None."""
    first = np.round(target.to_ijk(np.array(grid.origin)))
    error = np.abs(grid.to_lps(grid.corners) - target.to_lps(grid.corners + first)).max()
    return (int(first[0]), int(first[1]), int(first[2])) if error <= CLOSE_MM else None


def _pasted(mask: np.ndarray, offset: tuple[int, int, int], target: Grid) -> np.ndarray:
    fitted = np.zeros(target.shape, bool)
    source, place = [], []
    for start, n, total in zip(offset[::-1], mask.shape, target.shape):
        low, high = max(start, 0), min(start + n, total)
        place.append(slice(low, max(high, low)))
        source.append(slice(low - start, max(high, low) - start))
    fitted[tuple(place)] = mask[tuple(source)]
    return fitted


def _resampled(mask: np.ndarray, grid: Grid, target: Grid) -> np.ndarray:
    reference = sitk.Image(target.size, sitk.sitkUInt8)
    reference.SetSpacing(target.spacing)
    reference.SetOrigin(target.origin)
    reference.SetDirection(target.direction)
    image = sitk.Resample(Volume(mask, grid).to_sitk(), reference, sitk.Transform(), sitk.sitkNearestNeighbor)
    return sitk.GetArrayFromImage(image) > 0


def _difference(grid: Grid, target: Grid) -> str:
    """What differs between the two grids, in words."""

    def listed(values: tuple, digits: int = 2) -> str:
        return " x ".join(f"{v:.{digits}f}".rstrip("0").rstrip(".") if digits else str(v) for v in values)

    found = []
    if grid.size != target.size:
        found.append(f"size {listed(grid.size, 0)} instead of {listed(target.size, 0)} voxels")
    if np.abs(np.subtract(grid.spacing, target.spacing)).max() > 1e-3:
        found.append(f"spacing {listed(grid.spacing, 3)} instead of {listed(target.spacing, 3)} mm")
    cosine = np.clip((np.trace(grid.matrix.T @ target.matrix) - 1) / 2, -1, 1)
    if np.degrees(np.arccos(cosine)) > 0.1:
        found.append(f"axes turned by {np.degrees(np.arccos(cosine)):.1f} degrees")
    shift = float(np.linalg.norm(np.subtract(grid.origin, target.origin)))
    if shift > CLOSE_MM:
        found.append(f"origin {shift:.1f} mm away")
    return ", ".join(found) or "numbers that differ by rounding"
