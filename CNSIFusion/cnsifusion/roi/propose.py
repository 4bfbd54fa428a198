"""The automatic proposal: every region of the protocol that can be offered for one head, and why the others are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi import names
from cnsifusion.roi.anatomy import Anatomy
from cnsifusion.roi.foci import find_foci
from cnsifusion.roi.levels import csf_levels
from cnsifusion.roi.maps import part_distances
from cnsifusion.roi.morphology import Box
from cnsifusion.roi.regions import Focus, RegionSet
from cnsifusion.roi.sublentiform import find_sublentiform
from cnsifusion.roi.unlike import UNEQUAL, beside_nuclei, far_larger, unlike_sides
from cnsifusion.roi.ventricles import Ventricles, find_ventricles
from cnsifusion.threads import both

_SIDES = {
    "left": (names.SUBLENTIFORM_LEFT, names.PVS_LEFT),
    "right": (names.SUBLENTIFORM_RIGHT, names.PVS_RIGHT),
}
#: A region B smaller than this (ml) is no region a reader could work on.
_LEAST_SUBLENTIFORM_ML = 0.3
_TOO_LITTLE = "Too little tissue was found under the lentiform nucleus; draw the region by hand."
#: What ventricles that had to be swollen leave unsure (swelling.py).
_PRESSED = "The ventricles are so large that the lentiform nuclei are pressed out of place; draw the region by hand."
_SWOLLEN = "The ventricles are very large: check the third ventricle, which is often drawn too small beside such."


def propose(volume: Volume, anatomy: Anatomy) -> RegionSet:
    """Regions of ``volume`` in the head found by ``anatomy``; what is unsure is withheld with a sentence."""
    regions = RegionSet(volume.grid, midplane=anatomy.midplane)
    if not anatomy.trusted:
        regions.withheld = dict.fromkeys(names.SEGMENTS, " ".join(anatomy.reasons))
        return regions
    box = _deep_box(anatomy)
    part = Volume(volume.array[box], anatomy.grid.cropped(box))
    return _whole(_propose(part, anatomy.cropped(box), box[0].start), volume.grid, box)


def _propose(volume: Volume, anatomy: Anatomy, first_slice: int) -> RegionSet:
    """The proposal on a volume that holds the deep structures and little else, from ``first_slice`` of the whole."""
    regions = RegionSet(volume.grid, midplane=anatomy.midplane)
    fluid, tissue = csf_levels(volume, anatomy)
    dark, holes = beside_nuclei(volume, anatomy, fluid, tissue)
    if anatomy.swelling:
        dark, holes = dict.fromkeys(_SIDES, _PRESSED), {}
        regions.notes.append(_SWOLLEN)
    ventricles, (sides, regions.foci, doubts) = both(
        lambda: _ventricles(volume, anatomy, fluid, tissue),
        lambda: _under_nuclei(volume, anatomy, fluid, tissue, dark),
    )
    _add_ventricles(regions, ventricles, first_slice)
    for side, (name, _) in _SIDES.items():
        if side in sides:
            regions.masks[name] = sides[side]
        else:
            regions.withheld[name] = doubts.get(side, _TOO_LITTLE)
    if far_larger(sides):
        regions.notes.append(UNEQUAL)
    regions.notes += [holes[side] for side in sides if side in holes]
    for side in sides:
        _add_foci(regions, side, [f for f in regions.foci if f.side == side and f.likely and not f.large])
    regions.origin = dict.fromkeys(regions.masks, "automatic")
    return regions


def _ventricles(volume: Volume, anatomy: Anatomy, fluid: np.ndarray, tissue: np.ndarray) -> Ventricles:
    """The ventricles, where a place that suits them better than the rest of the head is known with its own levels."""
    if anatomy.swollen is not None:
        anatomy = replace(anatomy, lattice=anatomy.swollen)
        fluid, tissue = csf_levels(volume, anatomy)
    return find_ventricles(volume, anatomy, fluid, tissue)


def _under_nuclei(
    volume: Volume,
    anatomy: Anatomy,
    fluid: np.ndarray,
    tissue: np.ndarray,
    dark: dict[str, str],
) -> tuple[dict[str, np.ndarray], list[Focus], dict[str, str]]:
    """Region B (bool [k, j, i]) of the sides where it can be offered, the foci in and above it, and doubts by side.

    Sides that are ``dark`` are not offered.
    """
    if len(dark) == len(_SIDES):
        return {}, [], dark
    least = _LEAST_SUBLENTIFORM_ML * 1000 / volume.grid.voxel_volume
    found, arteries, doubts = find_sublentiform(volume, anatomy, fluid, tissue)
    sides = {side: mask for side, mask in found.items() if mask.sum() >= least}
    doubts |= unlike_sides(volume, anatomy.midplane, sides, fluid, tissue) | dark
    sides = {side: mask for side, mask in sides.items() if side not in doubts}
    contrast = float(np.median((fluid - tissue)[anatomy.brain]))
    foci = find_foci(volume, anatomy.white_matter, sides, arteries, anatomy.midplane, contrast)
    return sides, foci, doubts


def _deep_box(anatomy: Anatomy) -> Box:
    """The voxels [k, j, i] around the ventricles and the lentiform nuclei: a third of a head, for speed."""
    _, grid = part_distances()
    low, high = (np.array(p).reshape(3, 1, 1, 1) for p in (grid.origin, grid.to_lps(np.array(grid.size) - 1)))
    return anatomy.lattice.around(np.all((anatomy.lattice.points >= low) & (anatomy.lattice.points <= high), 0))


def _whole(regions: RegionSet, grid: Grid, box: Box) -> RegionSet:
    """``regions`` of the voxels ``box`` of ``grid`` on the whole of it."""

    def put(array: np.ndarray) -> np.ndarray:
        whole = np.zeros(grid.shape, array.dtype)
        whole[box] = array
        return whole

    first = np.array([part.start for part in box])
    foci = [
        replace(focus, ijk=tuple((focus.ijk + first[::-1]).tolist()), voxels=focus.voxels + first)
        for focus in regions.foci
    ]
    masks = {name: put(mask) for name, mask in regions.masks.items()}
    parts = None if regions.parts is None else put(regions.parts)
    return replace(regions, grid=grid, masks=masks, parts=parts, foci=foci)


def _add_ventricles(regions: RegionSet, found: Ventricles, first_slice: int) -> None:
    unsure = [found.lesions] * bool(len(found.lesions.slices)) + found.bulges + found.voids
    regions.notes += [*found.withheld.values(), *(place.sentence(first_slice) for place in unsure)]
    if not (found.parts == 1).any():
        regions.withheld[names.VENTRICLES] = "The lateral ventricles were not found; draw the ventricles by hand."
        return
    regions.parts = found.parts
    regions.masks[names.VENTRICLES] = found.parts > 0


def _add_foci(regions: RegionSet, side: str, foci: list[Focus]) -> None:
    mask = np.zeros(regions.grid.shape, bool)
    for focus in foci:
        mask[tuple(focus.voxels.T)] = True
    if mask.any():
        regions.masks[_SIDES[side][1]] = mask
