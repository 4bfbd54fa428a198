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
#: Levels are read within this: it holds tissue beside wide ventricles and still follows the bias field.
_LEVEL_RADIUS_MM = 25.0
#: A tail beyond a neck that ends within this length is a horn and kept; a longer one is a leak and cut at the neck.
_HORN_MM = 14.0
#: Enclosed darker islands up to this area are choroid plexus or flow, and belong to the region.
_HOLE_MM2 = 25.0
#: A neck is narrower than this fraction of the region at the start (half-widths, the start's capped in mm).
_NECK_FRACTIONS, _NECK_MAX_MM = (0.5, 0.75, 0.95), 2.5
#: Ventricles lie deeper under the outline of the head (or stripped brain) than this; sulci and cisterns reach it.
_DEEP_MM, _LEAK_PIXELS, _COARSE_MM = 18.0, 8, 3.0
#: A region of the next slice lies over the slice before by at least this part, or it is another structure.
_MIN_OVERLAP = 0.12
#: It is at most this many times as large as what lies next to it: small horns open quickly, large ones do not.
_MAX_GROWTH, _MAX_GROWTH_LARGE, _LARGE_MM2 = 4.0, 2.5, 150.0
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
    masks = np.zeros((array.shape[0], *bright.shape), bool)
    masks[k] = _grown(bright, start, _Depth(array[k], window, 0.3 * levels.tissue, spacing), settings.leak_guard, True)
    for step in (-1, 1):
        for here in range(k + step, k + step * (settings.neighbours + 1), step):
            if not 0 <= here < len(image) or not masks[here - step].any():
                break
            depth = _Depth(array[here], window, 0.3 * levels.tissue, spacing)
            masks[here] = _carried(np.asarray(image[here]) > edge, masks[here - step], depth, settings.leak_guard)
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
    for k, j, i in dict.fromkeys((int(k), int(j), int(i)) for k, j, i in points):
        if all(0 <= p < n for p, n in zip((k, j, i), array.shape)) and whole[k, j, i]:
            continue
        result = grow(array, spacing, (k, j, i), settings)
        if result.empty:
            reason = result.reason
            continue
        whole[tuple(slice(o, o + n) for o, n in zip(result.origin, result.mask.shape))] |= result.mask
    return cropped(whole, (0, 0, 0), reason)


def lobe(
    mask: np.ndarray,
    spacing: tuple[float, float, float],
    point: tuple[int, int, int],
    settings: CsfSettings | None = None,
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


class _Depth:
    """How deep under the head's outline the pixels of one slice's window lie, in plane and mm; made only when asked.

    The outline is that of everything brighter than ``air``: the skin of a whole head, the surface of a stripped brain.
    """

    def __init__(self, plane: np.ndarray, window: tuple[slice, slice], air: float, spacing: tuple[float, float, float]):
        self._plane, self._window, self._air, self.sampling = plane, window, air, (spacing[1], spacing[0])
        self._far: np.ndarray | None = None

    def leaks(self, region: np.ndarray) -> bool:
        """Whether ``region`` (on the window) comes close to the outline, as no ventricle does."""
        if self._far is None:
            steps = tuple(max(round(_COARSE_MM / s), 1) for s in self.sampling)
            head = ndimage.binary_fill_holes(self._plane[:: steps[0], :: steps[1]] > self._air)
            head = ndimage.binary_opening(np.pad(head, 1), iterations=2)[1:-1, 1:-1]
            coarse = ndimage.distance_transform_edt(
                np.pad(head, 1), sampling=[n * s for n, s in zip(steps, self.sampling)]
            )[1:-1, 1:-1]
            rows, columns = (np.arange(w.start, w.stop) // n for w, n in zip(self._window, steps))
            self._far = coarse[np.ix_(np.minimum(rows, len(coarse) - 1), np.minimum(columns, coarse.shape[1] - 1))]
        return int((region & (self._far < _DEEP_MM)).sum()) > _LEAK_PIXELS


def _grown(bright: np.ndarray, start: np.ndarray, depth: _Depth, guard: bool, keep: bool) -> np.ndarray:
    """The connected bright regions that ``start`` touches, holes filled; with ``guard`` cut at necks.

    A region that runs out to the head's surface is cut at wider and wider necks; one that still does is left out, or
    with ``keep`` (the user clicked there) shrinks to the blob around the start.
    """
    labels, _ = ndimage.label(bright)
    touched = np.unique(labels[start & bright])
    region = np.isin(labels, touched[touched > 0])
    if guard and region.any():
        for fraction in _NECK_FRACTIONS:
            cut = _cut_at_necks(region, start & bright, fraction, depth.sampling)
            if not depth.leaks(cut):
                return _filled(cut, depth.sampling)
        region = _blob(region, start & bright, depth.sampling) if keep else np.zeros_like(region)
    return _filled(region, depth.sampling)


def _carried(bright: np.ndarray, before: np.ndarray, depth: _Depth, guard: bool) -> np.ndarray:
    """The region of the next slice: what lies over the slice ``before`` and is not another structure."""
    if not guard:
        return _grown(bright, before, depth, False, False)
    result = np.zeros_like(bright)
    pieces, count = ndimage.label(bright & before)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    below, _ = ndimage.label(before)
    areas = np.bincount(below.ravel())
    for piece in sorted(range(1, count + 1), key=lambda n: -sizes[n]):
        start = pieces == piece
        if result[start].any():
            continue
        region = _grown(bright, start, depth, True, False)
        touched = np.unique(below[region & before])
        carried, area = int(areas[touched[touched > 0]].sum()), int(region.sum())
        large = area * depth.sampling[0] * depth.sampling[1] > _LARGE_MM2
        growth = area / max(carried, 1)
        if (region & before).sum() >= _MIN_OVERLAP * area and growth <= (_MAX_GROWTH_LARGE if large else _MAX_GROWTH):
            result |= region
    return result


def _cut_at_necks(region: np.ndarray, start: np.ndarray, fraction: float, sampling: tuple[float, float]) -> np.ndarray:
    """The part of ``region`` around ``start`` up to its necks; horns, short tails beyond a neck, stay.

    A neck is where the half-width falls below ``fraction`` of that at the start.
    """
    box = ndimage.find_objects(region.astype(np.uint8))[0]
    inner, seeds = np.pad(region[box], 1), np.pad(start[box], 1)
    width = ndimage.distance_transform_edt(inner, sampling=sampling)
    near = ndimage.binary_dilation(seeds, iterations=3) & inner
    neck = fraction * min(float(width[near].max()), _NECK_MAX_MM)
    cores, _ = ndimage.label(width > neck)
    wanted = np.unique(cores[near])
    core = np.isin(cores, wanted[wanted > 0])
    away = ndimage.distance_transform_edt(~core, sampling=sampling)
    kept = inner & (away <= neck + max(sampling))
    tails, count = ndimage.label(inner & ~kept, np.ones((3, 3)))
    if count:
        length = ndimage.maximum(away, tails, np.arange(1, count + 1))
        kept |= np.isin(tails, 1 + np.flatnonzero(length <= _HORN_MM))
    labels, _ = ndimage.label(kept)
    touched = np.unique(labels[seeds | core])
    result = np.zeros_like(region)
    result[box] = np.isin(labels, touched[touched > 0])[1:-1, 1:-1]
    return result


def _blob(region: np.ndarray, start: np.ndarray, sampling: tuple[float, float]) -> np.ndarray:
    """The part of ``region`` within its own width of ``start``: the least that a click can mean."""
    width = float(ndimage.distance_transform_edt(region, sampling=sampling)[start].max())
    return region & (ndimage.distance_transform_edt(~start, sampling=sampling) <= width + 2 * max(sampling))


def _filled(region: np.ndarray, sampling: tuple[float, float]) -> np.ndarray:
    """``region`` with its enclosed holes up to _HOLE_MM2 filled."""
    holes, count = ndimage.label(ndimage.binary_fill_holes(region) & ~region)
    if not count:
        return region
    small = np.bincount(holes.ravel()) * sampling[0] * sampling[1] <= _HOLE_MM2
    small[0] = False
    return region | small[holes]
