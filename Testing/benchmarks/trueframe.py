"""The template's place in a head from its true structures alone, and the protocol's region B there: nothing that
``locate`` found goes into them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.anatomy import Anatomy
from cnsifusion.roi.cisterns import cisterns
from cnsifusion.roi.levels import csf_levels
from cnsifusion.roi.placement import Placement
from cnsifusion.roi.regions import Plane
from cnsifusion.roi.sublentiform import head_frame, on_patient, places
from cnsifusion.roi.template import DEPTH_MM, below_columns, load_template, sublentiform_window
from cnsifusion.roi.warp import Warp

#: Centres (mm, MNI x as distance from the midline, y, z) of structures in MNI152, measured in the CerebrA atlas
#: (Manera et al., Sci Data 2020;7:237), means of both sides; 0 stands for a structure of the midline.
_CENTRES = {
    "putamen": (25.5, 2.6, 0.2), "pallidum": (18.7, -2.3, -1.9), "thalamus": (11.7, -18.1, 6.7),
    "diencephalon": (10.3, -16.8, -10.3), "hippocampus": (25.9, -22.5, -14.5), "amygdala": (23.4, -4.4, -20.7),
    "caudate": (13.9, 9.6, 10.4), "third": (0.0, -12.9, -0.5), "fourth": (0.0, -43.9, -30.8),
}  # fmt: skip
#: Corners (mm) of a box about the nuclei, along the template's axes about its origin.
_LOW, _HIGH = np.array([-42.0, -34.0, -40.0]), np.array([42.0, 34.0, 26.0])


def true_placement(structures: Mapping[str, np.ndarray], grid: Grid) -> Placement:
    """The similarity that best brings the atlas's centres onto those of the true ``structures`` (see ``centres``)."""
    affine = fitted(*centres(structures, grid), "similarity")
    rotation = affine[:3, :3] / np.cbrt(np.linalg.det(affine[:3, :3]))
    still = Grid((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    x, y, z = (float(v) for v in affine[:3, 3])
    normal = (float(rotation[0, 0]), float(rotation[1, 0]), float(rotation[2, 0]))
    return Placement(affine, Warp(np.zeros((3, 2, 2, 2), np.float32), still), Plane((x, y, z), normal))


def region_below(volume: Volume, anatomy: Anatomy, nucleus: np.ndarray) -> np.ndarray:
    """The protocol's region under the true ``nucleus`` (putamen and pallidum, bool [k, j, i] on the image's grid).

    Columns run along the inferior axis of the AC-PC-aligned head in true millimetres; cisterns are left out by the
    image's own half-way level.
    """
    frame, template = head_frame(anatomy), load_template()
    points, index = places(frame, anatomy, template.grid)
    own = volume.grid.to_kji(points)
    below = below_columns(ndimage.map_coordinates(nucleus.astype(np.float32), own, order=1) > 0.5, int(DEPTH_MM))
    z, y, x = (index[a] + template.grid.origin[2 - a] for a in range(3))
    brain = ndimage.map_coordinates(template.brain.astype(np.float32), index, order=1) > 0.5
    region = below & sublentiform_window(np.abs(x), -y, z) & brain
    fluid, tissue = csf_levels(volume, anatomy)
    return on_patient(volume, frame, region) & ~cisterns(volume, volume.array > (fluid + tissue) / 2)


def turned_labels(labels: np.ndarray, grid: Grid, affine: np.ndarray) -> tuple[np.ndarray, Grid, np.ndarray]:
    """The map ``labels`` (on ``grid``) about the nuclei, along the axes of the template that ``affine`` places there.

    The nearest labels on a 1 mm grid, that grid, and its positions (3, k, j, i; LPS mm) in the template.
    """
    u, _, vt = np.linalg.svd(affine[:3, :3])
    size, origin = (_HIGH - _LOW).astype(int) + 1, affine[:3, 3] + u @ vt @ _LOW
    box = Grid(tuple(size.tolist()), (1.0, 1.0, 1.0), tuple(origin.tolist()), tuple((u @ vt).ravel().tolist()))
    points = box.to_lps(np.moveaxis(np.indices(box.shape)[::-1], 0, -1))
    index, inverse = grid.to_kji(points), np.linalg.inv(affine)
    turned = ndimage.map_coordinates(labels, index, order=0, mode="constant")
    return turned, box, np.moveaxis(points @ inverse[:3, :3].T + inverse[:3, 3], -1, 0)


def centres(structures: Mapping[str, np.ndarray], grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Centres (n, 3; LPS mm) in the atlas and in the head of ``structures`` (bool [k, j, i] on ``grid`` by name,
    ``_left`` or ``_right`` where paired), of those that the atlas knows and the head has.
    """
    known, found = [], []
    for name, mask in structures.items():
        base, _, side = name.partition("_")
        if base in _CENTRES and mask.any():
            x, y, z = _CENTRES[base]
            known.append((x if side == "left" else -x, -y, z))
            found.append(grid.to_lps(np.argwhere(mask)[:, ::-1].mean(0)))
    return np.array(known), np.array(found)


def fitted(known: np.ndarray, found: np.ndarray, kind: str) -> np.ndarray:
    """The 4x4 map that brings ``known`` points best onto ``found`` ones (both (n, 3)): ``rigid`` (rotation and shift),
    ``similarity`` (and one scale; Umeyama, IEEE PAMI 1991;13:376) or ``affine`` (least squares).
    """
    a, b = known - known.mean(0), found - found.mean(0)
    u, singular, vt = np.linalg.svd(b.T @ a)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = float((singular * np.diag(flip)).sum() / (a**2).sum()) if kind == "similarity" else 1.0
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.lstsq(a, b, rcond=None)[0].T if kind == "affine" else scale * u @ flip @ vt
    affine[:3, 3] = found.mean(0) - affine[:3, :3] @ known.mean(0)
    return affine
