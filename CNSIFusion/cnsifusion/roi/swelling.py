"""The template with larger lateral ventricles: how a head with hydrocephalus looks.

The walls move along the gradient of a potential (Laplace's equation) that is 0 in the middle of the ventricles and 1
outside the brain: the brain between is pressed together, and its surface stays where it is.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.grid import Grid
from cnsifusion.roi.template import load_template

#: Cells (mm) of the potential, and rounds of relaxation in twice as large cells and in these.
_CELL, _ROUNDS = 4, (100, 50)
#: Steps from a point to where it lay before, and the gradient (1/mm, squared) that counts as none.
_STEPS, _FLAT = 10, 1e-6
_NEIGHBOURS = ndimage.generate_binary_structure(3, 1) / 6 - np.pad([[[1 / 6]]], 1)


def swollen(points: np.ndarray, share: float) -> np.ndarray:
    """Template positions (..., 3) LPS mm of what lies at ``points`` when the ventricles are swollen.

    ``share`` (0-1) is how far their walls have moved on the way to the brain's surface.
    """
    if not share:
        return points
    displacement, grid = _displacement(share)
    index = grid.to_kji(points)
    return points + np.stack([ndimage.map_coordinates(axis, index, order=1) for axis in displacement], -1)


@lru_cache(maxsize=4)
def _displacement(share: float) -> tuple[np.ndarray, Grid]:
    """What ``swollen`` adds (3, k, j, i; x, y, z in mm), and its grid."""
    potential, wall = _potential()
    # From the middle to the wall and from the wall to the surface in proportion, as it was before the swelling.
    moved = wall + share * (1 - wall)
    inner, outer = potential * wall / moved, 1 - (1 - potential) * (1 - wall) / (1 - moved)
    before = np.where(potential < moved, inner, outer)
    gradient = np.gradient(potential, _CELL)
    start = np.indices(potential.shape).astype(float)
    place = start.copy()
    for left in range(_STEPS, 0, -1):
        way = before - ndimage.map_coordinates(potential, place, order=1)
        slope = np.stack([ndimage.map_coordinates(axis, place, order=1) for axis in gradient])
        place += way / left * slope / ((slope**2).sum(0) + _FLAT) / _CELL
    shift = ndimage.gaussian_filter((place - start)[::-1] * _CELL, (0, 1, 1, 1))
    k, j, i = potential.shape
    return shift, load_template().grid.resized((i, j, k), (_CELL, _CELL, _CELL))


@lru_cache(maxsize=1)
def _potential() -> tuple[np.ndarray, float]:
    """The potential [k, j, i] in cells of _CELL mm of the template's field of view, and its level in the walls."""
    template = load_template()
    lateral = template.mask("lateral_left") | template.mask("lateral_right")
    inside = ndimage.binary_erosion(lateral)
    potential = np.full(_cells(lateral, 2 * _CELL).shape, 0.5)
    for cell, rounds in zip((2 * _CELL, _CELL), _ROUNDS):
        middle, outside = _cells(inside, cell), ~_cells(template.brain, cell)
        if potential.shape != middle.shape:
            finer = np.kron(potential, np.ones((2, 2, 2)))
            potential = finer[tuple(slice(0, n) for n in middle.shape)]
        for _ in range(rounds):
            potential[outside], potential[middle] = 1.0, 0.0
            potential = ndimage.convolve(potential, _NEIGHBOURS)
    return potential, float(np.median(potential[_cells(lateral & ~inside, _CELL)]))


def _cells(mask: np.ndarray, size: int) -> np.ndarray:
    """Whether cells of ``size`` voxels hold any of ``mask``."""
    padded = np.pad(mask, [(0, -n % size) for n in mask.shape])
    k, j, i = (n // size for n in padded.shape)
    return np.asarray(padded.reshape(k, size, j, size, i, size).any((1, 3, 5)))
