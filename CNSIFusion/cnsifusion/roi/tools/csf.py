"""The CSF tool: the bright region at a point, up to the half-way edge, kept from running out through narrow necks.

Levels are local, so neither the scanner's units nor its bias field matter: CSF is the brightest plateau around the
point, tissue the lower level around it, and the edge lies a chosen fraction of the way between the two. Half-way is
where a voxel holds as much CSF as tissue (partial volume), which is also the protocol's definition of the region.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from cnsifusion.roi.tools.result import ToolResult, cropped, nothing

ALL_SLICES = 999
#: Where levels are read: wide enough to hold tissue beside wide ventricles, narrow enough to follow the bias field.
_LEVEL_RADIUS_MM = 25.0
#: A tail beyond a neck that ends within this length is a horn and kept; a longer one is a leak and cut at the neck.
_HORN_MM = 14.0
#: Enclosed darker islands up to this area are choroid plexus or flow, and belong to the region.
_HOLE_MM2 = 25.0
#: The core of a region is what is left after taking off this fraction of its half-width at the point (mm at most).
_NECK_FRACTION, _NECK_MAX_MM = 0.5, 1.6
#: From slice to slice the region may grow this far sideways: ventricles lean, but a cistern spreads at once.
_LEAN_MM = 9.0
_MIN_CONTRAST = 0.15


@dataclass(frozen=True)
class CsfSettings:
    """``tolerance`` 0.05-0.95: the edge's way from local CSF (0) down to local tissue (1); 0.5 is the half-way edge.

    ``leak_guard`` cuts the region at narrow necks. ``radius_mm`` bounds the reach in plane. ``neighbours`` is the
    number of slices on each side that the region is carried on to (0 = only the slice of the point).
    """

    tolerance: float = 0.5
    leak_guard: bool = True
    radius_mm: float = 70.0
    neighbours: int = 0


@dataclass(frozen=True)
class _Levels:
    csf: float
    tissue: float

    def edge(self, tolerance: float) -> float:
        return self.csf - min(max(tolerance, 0.05), 0.95) * (self.csf - self.tissue)


def grow(
    array: np.ndarray,
    spacing: tuple[float, float, float],
    point: tuple[int, int, int],
    settings: CsfSettings | None = None,
) -> ToolResult:
    """The CSF region at ``point`` (k, j, i) of the image ``array`` [k, j, i] with ``spacing`` mm (i, j, k).

    Hover shows it, a click applies it. Empty, with a reason, outside the image and where the point is no CSF.
    """
    settings = settings or CsfSettings()
    k, j, i = (int(p) for p in point)
    if not all(0 <= p < n for p, n in zip((k, j, i), array.shape)):
        return nothing("The point lies outside the image.")
    window = _window(array.shape, spacing, (j, i), settings.radius_mm)
    image, seed = array[:, window[0], window[1]], (j - window[0].start, i - window[1].start)
    plane = np.asarray(image[k], np.float32)
    levels = _levels(plane, spacing, seed)
    if levels is None:
        return nothing("There is no contrast between CSF and tissue around this point.")
    edge = levels.edge(settings.tolerance)
    bright = plane > edge
    seed = _brightest_near(plane, seed)
    if not bright[seed]:
        return nothing("This point is not bright enough for CSF; click inside the ventricle or raise the tolerance.")
    bright &= _disc(bright.shape, seed, settings.radius_mm, spacing)
    start = np.zeros(bright.shape, bool)
    start[seed] = True
    first = _region(bright, start, spacing, settings.leak_guard)
    masks = np.zeros((array.shape[0], *bright.shape), bool)
    masks[k] = first
    for step in (-1, 1):
        _carry(masks, image, k, step, edge, spacing, settings)
    return cropped(masks, (0, window[0].start, window[1].start), "Nothing was found here.")


def grow_stroke(
    array: np.ndarray,
    spacing: tuple[float, float, float],
    points: Sequence[tuple[int, int, int]],
    settings: CsfSettings | None = None,
) -> ToolResult:
    """The union of the regions at the ``points`` (k, j, i) of a drag; points inside an earlier region cost nothing."""
    settings = settings or CsfSettings()
    whole = np.zeros(array.shape, bool)
    reason = "The stroke has no point."
    for point in dict.fromkeys(tuple(int(p) for p in point) for point in points):
        if all(0 <= p < n for p, n in zip(point, array.shape)) and whole[point]:
            continue
        result = grow(array, spacing, point, settings)
        if result.empty:
            reason = result.reason
            continue
        whole[tuple(slice(o, o + n) for o, n in zip(result.origin, result.mask.shape))] |= result.mask
    return cropped(whole, (0, 0, 0), reason)


def lobe(
    mask: np.ndarray, spacing: tuple[float, float, float], point: tuple[int, int, int], settings: CsfSettings | None = None
) -> ToolResult:
    """The piece of the drawn region ``mask`` [k, j, i] around ``point``, cut off at its necks: what erasing removes."""
    settings = settings or CsfSettings()
    k, j, i = (int(p) for p in point)
    if not all(0 <= p < n for p, n in zip((k, j, i), mask.shape)) or not mask[k, j, i]:
        return nothing("There is nothing to erase at this point.")
    # A drawn region is an image with two levels; its own edge is half-way between them.
    return grow(mask.astype(np.float32), spacing, (k, j, i), replace(settings, tolerance=0.5))


def _window(shape: tuple[int, ...], spacing: tuple[float, float, float], seed: tuple[int, int], radius: float):
    half = max(radius, _LEVEL_RADIUS_MM)
    rows, columns = int(half / spacing[1]) + 1, int(half / spacing[0]) + 1
    return (
        slice(max(seed[0] - rows, 0), min(seed[0] + rows + 1, shape[1])),
        slice(max(seed[1] - columns, 0), min(seed[1] + columns + 1, shape[2])),
    )


def _disc(shape: tuple[int, int], centre: tuple[int, int], radius: float, spacing: tuple[float, float, float]):
    rows = (np.arange(shape[0]) - centre[0])[:, None] * spacing[1]
    columns = (np.arange(shape[1]) - centre[1])[None] * spacing[0]
    return rows**2 + columns**2 <= radius**2


def _levels(plane: np.ndarray, spacing: tuple[float, float, float], seed: tuple[int, int]) -> _Levels | None:
    """CSF and tissue around the seed: the top of what is bright over 3x3 pixels, and the lower third of everything."""
    rows, columns = _window(plane.shape and (1, *plane.shape), spacing, seed, _LEVEL_RADIUS_MM)
    near = plane[rows, columns]
    centre = (seed[0] - rows.start, seed[1] - columns.start)
    disc = _disc(near.shape, centre, _LEVEL_RADIUS_MM, spacing)
    tissue = float(np.percentile(near[disc], 35))
    plateau = ndimage.minimum_filter(near, 3)  # as bright as its darkest neighbour: pure, no thin or noisy maximum
    csf = max(float(np.percentile(plateau[disc], 99.5)), float(near[_brightest_near(near, centre)]))
    return _Levels(csf, tissue) if csf - tissue > _MIN_CONTRAST * abs(csf) else None


def _brightest_near(plane: np.ndarray, seed: tuple[int, int]) -> tuple[int, int]:
    """The brightest pixel among the seed and its eight neighbours: a hand is not steadier than a pixel."""
    j, i = max(seed[0] - 1, 0), max(seed[1] - 1, 0)
    near = plane[j : seed[0] + 2, i : seed[1] + 2]
    dj, di = np.unravel_index(int(near.argmax()), near.shape)
    return (j + int(dj), i + int(di))


def _region(bright: np.ndarray, start: np.ndarray, spacing: tuple[float, float, float], guard: bool) -> np.ndarray:
    """The connected bright region(s) that ``start`` touches, cut at necks (``guard``), small holes filled."""
    labels, _ = ndimage.label(bright)
    touched = np.unique(labels[start & bright])
    region = np.isin(labels, touched[touched > 0])
    if guard and region.any():
        region = _without_leaks(region, start & bright, spacing)
    return _filled(region, spacing)


def _without_leaks(region: np.ndarray, start: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    box = ndimage.find_objects(region.astype(np.uint8))[0]
    inner, seeds = np.pad(region[box], 1), np.pad(start[box], 1)
    sampling = (spacing[1], spacing[0])
    depth = ndimage.distance_transform_edt(inner, sampling=sampling)
    near = ndimage.binary_dilation(seeds, iterations=3) & inner
    neck = min(_NECK_FRACTION * float(depth[near].max()), _NECK_MAX_MM)
    cores, _ = ndimage.label(depth > neck)
    wanted = np.unique(cores[near])
    core = np.isin(cores, wanted[wanted > 0]) | (near & (depth >= neck))
    away = ndimage.distance_transform_edt(~core, sampling=sampling)
    kept = inner & (away <= neck + max(sampling))
    tails, count = ndimage.label(inner & ~kept, np.ones((3, 3)))
    if count:
        length = ndimage.maximum(away, tails, np.arange(1, count + 1))
        kept |= np.isin(tails, 1 + np.flatnonzero(length <= _HORN_MM))
    labels, _ = ndimage.label(kept)
    touched = np.unique(labels[seeds])
    result = np.zeros_like(region)
    result[box] = np.isin(labels, touched[touched > 0])[1:-1, 1:-1]
    return result


def _filled(region: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """``region`` with its enclosed holes up to _HOLE_MM2 filled."""
    holes, count = ndimage.label(ndimage.binary_fill_holes(region) & ~region)
    if not count:
        return region
    small = np.flatnonzero(np.bincount(holes.ravel()) * spacing[0] * spacing[1] <= _HOLE_MM2)
    return region | (np.isin(holes, small) & (holes > 0))


def _carry(masks: np.ndarray, image: np.ndarray, k: int, step: int, edge: float, spacing, settings: CsfSettings) -> None:
    """Carry the region of slice ``k`` on slice by slice; each slice starts from what lies over the one before."""
    sampling = (spacing[1], spacing[0])
    for distance in range(1, settings.neighbours + 1):
        here = k + step * distance
        before = masks[here - step]
        if not 0 <= here < len(image) or not before.any():
            return
        away = ndimage.distance_transform_edt(~before, sampling=sampling)
        bright = np.asarray(image[here]) > edge
        start = bright & before
        if settings.leak_guard:
            bright &= away <= _LEAN_MM
        masks[here] = _region(bright, start, spacing, settings.leak_guard) if start.any() else False
