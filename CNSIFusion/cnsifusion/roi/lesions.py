"""Bright tissue beside the lateral ventricles (lesions, oedema), which is more than half as bright as CSF.

Partial volume is as bright, but steep, narrow, or right over or under CSF: what is wide, even and beside it is tissue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.levels import smooth_field
from cnsifusion.roi.morphology import bounds, boxed, connected, grown, over_or_under, shrunk
from cnsifusion.roi.regions import slices_in_words

#: Between these shares of the way from tissue to CSF lies bright tissue, from the last on CSF.
_BRIGHT, _FLUID = (0.4, 0.82), 0.85
#: So wide (half-width, mm), even (change per mm; of the picture smoothed by so many mm) and far (mm) from where the
#: template has the ventricle must some of it be, within the second distance (mm) of it.
_HALF_WIDTH_MM, _SLOPE, _SMOOTH_MM, _BESIDE_MM, _WITHIN_MM = 2.0, 0.15, 0.8, 1.5, 12.0
#: That core lies so far (mm) from other CSF of the template, and is such a share of the whole: else it is a cistern or
#: a horn in the coil's shade.
_OTHER_MM, _CORE_SHARE = 3.0, 0.05
#: Within this distance (mm) the ventricle is where it should be, and what is half bright more often partial volume.
_PLACE_MM = 0.3
#: What CSF in the next slices may fill in part reaches so far (mm) beyond it. The rest is made even by this (mm).
_OVER_MM, _EVEN_MM = 1.0, 0.8
#: Smaller (area in all slices, mm2: the thicker these are, the more ml a roof or a floor has) is no such lesion, and
#: what is in fewer slices may be the roof or the floor of a ventricle.
_LEAST_MM2, _LEAST_SLICES = 440.0, 3
#: Oedema fades outward from all walls: of what lies between the first two distances (mm) from so much CSF (ml; of
#: smaller ventricles too much is partly filled) at most a quarter is less bright than this share. At the wall, as far
#: inward as the other two distances outward, it is brighter by as much as it is darker there.
_AROUND_MM, _AROUND_ML, _AROUND_SHARE = (2.0, 3.0, 4.0, 5.0), 3.0, 0.08
#: The ventricle's CSF lies so near (mm) to where the template has it; slices next to what is brighter than this share
#: may be partly filled.
_NEAR_MM, _FILLED = 4.0, 0.7
#: A voxel within this distance (mm) is mixed with it; its level is smoothed over the second (mm), and at most the last.
_MIXED_MM, _LEVEL_MM, _MOST = 2.5, 3.0, 0.75


@dataclass(frozen=True, eq=False)
class Lesions:
    """``slices`` that hold some; ``level`` (float32 [k, j, i]): what a voxel is mixed with, as its share of the way
    from tissue to CSF, -1 where there is no lesion.
    """

    slices: np.ndarray
    level: np.ndarray

    @property
    def beside(self) -> np.ndarray:
        """Where a voxel is mixed with lesion (bool [k, j, i])."""
        return self.level > 0

    def sentence(self, first_slice: int) -> str:
        """What a reader should look at; ``first_slice`` is the index of the volume's first slice in the reader's."""
        where = slices_in_words(*(int(k) for k in self.slices[[0, -1]] + first_slice))
        return f"Bright tissue beside the lateral ventricles (lesions, oedema) was left out of them: check {where}."


def find_lesions(share: np.ndarray, distance: np.ndarray, other: np.ndarray, volume: Volume) -> Lesions:
    """Lesions by the ``share`` of CSF [k, j, i] and the ``distance`` (mm) from where the lateral ventricles should be.

    ``other``: the distance (mm) from where other CSF should be. All arrays are on the grid of ``volume``.
    """
    box = bounds(distance < _WITHIN_MM)
    mask, rise = np.zeros(share.shape, bool), 0.0
    if min(share[box].shape[1:]) > 1:  # else the image holds no place of them
        rows, columns = volume.spacing[1], volume.spacing[0]
        smooth = ndimage.gaussian_filter(share[box], (0, _SMOOTH_MM / rows, _SMOOTH_MM / columns))
        mask[box] = _lesions(smooth, distance[box], other[box], volume) & (distance[box] > _PLACE_MM)
        oedema, rise = _oedema(smooth, distance[box], other[box], volume)
        if mask.any():  # lesions that end nearby fade no more at the wall
            rise = 0.0
        mask[box] |= oedema
    level = np.full(share.shape, -1, np.float32)
    if mask.any():
        near = boxed(mask, _MIXED_MM, volume)
        field = smooth_field(volume.with_array(share), mask, float(share[mask].mean()), _LEVEL_MM)
        level[near] = np.minimum(field[near] + rise, _MOST)
    return Lesions(np.flatnonzero(mask.any((1, 2))), level)


def _oedema(smooth: np.ndarray, distance: np.ndarray, other: np.ndarray, volume: Volume) -> tuple[np.ndarray, float]:
    """What surrounds the ventricles (bool [k, j, i]) if it is bright on all sides, else nothing; see find_lesions.

    Second, by how much (share of the way to CSF) the wall is brighter than it.
    """
    fluid = (smooth >= _FLUID) & (distance < _NEAR_MM)
    tissue = (other > _OTHER_MM) & ~over_or_under(boxed(smooth >= _FILLED, _OVER_MM, volume))
    reaches = [boxed(fluid, reach, volume) for reach in _AROUND_MM]
    around, outside = (far & ~near & tissue for near, far in (reaches[:2], reaches[2:]))
    if fluid.sum() * volume.grid.voxel_volume < 1000 * _AROUND_ML or not around.any() or not outside.any():
        return np.zeros_like(fluid), 0.0
    if np.percentile(smooth[around], 25) < _AROUND_SHARE:
        return np.zeros_like(fluid), 0.0
    return around, max(0.0, float(np.median(smooth[around]) - np.median(smooth[outside])))


def _lesions(smooth: np.ndarray, distance: np.ndarray, other: np.ndarray, volume: Volume) -> np.ndarray:
    """What is wide, even and large enough (bool [k, j, i]), and what is as bright beside it; see find_lesions."""
    rows, columns = volume.spacing[1], volume.spacing[0]
    low, high = _BRIGHT
    bright = (smooth > low) & (smooth < high) & (distance < _WITHIN_MM)
    bright &= ~over_or_under(boxed(smooth >= _FLUID, _OVER_MM, volume))
    slope = np.hypot(*np.gradient(smooth, rows, columns, axis=(1, 2)))
    core = _opened(bright & (slope < _SLOPE), _HALF_WIDTH_MM, volume) & (distance > _BESIDE_MM) & (other > _OTHER_MM)
    found = ndimage.binary_propagation(core, np.ones((1, 3, 3)), bright)
    found = _opened(found, _EVEN_MM, volume) | core
    labels, count = ndimage.label(found, np.ones((3, 3, 3)))
    sizes, cores = (np.bincount(of, minlength=count + 1) for of in (labels.ravel(), labels[core]))
    slices = np.array([0] + [box[0].stop - box[0].start for box in ndimage.find_objects(labels)])
    sure = ((sizes * rows * columns >= _LEAST_MM2) & (slices >= _LEAST_SLICES) & (cores >= _CORE_SHARE * sizes))[labels]
    return _opened(connected(bright, sure), _EVEN_MM, volume) | sure


def _opened(mask: np.ndarray, half_width_mm: float, volume: Volume) -> np.ndarray:
    steps = max(1, round(half_width_mm / volume.spacing[0]))
    return grown(shrunk(mask, steps), steps)
