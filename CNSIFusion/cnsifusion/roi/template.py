"""The template head: MNI152 tissue maps and the labels derived from them.

The maps are the MNI152 2009a nonlinear symmetric averages (Fonov et al., NeuroImage 2011;54:313) at 1 mm, from the
nilearn package. No atlas of labels is shipped: the ventricles are the CSF of the maps, cut into parts by boxes, and the
deep nuclei are the grey matter inside envelopes placed at published MNI coordinates (Manera et al., Sci Data 2020;
7:237; Pauli et al., Sci Data 2018;5:180063). All rules are written for one side and mirrored, as the template is
symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from cnsifusion.imaging.grid import Grid, reorder
from cnsifusion.imaging.volume import grid_of

#: Value of each structure in ``Template.labels``.
LABELS = {
    "lateral_left": 1,
    "lateral_right": 2,
    "third": 3,
    "fourth": 4,
    "putamen_left": 5,
    "putamen_right": 6,
    "pallidum_left": 7,
    "pallidum_right": 8,
}

#: Protocol: how far region B reaches below the lowest lentiform voxel of a column, and its window in MNI mm.
DEPTH_MM = 10.0
WINDOW_X, WINDOW_Y, WINDOW_Z = (9.0, 30.0), (-8.0, 10.0), (-18.0, -4.0)

#: CSF fraction of the average that counts as ventricle where the ventricle is a slit, blurred by averaging heads.
_THIN = 0.35


@dataclass(frozen=True, eq=False)
class Template:
    """Arrays [k, j, i] on ``grid`` (LPS, 1 mm; MNI x = -LPS x, y = -LPS y, z = LPS z).

    ``t1`` is the brain-masked T1 average (0-255), ``gm``, ``wm`` and ``csf`` are tissue fractions (float32, 0-1),
    ``brain`` their support, ``labels`` (uint8) the structures of LABELS.
    """

    grid: Grid
    t1: np.ndarray
    gm: np.ndarray
    wm: np.ndarray
    csf: np.ndarray
    brain: np.ndarray
    labels: np.ndarray

    def mask(self, name: str) -> np.ndarray:
        """The structure ``name`` of LABELS as a bool array."""
        return self.labels == LABELS[name]


@lru_cache(maxsize=1)
def load_template() -> Template:
    """The template with its labels; read and derived once per process (about half a second)."""
    (t1, grid), (gm, _), (wm, _) = (_read_map(tissue) for tissue in ("t1", "gm", "wm"))
    brain = t1 > 0
    gm, wm = (np.where(brain, tissue, 0).astype(np.float32) / 255 for tissue in (gm, wm))
    csf = np.where(brain, np.clip(1 - gm - wm, 0, 1), 0).astype(np.float32)
    arrays = (t1, gm, wm, csf, brain, _label(t1, gm, wm, csf, grid))
    for array in arrays:
        array.flags.writeable = False
    return Template(grid, *arrays)


def sublentiform_region() -> np.ndarray:
    """Region B of both sides (bool [k, j, i]) by the protocol's rule under the template's own nuclei."""
    template = load_template()
    k, j, i = np.ogrid[tuple(slice(n) for n in template.grid.shape)]
    x, y, z = i + template.grid.origin[0], -(j + template.grid.origin[1]), k + template.grid.origin[2]
    nuclei = template.labels >= LABELS["putamen_left"]
    window = sublentiform_window(np.abs(x), y, z) & template.brain & (template.csf <= 0.5)
    return below_columns(nuclei, int(DEPTH_MM)) & window


def _read_map(tissue: str) -> tuple[np.ndarray, Grid]:
    name = f"mni_icbm152_{tissue}_tal_nlin_sym_09a_converted.nii.gz"
    with as_file(files("cnsifusion.resources") / "template" / name) as path:
        image = sitk.ReadImage(str(path))
    return reorder(sitk.GetArrayFromImage(image), grid_of(image))


def _label(t1: np.ndarray, gm: np.ndarray, wm: np.ndarray, csf: np.ndarray, grid: Grid) -> np.ndarray:
    """Labels of LABELS from the tissue maps, worked out in a central box of the head."""
    labels = np.zeros(grid.shape, np.uint8)
    corners = np.rint(grid.to_ijk(np.array([(-45, -42, -60), (45, 62, 36)]))).astype(int)
    (i0, j0, k0), (i1, j1, k1) = corners
    box = (slice(k0, k1 + 1), slice(j0, j1 + 1), slice(i0, i1 + 1))
    t1, gm, wm, csf = (array[box] for array in (t1, gm, wm, csf))
    k, j, i = np.ogrid[box]
    x, y, z = i + grid.origin[0], -(j + grid.origin[1]), k + grid.origin[2]
    left, ax, fluid = x > 0, np.abs(x), csf > 0.5

    lateral = _largest(fluid & _lateral_zone(ax, y, z), 2)
    lateral |= (csf > _THIN) & _inferior_horn_zone(ax, y, z)
    third = _largest((csf > _THIN) & _third_zone(ax, y, z) & ~lateral, 1)
    fourth = _largest(fluid & _fourth_zone(ax, y, z), 1)
    putamen = _putamen_zone(ax, y, z) & (gm > 0.3) & (t1 < 206) & ~fluid
    putamen = _largest(ndimage.binary_opening(putamen), 2)
    pallidum = _pallidum_zone(ax, y, z) & (wm < 0.92) & (t1 < 209) & ~fluid & ~putamen
    pallidum = _largest(ndimage.binary_opening(pallidum), 2)
    part = labels[box]
    for name, mask in {"lateral": lateral, "putamen": putamen, "pallidum": pallidum}.items():
        part[mask & left] = LABELS[f"{name}_left"]
        part[mask & ~left] = LABELS[f"{name}_right"]
    part[third] = LABELS["third"]
    part[fourth] = LABELS["fourth"]
    return labels


def below_columns(mask: np.ndarray, depth: int) -> np.ndarray:
    """The ``depth`` voxels straight below (towards k = 0) the lowest voxel of ``mask`` [k, j, i] in every column."""
    k = np.arange(mask.shape[0])[:, None, None]
    lowest = np.where(mask.any(0), mask.argmax(0), -1)
    return (k < lowest) & (k >= lowest - depth)


def sublentiform_window(ax: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The protocol's window of region B at MNI (|x|, y, z) in mm, without the amygdala and the optic tract.

    The amygdala's upper part is an ellipsoid that ends at z -11, between where it ends in CerebrA (-13) and in label
    maps of 20 people brought into the template's place (-10).
    """
    window = (ax >= WINDOW_X[0]) & (ax <= WINDOW_X[1]) & (y >= WINDOW_Y[0]) & (y <= WINDOW_Y[1])
    window = window & (z >= WINDOW_Z[0]) & (z <= WINDOW_Z[1])
    amygdala = ((ax - 23.5) / 9.5) ** 2 + ((y + 5.5) / 7.5) ** 2 + ((z + 21) / 10) ** 2 <= 1
    optic_tract = (y < -1) & (z < -6) & (ax < 11 - 0.6 * (y + 1))
    return window & ~amygdala & ~optic_tract


def _largest(mask: np.ndarray, pieces: int) -> np.ndarray:
    """The ``pieces`` largest face-connected components of ``mask``."""
    components, n = ndimage.label(mask)
    sizes = np.bincount(components.ravel(), minlength=n + 1)
    sizes[0] = 0
    keep = np.argsort(-sizes, kind="stable")[:pieces]
    return np.isin(components, keep[sizes[keep] > 0])


# Zones: where the CSF or grey matter of a structure may lie, at MNI (|x|, y, z) in mm. They separate what touches.


def _lateral_zone(ax: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Frontal horns, bodies, atria, occipital and inferior horns; not the velum interpositum and the cisterns."""
    front = (y >= -4) & (y <= 36) & (ax <= 24) & (ax >= np.where(z < 4, 2, 1)) & (z >= -5)
    inner = np.select([z >= 18, z >= 15, z >= 8, z >= -2], [1, 7, 12, 20], 27)
    back = (y < -4) & (y >= -60) & (ax >= inner) & (ax <= 42) & (z >= -28)
    return front | back


def _inferior_horn_zone(ax: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """A tube from the atrium down and forward along the hippocampus to behind the amygdala."""
    forward = np.clip((y + 40) / 34, 0, 1)
    centre_x, centre_z = 33 + 16 * forward * (1 - forward), -3 - 20 * forward
    return (y >= -40) & (y <= -4) & (np.hypot(ax - centre_x, z - centre_z) <= 4)


def _third_zone(ax: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """From the lamina terminalis to the posterior commissure, under the fornix, above the basal cisterns."""
    back = np.select([z >= -4, z >= -13], [-26, -12 - 3 * (z + 7)], 0)
    return (ax <= 6) & (z >= -13) & (z <= 4) & (y <= 4) & (y >= np.minimum(back, -4))


def _fourth_zone(ax: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """From under the inferior colliculi, where the aqueduct ends, to the obex, with the lateral recesses."""
    chamber = (ax <= 15) & (y <= -34) & (y >= -58) & (z >= -46) & (z <= -21)
    top = (ax <= 3) & (np.abs(y - (0.6 * z - 24.2)) <= 2) & (z > -21) & (z <= -15)
    obex = (ax <= 4) & (y <= -43) & (y >= -52) & (z >= -52) & (z < -46)
    return chamber | top | obex


def _putamen_zone(ax: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """About the mean (+-25.7, 2, 0), z -13..15, between the capsules; the base ends behind the anterior commissure.

    Borders as the template's T1 picture shows them, checked against CIT168 and CerebrA (Dice 0.91 with either).
    """
    low = np.interp(y, (-20, -8, -4, 0, 4, 8, 12, 20), (29, 27.5, 26.5, 24, 19.5, 14.5, 15.5, 19.5))
    low = np.where((z < -6) & (y > 2), np.minimum(low, 16), low)
    high = np.interp(y, (-16, -8, 0, 8, 12), (27.5, 23.5, 21.5, 21.5, 23.5))
    medial = low + (high - low) * np.clip(z / 10, 0, 1)
    lateral = np.interp(y, (-20, -12, -4, 4, 12, 20), (32.5, 33.5, 33.5, 32, 29.5, 24))
    lateral = lateral - 0.3 * np.maximum(0, z - 3) - 0.2 * np.maximum(0, -5 - z) ** 2
    base = np.clip(-12 + 0.9 * (5 - y), -12, -8)
    return (ax >= medial) & (ax <= lateral) & (y >= -22) & (y <= 21 - 0.7 * np.maximum(z, 0)) & (z >= base) & (z <= 15)


def _pallidum_zone(ax: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """About the means (+-19, -0.6, -0.4) and (+-17, -4.5, -4.4), medial to the putamen; turned like it."""
    across, along, up = (ax - 18) + 0.5 * (y + 1.5), y + 1.5, z + 1
    return (across / 6.5) ** 2 + (along / 10) ** 2 + (up / 8) ** 2 <= 1
