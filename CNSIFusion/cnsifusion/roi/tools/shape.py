"""The region tool: polygons and splines, moving as a whole, mirroring, and filling in between slices."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from contourpy import contour_generator
from scipy import ndimage
from scipy.interpolate import CubicSpline

from cnsifusion.imaging import Grid
from cnsifusion.roi.regions import Plane
from cnsifusion.roi.tools.result import ToolResult, cropped, nothing

SPLINE_STEPS = 12
_MOST_POINTS = 20
#: Pixels around a drawn region in which its edge is looked for when it is moved.
_RIM = 2


def polygon(
    points: Sequence[Sequence[float]] | np.ndarray, k: int, shape: tuple[int, ...], spline: bool = False
) -> ToolResult:
    """The pixels of slice ``k`` whose centres lie inside the closed polygon (even-odd rule).

    ``points`` (n, 2) are continuous voxel indices (i, j); ``shape`` is the image's [k, j, i]. With ``spline`` the
    points are joined by a closed cubic spline. Empty, with a reason, for fewer than three points or outside the image.
    """
    corners = np.asarray(points, float).reshape(-1, 2)
    corners = corners[np.any(corners != np.roll(corners, 1, axis=0), axis=1)] if len(corners) > 1 else corners
    if len(corners) < 3:
        return nothing("A region needs at least three points.")
    if not np.isfinite(corners).all() or not 0 <= k < shape[0]:
        return nothing("The points lie outside the image.")
    if spline:
        corners = spline_points(corners)
    low = np.maximum(np.ceil(corners.min(axis=0)), 0).astype(int)
    high = np.minimum(np.floor(corners.max(axis=0)), (shape[2] - 1, shape[1] - 1)).astype(int)
    if np.any(high < low):
        return nothing("The region lies outside the image or between its pixels.")
    x, y = np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1)
    inside = np.zeros((len(y), len(x)), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0)):
        crossed = (y0 <= y) != (y1 <= y)
        if crossed.any():
            at = x0 + (y[crossed] - y0) * (x1 - x0) / (y1 - y0)
            inside[crossed] ^= x[None] < at[:, None]
    return cropped(inside[None], (k, int(low[1]), int(low[0])), "The region lies between the pixels; draw it larger.")


def spline_points(points: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
    """Points (m, 2) along the closed cubic spline through ``points`` (n, 2): SPLINE_STEPS from each to the next."""
    corners = np.asarray(points, float).reshape(-1, 2)
    closed = np.vstack([corners, corners[:1]])
    length = np.concatenate([[0.0], np.cumsum(np.sqrt(np.hypot(*np.diff(closed, axis=0).T)))])  # centripetal
    if len(corners) < 3 or np.any(np.diff(length) <= 0):
        return corners
    curve = CubicSpline(length, closed, bc_type="periodic")
    steps = np.arange(SPLINE_STEPS) / SPLINE_STEPS
    return curve((length[:-1, None] + np.diff(length)[:, None] * steps).ravel())


def outline(mask: np.ndarray, tolerance: float = 0.4) -> list[np.ndarray]:
    """Closed polygons (n, 2) of continuous (i, j) around ``mask`` (one slice, [j, i]); polygon() gives it back.

    Points that move the line by less than ``tolerance`` pixels are left out (below 0.5 no pixel changes sides by more
    than the corners of the outline).
    """
    generator = contour_generator(z=np.pad(mask, 1).astype(float))
    lines = [np.asarray(line)[:-1] - 1 for line in generator.lines(0.5)]
    return [_simplified(line, tolerance) for line in lines if len(line) >= 3]


def control_points(mask: np.ndarray) -> np.ndarray:
    """Points (n, 2) of continuous (i, j) around the largest piece of one slice's ``mask`` [j, i], to be dragged.

    At most _MOST_POINTS where that still follows the outline to 3 pixels; none (0, 2) where nothing is drawn.
    """
    lines = outline(mask, tolerance=0.0)
    if not lines:
        return np.zeros((0, 2))
    largest = max(lines, key=_area)
    for tolerance in (0.7, 1.0, 1.4, 2.0, 3.0):
        points = _simplified(largest, tolerance)
        if len(points) <= _MOST_POINTS:
            break
    return points if len(points) >= 4 else largest


@dataclass(frozen=True)
class Motion:
    """Moving, turning and scaling in plane about the centre of the drawn voxels.

    ``shift_mm`` along i and j; ``degrees`` from i towards j.
    """

    shift_mm: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    degrees: float = 0.0


def centre_of(drawn: ToolResult) -> tuple[float, float]:
    """The in-plane centre (i, j) of all voxels of a mask that is not empty."""
    _, rows, columns = np.nonzero(drawn.mask)
    return float(columns.mean()) + drawn.origin[2], float(rows.mean()) + drawn.origin[1]


def transform(
    drawn: ToolResult,
    spacing: tuple[float, float, float],
    shape: tuple[int, ...],
    motion: Motion,
    slices: Sequence[int] | None = None,
) -> ToolResult:
    """``drawn`` after ``motion``, in an image of ``shape`` [k, j, i]; it replaces what was drawn.

    ``slices`` limits the answer to those (default all). Empty, with a reason, when nothing is left in the image.
    """
    if drawn.empty:
        return nothing("There is nothing drawn to move.")
    if not 0.05 <= motion.scale <= 20:
        return nothing("The scale must lie between 0.05 and 20.")
    ci, cj = centre_of(drawn)
    centre, turn = np.array([cj, ci]), np.radians(motion.degrees)
    millimetres = np.diag([spacing[1], spacing[0]])
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * motion.scale  # on (j, i)
    forward = np.linalg.inv(millimetres) @ rotation @ millimetres
    target = centre + np.array([motion.shift_mm[1] / spacing[1], motion.shift_mm[0] / spacing[0]])
    first = np.array(drawn.origin[1:])
    corners = np.array(list(itertools.product(*((o - 1, o + n) for o, n in zip(first, drawn.mask.shape[1:])))))
    reached = (corners - centre) @ forward.T + target
    low = np.maximum(np.floor(reached.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(reached.max(axis=0)).astype(int) + 1, shape[1:])
    if np.any(high <= low):
        return nothing("The region would leave the image.")
    back = np.linalg.inv(forward)
    start = back @ (low - target) + centre - first + _RIM  # where the answer's first pixel comes from
    moved = np.zeros((drawn.mask.shape[0], *(high - low)), bool)
    for k, plane in enumerate(drawn.mask):
        if plane.any() and (slices is None or k + drawn.origin[0] in slices):
            distance = _signed_distance(np.pad(plane, _RIM), spacing)
            moved[k] = ndimage.affine_transform(
                distance, back, start, tuple(high - low), order=1, mode="constant", cval=-1e3
            ) > 0  # fmt: skip
    return cropped(moved, (drawn.origin[0], int(low[0]), int(low[1])), "The region would leave the image.")


def mirror(drawn: ToolResult, grid: Grid, midplane: Plane) -> ToolResult:
    """``drawn`` on ``grid`` reflected across the patient's mid-sagittal plane: the same region, other side."""
    if drawn.empty:
        return nothing("There is nothing drawn to mirror.")
    point, normal = np.asarray(midplane.point), np.asarray(midplane.normal)
    normal = normal / np.linalg.norm(normal)

    def reflected(ijk: np.ndarray) -> np.ndarray:
        lps = grid.to_lps(ijk)
        return grid.to_ijk(lps - 2 * ((lps - point) @ normal)[..., None] * normal)

    images = reflected((np.argwhere(drawn.mask) + drawn.origin)[:, ::-1])
    low = np.maximum(np.floor(images.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(images.max(axis=0)).astype(int) + 2, grid.size)
    if np.any(high <= low):
        return nothing("The mirrored region lies outside the image.")
    k, j, i = np.meshgrid(*(np.arange(low[a], high[a]) for a in (2, 1, 0)), indexing="ij")
    sources = reflected(np.stack([i, j, k], axis=-1))[..., ::-1] - drawn.origin + 1
    # The rim: at the image's first and last slice, too, what lies half-way outside still counts.
    values = ndimage.map_coordinates(np.pad(drawn.mask, 1).astype(np.float32), sources.reshape(-1, 3).T, order=1)
    found = values.reshape(k.shape) >= 0.5
    return cropped(found, (int(low[2]), int(low[1]), int(low[0])), "The mirrored region lies outside the image.")


def interpolate(drawn: ToolResult, spacing: tuple[float, float, float]) -> ToolResult:
    """The slices missing between those of ``drawn``, and only those.

    Between two drawn slices the signed distance to the outline (mm) is blended after both are moved to the centre on
    the way between theirs (shape-based interpolation: Raya and Udupa, IEEE Trans Med Imaging 1990;9:32), so that thin
    slanted regions do not vanish half-way.
    """
    present = np.flatnonzero(drawn.mask.any(axis=(1, 2)))
    centres = [ndimage.center_of_mass(drawn.mask[k]) for k in present]
    way = max((float(np.abs(np.subtract(a, b)).max()) for a, b in itertools.pairwise(centres)), default=0.0)
    room = int(way) + _RIM  # a slice moved to the next one's centre still has its distances around it
    masks = np.pad(drawn.mask, ((0, 0), (room, room), (room, room)))
    filled = np.zeros(masks.shape, bool)
    for a, b in itertools.pairwise(present):
        if b - a > 1:
            first, second = _signed_distance(masks[a], spacing), _signed_distance(masks[b], spacing)
            ca, cb = (np.array(ndimage.center_of_mass(masks[k])) for k in (a, b))
            for k in range(a + 1, b):
                weight = (k - a) / (b - a)
                centre = (1 - weight) * ca + weight * cb
                blend = (1 - weight) * ndimage.shift(first, centre - ca, order=1, mode="nearest")
                filled[k] = blend + weight * ndimage.shift(second, centre - cb, order=1, mode="nearest") > 0
    none = "There is no gap between drawn slices; draw on two slices with others between."
    k, j, i = drawn.origin
    return cropped(filled[:, room:-room, room:-room], (k, j, i), none)


def _area(line: np.ndarray) -> float:
    """What a closed ``line`` (n, 2) encloses (shoelace formula)."""
    x, y = line.T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def _signed_distance(mask: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Distance (mm) to the edge of one slice's ``mask``, positive inside; the edge lies between two pixels."""
    sampling, half = (spacing[1], spacing[0]), 0.25 * (spacing[0] + spacing[1])
    padded = np.pad(mask, 1)
    inside = ndimage.distance_transform_edt(padded, sampling=sampling)
    outside = ndimage.distance_transform_edt(~padded, sampling=sampling)
    return (np.where(padded, inside - half, half - outside))[1:-1, 1:-1]


def _simplified(line: np.ndarray, tolerance: float) -> np.ndarray:
    """The closed ``line`` with fewer points (Douglas and Peucker, Cartographica 1973;10:112)."""
    if tolerance <= 0 or len(line) < 5:
        return line
    far = int(np.argmax(np.hypot(*(line - line[0]).T)))
    keep = np.zeros(len(line) + 1, bool)
    keep[[0, far, len(line)]] = True
    closed = np.vstack([line, line[:1]])
    stack = [(0, far), (far, len(line))]
    while stack:
        a, b = stack.pop()
        if b - a < 2:
            continue
        chord, between = closed[b] - closed[a], closed[a + 1 : b] - closed[a]
        length = np.hypot(*chord)
        away = np.abs(chord[0] * between[:, 1] - chord[1] * between[:, 0]) / length if length else np.hypot(*between.T)
        if away.max() > tolerance:
            middle = a + 1 + int(away.argmax())
            keep[middle] = True
            stack += [(a, middle), (middle, b)]
    return closed[:-1][keep[:-1]]
