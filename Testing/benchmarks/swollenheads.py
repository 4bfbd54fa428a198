"""Label maps with hydrocephalus: the ventricles of a healthy person's map pressed outwards, the skull as it is.

A voxel shows what lay nearer to the ventricles before, along the gradient of a potential (Laplace's equation) that is 0
in them and 1 outside the brain. The third ventricle grows first, then the lateral ventricles press on everything.
``swelling.py`` swells the template by the same equation on another grid, so these heads flatter it.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import cg

_LATERAL, _THIRD, _OUTSIDE = (4, 5, 43, 44), (14,), 500
#: How much of the way to what surrounds it the third ventricle grows; steps back along the gradient; their length (mm).
_THIRD_SHARE, _STEPS, _LONGEST = 0.25, 14, 2.5


def with_hydrocephalus(labels: np.ndarray, millilitres: float) -> np.ndarray:
    """``labels`` [k, j, i] (FreeSurfer codes, 1 mm) with lateral ventricles of about ``millilitres``, or as they are.

    They are left alone where they have that size already.
    """
    if np.isin(labels, _LATERAL).sum() >= 900 * millilitres:
        return labels
    grown = _pressed(labels, _THIRD, np.isin(labels, _LATERAL), share=_THIRD_SHARE)
    return _pressed(grown, _LATERAL, np.zeros(labels.shape, bool), voxels=int(1000 * millilitres))


def _pressed(
    labels: np.ndarray, source: tuple[int, ...], kept: np.ndarray, share: float = 0.0, voxels: int = 0
) -> np.ndarray:
    """``labels`` with the ``source`` grown by ``share`` of the way to the skull, or to so many ``voxels``."""
    inside = np.isin(labels, source)
    brain = ndimage.binary_closing((labels > 0) & (labels < _OUTSIDE), iterations=2)
    outside = ~ndimage.binary_fill_holes(brain) | kept
    potential = np.where(inside, 0.0, ndimage.gaussian_filter(_potential(inside, outside), 1.0))
    points = np.argwhere((potential < 0.97) & ~outside & ~inside).T
    here = potential[tuple(points)]
    share = float(np.sort(here)[voxels - inside.sum()]) if voxels else share
    before = np.clip((here - share) / (1 - share), 0, 1)
    place, gradient = points.astype(float), np.gradient(potential)
    for left in range(_STEPS, 0, -1):
        slope = np.stack([ndimage.map_coordinates(axis, place, order=1) for axis in gradient])
        step = (before - ndimage.map_coordinates(potential, place, order=1)) / left * slope / ((slope**2).sum(0) + 2e-5)
        place += step * np.minimum(1, _LONGEST / np.maximum(np.linalg.norm(step, axis=0), 1e-9))
    shown = labels[tuple(np.rint(place).astype(int))]
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    fluid = labels[tuple(axis[tuple(points)] for axis in nearest)]  # of the side that is nearest
    result = labels.copy()
    result[tuple(points)] = np.where((here < share) | np.isin(shown, source), fluid, shown)
    return result


def _potential(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """0 ``inside``, 1 ``outside`` and Laplace's equation between them, solved in cells of 2 voxels (even shapes)."""
    inside, outside = (
        m.reshape(*(n for size in m.shape for n in (size // 2, 2))).mean((1, 3, 5)) >= 0.5 for m in (inside, outside)
    )
    free = ~inside & ~outside
    number = np.full(free.shape, -1)
    number[free] = own = np.arange(free.sum())
    rows, columns, known = [], [], np.zeros(own.size)
    for axis in range(3):
        for step in (1, -1):
            other = np.roll(number, step, axis)[free]
            known += np.roll(outside, step, axis)[free]
            rows.append(own[other >= 0])
            columns.append(other[other >= 0])
    links = sparse.coo_matrix((np.ones(sum(map(len, rows))), (np.concatenate(rows), np.concatenate(columns))))
    solution, _ = cg(sparse.diags([6.0], shape=(own.size, own.size)).tocsr() - links.tocsr(), known, rtol=1e-5)
    potential = outside.astype(float)
    potential[free] = solution
    return ndimage.zoom(potential, 2, order=1)
