"""The mid-sagittal plane of a head from its own left-right symmetry."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.grid import triple
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.regions import Plane
from cnsifusion.roi.warp import read_box

#: The search goes no farther than this from the template's plane (mm, degrees).
_FARTHEST = 8.0


def find_midplane(volume: Volume, affine: np.ndarray) -> Plane:
    """The plane about which the patient is most symmetric, near the template's plane x = 0 placed by ``affine``.

    The brain is sampled every 4 mm in the turned template frame; offset (mm) and the two tilts (degrees) that maximise
    the correlation between the halves are found by a shrinking pattern search.
    """
    linear = affine[:3, :3]
    u, _, vt = np.linalg.svd(linear)
    frame = u @ vt  # the rotation in the affine: columns are left, posterior, superior of the head
    centre = linear @ np.array([0.0, 18.0, 8.0]) + affine[:3, 3]
    x, y, z = np.meshgrid(np.arange(3.0, 60, 4), np.arange(-72.0, 73, 4), np.arange(-28.0, 53, 4), indexing="ij")
    half = np.stack([x.ravel(), y.ravel(), z.ravel()], 1)
    mirror = np.array([-1.0, 1.0, 1.0])

    def turned(tilt: np.ndarray) -> np.ndarray:
        """Unit normal after tilting about the posterior and superior axes by ``tilt`` degrees."""
        roll, yaw = np.deg2rad(tilt)
        normal = frame @ np.array([1.0, np.tan(yaw), np.tan(roll)])
        return normal / np.linalg.norm(normal)

    def read_at(points: np.ndarray, offset: float, tilt: np.ndarray) -> np.ndarray:
        """Voxel indices (3, n; k, j, i) of ``points`` (n, 3) of the frame that is shifted and tilted."""
        normal = turned(tilt)
        second = frame[:, 1] - (frame[:, 1] @ normal) * normal
        second /= np.linalg.norm(second)
        axes = np.stack([normal, second, np.cross(normal, second)], 1)
        return volume.grid.to_kji(points @ axes.T + centre + offset * normal)

    corners = np.array(list(product((-x.max(), x.max()), (y.min(), y.max()), (z.min(), z.max()))))
    extremes = product((-_FARTHEST, _FARTHEST), repeat=3)
    reach = np.concatenate([read_at(corners, offset, np.array(tilt)) for offset, *tilt in extremes], 1)
    blur = [1.5 / max(s, 1.5) for s in volume.spacing[::-1]]
    box = read_box(reach, volume.array.shape, blur)
    array = ndimage.gaussian_filter(volume.array[box], blur, truncate=3)
    first = np.array([[part.start] for part in box])

    @cache  # the search comes back to places where it was
    def asymmetry(offset: float, roll: float, yaw: float) -> float:
        one, other = (
            ndimage.map_coordinates(array, read_at(p, offset, np.array([roll, yaw])) - first, order=1, mode="constant")
            for p in (half, half * mirror)
        )
        both = (one > 0) & (other > 0)
        if both.sum() < 100:
            return 0.0
        return -float(np.corrcoef(one[both], other[both])[0, 1])

    best, step = np.zeros(3), np.array([2.0, 2.0, 2.0])
    value = asymmetry(*best)
    while step[0] > 0.2:
        improved = False
        for axis in range(3):
            for sign in (1.0, -1.0):
                trial = best.copy()
                trial[axis] += sign * step[axis]
                if np.abs(trial).max() <= _FARTHEST and (new := asymmetry(*trial)) < value - 1e-6:
                    best, value, improved = trial, new, True
        if not improved:
            step = step / 2
    normal = turned(best[1:])
    point = centre + best[0] * normal
    return Plane(triple(point), triple(normal))
