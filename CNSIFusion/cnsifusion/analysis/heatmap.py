"""The networks' class activation maps, put back where their patches were cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import map_coordinates

from cnsifusion.imaging import Volume
from cnsifusion.roi.case import Case
from cnsifusion.roi.instances import Instance
from cnsifusion.roi.patches import PatchPlace

CAPTION = "where the network part looked, not where infection is"


def heat_volume(
    case: Case, instances: Sequence[Instance], places: Sequence[PatchPlace], maps: np.ndarray, size: int
) -> Volume:
    """Maps (n, rows, columns) of evidence for infection as a volume 0-1 on the image's own grid.

    ``size`` is the patches' side in resampled pixels.
    Negative evidence counts as none; all slices share one scale. Between cell centres the map is bilinear; where two
    patches overlap the larger value stands.
    """
    heat = np.zeros(case.volume.grid.shape, np.float32)
    top = max(float(maps.max(initial=0.0)), 1e-12)
    for instance, place, cells in zip(instances, places, np.clip(maps, 0, None) / top):
        cells = cells[:, ::-1] if place.mirrored else cells
        rows, j = _native(case, place.row, size, axis=1)
        columns, i = _native(case, place.column, size, axis=2)
        grid = np.meshgrid(*(v * n / size - 0.5 for v, n in zip((rows, columns), cells.shape)), indexing="ij")
        picture = map_coordinates(cells, grid, order=1, mode="nearest")
        window = heat[instance.slice_index][np.ix_(j, i)]
        heat[instance.slice_index][np.ix_(j, i)] = np.maximum(window, picture)
    return case.volume.with_array(heat)


def _native(case: Case, first: int, size: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Native voxel indices along array ``axis`` inside a patch, and their distance (pixels) from the patch's edge."""
    ratio = case.volume.spacing[2 - axis] / case.prepared.settings.pixel_mm
    centres = (np.arange(case.volume.grid.shape[axis]) + 0.5) * ratio - first
    inside = np.flatnonzero((centres >= 0) & (centres < size))
    return centres[inside], inside
