"""The template with larger lateral ventricles: how a head with hydrocephalus looks.

The walls move along the gradient of a potential (Laplace's equation) that is 0 in the middle of the ventricles and 1
outside the brain: the brain between is pressed together, and its surface stays where it is. The third ventricle, which
swells with them, is pressed away less, the more they swell.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.grid import Grid, triple
from cnsifusion.roi.template import load_template

#: Cells (mm; an odd number, so that they lie alike on both sides) of the potential, and rounds of its relaxation.
_CELL, _ROUNDS = 5, 200
#: Steps from a point to where it lay before, and the gradient (1/mm, squared) that counts as none.
_STEPS, _FLAT = 10, 1e-6
#: Smoothing (cells) of where the third ventricle is.
_THIRD = 2.0
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
    return shift * (1 - share * _near_third()), _grid(potential.shape)


def _near_third() -> np.ndarray:
    """1 in the third ventricle, 0 far from it, [k, j, i] in cells."""
    third = _cells(load_template().mask("third"))
    near = ndimage.gaussian_filter(third.astype(float), _THIRD)
    return np.minimum(near / near[third].mean(), 1)


def _grid(shape: tuple[int, ...]) -> Grid:
    """Where the cells of an array [k, j, i] of ``shape`` lie."""
    template = load_template().grid
    first = template.to_lps([_CELL // 2 - _padding(n) for n in template.size])
    return Grid((shape[2], shape[1], shape[0]), (_CELL, _CELL, _CELL), triple(first), template.direction)


@lru_cache(maxsize=1)
def _potential() -> tuple[np.ndarray, float]:
    """The potential [k, j, i] in cells of _CELL mm of the template's field of view, and its level in the walls."""
    template = load_template()
    lateral = template.mask("lateral_left") | template.mask("lateral_right")
    inside = ndimage.binary_erosion(lateral)
    middle, outside = _cells(inside), ~_cells(template.brain)
    potential = np.full(middle.shape, 0.5)
    for _ in range(_ROUNDS):
        potential[outside], potential[middle] = 1.0, 0.0
        potential = ndimage.convolve(potential, _NEIGHBOURS)
    walls = _cells(lateral & ~inside)
    return potential, float(np.median(potential[walls]))


def _cells(mask: np.ndarray) -> np.ndarray:
    """Whether cells of _CELL voxels hold any of ``mask``."""
    before = [_padding(n) for n in mask.shape]
    padded = np.pad(mask, [(first, -(n + first) % _CELL) for n, first in zip(mask.shape, before)])
    k, j, i = (n // _CELL for n in padded.shape)
    return np.asarray(padded.reshape(k, _CELL, j, _CELL, i, _CELL).any((1, 3, 5)))


def _padding(size: int) -> int:
    """Voxels before the first of ``size`` that put the middle one in the middle of a cell."""
    return (_CELL // 2 - size // 2) % _CELL
