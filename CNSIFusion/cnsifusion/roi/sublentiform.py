"""Region B of one head: the tissue below its lentiform nucleus, where the network sees it and no cistern lies."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.anatomy import Anatomy
from cnsifusion.roi.cisterns import arteries, cisterns, islands
from cnsifusion.roi.morphology import Box, bounds
from cnsifusion.roi.region_net import BOTH, LIKELY, region_chance
from cnsifusion.roi.unlike import bright_sides

#: Corners (mm) of the box, in the turned head's frame about the template's origin, in which columns are followed.
_LOW, _HIGH = np.array([-40.0, -32.0, -34.0]), np.array([40.0, 32.0, 24.0])

#: A piece of region smaller than this (mm2, in plane) is a sliver; one smaller than this share of the slice's largest
#: lies behind a cistern that cuts it off.
_SLIVER_MM2, _PIECE_SHARE = 20.0, 0.4

#: An artery lies beside a cistern, or beside the edge of one that the slice holds in part: so far on the way to CSF.
_SOME_CSF = 0.35

#: The middle cerebral artery runs below the perforated substance: where arteries with their rim, and what lies under
#: them, take more than the first share of a lowest slice of the region, that slice lies in the cistern, and what else
#: it holds is the cistern's wall. Where it does so on one side, the second share is enough on the other.
_ARTERY_LEVEL, _ARTERY_BESIDE = 1 / 3, 1 / 4


def find_sublentiform(
    volume: Volume, anatomy: Anatomy, fluid: np.ndarray, tissue: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, str]]:
    """Bool masks [k, j, i] by side (``left``, ``right``), one of the arteries in and beside them, and doubts.

    CSF that reaches the cisterns and arteries are left out, small bright foci stay in. ``fluid`` and ``tissue`` are
    the levels of CSF and of tissue. A side that lies in too bright tissue is empty, with its reason among the doubts.
    """
    frame = head_frame(anatomy)
    points, index = places(frame, anatomy, BOTH)
    region = ndimage.map_coordinates(region_chance(volume, anatomy), index, order=1, mode="constant") >= LIKELY
    left = anatomy.midplane.distance(points) > 0
    sides = {"left": region & left, "right": region & ~left}
    whole = {side: on_patient(volume, frame, mask) for side, mask in sides.items()}
    sides, vessels = _without_cisterns(volume, frame, whole, fluid, tissue)
    doubts = bright_sides(volume, sides, fluid, tissue)
    if doubts:  # beside so bright a side the other's tissue would look as dark as an artery
        whole = {side: mask & (side not in doubts) for side, mask in whole.items()}
        sides, vessels = _without_cisterns(volume, frame, whole, fluid, tissue)
    return sides, vessels, doubts


def _without_cisterns(
    volume: Volume, frame: Grid, whole: dict[str, np.ndarray], fluid: np.ndarray, tissue: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The sides ``whole`` without cisterns and arteries, and the arteries."""
    bright = volume.array > tissue + _SOME_CSF * (fluid - tissue)
    vessels = arteries(volume, bright, whole["left"] | whole["right"])
    under = on_patient(volume, frame, _under(volume, frame, vessels), bounds(whole["left"] | whole["right"]))
    solid = ~(cisterns(volume, volume.array > (fluid + tissue) / 2) | vessels)
    above = _above_artery(volume, whole, vessels | under)
    return {side: islands(volume, mask & solid, _SLIVER_MM2, _PIECE_SHARE) for side, mask in above.items()}, vessels


def places(frame: Grid, anatomy: Anatomy, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Patient positions (k, j, i, 3; LPS mm) of a frame's voxels, and their indices (3, k, j, i) on ``grid``."""
    points = frame.to_lps(np.moveaxis(np.indices(frame.shape)[::-1], 0, -1))
    return points, grid.to_kji(anatomy.to_template(points))


def head_frame(anatomy: Anatomy) -> Grid:
    """A 1 mm grid along the head's own left, posterior and superior axes around the template's origin."""
    linear = anatomy.template_to_patient[:3, :3]
    u, _, vt = np.linalg.svd(linear)
    rotation = u @ vt
    origin = anatomy.template_to_patient[:3, 3] + rotation @ _LOW
    size = (_HIGH - _LOW).astype(int) + 1
    return Grid(tuple(size.tolist()), (1.0, 1.0, 1.0), tuple(origin.tolist()), tuple(rotation.ravel().tolist()))


def on_patient(volume: Volume, frame: Grid, mask: np.ndarray, box: Box | None = None) -> np.ndarray:
    """``mask`` of ``frame`` on the patient's grid: voxels (of ``box``, or all) of which at least half lies in it."""
    result = np.zeros(volume.grid.shape, bool)
    inside = np.argwhere(mask)
    if not len(inside):
        return result
    corners = volume.grid.to_ijk(frame.to_lps(inside[:, ::-1]))
    first, end = zip(*((part.start, part.stop) for part in box[::-1])) if box else ((0, 0, 0), volume.grid.size)
    low = np.maximum(np.floor(corners.min(0)).astype(int) - 1, first)
    high = np.minimum(np.ceil(corners.max(0)).astype(int) + 2, end)
    if np.any(high <= low):
        return result
    k, j, i = np.mgrid[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
    count = max(2, int(np.ceil(volume.spacing[2])))
    share = np.zeros(k.shape, np.float32)
    soft = mask.astype(np.float32)
    for part in range(count):
        depth = (part + 0.5) / count - 0.5
        index = frame.to_kji(volume.grid.to_lps(np.stack([i, j, k + depth], -1)))
        share += ndimage.map_coordinates(soft, index, order=1, mode="constant")
    result[low[2] : high[2], low[1] : high[1], low[0] : high[0]] = share >= 0.5 * count
    return result


def _under(volume: Volume, frame: Grid, mask: np.ndarray) -> np.ndarray:
    """What of ``frame`` lies in or straight below ``mask`` of the patient's grid."""
    k, j, i = np.indices(frame.shape)
    own = volume.grid.to_kji(frame.to_lps(np.stack([i, j, k], -1)))
    inside = ndimage.map_coordinates(mask.astype(np.uint8), own, order=0, mode="constant") > 0
    return np.logical_or.accumulate(inside[::-1])[::-1]


def _above_artery(volume: Volume, sides: dict[str, np.ndarray], vessels: np.ndarray) -> dict[str, np.ndarray]:
    """``sides`` without those of their lowest slices that lie at the level of an artery, slivers under them apart."""
    sliver = _SLIVER_MM2 / (volume.spacing[0] * volume.spacing[1])
    areas = {side: mask.sum((1, 2)) for side, mask in sides.items()}
    shares = {side: (mask & vessels).sum((1, 2)) / np.maximum(areas[side], 1) for side, mask in sides.items()}
    level = np.where(np.max(list(shares.values()), 0) > _ARTERY_LEVEL, _ARTERY_BESIDE, _ARTERY_LEVEL)
    kept = {}
    for side, mask in sides.items():
        above = (areas[side] > sliver) & (shares[side] <= level)
        kept[side] = mask & np.logical_or.accumulate(above)[:, None, None]
    return kept
