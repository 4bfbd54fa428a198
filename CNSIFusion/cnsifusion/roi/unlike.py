"""Where one side's region B is not what the other's is: oedema, infarct, bleeding or metal under one nucleus."""

from __future__ import annotations

import numpy as np

from cnsifusion.imaging.volume import Volume
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
        here, there = tuple(place.T), tuple(voxels.T)
        dark = _DARKER * np.median(volume.array[there])
        if np.mean(volume.array[here] < dark) - np.mean(volume.array[there] < dark) > _DARK_SHARE:
            doubts[side] = (
                "What lies under or in the lentiform nucleus is dark (blood, metal?); draw the region by hand."
            )
        elif np.mean(fluid[here]) - np.mean(fluid[there]) > _CSF_SHARE:
            doubts[side] = "CSF lies under or in the lentiform nucleus (a cavity?); draw the region by hand."
    return doubts


def far_larger(sides: dict[str, np.ndarray]) -> bool:
    """Whether one of two ``sides`` is so much larger that one of them is wrong."""
    sizes = [int(mask.sum()) for mask in sides.values()]
    return len(sizes) == 2 and max(sizes) > _LARGER * min(sizes)
