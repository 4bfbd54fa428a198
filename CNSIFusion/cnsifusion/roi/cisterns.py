"""The cisterns below the brain as the image shows them: their CSF, and the arteries in it, which leave no signal."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.morphology import Box, bounds, boxed, widened, windowed

#: CSF-like signal in an island larger than this (mm2, in plane) is a cistern.
_CISTERN_MM2 = 28.0

#: Flow in an artery leaves no signal, in thick slices little. Its middle is darker than the first share of the tissue
#: around it (over more than so many mm2), its whole width than the second.
_MIDDLE_SHARE, _MIDDLE_MM2, _WIDTH_SHARE = 0.5, 1.0, 0.7
#: Around: what remains where dark lines narrower than twice this (mm) are closed, but no brighter than so many times
#: the region's median, so that a strip of tissue between CSF is no artery.
_CLOSED_MM, _TISSUE = 3.0, 1.2
#: An artery of the cisterns touches an island of CSF larger than any perivascular space (mm2); one within the brain
#: has no such beside it and is the region's own. It takes a rim (mm), and is looked for so far (mm) around the region.
_BESIDE_MM2, _RIM_MM, _REACH_MM = 8.0, 1.0, 12.0


def cisterns(volume: Volume, fluid: np.ndarray) -> np.ndarray:
    """What of ``fluid`` (bool [k, j, i]: as bright as CSF) is a cistern or a ventricle, not a perivascular space."""
    return islands(volume, fluid, _CISTERN_MM2)


def arteries(volume: Volume, bright: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Arteries of the cisterns, with their rim, in and beside ``region``, in the slices that it has.

    ``bright`` is what holds CSF, at least in part; all arrays are bool [k, j, i].
    """
    found = np.zeros(region.shape, bool)
    if not region.any():
        return found
    columns, rows = (int(np.ceil(_REACH_MM / spacing)) for spacing in volume.spacing[:2])
    box = widened(bounds(region), (0, rows, columns), region.shape)
    darkness = _darkness(volume, region, box)
    beside = boxed(islands(volume, bright[box], _BESIDE_MM2), _RIM_MM, volume)
    middle = islands(volume, darkness < _MIDDLE_SHARE, _MIDDLE_MM2)
    for k, plane in enumerate(darkness < _WIDTH_SHARE):
        labels, _ = ndimage.label(plane, np.ones((3, 3)))
        pieces = np.intersect1d(labels[middle[k]], labels[beside[k]])
        found[box][k] = np.isin(labels, pieces[pieces > 0])
    return boxed(found, _RIM_MM, volume)


def _darkness(volume: Volume, region: np.ndarray, box: Box) -> np.ndarray:
    """Signal in ``box`` as a share of that of the tissue around."""
    median = float(np.median(volume.array[region]))
    signal = volume.array[box].astype(np.float32) / max(median, 1e-6)
    reach = max(1, round(_CLOSED_MM / volume.spacing[1])), max(1, round(_CLOSED_MM / volume.spacing[0]))
    # The medians of 3 x 3 pixels, else noise would make the surroundings brighter and iron in a nucleus an artery.
    quiet = ndimage.median_filter(signal, (1, 3, 3))
    closed = windowed(windowed(quiet, reach, np.maximum, -np.inf), reach, np.minimum, np.inf)
    return signal / np.clip(closed, 1e-6, _TISSUE)


def islands(volume: Volume, mask: np.ndarray, least_mm2: float, share: float = 0.0) -> np.ndarray:
    """What of ``mask`` lies, slice by slice, in face-connected islands of more than ``least_mm2``.

    Islands smaller than ``share`` of the slice's largest are left out as well.
    """
    pixel = volume.spacing[0] * volume.spacing[1]
    kept = np.zeros(mask.shape, bool)
    for k in np.flatnonzero(mask.any((1, 2))):
        labels, _ = ndimage.label(mask[k])
        sizes = np.bincount(labels.ravel()) * pixel
        sizes[0] = 0
        kept[k] = ((sizes > least_mm2) & (sizes >= share * sizes.max()))[labels]
    return kept
