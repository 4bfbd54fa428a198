"""Where voxels are: size, spacing, origin and axes of an image in the patient's LPS space (millimetres)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike

from cnsifusion.errors import BadInput

#: Decimals kept of a grid's numbers. Containers store geometry as float32 or text; rounding makes every storage
#: variant of one head give the same bits, and moves no voxel by more than 0.005 mm.
_SPACING_DECIMALS, _ORIGIN_DECIMALS, _DIRECTION_DECIMALS = 4, 2, 4

_SPACING_MM, _MAX_ORIGIN_MM = (0.001, 1000.0), 100_000.0
#: Grids whose voxels lie this close (mm) are the same: what text headers and float32 round away.
CLOSE_MM = 0.1
#: ``direction`` of a grid along LPS.
ALONG_LPS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Grid:
    """A regular voxel grid.

    ``size`` and ``spacing`` (mm) are ordered i, j, k; ``origin`` is the LPS position (mm) of the centre of voxel
    (0, 0, 0); ``direction`` holds the unit vectors of the i, j and k axes as the columns of a 3x3 matrix, row by row
    (the order of ITK). Arrays on a grid are indexed [k, j, i].
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an array on this grid, ordered k, j, i."""
        return (self.size[2], self.size[1], self.size[0])

    @property
    def matrix(self) -> np.ndarray:
        """3x3 direction matrix; its columns are the i, j and k axes in LPS."""
        return np.array(self.direction, float).reshape(3, 3)

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel in mm3."""
        return float(np.prod(self.spacing))

    def to_lps(self, ijk: ArrayLike) -> np.ndarray:
        """LPS positions (..., 3) in mm of continuous voxel indices (..., 3) ordered i, j, k."""
        return np.asarray(ijk, float) * self.spacing @ self.matrix.T + self.origin

    @property
    def corners(self) -> np.ndarray:
        """Indices (8, 3), ordered i, j, k, of the corner voxels."""
        return np.array(np.meshgrid(*[(0, n - 1) for n in self.size])).reshape(3, -1).T

    def to_ijk(self, lps: ArrayLike) -> np.ndarray:
        """Continuous voxel indices (..., 3), ordered i, j, k, of LPS positions (..., 3) in mm."""
        return (np.asarray(lps, float) - self.origin) @ np.linalg.inv(self.matrix).T / self.spacing

    def to_kji(self, lps: ArrayLike) -> np.ndarray:
        """The same as array indices (3, ...), ordered k, j, i, which scipy's map_coordinates takes."""
        return np.moveaxis(self.to_ijk(lps)[..., ::-1], -1, 0)

    def is_close(self, other: Grid) -> bool:
        """Whether both grids put every corner voxel at the same place within 0.1 mm."""
        if self.size != other.size:
            return False
        return bool(np.abs(self.to_lps(self.corners) - other.to_lps(self.corners)).max() <= CLOSE_MM)

    def resized(self, size: tuple[int, int, int], spacing: tuple[float, float, float]) -> Grid:
        """A grid over the same field of view (outer voxel edges kept on the low side) with another size and spacing."""
        shift = (np.array(spacing) - self.spacing) / 2
        origin = np.array(self.origin) + self.matrix @ shift
        return Grid(size, spacing, triple(origin), self.direction)

    def cropped(self, box: tuple[slice, slice, slice]) -> Grid:
        """The grid of the voxels ``box`` [k, j, i]."""
        i, j, k = (part.stop - part.start for part in box[::-1])
        return replace(self, size=(i, j, k), origin=triple(self.to_lps([part.start for part in box[::-1]])))


def triple(values: ArrayLike) -> tuple[float, float, float]:
    """Three numbers as a tuple of floats."""
    a, b, c = (float(v) for v in np.asarray(values))
    return (a, b, c)


def rounded_origin(grid: Grid) -> Grid:
    """``grid`` with the decimals of its origin that ``snap`` keeps."""
    return replace(grid, origin=triple(np.round(grid.origin, _ORIGIN_DECIMALS) + 0.0))


def snap(grid: Grid) -> Grid:
    """``grid`` with rounded numbers and exactly orthonormal axes, so that storage round-off leaves no trace.

    Raises BadInput for spacing or an origin that no scanner gives, and for axes that are sheared or singular.
    """
    spacing, matrix = np.array(grid.spacing, float), grid.matrix
    if not np.all((spacing >= _SPACING_MM[0]) & (spacing <= _SPACING_MM[1])):
        raise BadInput("The image's voxel spacing is not that of a head scan; export the series again.")
    if not np.all(np.isfinite(matrix)) or not np.all(np.abs(grid.origin) <= _MAX_ORIGIN_MM):
        raise BadInput("The image's orientation or origin is no usable number; export the series again.")
    if np.abs(matrix.T @ matrix - np.eye(3)).max() > 0.02:
        raise BadInput(
            "The image's axes are not at right angles (sheared, as with a tilted gantry, or damaged geometry); "
            "resample it to a rectangular grid first."
        )
    rounded = np.round(matrix, _DIRECTION_DECIMALS)
    u, _, vt = np.linalg.svd(rounded)
    axes = tuple(float(v) for v in (u @ vt).ravel())
    return rounded_origin(Grid(grid.size, triple(np.round(spacing, _SPACING_DECIMALS)), grid.origin, axes))


def canonical_axes(grid: Grid) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """How to reorder ``grid`` so that i, j, k run to the patient's left, posterior and superior (LPS).

    Returns the source axis of each new axis, and whether that axis must be reversed.
    """
    matrix = grid.matrix
    best = max(permutations(range(3)), key=lambda p: sum(abs(matrix[w, p[w]]) for w in range(3)))
    reverse = tuple(bool(matrix[w, best[w]] < 0) for w in range(3))
    return (best[0], best[1], best[2]), (reverse[0], reverse[1], reverse[2])


def reorder(array: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    """``array`` [k, j, i] and its grid in canonical LPS axis order."""
    return canonical(array, grid), canonical_grid(grid)


def canonical(array: np.ndarray, grid: Grid) -> np.ndarray:
    """``array`` [k, j, i] of ``grid``, or a window of it, in canonical order: permuted and flipped alone."""
    axes, reverse = canonical_axes(grid)
    by_axis = array.transpose(2, 1, 0).transpose(axes)[_flips(reverse)]
    return np.ascontiguousarray(by_axis.transpose(2, 1, 0))


def restore(array: np.ndarray, grid: Grid) -> np.ndarray:
    """A canonical ``array`` [k, j, i] in the axis order of the source ``grid``: the inverse of :func:`canonical`."""
    axes, reverse = canonical_axes(grid)
    by_axis = array.transpose(2, 1, 0)[_flips(reverse)].transpose(np.argsort(axes))
    return np.ascontiguousarray(by_axis.transpose(2, 1, 0))


def _flips(reverse: tuple[bool, bool, bool]) -> tuple[slice, ...]:
    return tuple(slice(None, None, -1 if r else 1) for r in reverse)


def canonical_grid(grid: Grid) -> Grid:
    """The grid of the same voxels in canonical order."""
    axes, reverse = canonical_axes(grid)
    size = tuple(grid.size[a] for a in axes)
    first = np.zeros(3)
    for axis, flipped in zip(axes, reverse):
        first[axis] = grid.size[axis] - 1 if flipped else 0
    signs = np.where(reverse, -1.0, 1.0)
    return snap(Grid(
        (size[0], size[1], size[2]),
        triple(np.array([grid.spacing[a] for a in axes])),
        triple(grid.to_lps(first)),
        tuple(float(v) for v in (grid.matrix[:, axes] * signs).ravel()),
    ))  # fmt: skip
