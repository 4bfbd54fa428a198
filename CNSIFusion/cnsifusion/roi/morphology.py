"""Masks grown, shrunk, filled and cut to boxes: in the plane of the slices, by shifted copies and look-up tables.

scipy's general filters say the same and take several times as long, while a reader waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.volume import Volume

#: Neighbours that share an edge.
EDGES = ndimage.generate_binary_structure(2, 1)
#: A part [k, j, i] of a volume.
Box = tuple[slice, slice, slice]


def windowed(
    array: np.ndarray, reach: tuple[int, int], combine: Callable[..., np.ndarray], outside: float
) -> np.ndarray:
    """Each voxel of ``array`` combined (np.minimum, np.logical_or) with all in a window of its slice around it.

    The window reaches ``reach`` rows and columns to either side; beyond the slice everything is ``outside``.
    """
    result = np.empty_like(array)
    padded = np.full([n + 2 * r for n, r in zip(array.shape[1:], reach)], outside, array.dtype)
    inner = padded[tuple(slice(r, n - r) for n, r in zip(padded.shape, reach))]
    for source, target in zip(array, result):
        inner[:] = source
        lines = padded
        for r in reach:
            width = 1  # what every line holds of the lines from itself on
            while width < 2 * r + 1:
                step = min(width, 2 * r + 1 - width)
                lines = combine(lines[:-step], lines[step:])
                width += step
            lines = lines.T
        target[:] = lines
    return result


def boxed(mask: np.ndarray, reach_mm: float, volume: Volume) -> np.ndarray:
    """``mask`` dilated in plane by a square of half-width ``reach_mm`` (at least a pixel)."""
    rows, columns = (max(1, round(reach_mm / volume.spacing[axis])) for axis in (1, 0))
    result, box = np.zeros_like(mask), widened(bounds(mask), (0, rows, columns), mask.shape)
    result[box] = windowed(mask[box], (rows, columns), np.logical_or, False)
    return result


def padded(mask: np.ndarray) -> np.ndarray:
    """The mask with a rim of one pixel that is not set: numpy.pad, without its questions."""
    wider = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), bool)
    wider[1:-1, 1:-1] = mask
    return wider


def covered(mask: np.ndarray, halves: Sequence[int]) -> np.ndarray:
    """What a shape covers that lies with its middle on every set pixel of the slice ``mask``.

    Its row n, below the middle and above, reaches ``halves[n]`` columns to either side, no more than the row before.
    The lines are laid end to end with a gap between them, so that a shift is one piece of memory moved along.
    """
    rows, columns = mask.shape
    halves = halves[: max(rows, 1)]
    if halves[0] > columns:
        halves = [min(half, columns) for half in halves]
    width = columns + halves[0]
    first, size = len(halves) * width - columns, rows * width
    line, result, done = np.zeros(2 * first + size, bool), np.zeros(size, bool), 0
    line[first : first + size].reshape(rows, width)[:, :columns] = mask
    for row, half in reversed(list(enumerate(halves))):  # from the shortest row on
        while done < half:  # what lies within ``done`` columns is widened by as many again at once
            step = min(half - done, done or 1)
            wider = line[: -2 * step] | line[2 * step :]
            line = wider if done else wider | line[1:-1]
            done += step
        for start in {first - done - row * width, first - done + row * width}:
            result |= line[start : start + size]
    return result.reshape(rows, width)[:, :columns]


def spread(mask: np.ndarray, pixels: int) -> np.ndarray:
    """What lies within so many steps along the edges of what is set (binary_dilation with so many iterations)."""
    return covered(mask, range(pixels, -1, -1))


def holes(region: np.ndarray) -> np.ndarray:
    """The background that ``region`` encloses (binary_fill_holes says the same, many times slower)."""
    return small_holes(region, np.inf)


def small_holes(region: np.ndarray, pixels: float) -> np.ndarray:
    """The enclosed holes of ``region`` of up to this many pixels."""
    if min(region.shape) < 3:
        return np.zeros_like(region)
    labels, count = ndimage.label(~region, EDGES)
    enclosed = np.ones(count + 1, bool)
    enclosed[0] = False
    for rim in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        enclosed[rim] = False
    if not enclosed.any():
        return np.zeros_like(region)
    return (enclosed & (np.bincount(labels.ravel(), minlength=count + 1) <= pixels)).take(labels)


def grown(mask: np.ndarray, steps: int) -> np.ndarray:
    """Every slice of ``mask`` (k, j, i) spread by so many steps."""
    result, box = np.zeros_like(mask), widened(bounds(mask), (0, steps, steps), mask.shape)
    for source, target in zip(mask[box], result[box]):
        target[:] = spread(source, steps)
    return result


def shrunk(mask: np.ndarray, steps: int) -> np.ndarray:
    """Every slice of ``mask`` (k, j, i) eroded by so many steps; nothing lies beyond the slice."""
    result, box = np.zeros_like(mask), bounds(mask)
    for source, target in zip(mask[box], result[box]):
        target[:] = ~spread(~padded(source), steps)[1:-1, 1:-1]
    return result


def over_or_under(mask: np.ndarray) -> np.ndarray:
    """The voxels [k, j, i] with one of ``mask`` right over or under them."""
    result = np.zeros_like(mask)
    result[1:] |= mask[:-1]
    result[:-1] |= mask[1:]
    return result


def bounds(mask: np.ndarray) -> Box:
    """The smallest box that holds ``mask``; an empty box for an empty mask."""
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    if not len(slices):
        return slice(0, 0), slice(0, 0), slice(0, 0)
    plane = np.any(mask[slices[0] : slices[-1] + 1], axis=0)
    hits = (slices, np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0)))
    k, j, i = (slice(int(hit[0]), int(hit[-1]) + 1) for hit in hits)
    return k, j, i


def widened(box: Box, by: tuple[int, int, int], shape: tuple[int, ...]) -> Box:
    """``box`` with ``by`` voxels [k, j, i] more on either side, as far as the volume of ``shape`` goes."""
    k, j, i = (slice(max(b.start - n, 0), min(b.stop + n, size)) for b, n, size in zip(box, by, shape))
    return k, j, i


def filled(mask: np.ndarray) -> np.ndarray:
    """``mask`` (k, j, i) with the holes of each slice filled (choroid plexus, flow voids)."""
    result, box = mask.copy(), bounds(mask)
    for plane in result[box]:
        plane |= holes(plane)
    return result


def connected(zone: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The face-connected components of ``zone`` that hold a voxel of ``seeds``."""
    result, box = np.zeros_like(zone), bounds(zone)
    labels, n = ndimage.label(zone[box])
    keep = np.zeros(n + 1, bool)
    keep[labels[seeds[box]]] = True
    keep[0] = False
    result[box] = keep[labels]
    return result
