"""Where one side's region B is not what the other's is: oedema, infarct, bleeding or metal under one nucleus."""

from __future__ import annotations

import numpy as np

from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.anatomy import LANDMARKS, Anatomy
from cnsifusion.roi.maps import coarse_grid, tissue_maps
from cnsifusion.roi.regions import Plane

#: Of 84 heads without such, the middle of a side lies at most at 0.27 of the way from tissue to CSF, of oedema painted
#: there at 0.38 and more.
_BRIGHT = 0.33
#: Where the other side's region, mirrored, lies, at most 0.11 is darker than half of it, and 0.29 more of it CSF: so
#: far on the way to it. Painted bleedings have 0.27 and more, cavities 0.63.
_DARK_SHARE, _DARKER = 0.2, 0.5
_CSF_SHARE, _CSF = 0.42, 0.75
#: Of the same heads but a stroke patient's (2.4) the larger side has at most 1.8 times the volume.
_LARGER = 2.7

#: So near (mm) to where the template has the nucleus' base, so much more of the brain (ml) than about the other is
#: darker than this share of tissue: at most 0.1 ml in 89 heads without blood or metal there, 1.6 and more with it.
_AROUND_MM, _VOID_ML, _VOID = 32.0, 1.0, 0.35
#: Where the template has a nucleus, so much (ml) is so far on the way to CSF: at most 0.02 ml in the same heads.
_HOLE_ML, _HOLE = 0.3, 0.65

_DARK_TISSUE = "What lies under or in the lentiform nucleus is dark (blood, metal?); draw the region by hand."
_BRIGHT_TISSUE = (
    "The tissue under the lentiform nucleus is too bright (oedema?); draw the region by hand, and check the other side."
)
UNEQUAL = "One region under the lentiform nuclei is far larger than the other: check both."


def bright_sides(volume: Volume, sides: dict[str, np.ndarray], csf: np.ndarray, tissue: np.ndarray) -> dict[str, str]:
    """Which of ``sides`` (bool [k, j, i]) lie in tissue brighter than any is there, each with the reason.

    ``csf`` and ``tissue`` are the levels of both.
    """
    return {
        side: _BRIGHT_TISSUE
        for side, mask in sides.items()
        if mask.any() and np.median((volume.array - tissue)[mask] - _BRIGHT * (csf - tissue)[mask]) > 0
    }


def unlike_sides(
    volume: Volume, midplane: Plane, sides: dict[str, np.ndarray], csf: np.ndarray, tissue: np.ndarray
) -> dict[str, str]:
    """Which sides have, where the mirror image of the other of ``sides`` lies, a bleeding, metal or a cavity, and why.

    ``sides`` (bool [k, j, i]) are those that are large enough to tell.
    """
    doubts: dict[str, str] = {}
    fluid = volume.array > tissue + _CSF * (csf - tissue)
    for side, other in (("left", "right"), ("right", "left")):
        if other not in sides:
            continue
        voxels = np.argwhere(sides[other])
        points = volume.grid.to_lps(voxels[:, ::-1])
        mirrored = points - 2 * midplane.distance(points)[:, None] * np.array(midplane.normal)
        place = np.rint(volume.grid.to_kji(mirrored)).astype(int).T
        place = place[np.all((place >= 0) & (place < volume.grid.shape), 1)]
        if not len(place):
            continue
        here, there = tuple(place.T), tuple(voxels.T)
        dark = _DARKER * np.median(volume.array[there])
        if np.mean(volume.array[here] < dark) - np.mean(volume.array[there] < dark) > _DARK_SHARE:
            doubts[side] = _DARK_TISSUE
        elif np.mean(fluid[here]) - np.mean(fluid[there]) > _CSF_SHARE:
            doubts[side] = "CSF lies under or in the lentiform nucleus (a cavity?); draw the region by hand."
    return doubts


def beside_nuclei(
    volume: Volume, anatomy: Anatomy, csf: np.ndarray, tissue: np.ndarray
) -> tuple[dict[str, str], dict[str, str]]:
    """Which side has a bleeding or metal in or beside the nucleus as the other has not, and in which nucleus CSF lies.

    Both by side with a sentence, by the voxels (two millimetres apart) that the anatomy's lattice keeps.
    """
    box = anatomy.lattice.around(_near_base(anatomy.lattice.points))
    lattice, maps = anatomy.lattice.cropped(box), tissue_maps(2.0)
    kept = np.ix_(*(np.clip(knots, 0, size - 1) for knots, size in zip(lattice.knots, lattice.grid.shape)))
    signal, tissue, csf = volume.array[box][kept], tissue[box][kept], csf[box][kept]
    apart = [(knots[-1] - knots[0]) / max(len(knots) - 1, 1) for knots in lattice.knots]
    ml = volume.grid.voxel_volume * float(np.prod(apart)) / 1000
    brain = lattice.read(np.sum(list(maps.values()), 0), coarse_grid(), 0.0) > 0.5
    nuclei = lattice.read(maps["putamen"] + maps["pallidum"], coarse_grid(), 0.0) > 0.5
    void = _near_base(lattice.points) & brain & (signal < _VOID * tissue)
    hole = nuclei & (signal > tissue + _HOLE * (csf - tissue))
    voids, holes = {}, {}
    for side, own in (("left", lattice.points[0] > 0), ("right", lattice.points[0] < 0)):
        voids[side] = np.sum(void & own) * ml
        if np.sum(hole & own) * ml > _HOLE_ML:
            holes[side] = f"CSF lies in the {side} lentiform nucleus (an old infarct?): check the region under it."
    more = voids["left"] - voids["right"]
    return ({"left" if more > 0 else "right": _DARK_TISSUE} if abs(more) > _VOID_ML else {}), holes


def _near_base(points: np.ndarray) -> np.ndarray:
    """Which template ``points`` (3, ...) lie within _AROUND_MM of the base of a lentiform nucleus."""
    across, back, up = LANDMARKS["lentiform base left"]
    x, y, z = points
    return (np.abs(x) - across) ** 2 + (y - back) ** 2 + (z - up) ** 2 < _AROUND_MM**2


def far_larger(sides: dict[str, np.ndarray]) -> bool:
    """Whether one of two ``sides`` is so much larger that one of them is wrong."""
    sizes = [int(mask.sum()) for mask in sides.values()]
    return len(sizes) == 2 and max(sizes) > _LARGER * min(sizes)
