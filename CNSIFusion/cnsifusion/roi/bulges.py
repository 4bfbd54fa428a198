"""Where one lateral ventricle reaches farther than the other and than the template expects: a cavity, or asymmetry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.anatomy import Anatomy
from cnsifusion.roi.morphology import Box
from cnsifusion.roi.regions import slices_in_words

#: Template LPS y below and z above which horns are judged (mm): occipital and temporal ones are seldom alike.
_FRONT_Y, _BODY_Z = 30.0, -2.0
#: A bulge lies farther than this (mm) from the expected ventricle and from the mirror image of the other one; so much
#: of it (ml) is worth a sentence.
_BEYOND_MM, _UNLIKE_MM, _LEAST_ML = 2.5, 3.0, 0.1
#: One that reaches farther than this (mm) from the expected ventricle and is of such a size (ml) is no ventricle: those
#: of 60 painted heads of 20 people reach up to 7.6 mm, most cavities painted beside them to the last that is looked at.
#: All of it goes that is connected and farther than this (mm) from both.
_CAVITY_MM, _CAVITY_ML, _RIM_MM = 8.2, (0.03, 2.0), 1.5


@dataclass(frozen=True, eq=False)
class Bulge:
    """``voxels`` (n, 3; k, j, i) of a lateral ventricle of ``side`` that have no like on the other side.

    A ``cavity`` is no ventricle.
    """

    side: str
    voxels: np.ndarray
    cavity: bool

    def sentence(self, first_slice: int) -> str:
        """What a reader should look at; ``first_slice`` is the index of the volume's first slice in the reader's."""
        k = self.voxels[:, 0] + first_slice
        where = slices_in_words(int(k.min()), int(k.max()))
        if self.cavity:
            return f"CSF beside the {self.side} lateral ventricle was left out as a cavity: check {where}."
        return f"The {self.side} lateral ventricle reaches farther out than the other one: check {where} for a cavity."


def find_bulges(volume: Volume, anatomy: Anatomy, lateral: np.ndarray, distance: np.ndarray) -> list[Bulge]:
    """Bulges of ``lateral`` (bool [k, j, i]), whose expected place is ``distance`` (mm) away; other horns see module.

    Both sides are compared about the mid-sagittal plane of ``anatomy``.
    """
    if not lateral.any():
        return []
    box: Box = ndimage.find_objects(lateral.view(np.uint8))[0]
    corner = np.array([part.start for part in box])
    points = anatomy.lattice.points
    judged = lateral[box] & (distance[box] > _RIM_MM) & (anatomy.lattice.spread(points[1], box) < _FRONT_Y)
    judged &= anatomy.lattice.spread(points[2], box) > _BODY_Z
    voxels = np.argwhere(judged)
    if not len(voxels):
        return []
    here = volume.grid.to_lps((voxels + corner)[:, ::-1])
    across = anatomy.midplane.distance(here)
    mirrored = here - 2 * across[:, None] * np.array(anatomy.midplane.normal)
    unlike = cKDTree(volume.grid.to_lps(np.argwhere(lateral)[:, ::-1])).query(mirrored)[0]
    one_sided = np.zeros(judged.shape, bool)
    one_sided[tuple(voxels[unlike > _RIM_MM].T)] = True
    labels, count = ndimage.label(one_sided, np.ones((3, 3, 3)))
    piece = labels[tuple(voxels.T)]
    far = distance[box][judged]
    found = []
    for number in range(1, count + 1):
        sure = (piece == number) & (far > _BEYOND_MM) & (unlike > _UNLIKE_MM)
        millilitres = sure.sum() * volume.grid.voxel_volume / 1000
        reach = float(far[sure].max(initial=0))
        cavity = reach > _CAVITY_MM and _CAVITY_ML[0] < millilitres < _CAVITY_ML[1]
        if not cavity and millilitres < _LEAST_ML:
            continue
        chosen = (piece == number) if cavity else sure
        side = "left" if np.median(across[chosen]) > 0 else "right"
        found.append(Bulge(side, voxels[chosen] + corner, cavity))
    return found
