"""The CSF tool: the bright region at a point, up to the half-way edge, kept from running out through narrow necks.

Levels are local, so neither the scanner's units nor its bias field matter: CSF is the brightest plateau around the
point, tissue the lower level around it, and the edge lies a chosen fraction of the way between the two. Half-way is
where a voxel holds as much CSF as tissue (partial volume), which is also the protocol's definition of the region.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from cnsifusion.roi.morphology import holes, padded, small_holes, windowed
from cnsifusion.roi.tools.necks import (
    Box,
    Leaks,
    around,
    box_of,
    contained,
    moved,
    opened,
    pieces_at,
    seen,
    within,
)
from cnsifusion.roi.tools.result import ToolResult, cropped, nothing
from cnsifusion.roi.tools.sides import Midline, Opposite

ALL_SLICES = 999
#: Levels are read within this: it holds tissue beside wide ventricles and still follows the bias field.
_LEVEL_RADIUS_MM = 25.0
#: Enclosed darker islands up to this area are choroid plexus or flow, and belong to the region.
_HOLE_MM2 = 25.0
#: Ventricles lie deeper under the outline of the head (or stripped brain) than this; sulci and cisterns reach it.
_DEEP_MM, _LEAK_PIXELS, _COARSE_MM = 18.0, 8, 3.0
#: The region of the next slice is looked for this far around the box of the slice before.
_REACH_MM = 30.0
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
    midline: Midline | None = None,
    drawn: ToolResult | None = None,
) -> ToolResult:
    """The CSF region at ``point`` (k, j, i) of the image ``array`` [k, j, i] with ``spacing`` mm (i, j, k).

    Hover shows it, a click applies it. Empty, with a reason, outside the image and where the point is no CSF. With the
    ``midline`` of the point's slice what matches the region on the other side is taken too, unless some of that is
    ``drawn`` already.
    """
    settings = settings or CsfSettings()
    k, j, i = (int(p) for p in point)
    if not all(0 <= p < n for p, n in zip((k, j, i), array.shape)):
        return nothing("The point lies outside the image.")
    first, last = max(k - settings.neighbours, 0), k + settings.neighbours
    array, k = array[first : last + 1], k - first
    window = _window(array.shape, spacing, (j, i), settings.radius_mm)
    corner = window[0].start, window[1].start
    image, seed = array[:, window[0], window[1]], (j - corner[0], i - corner[1])
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
    everywhere = (slice(0, bright.shape[0]), slice(0, bright.shape[1]))

    def grown(start: np.ndarray) -> np.ndarray:
        region = np.zeros_like(start)
        _grow(region, bright, start, outline, array[k], False, sampling, everywhere)
        return region

    masks[k] = grown(start)
    if midline is not None:
        other = _other_side(bright, masks[k], grown, midline, corner, sampling)
        if drawn is None or not (other & drawn.within((first + k, *corner), (1, *bright.shape))[0]).any():
            masks[k] |= other
    _carry(masks, k, settings.neighbours, lambda n, reach: image[n][reach] > edge, outline, array, spacing)
    return cropped(masks, (first, *corner), "Nothing was found here.")


def _other_side(bright, region, grown, midline: Midline, corner: tuple[int, int], sampling: tuple[float, float]):
    """What matches the ``region`` on the other side of the head, ``grown`` from there; empty where nothing does."""
    nowhere = np.zeros_like(region)
    opposite = Opposite(region, bright, corner, midline, sampling)
    seed = opposite.seed()
    if seed is None:
        return nowhere
    start = nowhere.copy()
    start[seed] = True
    found = grown(start)
    return found if opposite.matches(found) else nowhere


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
    everywhere = (slice(0, near.shape[1]), slice(0, near.shape[2]))
    _grow(pieces[k], near[k], start, uncut, mask[k], False, sampling, everywhere)
    _carry(pieces, k, settings.neighbours, lambda n, reach: near[n][reach], uncut, mask, spacing)
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
    # As bright as its darkest neighbour: pure, no thin or noisy maximum.
    plateau = windowed(near[None], (1, 1), np.minimum, np.inf)[0]
    csf = max(float(np.percentile(plateau[disc], 99.5)), float(near[_brightest_near(near, centre)]))
    steps = np.abs(np.concatenate([np.diff(near, axis=0).ravel(), np.diff(near, axis=1).ravel()]))
    noise = 1.4826 * _median(steps) / np.sqrt(2) if steps.size else 0.0
    least = max(_MIN_CONTRAST * abs(csf), _MIN_CONTRAST_TO_NOISE * noise)
    return _Levels(csf, tissue) if csf - tissue > least else None


def _median(values: np.ndarray) -> float:
    """The median of some ``values``: numpy.median, which asks for several places at once, takes ten times as long."""
    size = len(values)
    halves = np.partition(values, (size - 1) // 2)
    return float((halves[(size - 1) // 2] + halves[size // 2 :].min()) / 2)


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

    def leaks(self, plane: np.ndarray, box: Box) -> Leaks:
        """The test of a region of slice ``plane`` that lies in ``box`` of the window: too close to the outline?"""
        (row, column), shallow = self._shallow(plane, box)
        if not shallow.any():
            return lambda part, region: False
        rows, columns = (self._cells(span, axis) for axis, span in enumerate(box))
        near = shallow[rows - row][:, columns - column]
        return lambda part, region: int(np.count_nonzero(region & near[seen(part, box)])) > _LEAK_PIXELS

    def _shallow(self, plane: np.ndarray, box: Box) -> tuple[tuple[int, int], np.ndarray]:
        """The first coarse cell under ``box`` (row, column), and which cells under it lie close to the outline."""
        head = plane[:: self._steps[0], :: self._steps[1]] > self._air
        head = opened(padded(head | holes(head)), 2)
        sizes = self._sampling[0] * self._steps[0], self._sampling[1] * self._steps[1]
        ends = [self._cells(span, axis)[[0, -1]] for axis, span in enumerate(box)]
        first, count = (int(ends[0][0]), int(ends[1][0])), [int(b - a) + 1 for a, b in ends]
        # The outline counts as far as _DEEP_MM from the box. In the padded head a cell lies one farther on.
        reach = [int(_DEEP_MM / size) for size in sizes]
        corner = [max(a + 1 - r, 0) for a, r in zip(first, reach)]
        near = head[tuple(slice(c, a + n + 1 + r) for c, a, n, r in zip(corner, first, count, reach))]
        if near.all():
            return first, np.zeros(count, bool)
        under = tuple(slice(a + 1 - c, a + 1 - c + n) for a, c, n in zip(first, corner, count))
        return first, within(~near, math.nextafter(_DEEP_MM, 0), sizes)[under]

    def _cells(self, span: slice, axis: int) -> np.ndarray:
        """The coarse cells of the rows (axis 0) or columns (1) ``span`` of the window."""
        start = self._window[axis].start
        return np.arange(start + span.start, start + span.stop) // self._steps[axis]


class _NoOutline(_Outline):
    """For a drawn mask, which is no head: nothing is shallow, regions are cut at their first necks."""

    def __init__(self, sampling: tuple[float, float]):
        super().__init__((slice(0), slice(0)), 0.0, sampling, _ERASING)

    def leaks(self, plane: np.ndarray, box: Box) -> Leaks:
        return lambda box, region: False


def _carry(
    masks: np.ndarray,
    k: int,
    neighbours: int,
    bright_of: Callable[[int, Box], np.ndarray],
    outline: _Outline | None,
    array: np.ndarray,
    spacing: tuple[float, float, float],
) -> None:
    """Carry ``masks[k]`` on to up to ``neighbours`` slices on each side, each starting from what it lies over."""
    sampling = (spacing[1], spacing[0])
    everywhere = (slice(0, masks.shape[1]), slice(0, masks.shape[2]))
    for step in (-1, 1):
        drawn = box_of(masks[k])
        for here in range(k + step, k + step * (neighbours + 1), step):
            if not 0 <= here < len(masks) or drawn[0].stop == drawn[0].start:
                break
            reach = _reach(drawn, masks.shape[1:], sampling) if outline is not None else everywhere
            into, before = masks[here][reach], masks[here - step][reach]
            changed = _grow(into, bright_of(here, reach), before, outline, array[here], True, sampling, reach)
            drawn = moved(box_of(into[changed]), moved(changed, reach))


def _grow(
    into: np.ndarray,
    bright: np.ndarray,
    start: np.ndarray,
    outline: _Outline | None,
    plane: np.ndarray,
    carried: bool,
    sampling: tuple[float, float],
    reach: Box,
) -> Box:
    """Set ``into`` in the connected bright regions that ``start`` touches, holes filled; returns the box of these.

    With an ``outline`` (leak guard) they are cut at necks. When ``carried`` on, ``start`` is the neighbouring slice's
    region: what does not look like its continuation is left out, and so is what still runs out to the outline when cut.
    On the slice of the click that shrinks to a blob. ``into``, ``bright``, ``start`` are the ``reach`` of the window.
    """
    pieces = pieces_at(bright, start)
    if not pieces:
        return slice(0, 0), slice(0, 0)
    whole = around([box for box, _ in pieces])
    leaks = outline.leaks(plane, moved(whole, reach)) if outline is not None else None
    for box, region in pieces:
        if outline is not None and leaks is not None:
            seeds, leaky = start[box] & region, partial(leaks, moved(box, reach))
            region = contained(region, seeds, leaky, not carried, outline.rules.necks, sampling)
        region |= small_holes(region, _HOLE_MM2 / (sampling[0] * sampling[1]))
        if outline is None or not carried or _continues(region, box, start, outline.rules, sampling):
            into[box] |= region
    return whole


def _reach(drawn: Box, shape: tuple[int, ...], sampling: tuple[float, float]) -> Box:
    """The box ``drawn`` and _REACH_MM beyond it, within the window's ``shape``."""
    rows, columns = (
        slice(max(span.start - int(_REACH_MM / s), 0), min(span.stop + int(_REACH_MM / s), n))
        for span, s, n in zip(drawn, sampling, shape)
    )
    return rows, columns


def _continues(region: np.ndarray, box: Box, before: np.ndarray, rules: _Rules, sampling: tuple[float, float]) -> bool:
    """Whether ``region``, in its ``box``, lies over enough of what was ``before`` and is no sudden widening of it."""
    area, over = int(np.count_nonzero(region)), int(np.count_nonzero(region & before[box]))
    limit = rules.growth_large if area * sampling[0] * sampling[1] > _LARGE_MM2 else rules.growth
    if not over or over < rules.overlap * area:
        return False
    if area <= limit * over:
        return True  # the regions that it lies over are larger still
    there = np.zeros_like(before)
    there[box] = region
    return area <= limit * sum(np.count_nonzero(piece) for _, piece in pieces_at(before, there))
