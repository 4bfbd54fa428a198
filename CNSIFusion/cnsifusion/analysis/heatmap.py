"""Maps of evidence on cells of the resampled slices, and the same as a volume on the image's own grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from cnsifusion.imaging import Volume
from cnsifusion.roi.case import Case
from cnsifusion.roi.instances import Instance


@dataclass(frozen=True, eq=False)
class CellMap:
    """One instance's evidence: ``values`` (rows, columns), signed (above 0 speaks for infection).

    The first of the square cells begins at ``row`` and ``column`` of resampled slice ``slice_index``; ``pixels`` is a
    cell's side in resampled pixels. ``mask`` is the instance's (rows, columns of the resampled slice).
    """

    slice_index: int
    row: int
    column: int
    pixels: float
    values: np.ndarray
    mask: np.ndarray


def cut_cells(mask: np.ndarray, side: int) -> np.ndarray:
    """Number (1 ...) of every pixel's square cell of ``side`` pixels inside ``mask`` (rows, columns), 0 outside.

    The lattice begins at the mask's first row and column.
    """
    rows, columns = np.nonzero(mask)
    place = (rows - rows.min()) // side * mask.shape[1] + (columns - columns.min()) // side
    numbers = np.zeros(mask.shape, np.uint16)  # small, since it is compared once per cell
    numbers[rows, columns] = np.unique(place, return_inverse=True)[1] + 1
    return numbers


def cell_map(instance: Instance, numbers: np.ndarray, side: int, lost: np.ndarray) -> CellMap:
    """``lost`` (cells,), what goes with each of the cells ``numbers`` (see ``cut_cells``) of the instance's mask, as a
    map, less what an average part of the mask of the cell's size loses."""
    sizes = np.bincount(numbers.ravel())[1:]
    evidence = lost - sizes * lost.sum() / sizes.sum()
    rows, columns = np.nonzero(instance.mask)
    first = (int(rows.min()), int(columns.min()))
    shape = ((rows.max() - first[0]) // side + 1, (columns.max() - first[1]) // side + 1)
    values = np.zeros(shape)
    values[(rows - first[0]) // side, (columns - first[1]) // side] = evidence[numbers[rows, columns] - 1]
    return CellMap(instance.slice_index, *first, side, values, instance.mask)


def heat_volume(case: Case, maps: Sequence[CellMap]) -> Volume:
    """The maps' evidence for infection as a volume 0-1 on the image's own grid.

    Negative evidence counts as none; all slices share one scale. Between cell centres the map is bilinear, and it ends
    with the region: what lies outside was not asked. Where two maps overlap the larger value stands.
    """
    heat = np.zeros(case.volume.grid.shape, np.float32)
    top = max([float(m.values.max(initial=0.0)) for m in maps] + [1e-12])
    for one in maps:
        cells = np.clip(one.values, 0, None) / top
        rows, j = _native(case, one.row, cells.shape[0] * one.pixels, axis=1)
        columns, i = _native(case, one.column, cells.shape[1] * one.pixels, axis=2)
        grid = np.meshgrid(*(v / one.pixels - 0.5 for v in (rows, columns)), indexing="ij")
        inside = one.mask[np.ix_(*(v.astype(int) + first for v, first in ((rows, one.row), (columns, one.column))))]
        picture = map_coordinates(cells, grid, order=1, mode="nearest") * inside
        window = heat[one.slice_index][np.ix_(j, i)]
        heat[one.slice_index][np.ix_(j, i)] = np.maximum(window, picture)
    return case.volume.with_array(heat)


def _native(case: Case, first: int, size: float, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Native voxel indices along array ``axis`` inside a map, and their distance (pixels) from the map's edge."""
    ratio = case.volume.spacing[2 - axis] / case.prepared.settings.pixel_mm
    rows = np.arange(case.volume.grid.shape[axis]) - case.prepared.window[axis - 1].start
    centres = (rows + 0.5) * ratio - first
    reach = min(size, case.prepared.resampled.grid.shape[axis] - first)
    inside = np.flatnonzero((centres >= 0) & (centres < reach))
    return centres[inside], inside
