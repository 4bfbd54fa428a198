"""The ventricles of one head: what is brighter than half-way between local CSF and tissue, near its expected place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.anatomy import Anatomy
from cnsifusion.roi.maps import FAR_MM, coarse_grid, part_distances, tissue_maps
from cnsifusion.roi.names import PARTS

#: How far (mm, template space) a part may reach beyond its place in the bent template.
_REACH = {"lateral": 9.0, "third": 4.0, "fourth": 3.5}
#: Within this distance (mm) half-way brightness is enough; beyond it this share of the way from tissue to CSF.
_NEAR_MM, _SURE_CSF = 2.5, 0.75
#: Up to this distance (mm) from its expected place a part needs no CSF beside it; elsewhere within _BESIDE_MM.
_CERTAIN_MM = 1.0
_BESIDE_MM = 1.5
#: The tissue that counts for a voxel of the wall lies between these distances (mm) from CSF and is no brighter than
#: this share of the way from tissue to CSF (no lesion); its level is smoothed over this length (mm).
_SHELL_MM, _SHELL_SHARE, _SHELL_SMOOTH_MM = (1.5, 5.0), 0.35, 5.0
#: Template z (mm) of the third ventricle's roof: CSF above it is the velum interpositum's.
_ROOF_Z = 4.0
#: Template |x| and LPS y (mm) beyond which a horn is occipital.
_BACK = (12.0, 30.0)
_CLOSED_OFF_SLICES = 2
#: Tips of inferior horns lie at template |x| above, between these LPS y and below this z (mm). Such a tip is an island
#: of a slice of at most this size (mm2), more than this share of it within reach of the lateral ventricle.
_TEMPORAL_X, _TEMPORAL_Y, _TEMPORAL_Z = 20.0, (-10.0, 45.0), 2.0
_TIP_MM2, _TIP_SHARE = 400.0, 0.5
_PLANE = ndimage.generate_binary_structure(2, 1)[None]
#: So much tissue (mm3) around the ventricles is enough to know its level.
_ENOUGH_MM3 = 300.0
#: The darkest within this distance (mm) in plane and in the next slices counts with this weight for the tissue that is
#: mixed with CSF, the region's with the rest (the best of logistic fits to 12 heads with exact truth: 0.6 to 0.7).
_MIXED_MM, _MIXED_WEIGHT = 1.0, 2 / 3


@dataclass(frozen=True, eq=False)
class Ventricles:
    """``parts`` labels the voxels by names.PARTS (uint8 [k, j, i], 0 = none); ``withheld``: missing parts, why."""

    parts: np.ndarray
    withheld: dict[str, str]


def find_ventricles(volume: Volume, anatomy: Anatomy, fluid: np.ndarray, tissue: np.ndarray) -> Ventricles:
    """Ventricles of ``volume``; ``fluid`` and ``tissue`` [k, j, i] are the local levels of csf_levels.

    A voxel half-way between CSF and the tissue it is mixed with is half CSF: the mask is the 50 % partial-volume
    definition. Far from where the template expects a part only what is nearly as bright as CSF counts, with its
    rim, and a half-bright voxel beside the template's ventricle needs CSF next to it (partial volume has, a lesion has
    not): lesions at the wall stay out.
    """
    distance = _distances(anatomy)
    contrast = fluid - tissue
    share = np.divide(volume.array - tissue, contrast, out=np.zeros_like(contrast), where=contrast > 0)
    # The third ventricle is a slit between even walls, over and under which cisterns lie.
    half = {"third": share > 0.5}
    half["lateral"] = half["fourth"] = share > (1 + _mixed_with(share, volume)) / 2
    strong = share > _SURE_CSF
    supported = _beside(strong, volume)
    rim = max(1, round(1.2 / volume.spacing[0]))
    parts = np.zeros(volume.grid.shape, np.uint8)
    withheld: dict[str, str] = {}
    nearest = np.minimum(np.minimum(distance["lateral"], distance["third"]), distance["fourth"])
    for value, part in PARTS.items():
        own, bright = distance[part], half[part]
        zone = (own <= _REACH[part]) & (own <= nearest) & (own <= distance["outer"])
        if part == "lateral":
            tips = _occipital(volume, anatomy, zone & strong, strong)
            zone |= ndimage.binary_dilation(tips, _PLANE, iterations=rim)
        elif part == "third":
            zone &= anatomy.lattice.spread(anatomy.lattice.points[2]) <= _ROOF_Z
        near = zone & bright & (own <= _NEAR_MM) & (supported | (own <= _CERTAIN_MM))
        grown = _connected(near | (zone & strong), near & (own < 0.5))
        grown |= ndimage.binary_dilation(grown & strong, _PLANE, iterations=rim) & zone & bright
        grown = _fill(grown) & zone
        if part == "lateral":
            grown |= _inferior(volume, anatomy, grown, bright, own)
        if grown.sum() * volume.grid.voxel_volume < 50:
            withheld[part] = f"No {part} ventricle was found where the template expects it."
            continue
        parts[grown & (parts == 0)] = value
    return Ventricles(parts, withheld)


def _mixed_with(share: np.ndarray, volume: Volume) -> np.ndarray:
    """Level of the tissue that a voxel of the wall is mixed with, from the region's (0) to CSF's (1).

    It lies between the region's and the darkest nearby, so half-way to CSF is higher beside choroid plexus, caudate or
    cortex than beside white matter.
    """
    darkest = share
    for axis, spacing in ((1, volume.spacing[1]), (2, volume.spacing[0])):
        darkest = ndimage.minimum_filter1d(darkest, 2 * max(1, round(_MIXED_MM / spacing)) + 1, axis)
    darkest[1:] = np.minimum(darkest[1:], share[:-1])
    darkest[:-1] = np.minimum(darkest[:-1], share[1:])
    return _MIXED_WEIGHT * np.clip(darkest, -_SHELL_SHARE, _SHELL_SHARE)


def _beside(strong: np.ndarray, volume: Volume) -> np.ndarray:
    """Voxels within _BESIDE_MM in plane of ``strong`` ones of their own, the next lower or the next higher slice."""
    near = boxed(strong, _BESIDE_MM, volume)
    grown = near.copy()
    grown[1:] |= near[:-1]
    grown[:-1] |= near[1:]
    return grown


def boxed(mask: np.ndarray, reach_mm: float, volume: Volume) -> np.ndarray:
    """``mask`` dilated in plane by a square of half-width ``reach_mm`` (at least a pixel)."""
    grown = mask.view(np.uint8)
    for axis, spacing in ((1, volume.spacing[1]), (2, volume.spacing[0])):
        grown = ndimage.maximum_filter1d(grown, 2 * max(1, round(reach_mm / spacing)) + 1, axis)
    return grown.view(bool)


def _occipital(volume: Volume, anatomy: Anatomy, sure: np.ndarray, strong: np.ndarray) -> np.ndarray:
    """The back of ``strong`` islands of a slice that are for the greater part ``sure``: large occipital horns.

    They vary more than any other horn, and reach where the template has sulci.
    """
    x, y = (anatomy.lattice.spread(anatomy.lattice.points[a]) for a in (0, 1))
    back = strong & (y > _BACK[1]) & (np.abs(x) > _BACK[0])
    grown = np.zeros(strong.shape, bool)
    for k in np.flatnonzero((sure & back).any((1, 2))):
        grown[k] = _islands_mostly_in(back[k], sure[k], 0.5)
    for _ in range(_CLOSED_OFF_SLICES):  # a tip that its walls close off shows under or over the open horn
        for source, target in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            over = boxed(grown, max(1.0, volume.spacing[2] / 2), volume)[source] & back[target]
            for k in np.flatnonzero(over.any((1, 2))):
                grown[target][k] |= _islands_mostly_in(back[target][k], over[k], 0.5)
    return grown


def _inferior(
    volume: Volume, anatomy: Anatomy, lateral: np.ndarray, bright: np.ndarray, distance: np.ndarray
) -> np.ndarray:
    """Tips of inferior horns that go on from ``lateral`` where the template's horn ends, nearer to its cisterns.

    They are whole islands of a slice's ``bright`` voxels, so no bay of a cistern is taken for one.
    """
    x, y, z = (anatomy.lattice.spread(anatomy.lattice.points[a]) for a in range(3))
    place = (np.abs(x) > _TEMPORAL_X) & (y > _TEMPORAL_Y[0]) & (y < _TEMPORAL_Y[1]) & (z < _TEMPORAL_Z)
    place &= distance <= _REACH["lateral"]
    most = _TIP_MM2 / (volume.spacing[0] * volume.spacing[1])
    islands, grown = np.zeros(bright.shape, bool), np.zeros(bright.shape, bool)
    slices = np.flatnonzero(place.any((1, 2)))
    for k in slices:
        islands[k] = _islands_mostly_in(bright[k], place[k], _TIP_SHARE, most)
    for _ in range(_CLOSED_OFF_SLICES):
        beside = _beside(lateral | grown, volume)
        for k in slices:
            grown[k] = _islands_mostly_in(islands[k], beside[k], 0.0)
    return grown


def _islands_mostly_in(mask: np.ndarray, part: np.ndarray, least: float, most: float = np.inf) -> np.ndarray:
    """The face-connected islands of a slice's ``mask`` of which more than ``least`` lies in ``part``.

    Islands of more than ``most`` pixels are left out.
    """
    labels, n = ndimage.label(mask)
    inside, all_of_it = (np.bincount(v, minlength=n + 1) for v in (labels[part], labels.ravel()))
    share = inside / np.maximum(all_of_it, 1)
    share[0] = 0
    return ((share > least) & (all_of_it <= most))[labels]


def _distances(anatomy: Anatomy) -> dict[str, np.ndarray]:
    """maps.part_distances on the patient's grid."""
    maps, grid = part_distances()
    return {name: anatomy.sample(array, grid, FAR_MM) for name, array in maps.items()}


def _connected(zone: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The face-connected components of ``zone`` that hold a voxel of ``seeds``."""
    labels, n = ndimage.label(zone)
    keep = np.zeros(n + 1, bool)
    keep[np.unique(labels[seeds])] = True
    keep[0] = False
    return keep[labels]


def _fill(mask: np.ndarray) -> np.ndarray:
    """``mask`` with the holes of each slice filled (choroid plexus, flow voids)."""
    filled = mask.copy()
    for k in np.flatnonzero(mask.any((1, 2))):
        filled[k] = ndimage.binary_fill_holes(mask[k])
    return filled


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
    for least in (0.5, _SURE_CSF):
        bright = volume.array > tissue_level + least * (fluid_level - tissue_level)
        pure = _surrounded(bright, volume) & expected
        if not pure.any():
            break
        fluid_level = float(np.median(volume.array[pure]))
        if least == 0.5:  # the more there is, the better it shows the coil's shading
            core = pure
    offset = fluid_level - float(volume.array[core].mean()) if core.any() else 0.0
    fluid = _field(volume, core, fluid_level - offset, 30.0) + np.float32(offset)
    tissue = _field(volume, ring, tissue_level, 12.0)
    bright = volume.array > (fluid + tissue) / 2
    shell = boxed(bright & (distance < _NEAR_MM), _SHELL_MM[1], volume) & ~boxed(bright, _SHELL_MM[0], volume)
    shell &= anatomy.brain & (volume.array < tissue + _SHELL_SHARE * (fluid - tissue))
    if shell.sum() * volume.grid.voxel_volume < _ENOUGH_MM3:
        return fluid, tissue
    return fluid, _field(volume, shell, float(volume.array[shell].mean()), _SHELL_SMOOTH_MM)


def _surrounded(fluid: np.ndarray, volume: Volume) -> np.ndarray:
    """``fluid`` without a rim of about 1 mm in plane, and only where the slices above and below have the same."""
    rim = max(1, round(1.0 / volume.spacing[0]))
    inner = ndimage.binary_erosion(fluid, _PLANE, iterations=rim)
    return ndimage.binary_erosion(inner, np.ones((3, 1, 1), bool))


def _field(volume: Volume, mask: np.ndarray, level: float, sigma_mm: float) -> np.ndarray:
    """Smooth local mean of ``volume`` over ``mask`` (normalised convolution), drawn to ``level`` where it is empty."""
    factors = [max(1, round(2.5 / s)) for s in volume.spacing[:2]]
    fi, fj = factors
    shape = volume.grid.shape
    nj, ni = -(-shape[1] // fj), -(-shape[2] // fi)

    def reduce(array: np.ndarray) -> np.ndarray:
        padded = np.zeros((shape[0], nj * fj, ni * fi), np.float32)
        padded[:, : shape[1], : shape[2]] = array
        return padded.reshape(shape[0], nj, fj, ni, fi).sum((2, 4), dtype=np.float64)

    widths = [sigma_mm / s for s in (volume.spacing[2], volume.spacing[1] * fj, volume.spacing[0] * fi)]
    total = ndimage.gaussian_filter(reduce(np.where(mask, volume.array - level, 0)), widths, truncate=3)
    weight = ndimage.gaussian_filter(reduce(mask), widths, truncate=3)
    field = total / (weight + 0.01 * max(float(weight.max()), 1e-9))
    full = np.repeat(np.repeat(field, fj, 1), fi, 2)[:, : shape[1], : shape[2]]
    return full.astype(np.float32) + np.float32(level)
