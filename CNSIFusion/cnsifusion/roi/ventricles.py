"""The ventricles of one head: what is brighter than half-way between local CSF and tissue, near its expected place."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.anatomy import Anatomy
from cnsifusion.roi.bulges import Bulge, find_bulges
from cnsifusion.roi.maps import FAR_MM, coarse_grid, part_distances, tissue_maps
from cnsifusion.roi.morphology import Box, bounds, boxed, connected, filled, grown, shrunk, widened, windowed
from cnsifusion.roi.names import PARTS
from cnsifusion.roi.sharpness import sharpened, wall_blur

#: How far (mm, template space) a part may reach beyond its place in the bent template.
_REACH = {"lateral": 9.0, "third": 5.0, "fourth": 5.0}
#: It lies no farther (mm) from its place than this share of the distance to any other part or other CSF, and so much
#: more. Fissures and cisterns beside the third ventricle are thin, and the average head of the template has lost them.
_NEARER = {"lateral": (1.0, 0.0), "third": (0.6, 1.0), "fourth": (1.0, 1.0)}
#: Within this distance (mm) half-way brightness is enough; beyond it this share of the way from tissue to CSF.
_NEAR_MM, _SURE_CSF = 2.5, 0.75
#: Up to this distance (mm) from its expected place a part needs no CSF beside it; elsewhere within _BESIDE_MM.
_CERTAIN_MM = 1.0
_BESIDE_MM = 1.5
#: The tissue that counts for a voxel of the wall lies between these distances (mm) from CSF and is no brighter than
#: this share of the way from tissue to CSF (no lesion); its level is smoothed over this length (mm).
_SHELL_MM, _SHELL_SHARE, _SHELL_SMOOTH_MM = (1.5, 5.0), 0.35, 5.0
#: Template z (mm) of the third ventricle's roof: CSF above it is the velum interpositum's. In front of this LPS y (mm)
#: it is lower: above it lie the foramina of Monro and what the columns of the fornix have between them.
_ROOF_Z, _FRONT_Y, _FRONT_ROOF_Z = 4.0, 12.0, 2.0
#: Nearer to the middle (mm, template) than this level is above their z, and than _FISSURE_X, what is bright under the
#: frontal horns is of the fissure: in single heads it is wider than in the average.
_FLOOR, _FISSURE_X = 0.5, 6.0
#: The third ventricle is a slit from front to back: farther than this (mm, template) from the middle only what is part
#: of such a length (mm) is of it; the rest are cisterns across its ends.
_SLIT_X, _SLIT_MM = 3.0, 4.0
#: Template |x| and LPS y (mm) beyond which a horn is occipital.
_BACK = (12.0, 30.0)
_CLOSED_OFF_SLICES = 2
#: Tips of inferior horns lie at template |x| above, between these LPS y and below this z (mm). Such a tip is an island
#: of a slice of at most this size (mm2), more than this share of it within reach of the lateral ventricle.
_TEMPORAL_X, _TEMPORAL_Y, _TEMPORAL_Z = 20.0, (-10.0, 45.0), 2.0
_TIP_MM2, _TIP_SHARE = 400.0, 0.5
#: A piece of a slice smaller than this (mm2) is more often noise than ventricle.
_CRUMB_MM2 = 1.5
#: So much tissue (mm3) around the ventricles is enough to know its level.
_ENOUGH_MM3 = 300.0
#: The darkest within this distance (mm) in plane and in the next slices counts with this weight for the tissue that is
#: mixed with CSF, the region's with the rest (the best of logistic fits to 12 heads with exact truth: 0.6 to 0.7).
_MIXED_MM, _MIXED_WEIGHT = 1.0, 2 / 3


@dataclass(frozen=True, eq=False)
class Ventricles:
    """``parts`` labels the voxels by names.PARTS (uint8 [k, j, i], 0 = none); ``withheld``: missing parts, why.

    ``bulges`` are where one lateral ventricle is unlike the other; cavities among them are not in ``parts``.
    """

    parts: np.ndarray
    withheld: dict[str, str]
    bulges: list[Bulge] = field(default_factory=list)


def find_ventricles(volume: Volume, anatomy: Anatomy, fluid: np.ndarray, tissue: np.ndarray) -> Ventricles:
    """Ventricles of ``volume``; ``fluid`` and ``tissue`` [k, j, i] are the local levels of csf_levels.

    A voxel half-way between CSF and the tissue it is mixed with is half CSF: the mask is the 50 % partial-volume
    definition. Far from where the template expects a part only what is nearly as bright as CSF counts, with its rim
    and what lies over and under it, and a half-bright voxel beside the template's ventricle needs CSF next to it
    (partial volume has, a lesion has not): lesions at the wall stay out.
    """
    parts = np.zeros(volume.grid.shape, np.uint8)
    withheld: dict[str, str] = {}
    bulges: list[Bulge] = []
    share = _csf_share(volume, fluid, tissue)
    sharp = sharpened(share, wall_blur(share, volume, anatomy), volume)
    for value, part in PARTS.items():
        box = _part_box(part, volume, anatomy)
        inner = Volume(sharp[box], volume.grid.cropped(box))
        found, own = _find_part(part, inner, anatomy.cropped(box), share[box])
        if part == "lateral":
            bulges = find_bulges(volume, anatomy, found, own)
            for cavity in (bulge for bulge in bulges if bulge.cavity):
                _leave_out(cavity.voxels, found)
        if found.sum() * volume.grid.voxel_volume < 50:
            withheld[part] = f"No {part} ventricle was found where the template expects it."
            continue
        parts[box][found & (parts[box] == 0)] = value
    parts[_crumbs(parts > 0, volume)] = 0
    return Ventricles(parts, withheld, bulges)


def _crumbs(mask: np.ndarray, volume: Volume) -> np.ndarray:
    """Pieces of a slice of ``mask`` of less than _CRUMB_MM2 with nothing right over or under them: most are none."""
    crumbs, next_to = np.zeros_like(mask), np.zeros_like(mask)
    next_to[1:] |= mask[:-1]
    next_to[:-1] |= mask[1:]
    for k in np.flatnonzero(mask.any((1, 2))):
        labels, count = ndimage.label(mask[k], np.ones((3, 3)))
        sizes, held = (np.bincount(found, minlength=count + 1) for found in (labels.ravel(), labels[next_to[k]]))
        small = (sizes * volume.spacing[0] * volume.spacing[1] < _CRUMB_MM2) & (held == 0)
        crumbs[k] = small[labels] & mask[k]
    return crumbs


def _leave_out(cavity: np.ndarray, found: np.ndarray) -> None:
    """Take the voxels ``cavity`` (n, 3) out of ``found``, and smaller islands of their slices that they touch."""
    found[tuple(cavity.T)] = False
    for k in np.unique(cavity[:, 0]):
        plane = np.zeros(found.shape[1:], bool)
        plane[tuple(cavity[cavity[:, 0] == k, 1:].T)] = True
        labels, count = ndimage.label(found[k])
        gone = np.bincount(labels.ravel(), minlength=count + 1) < plane.sum()
        gone &= np.isin(np.arange(count + 1), labels[ndimage.binary_dilation(plane)])
        found[k][gone[labels]] = False


def _part_box(part: str, volume: Volume, anatomy: Anatomy) -> Box:
    """The voxels on which a part depends: all for the lateral ventricles, whose tips are whole islands of slices."""
    if part == "lateral":
        k, j, i = (slice(0, n) for n in volume.grid.shape)
        return k, j, i
    maps, grid = part_distances()
    near = anatomy.lattice.around(anatomy.lattice.read(maps[part], grid, FAR_MM) <= _REACH[part])
    margin = [max(1, round(_BESIDE_MM / s)) for s in volume.spacing]
    return widened(near, (1, margin[1], margin[0]), volume.grid.shape)


def _csf_share(volume: Volume, fluid: np.ndarray, tissue: np.ndarray) -> np.ndarray:
    """How far every voxel [k, j, i] is on the way from ``tissue`` (0) to ``fluid`` (1)."""
    contrast = fluid - tissue
    share = volume.array - tissue
    np.divide(share, contrast, out=share, where=contrast > 0)
    share[contrast <= 0] = 0
    return share


def _find_part(part: str, volume: Volume, anatomy: Anatomy, blurred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The voxels of one part of the ventricles and how far (mm) all lie from its expected place.

    ``volume`` holds the sharpened share of CSF, ``blurred`` [k, j, i] that of the picture, in which dark voxels are no
    darker than they are.
    """
    share = volume.array
    strong = share > _SURE_CSF
    # The third ventricle is a slit between even walls, over and under which cisterns lie.
    bright = share > (0.5 if part == "third" else (1 + _mixed_with(blurred, volume)) / 2)
    rim = max(1, round(1.2 / volume.spacing[0]))
    maps, grid = part_distances()
    own = anatomy.sample(maps[part], grid, FAR_MM)
    zone = own <= _REACH[part]
    share_of_way, more = _NEARER[part]
    reach = bounds(zone)
    for other in maps.keys() - {part}:
        away = anatomy.lattice.spread(anatomy.lattice.read(maps[other], grid, FAR_MM), reach)
        zone[reach] &= own[reach] <= share_of_way * away + more
    if part == "lateral":
        x, z = (anatomy.lattice.spread(anatomy.lattice.points[a], reach) for a in (0, 2))
        zone[reach] &= np.abs(x) >= np.minimum(_FLOOR - z, _FISSURE_X)
        zone |= grown(_occipital(volume, anatomy, zone & strong, strong), rim)
    elif part == "third":
        y, z = (anatomy.lattice.spread(anatomy.lattice.points[a]) for a in (1, 2))
        zone &= z <= np.where(y < _FRONT_Y, _FRONT_ROOF_Z, _ROOF_Z)
    near = zone & bright & (own <= _NEAR_MM) & (_beside(strong, volume) | (own <= _CERTAIN_MM))
    found = connected(near | (zone & strong), near & (own < 0.5))
    found |= _walls(found & strong, rim, part != "third") & zone & bright
    found = filled(found) & zone
    if part == "lateral":
        found |= _inferior(volume, anatomy, found, bright, own)
    elif part == "third":
        found = _slit(found, np.abs(anatomy.lattice.spread(anatomy.lattice.points[0])), volume.spacing[1])
    return found, own


def _slit(found: np.ndarray, across: np.ndarray, row_mm: float) -> np.ndarray:
    """``found`` without cisterns over the ends of the third ventricle; ``across`` (mm) is how far voxels lie to a side.

    Such a cistern is short from front to back (rows of ``row_mm``) where it is wider than the slit.
    """
    long = ndimage.binary_opening(found, np.ones((1, max(1, round(_SLIT_MM / row_mm)), 1)))
    return found & (long | (across <= _SLIT_X))


def _walls(fluid: np.ndarray, rim: int, over_too: bool) -> np.ndarray:
    """Where voxels may be partly ``fluid``: ``rim`` pixels around it; with ``over_too`` right over and under it too."""
    walls = grown(fluid, rim)
    if over_too:
        walls[1:] |= fluid[:-1]
        walls[:-1] |= fluid[1:]
    return walls


def _mixed_with(share: np.ndarray, volume: Volume) -> np.ndarray:
    """Level of the tissue that a voxel of the wall is mixed with, from the region's (0) to CSF's (1).

    It lies between the region's and the darkest nearby, so half-way to CSF is higher beside choroid plexus, caudate or
    cortex than beside white matter.
    """
    rows, columns = (max(1, round(_MIXED_MM / volume.spacing[axis])) for axis in (1, 0))
    darkest = windowed(share, (rows, columns), np.minimum, np.inf)
    np.minimum(darkest[1:], share[:-1], out=darkest[1:])
    np.minimum(darkest[:-1], share[1:], out=darkest[:-1])
    level = np.clip(darkest, -_SHELL_SHARE, _SHELL_SHARE, out=darkest)
    level *= _MIXED_WEIGHT
    return level


def _beside(strong: np.ndarray, volume: Volume) -> np.ndarray:
    """Voxels within _BESIDE_MM in plane of ``strong`` ones of their own, the next lower or the next higher slice."""
    near = boxed(strong, _BESIDE_MM, volume)
    beside = near.copy()
    beside[1:] |= near[:-1]
    beside[:-1] |= near[1:]
    return beside


def _occipital(volume: Volume, anatomy: Anatomy, sure: np.ndarray, strong: np.ndarray) -> np.ndarray:
    """The back of ``strong`` islands of a slice that are for the greater part ``sure``: large occipital horns.

    They vary more than any other horn, and reach where the template has sulci.
    """
    result = np.zeros(strong.shape, bool)
    box = anatomy.lattice.around(anatomy.lattice.points[1] > _BACK[1])
    sure, horns = sure[box], result[box]
    back = strong[box] & (anatomy.lattice.spread(anatomy.lattice.points[1], box) > _BACK[1])
    back &= np.abs(anatomy.lattice.spread(anatomy.lattice.points[0], box)) > _BACK[0]
    for k in np.flatnonzero((sure & back).any((1, 2))):
        horns[k] = _islands_mostly_in(back[k], sure[k], 0.5)
    for _ in range(_CLOSED_OFF_SLICES):  # a tip that its walls close off shows under or over the open horn
        for source, target in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            over = boxed(horns, max(1.0, volume.spacing[2] / 2), volume)[source] & back[target]
            for k in np.flatnonzero(over.any((1, 2))):
                horns[target][k] |= _islands_mostly_in(back[target][k], over[k], 0.5)
    return result


def _inferior(
    volume: Volume, anatomy: Anatomy, lateral: np.ndarray, bright: np.ndarray, distance: np.ndarray
) -> np.ndarray:
    """Tips of inferior horns that go on from ``lateral`` where the template's horn ends, nearer to its cisterns.

    They are whole islands of a slice's ``bright`` voxels, so no bay of a cistern is taken for one.
    """
    result = np.zeros(bright.shape, bool)
    low = anatomy.lattice.around(anatomy.lattice.points[2] < _TEMPORAL_Z)[0]
    box = widened((low, slice(0, bright.shape[1]), slice(0, bright.shape[2])), (1, 0, 0), bright.shape)
    lateral, bright, tips = lateral[box], bright[box], result[box]
    place = distance[box] <= _REACH["lateral"]
    _, j, i = near = bounds(place)
    around = slice(near[0].start + box[0].start, near[0].stop + box[0].start), j, i
    x, y, z = (anatomy.lattice.spread(anatomy.lattice.points[a], around) for a in range(3))
    place[near] &= (np.abs(x) > _TEMPORAL_X) & (y > _TEMPORAL_Y[0]) & (y < _TEMPORAL_Y[1]) & (z < _TEMPORAL_Z)
    most = _TIP_MM2 / (volume.spacing[0] * volume.spacing[1])
    islands = np.zeros(bright.shape, bool)
    slices = np.flatnonzero(place.any((1, 2)))
    for k in slices:
        islands[k] = _islands_mostly_in(bright[k], place[k], _TIP_SHARE, most)
    for _ in range(_CLOSED_OFF_SLICES):
        beside = _beside(lateral | tips, volume)
        for k in slices:
            tips[k] = _islands_mostly_in(islands[k], beside[k], 0.0)
    return result


def _islands_mostly_in(mask: np.ndarray, part: np.ndarray, least: float, most: float = np.inf) -> np.ndarray:
    """The face-connected islands of a slice's ``mask`` of which more than ``least`` lies in ``part``.

    Islands of more than ``most`` pixels are left out.
    """
    labels, n = ndimage.label(mask)
    inside, all_of_it = (np.bincount(v, minlength=n + 1) for v in (labels[part], labels.ravel()))
    share = inside / np.maximum(all_of_it, 1)
    share[0] = 0
    return ((share > least) & (all_of_it <= most))[labels]


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
    bright = volume.array > _on_voxels((fluid + tissue) / 2, volume)
    shell = boxed(bright & (distance < _NEAR_MM), _SHELL_MM[1], volume) & ~boxed(bright, _SHELL_MM[0], volume)
    shell &= anatomy.brain
    shell &= volume.array < _on_voxels(tissue + _SHELL_SHARE * (fluid - tissue), volume)
    if shell.sum() * volume.grid.voxel_volume >= _ENOUGH_MM3:
        tissue = _field(volume, shell, float(volume.array[shell].mean()), _SHELL_SMOOTH_MM)
    return _on_voxels(fluid, volume), _on_voxels(tissue, volume)


def _surrounded(fluid: np.ndarray, volume: Volume) -> np.ndarray:
    """``fluid`` without a rim of about 1 mm in plane, and only where the slices above and below have the same."""
    inner = shrunk(fluid, max(1, round(1.0 / volume.spacing[0])))
    result = np.zeros_like(inner)
    result[1:-1] = inner[1:-1] & inner[:-2] & inner[2:]
    return result


def _field(volume: Volume, mask: np.ndarray, level: float, sigma_mm: float) -> np.ndarray:
    """Smooth local mean of ``volume`` over ``mask`` (normalised convolution), drawn to ``level`` where it is empty.

    It is given for the cells of _cells, for every slice.
    """
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
