"""The CSF tool: the bright region at a point, up to the half-way edge, kept from running out through narrow necks.

Levels are local, so neither the scanner's units nor its bias field matter: CSF is the brightest plateau around the
point, tissue the lower level around it, and the edge lies a chosen fraction of the way between the two. Half-way is
where a voxel holds as much CSF as tissue (partial volume), which is also the protocol's definition of the region.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
#: The half-width at the point counts for at most this (mm) when necks are judged.
_NECK_MAX_MM = 2.5
#: Ventricles lie deeper under the outline of the head (or stripped brain) than this; sulci and cisterns reach it.
_DEEP_MM, _LEAK_PIXELS, _COARSE_MM = 18.0, 8, 3.0
#: The region of the next slice is looked for this far around the box of the slice before.
_REACH_MM = 30.0
_EVERYWHERE = (slice(None), slice(None))
_MIN_CONTRAST, _MIN_CONTRAST_TO_NOISE = 0.15, 5.0


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
class _Rules:
    """When a region is cut, and when it goes on in the next slice.

    A neck is narrower than one of ``necks`` (tried in turn) times the half-width at the point. The next slice's region
    lies over this slice's by at least ``overlap`` of its area and is at most ``growth`` times as large (above
    _LARGE_MM2 ``growth_large`` times: small horns open quickly, large regions do not).
    """

    necks: tuple[float, ...]
    overlap: float
    growth: float
    growth_large: float


#: Growing may be generous, since the image says where CSF ends; erasing follows only what stays the same shape.
_GROWING = _Rules((0.5, 0.75, 0.95), 0.12, 4.0, 2.5)
_ERASING = _Rules((0.5,), 0.3, 2.0, 1.7)
_LARGE_MM2 = 150.0


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
    sampling = (spacing[1], spacing[0])
    outline = _Outline(window, 0.3 * levels.tissue, sampling, _GROWING) if settings.leak_guard else None
    masks[k] = _grown(bright, start, outline, array[k], None, sampling)
    _carry(masks, k, settings.neighbours, lambda n: np.asarray(image[n]) > edge, outline, array, spacing)
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
    drawn: ToolResult,
    spacing: tuple[float, float, float],
    point: tuple[int, int, int],
    settings: CsfSettings | None = None,
) -> ToolResult:
    """The piece of the ``drawn`` region around ``point`` (k, j, i), cut off at its necks: what erasing removes."""
    settings = settings or CsfSettings()
    mask = drawn.mask
    k, j, i = (int(p) - o for p, o in zip(point, drawn.origin))
    if not all(0 <= p < n for p, n in zip((k, j, i), mask.shape)) or not mask[k, j, i]:
        return nothing("There is nothing to erase at this point.")
    rows, columns = _window(mask.shape, spacing, (j, i), settings.radius_mm)
    near = mask[:, rows, columns]
    start = np.zeros(near.shape[1:], bool)
    start[j - rows.start, i - columns.start] = True
    pieces = np.zeros(near.shape, bool)
    sampling = (spacing[1], spacing[0])
    uncut = _NoOutline(sampling)
    pieces[k] = _grown(near[k], start, uncut, mask[k], None, sampling)
    _carry(pieces, k, settings.neighbours, lambda n: near[n], uncut, mask, spacing)
    origin = (drawn.origin[0], drawn.origin[1] + rows.start, drawn.origin[2] + columns.start)
    return cropped(pieces & near, origin, "There is nothing to erase at this point.")


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
    steps = np.concatenate([np.diff(near, axis=0).ravel(), np.diff(near, axis=1).ravel()])
    noise = 1.4826 * float(np.median(np.abs(steps))) / np.sqrt(2) if steps.size else 0.0
    least = max(_MIN_CONTRAST * abs(csf), _MIN_CONTRAST_TO_NOISE * noise)
    return _Levels(csf, tissue) if csf - tissue > least else None


def _brightest_near(plane: np.ndarray, seed: tuple[int, int]) -> tuple[int, int]:
    """The brightest pixel among the seed and its eight neighbours: a hand is not steadier than a pixel."""
    j, i = max(seed[0] - 1, 0), max(seed[1] - 1, 0)
    near = plane[j : seed[0] + 2, i : seed[1] + 2]
    dj, di = np.unravel_index(int(near.argmax()), near.shape)
    return (j + int(dj), i + int(di))


class _Outline:
    """Tells whether a region comes close to the outline of the head, in plane, as no ventricle does.

    The outline is that of everything brighter than ``air``: the skin of a whole head, the surface of a stripped brain.
    """

    def __init__(self, window: tuple[slice, slice], air: float, sampling: tuple[float, float], rules: _Rules):
        self._window, self._air, self._sampling, self.rules = window, air, sampling, rules
        self._steps = tuple(max(round(_COARSE_MM / s), 1) for s in sampling)

    def shallow(self, plane: np.ndarray, reach: tuple[slice, slice]) -> np.ndarray:
        """The pixels in ``reach`` of the window of slice ``plane`` that lie less than _DEEP_MM under the outline."""
        head = plane[:: self._steps[0], :: self._steps[1]] > self._air
        head = np.pad(head | _holes(head), 1)
        head = ndimage.binary_opening(head, iterations=2)
        deep = ndimage.distance_transform_edt(head, sampling=[n * s for n, s in zip(self._steps, self._sampling)])
        coarse = (deep < _DEEP_MM)[1:-1, 1:-1]
        rows, columns = (np.arange(w.start, w.stop)[r] // n for w, r, n in zip(self._window, reach, self._steps))
        return coarse[np.ix_(rows, columns)]


class _NoOutline(_Outline):
    """For a drawn mask, which is no head: nothing is shallow, regions are cut at their first necks."""

    def __init__(self, sampling: tuple[float, float]):
        super().__init__((slice(0), slice(0)), 0.0, sampling, _ERASING)

    def shallow(self, plane: np.ndarray, reach: tuple[slice, slice]) -> np.ndarray:
        return np.zeros((1, 1), bool)


def _carry(
    masks: np.ndarray,
    k: int,
    neighbours: int,
    bright_of: Callable[[int], np.ndarray],
    outline: _Outline | None,
    array: np.ndarray,
    spacing: tuple[float, float, float],
) -> None:
    """Carry ``masks[k]`` on to up to ``neighbours`` slices on each side, each starting from what it lies over."""
    sampling = (spacing[1], spacing[0])
    for step in (-1, 1):
        for here in range(k + step, k + step * (neighbours + 1), step):
            if not 0 <= here < len(masks) or not masks[here - step].any():
                break
            reach = _reach(masks[here - step], sampling) if outline is not None else _EVERYWHERE
            before = masks[here - step][reach]
            masks[here][reach] = _grown(bright_of(here)[reach], before, outline, array[here], before, sampling, reach)


def _grown(
    bright: np.ndarray,
    start: np.ndarray,
    outline: _Outline | None,
    plane: np.ndarray,
    before: np.ndarray | None,
    sampling: tuple[float, float],
    reach: tuple[slice, slice] = _EVERYWHERE,
) -> np.ndarray:
    """The connected bright regions that ``start`` touches, holes filled; with an ``outline`` (leak guard) cut at necks.

    ``before`` is the neighbouring slice's region when carrying on: what does not look like its continuation is left
    out, and so is what still runs out to the outline when cut. On the slice of the click that shrinks to a blob.
    ``bright``, ``start`` and ``before`` are the ``reach`` of the outline's window.
    """
    result = np.zeros_like(bright)
    labels, _ = ndimage.label(bright)
    touched = np.unique(labels[start & bright])
    if not touched.any():
        return result
    boxes = ndimage.find_objects(labels)
    shallow = outline.shallow(plane, reach) if outline is not None else None
    neighbour = ndimage.label(before)[0] if before is not None and outline is not None else None
    for number in touched[touched > 0]:
        box = boxes[number - 1]
        region = labels[box] == number
        if outline is not None and shallow is not None:
            edge = shallow[box] if shallow.shape == bright.shape else np.zeros_like(region)
            region = _contained(region, start[box] & region, edge, before is None, outline.rules, sampling)
        region |= _small_holes(region, sampling)
        if outline is not None and neighbour is not None:
            region = region & _continues(region, neighbour[box], neighbour, outline.rules, sampling)
        result[box] |= region
    return result


def _reach(before: np.ndarray, sampling: tuple[float, float]) -> tuple[slice, slice]:
    """The box around ``before`` and _REACH_MM beyond it."""
    rows, columns = (
        slice(max(span.start - int(_REACH_MM / s), 0), span.stop + int(_REACH_MM / s))
        for span, s in zip(ndimage.find_objects(before.astype(np.uint8))[0], sampling)
    )
    return rows, columns


def _continues(region: np.ndarray, inside: np.ndarray, neighbour: np.ndarray, rules: _Rules, sampling) -> bool:
    """Whether ``region`` continues the labelled regions of the slice before (``inside`` its box, ``neighbour`` all)."""
    over = inside[region]
    touched = np.unique(over[over > 0])
    area, carried = int(region.sum()), int(np.isin(neighbour, touched).sum()) if len(touched) else 0
    limit = rules.growth_large if area * sampling[0] * sampling[1] > _LARGE_MM2 else rules.growth
    return carried > 0 and int((over > 0).sum()) >= rules.overlap * area and area <= limit * carried


def _contained(
    region: np.ndarray, seeds: np.ndarray, shallow: np.ndarray, keep: bool, rules: _Rules, sampling: tuple[float, float]
) -> np.ndarray:
    """``region`` cut at wider and wider necks until it no longer comes to the ``shallow`` pixels.

    One that still does is empty, or with ``keep`` the blob around the seeds: the least that a click can mean.
    """
    inner, seeds = np.pad(region, 1), np.pad(seeds, 1)
    width = ndimage.distance_transform_edt(inner, sampling=sampling)
    for fraction in rules.necks:
        cut = _cut_at_necks(inner, seeds, width, fraction, sampling)[1:-1, 1:-1]
        if int((cut & shallow).sum()) <= _LEAK_PIXELS:
            return cut
    if not keep:
        return np.zeros_like(region)
    away = ndimage.distance_transform_edt(~seeds, sampling=sampling)
    return (inner & (away <= float(width[seeds].max()) + 2 * max(sampling)))[1:-1, 1:-1]


def _cut_at_necks(inner: np.ndarray, seeds: np.ndarray, width: np.ndarray, fraction: float, sampling) -> np.ndarray:
    """The part of ``inner`` around ``seeds`` up to its necks; horns, short tails beyond a neck, stay.

    A neck is where the half-``width`` (mm) falls below ``fraction`` of that at the seeds.
    """
    near = ndimage.binary_dilation(seeds, iterations=3) & inner
    neck = fraction * min(float(width[near].max()), _NECK_MAX_MM)
    cores, _ = ndimage.label(width > neck)
    wanted = np.unique(cores[near])
    core = np.isin(cores, wanted[wanted > 0])
    away = ndimage.distance_transform_edt(~core, sampling=sampling)
    kept = inner & (away <= neck + max(sampling))
    tails, count = ndimage.label(inner & ~kept, np.ones((3, 3)))
    if count:
        length = np.atleast_1d(ndimage.maximum(away, tails, np.arange(1, count + 1)))
        kept |= np.concatenate([[False], length <= _HORN_MM])[tails]
    labels, _ = ndimage.label(kept)
    touched = np.unique(labels[seeds | core])
    return np.isin(labels, touched[touched > 0])


def _holes(region: np.ndarray) -> np.ndarray:
    """The background that ``region`` encloses (binary_fill_holes says the same, many times slower)."""
    labels, _ = ndimage.label(~region)
    rim = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return ~np.isin(labels, rim) & (labels > 0)


def _small_holes(region: np.ndarray, sampling: tuple[float, float]) -> np.ndarray:
    """The enclosed holes of ``region`` of up to _HOLE_MM2."""
    holes, count = ndimage.label(_holes(region))
    small = np.bincount(holes.ravel(), minlength=count + 1) * sampling[0] * sampling[1] <= _HOLE_MM2
    small[0] = False
    return small[holes]
