"""Texture matrices of all regions in several images at once, one pass over the neighbour directions.

Levels are an int array (images, N): the grey level, from 1, of every voxel of every region in every image. Instances
are numbered image by image: image * regions + region.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cnsifusion.radiomics.counts import Sparse, count_pairs, stack
from cnsifusion.radiomics.voxels import Voxels


@dataclass(frozen=True)
class Neighbourhood:
    """What the voxels' neighbours at the set distances say: ``pairs`` (GLCM, one unit per instance and direction, with
    ``pair_instance`` (units,)), ``dependent`` (images, N): neighbours of about the same level, ``neighbours`` (N,):
    their number, ``level_sum`` (images, N): sum of their levels.
    """

    pairs: Sparse
    pair_instance: np.ndarray
    dependent: np.ndarray
    neighbours: np.ndarray
    level_sum: np.ndarray


def instances(levels: np.ndarray, voxels: Voxels) -> np.ndarray:
    """Instance number of every entry of ``levels``: (images, N)."""
    return np.arange(len(levels))[:, None] * len(voxels.sizes) + voxels.region


def highest_levels(levels: np.ndarray, voxels: Voxels) -> np.ndarray:
    """Highest level of each instance, (instances,); 0 for an empty region."""
    top = np.zeros((len(levels), len(voxels.sizes)), np.intp)
    filled = np.flatnonzero(voxels.sizes)
    if len(filled):
        top[:, filled] = np.maximum.reduceat(levels, voxels.starts[filled], axis=1)
    return top.ravel()


def neighbourhood(levels: np.ndarray, voxels: Voxels, steps: np.ndarray, alpha: int) -> Neighbourhood:
    """Neighbours at ``steps`` (n, 3) and their opposites; ``alpha``: largest level difference called dependent."""
    instance, top = instances(levels, voxels), highest_levels(levels, voxels)
    width, count = int(top.max(initial=0)), len(top)
    dependent, level_sum = np.zeros(levels.shape, np.intp), np.zeros(levels.shape, np.intp)
    neighbours = np.zeros(levels.shape[1], np.intp)
    parts = []
    for step in steps:
        p, q = voxels.pairs(step)
        a, b = levels[:, p], levels[:, q]
        parts.append(count_pairs(instance[:, p], np.minimum(a, b), np.maximum(a, b), top, width, count))
        alike = np.abs(a - b) <= alpha
        for end, other in ((p, b), (q, a)):  # within one step every voxel is an end once: plain addition is safe
            dependent[:, end] += alike
            level_sum[:, end] += other
            neighbours[end] += 1
    return Neighbourhood(stack(parts), np.tile(np.arange(count), len(steps)), dependent, neighbours, level_sum)


def runs(levels: np.ndarray, voxels: Voxels, directions: np.ndarray) -> tuple[Sparse, np.ndarray]:
    """Run lengths: one unit per instance and direction, and the instance of each unit.

    A direction no line of which holds two voxels of the region is left empty, as in pyradiomics.
    """
    instance, top = instances(levels, voxels), highest_levels(levels, voxels)
    count, parts = len(top), []
    for direction in directions:
        order, follows, several = voxels.lines(direction)
        along = levels[:, order]
        starts = np.ones(along.shape, bool)
        starts[:, 1:] = (along[:, 1:] != along[:, :-1]) | ~follows[1:]
        at = np.flatnonzero(starts)
        length = np.diff(at, append=along.size)
        keep = several[voxels.region[order][at % levels.shape[1]]]
        at, length = at[keep], length[keep]
        unit = instance[:, order].ravel()[at]
        parts.append(count_pairs(unit, along.ravel()[at], length, top, int(length.max(initial=1)), count))
    return stack(parts), np.tile(np.arange(count), len(directions))


def zones(levels: np.ndarray, voxels: Voxels, steps: np.ndarray) -> Sparse:
    """Size zones: connected voxels (through ``steps`` and their opposites) of one level; one unit per instance."""
    images, n = levels.shape
    edges = []
    for step in steps:
        p, q = voxels.pairs(step)
        image, pair = np.nonzero(levels[:, p] == levels[:, q])
        edges.append((p[pair] + image * n, q[pair] + image * n))
    rows, columns = (np.concatenate(e) for e in zip(*edges))
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(images * n, images * n))
    found, label = connected_components(graph, directed=False)
    first = np.zeros(found, np.intp)
    first[label] = np.arange(images * n)
    size = np.bincount(label, minlength=found)
    top = highest_levels(levels, voxels)
    unit = instances(levels, voxels).ravel()[first]
    return count_pairs(unit, levels.ravel()[first], size, top, int(size.max(initial=1)), len(top))


def dependence(levels: np.ndarray, voxels: Voxels, around: Neighbourhood) -> Sparse:
    """Dependence matrix: voxels of each level with j - 1 dependent neighbours; one unit per instance."""
    top = highest_levels(levels, voxels)
    j = around.dependent + 1
    return count_pairs(instances(levels, voxels), levels, j, top, int(j.max(initial=1)), len(top))


def tone_differences(levels: np.ndarray, voxels: Voxels, around: Neighbourhood) -> tuple[Sparse, np.ndarray]:
    """NGTDM: voxels of each level (j is 1; one unit per instance) and, for each entry, the sum of
    |level - mean level of the neighbours| over its voxels.
    """
    mean = around.level_sum / np.maximum(around.neighbours, 1)
    difference = np.where(around.neighbours > 0, np.abs(levels - mean), 0.0)
    top = highest_levels(levels, voxels)
    base = np.concatenate([[0], np.cumsum(top)])
    key = (base[instances(levels, voxels)] + levels - 1).ravel()
    count = np.bincount(key, minlength=base[-1])
    total = np.bincount(key, difference.ravel(), base[-1])
    found = np.flatnonzero(count)
    unit = np.searchsorted(base, found, side="right") - 1
    table = Sparse(unit, found - base[unit] + 1, np.ones_like(found), count[found].astype(float), len(top))
    return table, total[found]
