"""Laplacian of Gaussian, equal to ITK's recursive filter over the whole image, computed for the region's voxels alone.

ITK's LaplacianRecursiveGaussian is separable: along each axis either a smoothing or a second-derivative filter, each a
fourth-order recursion (Deriche, INRIA RR-1893, 1993; coefficients as refined by Farneback & Westin, J Math Imaging Vis
26:293, 2006) over the line, continued by its end values. Such a recursion is a convolution with a known symmetric
kernel, so any output voxel can be had alone: a row of a small matrix per axis, in double precision.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np

from cnsifusion.radiomics.voxels import Voxels

#: a1, b1, a2, b2 of the smoothing and the second-derivative kernel, and w1, l1, w2, l2 of both (Farneback & Westin).
_WEIGHTS = {0: (1.3530, 1.8151, -0.3531, 0.0902), 2: (-1.3563, 5.2318, 0.3446, -2.2355)}
_W1, _L1, _W2, _L2 = 0.6681, -1.3932, 2.0787, -1.3732

#: Half-width, in sigmas, of the window an output voxel sees: beyond it the kernel's whole weight is below 1e-8.
_REACH = 14.0


@lru_cache(maxsize=256)
def kernel(order: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """The kernel of one axis and its tail sums: h[n] and sum of h[m] over m >= n, for n = 0 .. reach.

    ``order`` 0 smooths (sum over all n is 1), 2 is the second derivative (sum 0, second moment 2); ``sigma`` in voxels.
    """
    n = np.arange(int(np.ceil(40 * sigma)) + 20)

    def raw(which: int) -> np.ndarray:
        a1, b1, a2, b2 = _WEIGHTS[which]
        t = n / sigma
        first = (a1 * np.cos(_W1 * t) + b1 * np.sin(_W1 * t)) * np.exp(_L1 * t)
        return first + (a2 * np.cos(_W2 * t) + b2 * np.sin(_W2 * t)) * np.exp(_L2 * t)

    both_sides = np.where(n == 0, 1.0, 2.0)
    h = raw(0) / (both_sides @ raw(0))
    if order == 2:
        h = raw(2) - (both_sides @ raw(2)) * h
        h = h * 2 / (both_sides @ (h * n * n))
    return h, np.cumsum(h[::-1])[::-1]


def operator(order: int, sigma: float, rows: np.ndarray, size: int) -> np.ndarray:
    """Matrix (len(rows), size) that filters a line of ``size`` voxels and keeps ``rows``; ``sigma`` in voxels.

    Beyond both ends the line continues with its end values, as in ITK.
    """
    h, tail = kernel(order, sigma)

    def lookup(table: np.ndarray, at: np.ndarray) -> np.ndarray:
        return np.where(at < len(table), table[np.minimum(at, len(table) - 1)], 0.0)

    matrix = lookup(h, np.abs(rows[:, None] - np.arange(size)))
    matrix[:, 0] = lookup(tail, rows)
    matrix[:, -1] = lookup(tail, size - 1 - rows)
    return matrix


def too_small(shape: tuple[int, ...], spacing: tuple[float, ...], sigma: float) -> bool:
    """pyradiomics' rule: an image with an axis below 4 voxels, or below sigma plus one voxel, is not filtered."""
    return min(shape) < 4 or any(n < np.ceil(sigma / s) + 1 for n, s in zip(shape, spacing))


def log_values(
    array: np.ndarray, spacing: tuple[float, float, float], sigma: float, mode: str, voxels: Voxels
) -> np.ndarray:
    """Scale-normalised LoG (sigma^2 times the Laplacian, float32 (N,)) of ``array`` [k, j, i] at ``voxels``.

    ``spacing`` in mm, ordered k, j, i; ``sigma`` in mm; ``mode`` "3D", or "2D" for every slice k by itself.
    """
    out = np.empty(len(voxels.coords), np.float32)
    group = voxels.region * voxels.shape[0] + voxels.coords[:, 0]
    edges = np.flatnonzero(np.diff(group, prepend=-1, append=-1)) if len(group) else np.empty(0, int)
    for start, stop in pairwise(edges):
        coords = voxels.coords[start:stop]
        out[start:stop] = _slice_values(array, spacing, sigma, mode, int(coords[0, 0]), coords[:, 1:])
    return out


def _window(index: np.ndarray, size: int, sigma: float) -> tuple[slice, np.ndarray]:
    """The stretch of an axis that voxels from min to max of ``index`` see, and those voxels' places in it."""
    reach = int(np.ceil(_REACH * sigma)) + 1
    low, high = max(int(index.min()) - reach, 0), min(int(index.max()) + reach + 1, size)
    return slice(low, high), np.arange(index.min() - low, index.max() - low + 1)


def _slice_values(
    array: np.ndarray, spacing: tuple[float, float, float], sigma: float, mode: str, k: int, ji: np.ndarray
) -> np.ndarray:
    sk, sj, si = (sigma / s for s in spacing)
    window_j, rows_j = _window(ji[:, 0], array.shape[1], sj)
    window_i, rows_i = _window(ji[:, 1], array.shape[2], si)
    smooth_j, curve_j = (operator(o, sj, rows_j, window_j.stop - window_j.start) for o in (0, 2))
    smooth_i, curve_i = (operator(o, si, rows_i, window_i.stop - window_i.start) for o in (0, 2))
    if mode == "2D":
        across = array[k, window_j, window_i].astype(float)
        out = sj**2 * curve_j @ across @ smooth_i.T + si**2 * smooth_j @ across @ curve_i.T
    else:
        window_k, rows_k = _window(np.array([k]), array.shape[0], sk)
        block = array[window_k, window_j, window_i].astype(float)
        smooth_k, curve_k = (operator(o, sk, rows_k, len(block)) for o in (0, 2))
        smoothed, curved = (np.tensordot(m[0], block, 1) for m in (smooth_k, curve_k))
        along_j = sj**2 * curve_j @ smoothed + sk**2 * smooth_j @ curved
        out = along_j @ smooth_i.T + si**2 * smooth_j @ smoothed @ curve_i.T
    return out[ji[:, 0] - ji[:, 0].min(), ji[:, 1] - ji[:, 1].min()]
