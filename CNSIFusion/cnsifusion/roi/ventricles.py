"""The ventricles of one head: what is brighter than half-way between local CSF and tissue, near its expected place."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.anatomy import Anatomy
from cnsifusion.roi.bulges import Bulge, find_bulges
from cnsifusion.roi.lesions import Lesions, find_lesions
from cnsifusion.roi.levels import NEAR_MM, SURE_CSF, TISSUE_SHARE
from cnsifusion.roi.maps import FAR_MM, part_distances
from cnsifusion.roi.morphology import (
    EDGES,
    Box,
    bounds,
    boxed,
    connected,
    filled,
    grown,
    over_or_under,
    widened,
    windowed,
)
from cnsifusion.roi.names import PARTS
from cnsifusion.roi.regions import slices_in_words
from cnsifusion.roi.sharpness import sharpened, wall_blur

#: How far (mm, template space) a part may reach beyond its place in the bent template.
_REACH = {"lateral": 9.0, "third": 5.0, "fourth": 5.0}
#: It lies no farther (mm) from its place than this share of the distance to any other part or other CSF, and so much
#: more. Fissures and cisterns beside the third ventricle are thin, and the average head of the template has lost them.
_NEARER = {"lateral": (1.0, 0.0), "third": (0.6, 1.0), "fourth": (1.0, 1.0)}
#: Up to this distance (mm) from its expected place a part needs no CSF beside it; elsewhere within _BESIDE_MM.
_CERTAIN_MM = 1.0
_BESIDE_MM = 1.5
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
#: In a lesion, an island smaller than this (mm2) that reaches such a share of the way to CSF nowhere is a part of it.
_SPOT_MM2, _CLEAR = 30.0, 0.92
#: The darkest within this distance (mm) in plane and in the next slices counts with this weight for the tissue that is
#: mixed with CSF, the region's with the rest (the best of logistic fits to 12 heads with exact truth: 0.6 to 0.7).
_MIXED_MM, _MIXED_WEIGHT = 1.0, 2 / 3
#: Of the third and fourth ventricle's expected place (nearer to it than so many mm) what is darker than the first share
#: of tissue, and was not found, is at most 0.02 in 84 heads; from the last share on a note names it.
_DARK, _PLACE_MM, _VOID_SHARE = 0.7, 0.6, 0.08


@dataclass(frozen=True)
class Void:
    """Where a ``part`` of the ventricles is dark: the first and last of its ``slices``."""

    part: str
    slices: tuple[int, int]

    def sentence(self, first_slice: int) -> str:
        """What a reader should look at; ``first_slice`` is the index of the volume's first slice in the reader's."""
        where = slices_in_words(*(k + first_slice for k in self.slices))
        return f"The {self.part} ventricle is dark in part, as flow makes CSF: check {where}."


@dataclass(frozen=True, eq=False)
class Ventricles:
    """``parts`` labels the voxels by names.PARTS (uint8 [k, j, i], 0 = none); ``withheld``: missing parts, why.

    ``bulges`` are where one lateral ventricle is unlike the other, ``voids`` where CSF shows no signal; neither
    cavities among the bulges nor ``lesions`` are in ``parts``.
    """

    parts: np.ndarray
    withheld: dict[str, str]
    lesions: Lesions
    bulges: list[Bulge] = field(default_factory=list)
    voids: list[Void] = field(default_factory=list)


def find_ventricles(volume: Volume, anatomy: Anatomy, fluid: np.ndarray, tissue: np.ndarray) -> Ventricles:
    """Ventricles of ``volume``; ``fluid`` and ``tissue`` [k, j, i] are the local levels of csf_levels.

    A voxel half-way between CSF and the tissue it is mixed with is half CSF: the mask is the 50 % partial-volume
    definition; beside a lesion it is half-way between CSF and lesion. Far from where the template expects a part only
    what is nearly as bright as CSF counts, with its rim and what lies over and under it, and a half-bright voxel beside
    the template's ventricle needs CSF next to it (partial volume has, a lesion has not).
    """
    parts = np.zeros(volume.grid.shape, np.uint8)
    withheld: dict[str, str] = {}
    bulges: list[Bulge] = []
    voids: list[Void] = []
    share = _csf_share(volume, fluid, tissue)
    maps, grid = part_distances()
    lateral = anatomy.sample(maps["lateral"], grid, FAR_MM)
    other = anatomy.sample(np.minimum.reduce([maps[part] for part in maps if part != "lateral"]), grid, FAR_MM)
    lesions = find_lesions(share, lateral, other, volume)
    sharp = sharpened(share, wall_blur(share, volume, anatomy, lesions.beside), volume)
    for value, part in PARTS.items():
        box = _part_box(part, volume, anatomy)
        inner = Volume(sharp[box], volume.grid.cropped(box))
        mixed = np.maximum(_mixed_with(share[box], inner), lesions.level[box])
        found, own = _find_part(part, inner, anatomy.cropped(box), mixed)
        if part == "lateral":
            found &= ~_spots(found, lesions.beside, sharp, volume)
            bulges = find_bulges(volume, anatomy, found, own)
            for cavity in (bulge for bulge in bulges if bulge.cavity):
                _leave_out(cavity.voxels, found)
        else:
            voids += _voids(part, own < _PLACE_MM, found, volume.array[box] < _DARK * tissue[box], box[0].start)
        if found.sum() * volume.grid.voxel_volume < 50:
            withheld[part] = f"No {part} ventricle was found where the template expects it."
            continue
        parts[box][found & (parts[box] == 0)] = value
    parts[_crumbs(parts > 0, volume)] = 0
    return Ventricles(parts, withheld, lesions, bulges, voids)


def _voids(part: str, place: np.ndarray, found: np.ndarray, dark: np.ndarray, first_slice: int) -> list[Void]:
    """The void of a ``part`` whose ``place`` is ``dark`` and not ``found`` to a good share, or none."""
    missing = place & dark & ~found
    if missing.sum() <= _VOID_SHARE * place.sum():
        return []
    low, high = (int(k) + first_slice for k in np.flatnonzero(missing.any((1, 2)))[[0, -1]])
    return [Void(part, (low, high))]


def _spots(found: np.ndarray, lesion: np.ndarray, share: np.ndarray, volume: Volume) -> np.ndarray:
    """Small islands of a slice of ``found`` that lie in a ``lesion`` and hold no clear CSF: its brighter spots."""
    labels, count = ndimage.label(found, np.pad(EDGES[None], ((1, 1), (0, 0), (0, 0))))
    sizes, held = (np.bincount(n, minlength=count + 1) for n in (labels.ravel(), labels[~lesion | (share > _CLEAR)]))
    return ((sizes * volume.spacing[0] * volume.spacing[1] < _SPOT_MM2) & (held == 0))[labels] & found


def _crumbs(mask: np.ndarray, volume: Volume) -> np.ndarray:
    """Pieces of a slice of ``mask`` of less than _CRUMB_MM2 with nothing right over or under them: most are none."""
    crumbs, next_to = np.zeros_like(mask), over_or_under(mask)
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


def _find_part(part: str, volume: Volume, anatomy: Anatomy, mixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The voxels of one part of the ventricles and how far (mm) all lie from its expected place.

    ``volume`` holds the sharpened share of CSF, ``mixed`` [k, j, i] the level of what is mixed with it.
    """
    share = volume.array
    half = (1 + mixed) / 2
    strong = share > np.maximum(half, SURE_CSF)
    # The third ventricle is a slit between even walls, over and under which cisterns lie.
    bright = share > (0.5 if part == "third" else half)
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
    near = zone & bright & (own <= NEAR_MM) & (_beside(strong, volume) | (own <= _CERTAIN_MM))
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
    return walls | over_or_under(fluid) if over_too else walls


def _mixed_with(share: np.ndarray, volume: Volume) -> np.ndarray:
    """Level of the tissue that a voxel of the wall is mixed with, from the region's (0) to CSF's (1).

    It lies between the region's and the darkest nearby, so half-way to CSF is higher beside choroid plexus, caudate or
    cortex than beside white matter.
    """
    rows, columns = (max(1, round(_MIXED_MM / volume.spacing[axis])) for axis in (1, 0))
    darkest = windowed(share, (rows, columns), np.minimum, np.inf)
    np.minimum(darkest[1:], share[:-1], out=darkest[1:])
    np.minimum(darkest[:-1], share[1:], out=darkest[:-1])
    level = np.clip(darkest, -TISSUE_SHARE, TISSUE_SHARE, out=darkest)
    level *= _MIXED_WEIGHT
    return level


def _beside(strong: np.ndarray, volume: Volume) -> np.ndarray:
    """Voxels within _BESIDE_MM in plane of ``strong`` ones of their own, the next lower or the next higher slice."""
    near = boxed(strong, _BESIDE_MM, volume)
    return near | over_or_under(near)


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
