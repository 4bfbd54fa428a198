"""The levels of CSF and of tissue around one head's ventricles, as smooth fields that follow the coil's shading."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.anatomy import Anatomy
from cnsifusion.roi.maps import FAR_MM, coarse_grid, part_distances, tissue_maps
from cnsifusion.roi.morphology import boxed, shrunk
from cnsifusion.roi.names import PARTS

#: Beyond half-way, what is surely no tissue; and how near (mm) to where the template has them the ventricles begin.
SURE_CSF, NEAR_MM = 0.75, 2.5
#: The tissue that counts for a voxel of the wall lies between these distances (mm) from CSF and is no brighter than
#: this share of the way from tissue to CSF (no lesion); its level is smoothed over this length (mm).
_SHELL_MM, TISSUE_SHARE, _SHELL_SMOOTH_MM = (1.5, 5.0), 0.35, 5.0
#: CSF is as bright as this percentile of what may be CSF, or at least this share of the way from tissue to it.
_BRIGHTEST, _LIKE_IT = 90.0, 0.75
#: So much tissue (mm3) around the ventricles is enough to know its level.
_ENOUGH_MM3 = 300.0


def csf_levels(volume: Volume, anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """Local intensity of pure CSF and of the tissue around the ventricles, as smooth fields [k, j, i].

    Tissue is first all that surrounds the expected ventricles and then, where there is such, the shell around what is
    bright there: caudate and thalamus are brighter than white matter, and half-way to CSF is higher beside them.
    """
    maps, grid = part_distances()
    distance = anatomy.sample(np.minimum.reduce([maps[part] for part in PARTS.values()]), grid, FAR_MM)
    outer = anatomy.sample(tissue_maps(1.5)["csf"], coarse_grid())
    ring = (outer < 0.1) & (distance > 2.5) & (distance < 14) & anatomy.brain
    if ring.any():  # without lesions and partial volume
        ring &= volume.array <= np.percentile(volume.array[ring], 80)
    tissue_level = float(volume.array[ring].mean()) if ring.any() else 0.0
    expected = distance < 0.6
    core = expected & (volume.array > 1.3 * tissue_level)
    fluid_level = float(np.median(volume.array[core])) if core.any() else 2 * tissue_level
    # Pure CSF is where neither the slice's plane nor the next slices bring partial volume. Of small ventricles in thick
    # slices little is pure, and their first level is too low: then more is asked of what counts.
    for least in (0.5, SURE_CSF):
        bright = volume.array > tissue_level + least * (fluid_level - tissue_level)
        pure = _surrounded(bright, volume) & expected
        if not pure.any():
            break
        # Lesions at the wall are bright as well: what counts is near the brightest.
        brightest = float(np.percentile(volume.array[pure], _BRIGHTEST))
        pure &= volume.array > tissue_level + _LIKE_IT * (brightest - tissue_level)
        fluid_level = float(np.median(volume.array[pure]))
        if least == 0.5:  # the more there is, the better it shows the coil's shading
            core = pure
    offset = fluid_level - float(volume.array[core].mean()) if core.any() else 0.0
    fluid = _field(volume, core, fluid_level - offset, 30.0) + np.float32(offset)
    tissue = _field(volume, ring, tissue_level, 12.0)
    bright = volume.array > _on_voxels((fluid + tissue) / 2, volume)
    shell = boxed(bright & (distance < NEAR_MM), _SHELL_MM[1], volume) & ~boxed(bright, _SHELL_MM[0], volume)
    shell &= anatomy.brain
    shell &= volume.array < _on_voxels(tissue + TISSUE_SHARE * (fluid - tissue), volume)
    if shell.sum() * volume.grid.voxel_volume >= _ENOUGH_MM3:
        tissue = _field(volume, shell, float(volume.array[shell].mean()), _SHELL_SMOOTH_MM)
    return _on_voxels(fluid, volume), _on_voxels(tissue, volume)


def _surrounded(fluid: np.ndarray, volume: Volume) -> np.ndarray:
    """``fluid`` without a rim of about 1 mm in plane, and only where the slices above and below have the same."""
    inner = shrunk(fluid, max(1, round(1.0 / volume.spacing[0])))
    result = np.zeros_like(inner)
    result[1:-1] = inner[1:-1] & inner[:-2] & inner[2:]
    return result


def smooth_field(volume: Volume, mask: np.ndarray, level: float, sigma_mm: float) -> np.ndarray:
    """Smooth local mean [k, j, i] of ``volume`` over ``mask`` (bool), drawn to ``level`` where it is empty."""
    return _on_voxels(_field(volume, mask, level, sigma_mm), volume)


def _field(volume: Volume, mask: np.ndarray, level: float, sigma_mm: float) -> np.ndarray:
    """smooth_field (a normalised convolution) in the cells of _cells, for every slice."""
    fj, fi = _cells(volume)
    nk, nj, ni = volume.grid.shape
    shape = nk, -(-nj // fj), -(-ni // fi)
    k, j, i = np.nonzero(mask)
    cell = (k * shape[1] + j // fj) * shape[2] + i // fi
    widths = [sigma_mm / s for s in (volume.spacing[2], volume.spacing[1] * fj, volume.spacing[0] * fi)]

    def smooth(weights: np.ndarray | None) -> np.ndarray:
        sums = np.bincount(cell, weights, int(np.prod(shape))).reshape(shape).astype(float)
        return ndimage.gaussian_filter(sums, widths, truncate=3)

    weight = smooth(None)
    field = smooth(volume.array[k, j, i] - level) / (weight + 0.01 * max(float(weight.max()), 1e-9))
    return field.astype(np.float32) + np.float32(level)


def _cells(volume: Volume) -> tuple[int, int]:
    """Rows and columns of a cell of about 2.5 mm, in which the slow change of a level is followed."""
    return max(1, round(2.5 / volume.spacing[1])), max(1, round(2.5 / volume.spacing[0]))


def _on_voxels(field: np.ndarray, volume: Volume) -> np.ndarray:
    """The ``field`` of cells on the voxels of ``volume`` [k, j, i]."""
    (fj, fi), (_, rows, columns) = _cells(volume), volume.grid.shape
    return np.repeat(np.repeat(field, fi, 2), fj, 1)[:, :rows, :columns]
