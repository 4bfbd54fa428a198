"""The latent head in template space: smooth level sets and fractions from which every patient's anatomy is warped.

All fields live on the template's 1 mm grid (LPS, arrays [k, j, i]) and are packed as int16 so that one gather samples
them all. Distances are in mm, positive inside the structure unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.grid import Grid
from cnsifusion.roi.morphology import bounds, widened
from cnsifusion.roi.template import Template, load_template, sublentiform_region
from cnsifusion.simulation.skull import face_labels, flow_voids, hull

#: Packed fields and the size of one int16 step. ``tissue``: parenchyma's fraction; ``white``: white matter's share of
#: it; ``ventricle``, ``putamen``, ``pallidum``: signed distances; ``outside``: distance outside the brain's hull;
#: ``void``: signed distance of dura and flowing blood; ``zone``: 1 in region B fading out over 8 mm; ``iron``: share of
#: T2 darkening in iron-rich nuclei.
FIELDS = {
    "tissue": 1e-3, "white": 1e-3, "ventricle": 1e-2, "outside": 1e-2, "void": 1e-2, "putamen": 1e-2,
    "pallidum": 1e-2, "zone": 1e-3, "iron": 1e-3,
}  # fmt: skip

#: Ventricular labels of the template and their part (names.PARTS).
PARTS_OF_LABELS = {"lateral_left": 1, "lateral_right": 1, "third": 2, "fourth": 3}


@dataclass(frozen=True, eq=False)
class Head:
    """``packed``: int16 (k, j, i, field) in the order of FIELDS; ``parts``: nearest ventricular part (names.PARTS);
    ``face``: labels of skull.FACE; ``near``: whether a voxel may hold signal.
    """

    grid: Grid
    packed: np.ndarray
    parts: np.ndarray
    face: np.ndarray
    near: np.ndarray

    def sample(self, ijk: np.ndarray) -> np.ndarray:
        """Trilinear values (n, field), float32, at continuous indices (n, 3) ordered i, j, k; clamped at the border."""
        size = np.array(self.grid.size)
        at = np.clip(ijk, 0, size - 1.001).astype(np.float32)
        whole = at.astype(np.int32)
        share = at - whole
        step_j, step_k = int(size[0]), int(size[0] * size[1])
        first = whole[:, 0] + step_j * whole[:, 1] + step_k * whole[:, 2]
        flat = self.packed.reshape(-1, self.packed.shape[-1])

        def line(offset: int) -> np.ndarray:
            return _blend(_rows(flat, first + offset), _rows(flat, first + offset + 1), share[:, 0])

        def sheet(offset: int) -> np.ndarray:
            return _blend(line(offset), line(offset + step_j), share[:, 1])

        return _blend(sheet(0), sheet(step_k), share[:, 2]) * np.array(list(FIELDS.values()), np.float32)

    def nearest(self, volume: np.ndarray, ijk: np.ndarray) -> np.ndarray:
        """Values of a template-space array at the voxels nearest to continuous indices (n, 3) ordered i, j, k."""
        i, j, k = np.clip(np.rint(ijk), 0, np.array(self.grid.size) - 1).astype(np.int32).T
        return volume[k, j, i]


def _rows(flat: np.ndarray, index: np.ndarray) -> np.ndarray:
    return flat.take(index, axis=0).astype(np.float32)


def _blend(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    b -= a
    b *= share[:, None]
    b += a
    return b


@lru_cache(maxsize=1)
def load_head() -> Head:
    """The latent head, derived from the template once per process (a few seconds)."""
    template = load_template()
    outside = hull(template.brain)
    ventricle = _distance(_ventricles(template), 0.6)
    fields = {
        # Parenchyma fills the ventricles here: their fluid comes from the signed distance alone, which may shrink.
        "tissue": np.where(ventricle > -2, 1.0, np.clip(template.gm + template.wm, 0, 1)),
        "white": _white_share(template),
        "ventricle": ventricle,
        "outside": outside,
        "void": flow_voids(template.grid, outside),
        "putamen": _distance(_both(template, "putamen")),
        "pallidum": _distance(_both(template, "pallidum")),
        "zone": _zone(),
        "iron": _iron(template.grid),
    }
    steps = [np.clip(np.rint(fields[name] / step), -32000, 32000).astype(np.int16) for name, step in FIELDS.items()]
    packed = np.stack(steps, axis=-1)
    face = face_labels(template.grid, outside)
    return Head(template.grid, packed, _parts(template), face, (outside < 24) | (face > 0))


def _parts(template: Template) -> np.ndarray:
    """Ventricular part (names.PARTS) nearest to each voxel within 8 mm, uint8; 0 elsewhere."""
    parts = np.zeros(template.grid.shape, np.uint8)
    for name, part in PARTS_OF_LABELS.items():
        parts[template.mask(name)] = part
    box = widened(bounds(parts > 0), (10, 10, 10), parts.shape)
    distance, nearest = ndimage.distance_transform_edt(parts[box] == 0, return_indices=True)
    parts[box] = np.where(distance <= 8, parts[box][tuple(nearest)], 0)
    return parts


def _white_share(template: Template) -> np.ndarray:
    """White matter's share of the parenchyma, carried on outward where there is none."""
    white, tissue = (ndimage.gaussian_filter(a, 0.6) for a in (template.wm, template.gm + template.wm))
    return white / np.maximum(tissue, 0.05)


def _both(template: Template, name: str) -> np.ndarray:
    return template.mask(f"{name}_left") | template.mask(f"{name}_right")


def _ventricles(template: Template) -> np.ndarray:
    """The ventricular labels with the thin ends of the lateral ones, where the average's fluid is blurred."""
    lateral = _both(template, "lateral")
    fluid = (template.csf > 0.35) & ~template.mask("third")
    lateral = ndimage.binary_dilation(lateral, iterations=3, mask=fluid)
    return lateral | template.mask("third") | template.mask("fourth")


def _distance(mask: np.ndarray, smoothing: float = 0.8) -> np.ndarray:
    """Signed distance (mm, clipped at +-12), smoothed because the labels are stair-cased."""
    box = widened(bounds(mask), (16, 16, 16), mask.shape)
    inside = ndimage.distance_transform_edt(mask[box])
    signed = inside - ndimage.distance_transform_edt(~mask[box]) + np.where(mask[box], -0.5, 0.5)
    result = np.full(mask.shape, -12.0, np.float32)
    result[box] = ndimage.gaussian_filter(np.clip(signed, -12, 12), smoothing)
    return result


def _zone() -> np.ndarray:
    """1 within region B and the lowest lentiform, fading to 0 in 8 mm."""
    near = _distance(sublentiform_region())
    return ndimage.gaussian_filter(np.clip(1 + (near - 1) / 6, 0, 1), 1.5)


def _iron(grid: Grid) -> np.ndarray:
    """Red nucleus, substantia nigra and dentate nucleus as soft ellipsoids at their MNI centres (mm)."""
    k, j, i = np.ogrid[tuple(slice(n) for n in grid.shape)]
    x, y, z = np.abs(i + grid.origin[0]), -(j + grid.origin[1]), k + grid.origin[2]
    nuclei = (((5, -21, -9), (3, 3.5, 4)), ((10, -18, -13), (4, 5, 2.5)), ((14, -57, -34), (5, 7, 3)))
    total = np.zeros(grid.shape, np.float32)
    for centre, radii in nuclei:
        squares = [((c - m) / r) ** 2 for c, m, r in zip((x, y, z), centre, radii)]
        total += np.exp(-sum(squares))
    return np.clip(total, 0, 1)
