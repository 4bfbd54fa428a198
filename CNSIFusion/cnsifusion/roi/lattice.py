"""Where every voxel of a patient's image lies in the template, kept on a thinned-out grid because it varies slowly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.grid import Grid
from cnsifusion.roi.morphology import Box
from cnsifusion.roi.warp import Warp

#: Greatest distance (mm) between neighbouring points of a lattice.
_PITCH_MM = 2.0


@dataclass(frozen=True, eq=False)
class Lattice:
    """Template positions ``points`` (3, l, m, n; x, y, z in LPS mm) of the patient's voxels at ``knots``.

    ``knots`` are the slices (l), rows (m) and columns (n) of the patient's ``grid`` that the lattice keeps. Beyond the
    first and last of them, which is padding, everything is as there.
    """

    grid: Grid
    knots: tuple[np.ndarray, np.ndarray, np.ndarray]
    points: np.ndarray

    def read(self, array: np.ndarray, grid: Grid, outside: float) -> np.ndarray:
        """``array`` on ``grid`` of template space (axes along LPS) at the lattice's points (l, m, n), linear."""
        index = [(self.points[a] - np.float32(grid.origin[a])) / np.float32(grid.spacing[a]) for a in (2, 1, 0)]
        return ndimage.map_coordinates(array.astype(np.float32), index, order=1, mode="constant", cval=outside)

    def cropped(self, box: Box) -> Lattice:
        """The same lattice for the voxels ``box`` [k, j, i] of the patient's grid; its knots may begin before them."""
        knots, kept = [], []
        for axis, part in enumerate(box):
            first = max(int(np.searchsorted(self.knots[axis], part.start, side="right")) - 1, 0)
            last = int(np.searchsorted(self.knots[axis], part.stop - 1, side="left"))
            kept.append(slice(first, last + 1))
            knots.append(self.knots[axis][first : last + 1] - part.start)
        points = self.points[:, kept[0], kept[1], kept[2]]
        return Lattice(self.grid.cropped(box), (knots[0], knots[1], knots[2]), points)

    def padded(self, box: Box, shape: tuple[int, ...]) -> Lattice:
        """The same lattice in an image of ``shape`` whose voxels ``box`` [k, j, i] are those of this one's grid."""
        k, j, i = (slice(-part.start, size - part.start) for part, size in zip(box, shape))
        knots = tuple(own + part.start for own, part in zip(self.knots, box))
        return Lattice(self.grid.cropped((k, j, i)), (knots[0], knots[1], knots[2]), self.points)

    def spread(self, values: np.ndarray, box: Box | None = None) -> np.ndarray:
        """``values`` (l, m, n) of the lattice's points on all voxels [k, j, i], or those of ``box``, linear (float32).

        Slice by slice, in memory that stays in the processor's cache: on thin slices this is most of the time.
        """
        k, j, i = box or (slice(0, n) for n in self.grid.shape)
        result = np.empty((k.stop - k.start, j.stop - j.start, i.stop - i.start), np.float32)
        slices, rows, columns = (self._between(axis, part) for axis, part in enumerate((k, j, i)))
        for plane, low, high, share in zip(result, *slices):
            thin = values[low] + (values[high] - values[low]) * share
            plane[:] = _stretch(np.ascontiguousarray(_stretch(thin, *rows).T), *columns).T
        return result

    def _between(self, axis: int, part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The knots before and behind the voxels ``part`` of ``axis``, and how far (0-1) each voxel is between them."""
        knots, place = self.knots[axis], np.arange(part.start, part.stop)
        if len(knots) == self.grid.shape[axis] and knots[0] == 0:
            return place, place, np.zeros(len(place), np.float32)
        low = np.clip(np.searchsorted(knots, place, side="right") - 1, 0, max(len(knots) - 2, 0))
        high = np.minimum(low + 1, len(knots) - 1)
        share = np.clip((place - knots[low]) / np.maximum(knots[high] - knots[low], 1), 0, 1)
        return low, high, share.astype(np.float32)

    def around(self, inside: np.ndarray) -> Box:
        """The voxels that depend on the points ``inside`` (bool [l, m, n]); all voxels where there is none."""
        box = []
        for axis, (knots, size) in enumerate(zip(self.knots, self.grid.shape)):
            hit = np.flatnonzero(inside.any(tuple({0, 1, 2} - {axis})))
            first, last = (int(hit[0]), int(hit[-1])) if len(hit) else (0, len(knots) - 1)
            low, high = int(knots[max(first - 1, 0)]), int(knots[min(last + 1, len(knots) - 1)])
            box.append(slice(max(low, 0), min(high + 1, size)))
        return box[0], box[1], box[2]


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


def _stretch(rows: np.ndarray, low: np.ndarray, high: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Rows between the given ``rows``, linear; arguments as Lattice._between gives them."""
    first, between = rows[low], rows[high]
    between -= first
    between *= share[:, None]
    between += first
    return between
