"""What surrounds the brain: its hull, skull and scalp layers, face, dura and vessels, made procedurally."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.grid import Grid

#: Labels of the face and neck volume; 0 is elsewhere (layers by distance from the hull).
FACE = {"fat": 1, "muscle": 2, "air": 3, "bone": 4, "vitreous": 5, "mucosa": 6, "marrow": 7}


def hull(brain: np.ndarray) -> np.ndarray:
    """Distance (mm) outside the closed brain, negative inside, on the template's 1 mm grid; smooth.

    The vault bridges wider gaps and is smoother than the skull base. Worked out at 2 mm: it has no finer detail.
    """
    coarse = np.pad(brain, 24)[::2, ::2, ::2]
    height = 2.0 * np.arange(len(coarse))[:, None, None] - 24 - _VAULT
    closed = _close(coarse, 9.0) | (_close(coarse, 22.0) & (height > 0))
    outside = 2 * (ndimage.distance_transform_edt(~closed) - ndimage.distance_transform_edt(closed)).astype(np.float32)
    base, vault = (ndimage.gaussian_filter(outside, smoothing) for smoothing in (0.7, 1.8))
    base += np.clip(height / 16, 0, 1).astype(np.float32) * (vault - base)
    return _separable_linear(base, [np.arange(n) / 2 + 12 for n in brain.shape])


def _close(coarse: np.ndarray, radius: float) -> np.ndarray:
    """A mask at 2 mm, padded by more than ``radius``, closed by a ball of ``radius`` mm."""
    grown = ndimage.distance_transform_edt(~coarse) * 2 <= radius
    return ndimage.distance_transform_edt(grown) * 2 > radius


#: Height (voxels of the template from its lowest slice) above which the skull is smooth vault.
_VAULT = 56


def _separable_linear(volume: np.ndarray, positions: list[np.ndarray]) -> np.ndarray:
    """Linear interpolation at a lattice of positions, axis by axis."""
    for axis, position in enumerate(positions):
        low = np.minimum(position.astype(int), volume.shape[axis] - 2)
        shape = [-1 if a == axis else 1 for a in range(3)]
        share = (position - low).astype(np.float32).reshape(shape)
        volume = volume.take(low, axis) * (1 - share) + volume.take(low + 1, axis) * share
    return volume


def _mni(grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MNI x (right positive), y, z in mm of the grid's voxels, broadcastable to [k, j, i]."""
    k, j, i = (a.astype(np.float32) for a in np.ogrid[tuple(slice(n) for n in grid.shape)])
    x, y, z = (np.float32(v) for v in grid.origin)
    return -(i + x), -(j + y), k + z


#: Courses of vessels with flow void: radius (mm) and MNI points (mm); those off the midline are mirrored.
_VESSELS = (
    (1.6, ((0, -30, -48), (1, -24, -38), (0, -17, -28), (0, -14, -20))),  # basilar artery
    (2.0, ((12, 4, -34), (13, 6, -26), (14, 4, -20), (15, 5, -16))),  # internal carotid artery
    (1.1, ((15, 5, -16), (22, 6, -17), (30, 4, -15), (38, 4, -12), (41, 0, -5))),  # middle cerebral, M1-M2
    (0.9, ((41, 0, -5), (40, -8, 2), (39, -18, 9))),  # middle cerebral, insular
    (0.8, ((15, 5, -16), (6, 12, -15), (2.5, 16, -13))),  # anterior cerebral, A1
    (0.8, ((2.5, 16, -13), (2, 30, -8), (2, 40, 4), (2, 38, 18), (2, 26, 28), (2, 10, 32))),  # pericallosal
    (0.9, ((0, -14, -20), (10, -14, -20), (17, -22, -14), (14, -34, -6))),  # posterior cerebral
    (0.8, ((2, 0, 8), (2, -16, 11), (2, -34, 8))),  # internal cerebral vein
    (1.3, ((0, -36, 7), (0, -44, 8), (0, -58, 2), (0, -78, -2))),  # vein of Galen, straight sinus
    (2.2, ((0, -60, 64), (0, -88, 40), (0, -103, 16), (0, -104, -4))),  # superior sagittal sinus
    (1.4, ((0, 20, 70), (0, -10, 80), (0, -40, 77), (0, -60, 64))),
    (2.4, ((0, -104, -4), (20, -96, -16), (44, -78, -24), (56, -54, -28), (50, -38, -40))),  # transverse sinus
)


def flow_voids(grid: Grid, outside: np.ndarray) -> np.ndarray:
    """Signed distance (mm, clipped at +-6) of flowing blood and falx, on the template grid."""
    x, y, z = _mni(grid)
    field = np.full(grid.shape, -6.0, np.float32)
    for radius, points in _VESSELS:
        for sign in (1, -1) if any(p[0] > 1 for p in points) else (1,):
            course = np.array(points, float) * (sign, 1, 1)
            for start, stop in pairwise(course):
                _add_segment(field, grid, start, stop, radius)
    # The falx: a thin sheet in the midline, above the corpus callosum and behind it.
    above = np.minimum(z - 34 + 0.25 * np.abs(y), -outside + 2)
    falx = np.minimum(np.float32(0.45) - np.abs(x), above)
    return np.maximum(field, np.clip(falx, -6, 6)).astype(np.float32)


def _add_segment(field: np.ndarray, grid: Grid, start: np.ndarray, stop: np.ndarray, radius: float) -> None:
    """Merge the signed distance of a capsule between two MNI points into ``field``."""
    ends = grid.to_ijk(np.stack([start, stop]) * (-1, -1, 1))
    low = np.maximum(np.floor(ends.min(0) - 8), 0).astype(int)
    high = np.minimum(np.ceil(ends.max(0) + 9), grid.size).astype(int)
    box = tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1]))
    k, j, i = np.mgrid[box]
    points = np.stack([i, j, k], axis=-1) - ends[0]
    along = ends[1] - ends[0]
    share = np.clip(points @ along / (along @ along), 0, 1)
    distance = np.linalg.norm(points - share[..., None] * along, axis=-1)
    field[box] = np.maximum(field[box], np.clip(radius - distance, -6, 6))


def face_labels(grid: Grid, outside: np.ndarray) -> np.ndarray:
    """Labels of FACE in front of and below the skull base (uint8, 0 elsewhere, so in all slices above z = 32 mm)."""
    top = round(32 - grid.origin[2])
    labels = np.zeros(grid.shape, np.uint8)
    x, y, z = _mni(grid)
    labels[:top] = _lower_face(x, y, z[:top], outside[:top])
    return labels


def _lower_face(x: np.ndarray, y: np.ndarray, z: np.ndarray, outside: np.ndarray) -> np.ndarray:
    ax = np.abs(x)
    rng = np.random.default_rng(7)
    texture = ndimage.gaussian_filter(rng.standard_normal(outside.shape, dtype=np.float32), (3.0, 4.0, 4.0))
    texture /= texture.std()
    radius = np.sqrt((x / 66) ** 2 + ((y - 38) / 58) ** 2 + ((z + 62) / 52) ** 2)
    neck = ((x / 64) ** 2 + ((y + 44) / 66) ** 2 < 1) & (z < -44)
    region = ((radius < 1) & (z < 0) | neck) & (outside > 5)
    labels = np.zeros(outside.shape, np.uint8)
    # Muscle bellies parted by fat, under a layer of fat.
    septa = (np.abs(texture) < 0.22) | ((radius > 0.9) & ~neck)
    labels[region] = np.where(septa, FACE["fat"], FACE["muscle"])[region]
    # The temporal muscle lifts the scalp's fat from the skull, tapering out.
    belly = 5 * np.clip(1 - ((y - 6) / 38) ** 2 - ((z + 8) / 40) ** 2, 0, 1) * (ax > 40)
    depth = outside - 6.5
    lifted = (belly > 0.8) & (depth > 0) & (labels == 0)
    labels[lifted & (depth < belly + 4)] = FACE["fat"]
    labels[lifted & (depth < belly)] = FACE["muscle"]

    def put(name: str, mask: np.ndarray) -> None:
        labels[mask & region] = FACE[name]

    def ball(cx: float, cy: float, cz: float, rx: float, ry: float, rz: float) -> np.ndarray:
        return ((ax - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2 < 1

    rim = (outside > 5) & (outside < 8)
    put("bone", rim & (y > -20))
    put("bone", ball(46, -28, -42, 20, 20, 14))  # petrous bone and mastoid: mostly air and compact bone
    put("air", ball(58, -34, -44, 9, 12, 12) & (texture > -0.3))
    put("marrow", ball(0, -2, -42, 11, 12, 14))  # clivus
    put("air", ball(0, 20, -40, 14, 14, 11))  # sphenoid sinus
    put("mucosa", ball(0, 20, -40, 14, 14, 11) & ~ball(0, 20, -40, 12.5, 12.5, 9.5))
    cells = (ax < 13) & (y > 32) & (y < 76) & (z > -62)
    put("air", cells)
    put("mucosa", cells & (np.abs(np.sin(x / 3.2 + 0.6 * np.sin(y / 6) + z / 14)) > 0.93))
    put("air", ball(32, 50, -66, 15, 18, 14))  # maxillary sinus
    orbit = ball(31, 52, -36, 18, 30, 16)
    put("fat", orbit)
    put("bone", ball(31, 52, -36, 19.5, 31.5, 17.5) & ~orbit)
    for dx in (-11, 11):
        put("muscle", orbit & (np.abs(ax - 31 - dx * (y - 30) / 40) < 1.8) & (np.abs(z + 36) < 5) & (y > 28))
    put("muscle", (np.hypot(ax - 18 - (y - 30) * 0.42, z + 36) < 2.0) & orbit & (y < 56))  # optic nerve
    put("vitreous", ball(32, 66, -36, 12, 12, 12))
    put("muscle", ball(32, 75.5, -36, 4.5, 2.2, 4.5))  # lens
    return labels
