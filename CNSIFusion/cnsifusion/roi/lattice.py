"""Where every voxel of a patient's image lies in the template, kept on a thinned-out grid because it varies slowly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.grid import Grid
from cnsifusion.roi.warp import Warp

#: In-plane distance (mm) between the points of a lattice.
_PITCH_MM = 1.6


@dataclass(frozen=True, eq=False)
class Lattice:
    """Template positions ``points`` (k, m, n, 3; LPS mm) of the patient's voxels (k, ``rows``[m], ``columns``[n])."""

    grid: Grid
    rows: np.ndarray
    columns: np.ndarray
    points: np.ndarray

    def read(self, array: np.ndarray, grid: Grid, outside: float) -> np.ndarray:
        """``array`` on ``grid`` of template space at the lattice's points (k, m, n), linear, float32."""
        index = np.moveaxis(grid.to_ijk(self.points)[..., ::-1], -1, 0)
        values = ndimage.map_coordinates(array.astype(np.float32), index, order=1, mode="constant", cval=outside)
        return values.astype(np.float32)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """``values`` (k, m, n) of the lattice's points on all voxels [k, j, i], bilinear."""
        return _stretch(_stretch(values, self.rows, self.grid.size[1], 1), self.columns, self.grid.size[0], 2)


def make_lattice(grid: Grid, affine: np.ndarray, warp: Warp) -> Lattice:
    """The lattice of a patient's ``grid`` for a template placed by ``affine`` (to the patient) and ``warp``."""
    inverse = np.linalg.inv(affine)
    rows, columns = _knots(grid.size[1], grid.spacing[1]), _knots(grid.size[0], grid.spacing[0])
    j, i = np.meshgrid(rows, columns, indexing="ij")
    points = np.empty((grid.size[2], *j.shape, 3))
    for k in range(grid.size[2]):
        patient = grid.to_lps(np.stack([i, j, np.full_like(i, k)], -1))
        points[k] = warp(patient @ inverse[:3, :3].T + inverse[:3, 3])
    return Lattice(grid, rows, columns, points)


def _knots(size: int, spacing: float) -> np.ndarray:
    """Voxel indices about _PITCH_MM apart, the first and the last among them."""
    step = max(1, int(_PITCH_MM / spacing))
    return np.unique(np.append(np.arange(0, size, step), size - 1))


def _stretch(values: np.ndarray, knots: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Linear interpolation along ``axis`` from ``knots`` to 0 .. size - 1."""
    if len(knots) == size:
        return values
    position = np.arange(size)
    low = np.clip(np.searchsorted(knots, position, side="right") - 1, 0, len(knots) - 2)
    share = ((position - knots[low]) / (knots[low + 1] - knots[low])).astype(np.float32)
    shape = [1, 1, 1]
    shape[axis] = size
    first = np.take(values, low, axis)
    return first + (np.take(values, low + 1, axis) - first) * share.reshape(shape)
