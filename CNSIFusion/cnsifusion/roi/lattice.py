"""Where every voxel of a patient's image lies in the template, kept on a thinned-out grid because it varies slowly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.grid import Grid, triple
from cnsifusion.roi.warp import Warp

#: Greatest distance (mm) between neighbouring points of a lattice.
_PITCH_MM = 2.0


@dataclass(frozen=True, eq=False)
class Lattice:
    """Template positions ``points`` (3, l, m, n; x, y, z in LPS mm) of the patient's voxels at ``knots``.

    ``knots`` are the slices (l), rows (m) and columns (n) of the patient's ``grid`` that the lattice keeps.
    """

    grid: Grid
    knots: tuple[np.ndarray, np.ndarray, np.ndarray]
    points: np.ndarray

    def read(self, array: np.ndarray, grid: Grid, outside: float) -> np.ndarray:
        """``array`` on ``grid`` of template space (axes along LPS) at the lattice's points (l, m, n), linear."""
        index = [(self.points[a] - np.float32(grid.origin[a])) / np.float32(grid.spacing[a]) for a in (2, 1, 0)]
        return ndimage.map_coordinates(array.astype(np.float32), index, order=1, mode="constant", cval=outside)

    def cropped(self, box: tuple[slice, slice, slice]) -> Lattice:
        """The same lattice for the voxels ``box`` [k, j, i] of the patient's grid; its knots may begin before them."""
        knots, kept = [], []
        for axis, part in enumerate(box):
            first = int(np.searchsorted(self.knots[axis], part.start, side="right")) - 1
            last = int(np.searchsorted(self.knots[axis], part.stop - 1, side="left"))
            kept.append(slice(first, last + 1))
            knots.append(self.knots[axis][first : last + 1] - part.start)
        points = self.points[:, kept[0], kept[1], kept[2]]
        return Lattice(crop_grid(self.grid, box), (knots[0], knots[1], knots[2]), points)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """``values`` (l, m, n) of the lattice's points on all voxels [k, j, i], linear."""
        for axis in range(3):
            values = _stretch(values, self.knots[axis], self.grid.shape[axis], axis)
        return values


def crop_grid(grid: Grid, box: tuple[slice, slice, slice]) -> Grid:
    """The grid of the voxels ``box`` [k, j, i] of ``grid``."""
    low = [part.start for part in box[::-1]]
    size = [part.stop - part.start for part in box[::-1]]
    return Grid((size[0], size[1], size[2]), grid.spacing, triple(grid.to_lps(low)), grid.direction)


def make_lattice(grid: Grid, affine: np.ndarray, warp: Warp) -> Lattice:
    """The lattice of a patient's ``grid`` for a template placed by ``affine`` (to the patient) and ``warp``."""
    inverse = np.linalg.inv(affine)
    knots = tuple(_knots(grid.size[a], grid.spacing[a]) for a in (2, 1, 0))
    j, i = np.meshgrid(knots[1], knots[2], indexing="ij")
    points = np.empty((3, len(knots[0]), *j.shape), np.float32)
    for n, k in enumerate(knots[0]):
        patient = grid.to_lps(np.stack([i, j, np.full_like(i, k)], -1))
        points[:, n] = np.moveaxis(warp(patient @ inverse[:3, :3].T + inverse[:3, 3]), -1, 0)
    return Lattice(grid, (knots[0], knots[1], knots[2]), points)


def _knots(size: int, spacing: float) -> np.ndarray:
    """Voxel indices at most _PITCH_MM apart (or all), the first and the last among them."""
    step = max(1, int(_PITCH_MM / spacing))
    return np.unique(np.append(np.arange(0, size, step), size - 1))


def _stretch(values: np.ndarray, knots: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Linear interpolation along ``axis`` from ``knots`` to 0 .. size - 1."""
    if len(knots) == size and knots[0] == 0:
        return values
    position = np.arange(size)
    low = np.clip(np.searchsorted(knots, position, side="right") - 1, 0, len(knots) - 2)
    share = ((position - knots[low]) / (knots[low + 1] - knots[low])).astype(np.float32)
    shape = [1, 1, 1]
    shape[axis] = size
    first = np.take(values, low, axis)
    return first + (np.take(values, low + 1, axis) - first) * share.reshape(shape)
