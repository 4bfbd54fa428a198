"""The region tool: polygons and splines, moving as a whole, mirroring, and filling in between slices."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from contourpy import contour_generator
from scipy import ndimage
from scipy.interpolate import CubicSpline

from cnsifusion.imaging import Grid
from cnsifusion.roi.regions import Plane
from cnsifusion.roi.tools.result import ToolResult, cropped, nothing

_SPLINE_STEPS = 12


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
    """Points (m, 2) along the closed cubic spline through ``points`` (n, 2), to draw while the user places them."""
    corners = np.asarray(points, float).reshape(-1, 2)
    closed = np.vstack([corners, corners[:1]])
    length = np.concatenate([[0.0], np.cumsum(np.sqrt(np.hypot(*np.diff(closed, axis=0).T)))])  # centripetal
    if len(corners) < 3 or np.any(np.diff(length) <= 0):
        return corners
    curve = CubicSpline(length, closed, bc_type="periodic")
    steps = np.arange(_SPLINE_STEPS) / _SPLINE_STEPS
    return curve((length[:-1, None] + np.diff(length)[:, None] * steps).ravel())


def outline(mask: np.ndarray, tolerance: float = 0.4) -> list[np.ndarray]:
    """Closed polygons (n, 2) of continuous (i, j) around ``mask`` (one slice, [j, i]); polygon() gives it back.

    Points that move the line by less than ``tolerance`` pixels are left out (below 0.5 no pixel changes sides by more
    than the corners of the outline).
    """
    generator = contour_generator(z=np.pad(mask, 1).astype(float))
    lines = [np.asarray(line)[:-1] - 1 for line in generator.lines(0.5)]
    return [_simplified(line, tolerance) for line in lines if len(line) >= 3]


def transform(
    mask: np.ndarray,
    spacing: tuple[float, float, float],
    shift_mm: tuple[float, float] = (0.0, 0.0),
    scale: float = 1.0,
    degrees: float = 0.0,
    slices: Sequence[int] | None = None,
) -> ToolResult:
    """``mask`` [k, j, i] moved, scaled and turned in plane about the centre of its voxels.

    ``shift_mm`` along i and j; ``degrees`` from i towards j; ``slices`` limits it to those (default all drawn ones).
    The result replaces what was drawn on those slices. Empty, with a reason, when nothing is left in the image.
    """
    drawn = np.flatnonzero(mask.any(axis=(1, 2)))
    chosen = [k for k in drawn if slices is None or k in slices]
    if not chosen:
        return nothing("There is nothing drawn to move.")
    if not 0.05 <= scale <= 20:
        return nothing("The scale must lie between 0.05 and 20.")
    _, rows, columns = np.nonzero(mask[chosen])
    centre = np.array([rows.mean(), columns.mean()])
    turn = np.radians(degrees)
    millimetres = np.diag([spacing[1], spacing[0]])
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * scale  # on (j, i)
    matrix = np.linalg.inv(np.linalg.inv(millimetres) @ rotation @ millimetres)
    shift = np.array([shift_mm[1] / spacing[1], shift_mm[0] / spacing[0]])
    moved = np.zeros(mask.shape, bool)
    for k in chosen:
        distance = _signed_distance(mask[k], spacing)
        moved[k] = (
            ndimage.affine_transform(
                distance, matrix, centre - matrix @ (centre + shift), order=1, mode="constant", cval=-1e3
            )
            > 0
        )
    return cropped(moved, (0, 0, 0), "The region would leave the image.")


def mirror(mask: np.ndarray, grid: Grid, midplane: Plane) -> ToolResult:
    """``mask`` [k, j, i] on ``grid`` reflected across the patient's mid-sagittal plane: the same region, other side."""
    if not mask.any():
        return nothing("There is nothing drawn to mirror.")
    point, normal = np.asarray(midplane.point), np.asarray(midplane.normal)
    normal = normal / np.linalg.norm(normal)

    def reflected(ijk: np.ndarray) -> np.ndarray:
        lps = grid.to_lps(ijk)
        return grid.to_ijk(lps - 2 * ((lps - point) @ normal)[..., None] * normal)

    images = reflected(np.argwhere(mask)[:, ::-1])
    low = np.maximum(np.floor(images.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(images.max(axis=0)).astype(int) + 2, grid.size)
    if np.any(high <= low):
        return nothing("The mirrored region lies outside the image.")
    k, j, i = np.meshgrid(*(np.arange(low[a], high[a]) for a in (2, 1, 0)), indexing="ij")
    sources = reflected(np.stack([i, j, k], axis=-1))
    values = ndimage.map_coordinates(mask.astype(np.float32), sources[..., ::-1].reshape(-1, 3).T, order=1)
    found = values.reshape(k.shape) >= 0.5
    return cropped(found, (int(low[2]), int(low[1]), int(low[0])), "The mirrored region lies outside the image.")


def interpolate(mask: np.ndarray, spacing: tuple[float, float, float]) -> ToolResult:
    """The slices missing between the drawn ones of ``mask`` [k, j, i], and only those.

    Between two drawn slices the signed distance to the outline (mm) is blended after both are moved to the centre on
    the way between theirs (shape-based interpolation: Raya and Udupa, IEEE Trans Med Imaging 1990;9:32), so that thin
    slanted regions do not vanish half-way.
    """
    drawn = np.flatnonzero(mask.any(axis=(1, 2)))
    filled = np.zeros(mask.shape, bool)
    for a, b in itertools.pairwise(drawn):
        if b - a > 1:
            first, second = _signed_distance(mask[a], spacing), _signed_distance(mask[b], spacing)
            ca, cb = (np.array(ndimage.center_of_mass(mask[k])) for k in (a, b))
            for k in range(a + 1, b):
                weight = (k - a) / (b - a)
                centre = (1 - weight) * ca + weight * cb
                blend = (1 - weight) * ndimage.shift(first, centre - ca, order=1, mode="nearest")
                filled[k] = blend + weight * ndimage.shift(second, centre - cb, order=1, mode="nearest") > 0
    return cropped(filled, (0, 0, 0), "There is no gap between drawn slices; draw on two slices with others between.")


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
