"""Texture matrices of all regions in several images at once, one pass over the neighbour directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cnsifusion.radiomics.counts import Sparse, bases, count_keys, stack
from cnsifusion.radiomics.voxels import Voxels


class Levels:
    """Grey levels of every voxel of every region in several images.

    ``values``: int32 (images, N), from 1. Instances, a region in an image each, are numbered image by image: image *
    regions + region; ``count`` is their number, ``top`` (count,) their highest level (0 for an empty region) and
    ``flat`` (count,) whether they have a single one.
    """

    def __init__(self, values: np.ndarray, voxels: Voxels) -> None:
        self.values, self.voxels = values, voxels
        self.count = len(values) * len(voxels.sizes)
        top, bottom = (np.zeros((len(values), len(voxels.sizes)), np.intp) for _ in range(2))
        filled = np.flatnonzero(voxels.sizes)
        if len(filled):
            top[:, filled] = np.maximum.reduceat(values, voxels.starts[filled], axis=1)
            bottom[:, filled] = np.minimum.reduceat(values, voxels.starts[filled], axis=1)
        self.top, self.flat = top.ravel(), (top == bottom).ravel()
        self._padded = np.pad(values, ((0, 0), (0, 1)))

    def spread(self, per_instance: np.ndarray) -> np.ndarray:
        """A value (instances,) laid out at the voxels: (images, N)."""
        return np.repeat(per_instance.reshape(len(self.values), -1), self.voxels.sizes, axis=1)

    def at(self, neighbours: np.ndarray) -> np.ndarray:
        """Levels of the voxels' neighbours (``Voxels.neighbours``): (images, N), 0 where there is none."""
        return self._padded.take(neighbours, axis=1)


@dataclass(frozen=True)
class Neighbourhood:
    """What the voxels' neighbours at the set distances say.

    ``pairs``: GLCM of unordered neighbour pairs (i <= j), one unit per direction and instance, directions outermost.
    ``dependent`` (images, N): neighbours of about the same level; ``neighbours`` (N,): their number; ``level_sum``
    (images, N): sum of their levels.
    """

    pairs: Sparse
    dependent: np.ndarray
    neighbours: np.ndarray
    level_sum: np.ndarray


def neighbourhood(levels: Levels, steps: np.ndarray, alpha: int) -> Neighbourhood:
    """Neighbours at ``steps`` (n, 3) and their opposites; ``alpha``: largest level difference called dependent."""
    own, width = levels.values, int(levels.top.max(initial=0)) + 1
    base = bases(levels.top, width)
    start = levels.spread(base[:-1])
    dependent, level_sum = np.zeros(own.shape, np.int32), np.zeros(own.shape, np.int32)
    neighbours = np.zeros(own.shape[1], np.int32)
    parts = []
    for step in steps:
        for direction in (step, -step):
            to = levels.voxels.neighbours(direction)
            other = levels.at(to)
            if direction is step:
                parts.append(count_keys(start + np.minimum(own, other) * width + np.maximum(own, other), base, width))
            dependent += own == other if alpha == 0 else (np.abs(own - other) <= alpha) & (other > 0)
            level_sum += other
            neighbours += to < own.shape[1]
    return Neighbourhood(stack(parts), dependent, neighbours, level_sum)


def runs(levels: Levels, directions: np.ndarray) -> Sparse:
    """Run lengths: one unit per direction and instance, directions outermost.

    A direction no line of which holds two voxels of the region is left empty, as in pyradiomics.
    """
    parts = []
    for direction in directions:
        order, follows, several = levels.voxels.lines(direction)
        along = levels.values.take(order, axis=1)
        starts = np.ones(along.shape, bool)
        starts[:, 1:] = (along[:, 1:] != along[:, :-1]) | ~follows[1:]
        at = np.flatnonzero(starts)
        length = np.diff(at, append=along.size)
        width = int(length.max(initial=1)) + 1
        base = bases(levels.top, width)
        level = np.where(several[levels.voxels.region], along, 0).ravel()[at]  # order keeps regions together
        key = levels.spread(base[:-1]).ravel()[at] + level * width + length
        parts.append(count_keys(key, base, width))
    return stack(parts)


def zones(levels: Levels, steps: np.ndarray) -> Sparse:
    """Size zones: connected voxels (through ``steps`` and their opposites) of one level; one unit per instance.

    Voxels in a row along the first step are joined by counting; the graph is between such rows.
    """
    own = levels.values
    along, *others = sorted(steps.tolist(), key=lambda step: step != [0, 0, 1])
    starts = levels.at(levels.voxels.neighbours(-np.array(along))) != own
    row = np.cumsum(starts).reshape(own.shape) - 1  # voxels are in C order: a row is a stretch
    first = np.flatnonzero(starts)
    padded = np.pad(row, ((0, 0), (0, 1)))
    ends = []
    for step in others:
        to = levels.voxels.neighbours(np.array(step))
        joined = np.flatnonzero(levels.at(to) == own)
        ends.append((row.ravel()[joined], padded.take(to, axis=1).ravel()[joined]))
    a, b = (np.concatenate(e).astype(np.int32) for e in zip(*ends))  # scipy 1.11 joins nothing with longer indices
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(len(first), len(first)))
    found, label = connected_components(graph, directed=False)
    size = np.bincount(label, np.diff(first, append=own.size), found).astype(np.intp)
    example = np.empty(found, np.intp)
    example[label] = first
    width = int(size.max(initial=1)) + 1
    base = bases(levels.top, width)
    return count_keys(levels.spread(base[:-1]).ravel()[example] + own.ravel()[example] * width + size, base, width)


def dependence(levels: Levels, around: Neighbourhood) -> Sparse:
    """Dependence matrix: voxels of each level with j - 1 dependent neighbours; one unit per instance."""
    width = int(around.dependent.max(initial=0)) + 2
    base = bases(levels.top, width)
    return count_keys(levels.spread(base[:-1]) + levels.values * width + around.dependent + 1, base, width)


def tone_differences(levels: Levels, around: Neighbourhood) -> tuple[Sparse, np.ndarray]:
    """NGTDM: voxels of each level (j is 0; one unit per instance) and, for each entry, the sum of
    |level - mean level of the neighbours| over its voxels.
    """
    mean = around.level_sum / np.maximum(around.neighbours, 1)
    difference = np.where(around.neighbours > 0, np.abs(levels.values - mean), 0.0)
    base = bases(levels.top, 1)
    key = (levels.spread(base[:-1]) + levels.values).ravel()
    total = np.bincount(key, difference.ravel(), base[-1])
    table = count_keys(key, base, 1)
    return table, total[base[table.unit] + table.i]
