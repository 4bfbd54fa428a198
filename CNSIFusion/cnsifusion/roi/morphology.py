"""Grow and shrink masks in the plane of the slices by shifted copies: many times faster than general filters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from cnsifusion.imaging.volume import Volume

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


def grown(mask: np.ndarray, steps: int) -> np.ndarray:
    """``mask`` dilated in plane by its four neighbours, ``steps`` times."""
    result, box = np.zeros_like(mask), widened(bounds(mask), (0, steps, steps), mask.shape)
    for source, target in zip(mask[box], result[box]):
        for _ in range(steps):
            more = source.copy()
            more[1:] |= source[:-1]
            more[:-1] |= source[1:]
            more[:, 1:] |= source[:, :-1]
            more[:, :-1] |= source[:, 1:]
            source = more
        target[:] = source
    return result


def shrunk(mask: np.ndarray, steps: int) -> np.ndarray:
    """``mask`` eroded in plane by its four neighbours, ``steps`` times; nothing lies beyond the slice."""
    result, box = np.zeros_like(mask), bounds(mask)
    for source, target in zip(mask[box], result[box]):
        source = np.pad(source, 1)
        for _ in range(steps):
            less = np.zeros_like(source)
            less[1:-1, 1:-1] = source[1:-1, 1:-1] & source[:-2, 1:-1] & source[2:, 1:-1]
            less[1:-1, 1:-1] &= source[1:-1, :-2] & source[1:-1, 2:]
            source = less
        target[:] = source[1:-1, 1:-1]
    return result


def bounds(mask: np.ndarray) -> Box:
    """The smallest box that holds ``mask``; an empty box for an empty mask."""
    box = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(tuple({0, 1, 2} - {axis})))
        box.append(slice(int(hit[0]), int(hit[-1]) + 1) if len(hit) else slice(0, 0))
    return box[0], box[1], box[2]


def widened(box: Box, by: tuple[int, int, int], shape: tuple[int, ...]) -> Box:
    """``box`` with ``by`` voxels [k, j, i] more on either side, as far as the volume of ``shape`` goes."""
    k, j, i = (slice(max(b.start - n, 0), min(b.stop + n, size)) for b, n, size in zip(box, by, shape))
    return k, j, i


def filled(mask: np.ndarray) -> np.ndarray:
    """``mask`` with the holes of each slice filled (choroid plexus, flow voids)."""
    result, box = np.zeros_like(mask), bounds(mask)
    inner = result[box]
    for k, plane in enumerate(mask[box]):
        outside, _ = ndimage.label(~np.pad(plane, 1))
        inner[k] = (outside != outside[0, 0])[1:-1, 1:-1]
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
