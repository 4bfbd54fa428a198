"""The template's place in a head from its true structures alone: nothing that ``locate`` found goes into it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cnsifusion.imaging.grid import Grid
from cnsifusion.roi.placement import Placement
from cnsifusion.roi.regions import Plane
from cnsifusion.roi.warp import Warp

#: Centres (mm, MNI x as distance from the midline, y, z) of structures in MNI152, measured in the CerebrA atlas
#: (Manera et al., Sci Data 2020;7:237), means of both sides; 0 stands for a structure of the midline.
_CENTRES = {
    "putamen": (25.5, 2.6, 0.2), "pallidum": (18.7, -2.3, -1.9), "thalamus": (11.7, -18.1, 6.7),
    "diencephalon": (10.3, -16.8, -10.3), "hippocampus": (25.9, -22.5, -14.5), "amygdala": (23.4, -4.4, -20.7),
    "caudate": (13.9, 9.6, 10.4), "third": (0.0, -12.9, -0.5), "fourth": (0.0, -43.9, -30.8),
}  # fmt: skip


def true_placement(structures: Mapping[str, np.ndarray], grid: Grid) -> Placement:
    """The similarity (rotation, shift, one scale; Umeyama, IEEE PAMI 1991;13:376) that best brings the atlas's centres
    onto those of the true ``structures`` (bool [k, j, i] by name, ``_left`` or ``_right`` where paired) on ``grid``.
    """
    known, found = [], []
    for name, mask in structures.items():
        base, _, side = name.partition("_")
        if base in _CENTRES and mask.any():
            x, y, z = _CENTRES[base]
            known.append((x if side == "left" else -x, -y, z))
            found.append(grid.to_lps(np.argwhere(mask)[:, ::-1].mean(0)))
    one, other = np.array(known), np.array(found)
    a, b = one - one.mean(0), other - other.mean(0)
    u, singular, vt = np.linalg.svd(b.T @ a)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ flip @ vt
    scale = float((singular * np.diag(flip)).sum() / (a**2).sum())
    affine = np.eye(4)
    affine[:3, :3] = scale * rotation
    affine[:3, 3] = other.mean(0) - affine[:3, :3] @ one.mean(0)
    still = Grid((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    x, y, z = (float(v) for v in affine[:3, 3])
    normal = (float(rotation[0, 0]), float(rotation[1, 0]), float(rotation[2, 0]))
    return Placement(affine, Warp(np.zeros((3, 2, 2, 2), np.float32), still), Plane((x, y, z), normal))
