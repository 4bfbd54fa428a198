"""Where a patient's anatomy lies in the scanner: slice grid, head pose, size and a smooth individual warp."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from cnsifusion.imaging.grid import ALONG_LPS, Grid, snap
from cnsifusion.roi.warp import Warp
from cnsifusion.simulation.settings import SiteProtocol

#: Field of view in plane (left-right, anterior-posterior), in mm, and what the slices cover of the template's z axis.
_VIEW = (204.0, 244.0)
_COVER = (-57.0, 88.0)
#: Centre of the head in the template (LPS, mm).
_CENTRE = np.array([0.0, 18.0, 8.0])
#: Region B with what surrounds it (aligned LPS, mm): the slices through it are imaged in the deep view, and this much
#: more in plane, so that a network's picture around the region is whole.
_DEEP, _DEEP_MARGIN = (np.array([-32.0, -14.0, -24.0]), np.array([32.0, 16.0, 16.0])), 22.0
#: Template box (LPS, mm) and step in which the true placement's local part is written down.
_PLACED, _PLACED_STEP = (np.array([-72.0, -66.0, -54.0]), np.array([72.0, 66.0, 54.0])), 6.0
#: Spacing (mm) of the warp's control points, and its random modes: correlation length and standard deviation in mm.
_CONTROL = 9.0
_MODES = ((60.0, 2.2), (28.0, 1.3), (12.0, 0.7))


@dataclass(frozen=True, eq=False)
class Pose:
    """Maps scanner space to template space: ``x_t = affine(p) + warp(p)``, everything LPS in mm.

    ``grid`` is the image's grid. ``head`` is the rotation (3x3) from the aligned head to the scanner. ``control`` holds
    the cubic B-spline coefficients (3, k, j, i) of the warp on a lattice along the grid's axes.
    """

    grid: Grid
    head: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    control: np.ndarray
    lattice_origin: np.ndarray

    def straighten(self, lps: np.ndarray) -> np.ndarray:
        """Scanner positions (..., 3) in the aligned head: the template's axes and centre, the patient's own size."""
        return (lps - self.centre) @ self.head + _CENTRE

    def tilt(self, aligned: np.ndarray) -> np.ndarray:
        """The inverse of straighten."""
        return (aligned - _CENTRE) @ self.head.T + self.centre

    def _affine(self, lps: np.ndarray) -> np.ndarray:
        return (self.straighten(lps) - _CENTRE) / self.scale + _CENTRE

    def to_template(self, lps: np.ndarray) -> np.ndarray:
        """Template positions (n, 3) of scanner positions (n, 3)."""
        node = (lps - self.lattice_origin) @ self.grid.matrix / _CONTROL
        warp = [
            ndimage.map_coordinates(c, node.T[::-1], order=3, prefilter=False, mode="nearest") for c in self.control
        ]
        return self._affine(lps) + np.stack(warp, axis=-1)

    def from_template(self, positions: np.ndarray) -> np.ndarray:
        """Scanner positions (n, 3) of template positions (n, 3), by fixed-point iteration (the warp is gentle)."""
        guess = positions
        for _ in range(6):
            warp = self.to_template(lps := self._unscale(guess)) - self._affine(lps)
            guess = positions - warp
        return self._unscale(guess)

    def _unscale(self, affine: np.ndarray) -> np.ndarray:
        return self.tilt((affine - _CENTRE) * self.scale + _CENTRE)

    def placement(self) -> tuple[np.ndarray, Warp]:
        """The template's place as the analysis describes it: a 4x4 affine to the scanner, and a displacement."""
        linear = self.head * self.scale
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = linear, self.centre - linear @ _CENTRE
        axes = [np.arange(low, high + 1e-6, _PLACED_STEP) for low, high in zip(*_PLACED)]
        z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
        points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
        moved = (self.to_template(self._unscale(points)) - points).T.reshape(3, *x.shape)
        low = _PLACED[0]
        step = (_PLACED_STEP,) * 3
        grid = Grid((len(axes[0]), len(axes[1]), len(axes[2])), step, (low[0], low[1], low[2]), ALONG_LPS)
        return affine, Warp(moved, grid)

    def block(self, i: np.ndarray, j: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Template positions (k, j, i, 3), float32, of a lattice of continuous grid indices; fast (separable)."""
        steps = [np.asarray(v, float)[:, None] * s for v, s in zip((i, j, k), self.grid.spacing)]
        start = (np.array(self.grid.origin) - self.lattice_origin) @ self.grid.matrix
        bases = [
            _spline_basis((start[a] + steps[a][:, 0]) / _CONTROL, self.control.shape[3 - a]) for a in range(3)
        ]  # i, j, k
        warp = np.einsum("ckji,Kk->cKji", self.control, bases[2], optimize=True)
        warp = np.einsum("cKji,Jj->cKJi", warp, bases[1], optimize=True)
        warp = np.einsum("cKJi,Ii->KJIc", warp, bases[0], optimize=True)
        matrix = (self.grid.matrix.T @ self.head / self.scale).astype(np.float32)  # row vectors: mm along i, j, k
        origin = self._affine(np.array(self.grid.origin)).astype(np.float32)
        along = [steps[a].astype(np.float32) * matrix[a] for a in range(3)]
        warp += along[0][None, None]
        warp += along[1][None, :, None]
        warp += (along[2] + origin)[:, None, None]
        return warp


def draw_pose(rng: np.random.Generator, site: SiteProtocol, max_tilt: float, male: bool) -> Pose:
    """A patient's pose under a site's protocol; tilt between head and slices stays within ``max_tilt`` degrees."""
    angles = np.clip(rng.normal((2.0, 0.0, 0.0), (6.0, 2.5, 3.0)), -max_tilt, max_tilt)  # pitch, roll, yaw
    angles *= min(1.0, max_tilt / max(float(np.linalg.norm(angles)), 1e-6))
    share = rng.random()
    oblique = Rotation.from_rotvec(angles * share, degrees=True).as_matrix()
    head = Rotation.from_rotvec(-angles * (1 - share), degrees=True).as_matrix()
    scale = (0.97 + 0.04 * male) * (1 + np.clip(rng.normal(0, 0.03), -0.07, 0.07) + rng.normal(0, 0.012, 3))
    centre = rng.normal(0, 4, 3)

    spacing = (site.pixel, site.pixel, site.slice_thickness + site.slice_gap)
    columns, rows = (2 * round(v / site.pixel / 2) for v in _VIEW)
    slices = int(np.ceil((_COVER[1] - _COVER[0]) * scale[2] / spacing[2])) + 1
    low = (_COVER[0] - _CENTRE[2]) * scale[2]
    corner = np.array([-(columns - 1) / 2 * spacing[0], -(rows - 1) / 2 * spacing[1], low])
    origin = centre + oblique @ corner
    size = (columns, rows, slices)
    x, y, z = (float(v) for v in origin)
    grid = snap(Grid(size, spacing, (x, y, z), tuple(float(v) for v in oblique.ravel())))
    nodes = [int(np.ceil((n - 1) * s / _CONTROL)) + 5 for n, s in zip(size, spacing)]
    lattice = np.array(grid.origin) - grid.matrix @ np.full(3, 2 * _CONTROL)
    return Pose(grid, head, centre, scale, _random_warp(rng, nodes), lattice)


def deep_box(pose: Pose) -> tuple[slice, slice, slice]:
    """Voxels [k, j, i] of the deep view: the slices that meet region B's surroundings, with a margin in plane."""
    corners = np.stack(np.meshgrid(*zip(*_DEEP)), axis=-1).reshape(-1, 3)
    ijk = pose.grid.to_ijk(pose.tilt((corners - _CENTRE) * pose.scale + _CENTRE))
    margin = np.array([_DEEP_MARGIN, _DEEP_MARGIN, 0.0]) / pose.grid.spacing
    low = np.maximum(np.floor(ijk.min(axis=0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(ijk.max(axis=0) + margin) + 1, pose.grid.size).astype(int)
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high))
    return k, j, i


def _random_warp(rng: np.random.Generator, nodes: list[int]) -> np.ndarray:
    total = np.zeros((3, *nodes[::-1]), np.float32)
    for length, deviation in _MODES:
        for axis in range(3):
            field = rng.standard_normal(nodes[::-1])
            field = ndimage.gaussian_filter(field, length / _CONTROL / 2, mode="wrap")
            total[axis] += deviation * field / field.std()
    # The falx holds the midline: little sideways warp there.
    across = (np.arange(nodes[0]) - (nodes[0] - 1) / 2) * _CONTROL
    total[0] *= (1 - 0.75 * np.exp(-0.5 * (across / 14) ** 2)).astype(np.float32)
    return total


def _spline_basis(position: np.ndarray, nodes: int) -> np.ndarray:
    """Cubic B-spline weights (n, nodes), float32, of positions in units of the lattice, as map_coordinates has them."""
    distance = np.abs(position[:, None] - np.arange(nodes))
    inner = 2 / 3 - distance**2 * (1 - distance / 2)
    outer = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, inner, outer).astype(np.float32)
