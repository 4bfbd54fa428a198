"""Laplacian of Gaussian, equal to ITK's recursive filter over the whole image, computed for the region's voxels alone.

ITK's LaplacianRecursiveGaussian is separable: along each axis either a smoothing or a second-derivative filter, each a
fourth-order recursion (Deriche, INRIA RR-1893, 1993; coefficients as refined by Farneback & Westin, J Math Imaging Vis
26:293, 2006) over the line, continued by its end values. Such a recursion is a convolution with a symmetric kernel,
h(n) = sum of four damped waves f(n) for n >= 0. Because f(r + m) is a fixed 4 x 4 map of f(m), everything outside a
region's box acts on it only through four sums per side, its *states*: the box and its states are a small *core* image
on which the filter is one small matrix per axis. All of it is in double precision; the result is rounded to float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from cnsifusion.radiomics.voxels import Voxels

#: Weights of the four waves in the smoothing and the second-derivative kernel (Farneback & Westin), and the waves'
#: angular frequencies and decays at sigma 1.
_WEIGHTS = {0: (1.3530, 1.8151, -0.3531, 0.0902), 2: (-1.3563, 5.2318, 0.3446, -2.2355)}
_FREQUENCY, _DECAY = (0.6681, 2.0787), (-1.3932, -1.3732)

#: Sigmas beyond which the image is taken as constant: the kernels' weight out there is below 1e-8.
_REACH = 14.0


def _waves(n: np.ndarray, sigma: float) -> np.ndarray:
    """The four damped waves at distances ``n`` (L,) in voxels: (4, L)."""
    (w1, w2), (l1, l2), t = _FREQUENCY, _DECAY, n / sigma
    e1, e2 = np.exp(l1 * t), np.exp(l2 * t)
    return np.stack([np.cos(w1 * t) * e1, np.sin(w1 * t) * e1, np.cos(w2 * t) * e2, np.sin(w2 * t) * e2])


def _advanced(weights: np.ndarray, n: np.ndarray, sigma: float) -> np.ndarray:
    """Weights (L, 4) for which weights(n) . waves(m) = kernel(n + m), by the addition theorems."""
    c1, s1, c2, s2 = _waves(n, sigma)
    a1, b1, a2, b2 = weights
    return np.stack([a1 * c1 + b1 * s1, b1 * c1 - a1 * s1, a2 * c2 + b2 * s2, b2 * c2 - a2 * s2], axis=1)


@lru_cache(maxsize=64)
def _weights(order: int, sigma: float) -> np.ndarray:
    """Weights (4,) of the waves in the kernel of ``order`` 0 (its sum is 1) or 2 (sum 0, second moment 2)."""
    n = np.arange(int(np.ceil(40 * sigma)) + 20)
    waves = _waves(n, sigma) * np.where(n == 0, 1.0, 2.0)  # both sides of the symmetric kernel
    smooth = np.array(_WEIGHTS[0]) / (np.array(_WEIGHTS[0]) @ waves).sum()
    if order == 0:
        return smooth
    curve = np.array(_WEIGHTS[2])
    curve = curve - (curve @ waves).sum() * smooth
    return curve * 2 / (curve @ waves @ n**2)


def kernel(order: int, sigma: float, n: np.ndarray) -> np.ndarray:
    """ITK's recursive Gaussian (``order`` 0) or its second derivative (2) at distances ``n`` >= 0; sigma in voxels."""
    return _weights(order, sigma) @ _waves(n, sigma)


@dataclass(frozen=True)
class Axis:
    """An axis of ``size`` voxels of which ``low`` to ``high`` (exclusive) are kept; everything it gives is per sigma.

    A core line holds the kept voxels, then the four states of the lower and the four of the upper side.
    """

    size: int
    low: int
    high: int

    @property
    def kept(self) -> int:
        return self.high - self.low

    def window(self, sigma: float) -> slice:
        """The stretch of the axis that the kept voxels see; ``sigma`` in voxels, here as everywhere."""
        reach = int(np.ceil(_REACH * sigma)) + 1
        return slice(max(self.low - reach, 0), min(self.high + reach, self.size))

    def states(self, sigma: float, window: slice) -> np.ndarray:
        """Matrix (8, window) from a line's window to its states; beyond the window the line keeps its end value."""
        matrix = np.zeros((8, window.stop - window.start))
        lower, upper = self.low - window.start, window.stop - self.high
        matrix[:4, : lower + 1] = _outside(lower, sigma)[:, ::-1]
        matrix[4:, matrix.shape[1] - upper - 1 :] = _outside(upper, sigma)
        return matrix

    def operator(self, order: int, sigma: float) -> np.ndarray:
        """Matrix (kept, kept + 8) from a core line to the filtered kept voxels; ``order`` 0 smooths, 2 curves."""
        n = np.arange(self.kept)
        inside = kernel(order, sigma, n)[np.abs(n[:, None] - n)]
        states = _advanced(_weights(order, sigma), n, sigma)
        return np.concatenate([inside, states, states[::-1]], axis=1)

    def from_window(self, order: int, sigma: float, window: slice) -> np.ndarray:
        """Matrix (kept, window) from a line's window straight to the filtered kept voxels."""
        operator = self.operator(order, sigma)
        matrix = operator[:, -8:] @ self.states(sigma, window)
        matrix[:, self.low - window.start : self.high - window.start] += operator[:, :-8]
        return matrix


def _outside(count: int, sigma: float) -> np.ndarray:
    """Weights (4, count + 1) by which the border voxel (0) and the ``count`` voxels beyond it enter the states."""
    waves = _waves(np.arange(count + int(np.ceil(40 * sigma)) + 20), sigma)
    waves[:, 0] = 0  # the border voxel is part of the core itself
    waves[:, count] = waves[:, count:].sum(axis=1)
    return waves[:, : count + 1]


def too_small(shape: tuple[int, ...], spacing: tuple[float, ...], sigma: float) -> bool:
    """pyradiomics' rule: an image with an axis below 4 voxels, or below sigma plus one voxel, is not filtered."""
    return min(shape) < 4 or any(n < np.ceil(sigma / s) + 1 for n, s in zip(shape, spacing))


def log_values(
    array: np.ndarray, spacing: tuple[float, float, float], sigmas: Sequence[float], mode: str, voxels: Voxels
) -> np.ndarray:
    """Scale-normalised LoG (sigma^2 times the Laplacian) of ``array`` [k, j, i] at ``voxels``: float32 (sigmas, N).

    ``spacing`` in mm, ordered k, j, i; ``sigmas`` in mm; ``mode`` "3D", or "2D" for every slice k by itself.
    """
    coords = voxels.coords
    out = np.empty((len(sigmas), len(coords)), np.float32)
    if not out.size:
        return out
    low, high = coords.min(axis=0), coords.max(axis=0) + 1
    axes = tuple(Axis(n, int(a), int(b)) for n, a, b in zip(array.shape, low, high))
    pieces = _pieces(voxels)
    slices = np.array(sorted({k for k, _, _ in pieces}))
    scaled = [tuple(sigma / s for s in spacing) for sigma in sigmas]
    cores = _Cores(array, axes, scaled, slices if mode == "2D" else None)
    for n, (sigma_k, sigma_j, sigma_i) in enumerate(scaled):
        planes, first = cores.of(n)
        if mode == "3D":
            window = slice(first, first + len(planes))
            smooth, curve = (axes[0].from_window(order, sigma_k, window)[slices - low[0]] for order in (0, 2))
            planes = np.tensordot(np.stack([smooth, sigma_k**2 * curve], axis=1), planes, 1)
        else:
            planes = planes[:, None]
        smooth_j, curve_j = (axes[1].operator(order, sigma_j) for order in (0, 2))
        smooth_i, curve_i = (axes[2].operator(order, sigma_i) for order in (0, 2))
        along_j = np.concatenate([sigma_j**2 * curve_j, smooth_j], axis=1)[:, : planes.shape[1] * planes.shape[2]]
        along_i = np.concatenate([smooth_i, sigma_i**2 * curve_i], axis=1).T
        for k, start, stop in pieces:
            j, i = (coords[start:stop, a] - low[a] for a in (1, 2))
            rows, columns = (slice(int(x.min()), int(x.max()) + 1) for x in (j, i))
            plane = planes[np.searchsorted(slices, k)]
            curved = along_j[rows] @ plane.reshape(-1, plane.shape[2])
            smoothed = smooth_j[rows] @ plane[0]
            filtered = np.concatenate([curved, smoothed], axis=1) @ along_i[:, columns]
            out[n, start:stop] = filtered[j - rows.start, i - columns.start]
    return out


def _pieces(voxels: Voxels) -> list[tuple[int, int, int]]:
    """The stretches (slice k, start, stop) of voxels of one region in one slice."""
    group = voxels.region * voxels.shape[0] + voxels.coords[:, 0]
    edges = np.flatnonzero(np.diff(group, prepend=-1, append=-1))
    return [(int(voxels.coords[start, 0]), int(start), int(stop)) for start, stop in pairwise(edges)]


class _Cores:
    """Cores of an image's slices for several sigmas; every slice is read once."""

    def __init__(
        self,
        array: np.ndarray,
        axes: tuple[Axis, ...],
        scaled: Sequence[tuple[float, ...]],
        slices: np.ndarray | None,
    ) -> None:
        """``scaled``: each sigma in voxels along k, j, i. ``slices``: those wanted, or None for all a 3-D LoG sees."""
        _, self.j, self.i = axes
        widest = np.max(scaled, axis=0)
        window_j, window_i = self.j.window(widest[1]), self.i.window(widest[2])
        states_j = np.concatenate([self.j.states(s[1], window_j) for s in scaled])
        states_i = np.concatenate([self.i.states(s[2], window_i) for s in scaled]).T
        in_j = slice(self.j.low - window_j.start, self.j.high - window_j.start)
        in_i = slice(self.i.low - window_i.start, self.i.high - window_i.start)
        stretch = axes[0].window(widest[0])
        wanted = np.arange(stretch.start, stretch.stop) if slices is None else slices
        self.first = int(wanted[0])
        self.windows = None if slices is not None else [axes[0].window(s[0]) for s in scaled]
        self.inner = np.empty((len(wanted), self.j.kept, self.i.kept))
        self.beside_j = np.empty((len(wanted), len(states_j), self.i.kept))
        self.beside_i = np.empty((len(wanted), self.j.kept + len(states_j), states_i.shape[1]))
        for n, k in enumerate(wanted):
            plane = array[k, window_j, window_i].astype(float)
            above = states_j @ plane
            self.inner[n], self.beside_j[n] = plane[in_j, in_i], above[:, in_i]
            self.beside_i[n, : self.j.kept] = plane[in_j] @ states_i
            self.beside_i[n, self.j.kept :] = above @ states_i

    def of(self, n: int) -> tuple[np.ndarray, int]:
        """Cores (slices, kept_j + 8, kept_i + 8) for sigma number ``n``, and the number of the first slice."""
        which = slice(None)
        first = self.first
        if self.windows is not None:
            first = self.windows[n].start
            which = slice(first - self.first, self.windows[n].stop - self.first)
        kept_j, kept_i, mine = self.j.kept, self.i.kept, slice(8 * n, 8 * n + 8)
        inner = self.inner[which]
        out = np.empty((len(inner), kept_j + 8, kept_i + 8))
        out[:, :kept_j, :kept_i] = inner
        out[:, kept_j:, :kept_i] = self.beside_j[which, mine]
        out[:, :kept_j, kept_i:] = self.beside_i[which, :kept_j, mine]
        out[:, kept_j:, kept_i:] = self.beside_i[which, kept_j:][:, mine, mine]
        return out, first
