"""A quick head for the tests: the template painted as T2, turned, sliced and made noisy. No patient data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from cnsifusion.imaging.grid import Grid, reorder
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.anatomy import Anatomy, locate
from cnsifusion.roi.propose import propose
from cnsifusion.roi.regions import RegionSet
from cnsifusion.roi.template import LABELS, Template, load_template, sublentiform_region

#: Intensity of the tissues.
LEVELS = {"csf": 900.0, "gm": 420.0, "wm": 300.0}


@dataclass
class Phantom:
    """``volume``, the true fraction of each structure per voxel, the true template-to-patient matrix (4x4)."""

    volume: Volume
    fractions: dict[str, np.ndarray]
    matrix: np.ndarray


@dataclass
class Proposal:
    """A phantom, where the program found its structures, and what it proposes."""

    phantom: Phantom
    anatomy: Anatomy
    regions: RegionSet


def propose_for(phantom: Phantom) -> Proposal:
    """Locate and propose in ``phantom``."""
    anatomy = locate(phantom.volume)
    return Proposal(phantom, anatomy, propose(phantom.volume, anatomy))


def make_phantom(
    angles: tuple[float, float, float] = (6.0, -3.0, 4.0),
    shift: tuple[float, float, float] = (5.0, -12.0, 20.0),
    spacing: tuple[float, float, float] = (1.0, 1.0, 4.0),
    skull: bool = True,
    dots: tuple[tuple[float, float, float], ...] = (),
    seed: int = 1,
) -> Phantom:
    """A head turned by ``angles`` (degrees about left, posterior, superior) and moved by ``shift`` (mm).

    ``dots`` are template positions (LPS mm) of bright tubes of 2 mm diameter and 8 mm length along the superior axis.
    """
    template = load_template()
    head = template.csf * LEVELS["csf"] + template.gm * LEVELS["gm"] + template.wm * LEVELS["wm"]
    lps = template.grid.to_lps(np.stack(np.indices(template.grid.shape)[::-1], -1))
    for dot in dots:
        tube = np.hypot(lps[..., 0] - dot[0], lps[..., 1] - dot[1]) <= 1.0
        head = np.where(tube & (np.abs(lps[..., 2] - dot[2]) <= 4), LEVELS["csf"], head)
    if skull:
        outside = ndimage.distance_transform_edt(~template.brain)
        head = np.where((outside > 3) & (outside <= 8), 40.0, head)  # bone
        head = np.where((outside > 8) & (outside <= 14), 600.0, head)  # scalp
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, shift
    extent = np.array([190.0, 220.0, 170.0])
    size = tuple(int(n) for n in extent / spacing)
    origin = np.array([0.0, 18.0, 5.0]) + shift - extent / 2
    grid = Grid(size, spacing, tuple(origin.tolist()), tuple(np.eye(3).ravel().tolist()))
    array = np.zeros(grid.shape)
    masks = {name: template.mask(name) for name in LABELS} | region_b(template)
    names = {name: mask.astype(np.float32) for name, mask in masks.items()}
    fractions = {name: np.zeros(grid.shape, np.float32) for name in names}
    thin = max(1, round(spacing[2]))
    k, j, i = np.indices(grid.shape)
    for part in range(thin):
        points = grid.to_lps(np.stack([i, j, k + (part + 0.5) / thin - 0.5], -1))
        index = np.moveaxis(template.grid.to_ijk((points - shift) @ rotation)[..., ::-1], -1, 0)
        array += ndimage.map_coordinates(head, index, order=1) / thin
        for name, mask in names.items():
            fractions[name] += ndimage.map_coordinates(mask, index, order=1) / thin
    noise = np.random.default_rng(seed).normal(0, 8, (2, *grid.shape))
    array = np.hypot(array + noise[0], noise[1])
    canonical, canonical_grid = reorder(array.astype(np.float32), grid)
    return Phantom(Volume(canonical, canonical_grid), fractions, matrix)


def region_b(template: Template) -> dict[str, np.ndarray]:
    """The protocol's region under the template's own nuclei by side (bool [k, j, i] on its grid)."""
    left = np.arange(template.grid.shape[2]) + template.grid.origin[0] > 0
    return {"sublentiform_left": sublentiform_region() & left, "sublentiform_right": sublentiform_region() & ~left}
