"""How far a scanner's picture is blurred in the plane, read from the walls of the ventricles, and what undoes it.

What is half full of CSF is half bright only where the wall beside it is long and even. Blur darkens thin horns and
small ventricles below that, so that they are drawn too small.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from cnsifusion.imaging.volume import Volume
from cnsifusion.roi.anatomy import Anatomy
from cnsifusion.roi.maps import FAR_MM, part_distances

#: Walls are looked for within this distance (mm) of the expected lateral ventricles, where the share of CSF is nearer
#: than this to a half. Walls that slant through the slice look flat: this percentile of the slopes is of upright ones.
_NEAR_MM, _HALF, _STEEPEST = 3.0, 0.15, 98.0
_ENOUGH_VOXELS = 200
#: Even the steepest walls slant a little: so much of the blur they show is the scanner's.
_UPRIGHT = 0.8
#: Noise over signal (power) of the Wiener filter: the finest detail is raised by no more than 1.7.
_NOISE = 0.1
_RIM = 8


def wall_blur(share: np.ndarray, volume: Volume, anatomy: Anatomy, lesion: np.ndarray) -> float:
    """Standard deviation (mm) of a Gaussian blur beyond the pixel that the ventricles' walls show; 0 where they cannot.

    ``share`` [k, j, i] is the share of CSF of every voxel, ``lesion`` (bool) where half of it is no wall. A wall
    blurred by s rises by at most 1 / (s sqrt(2 pi)).
    """
    maps, grid = part_distances()
    distance = anatomy.lattice.read(maps["lateral"], grid, FAR_MM)
    box = anatomy.lattice.around(distance < _NEAR_MM)
    inner = share[box]
    walls = (np.abs(inner - 0.5) < _HALF) & (anatomy.lattice.spread(distance, box) < _NEAR_MM) & ~lesion[box]
    walls[:, [0, -1]] = walls[:, :, [0, -1]] = False
    k, j, i = np.nonzero(walls)
    if len(k) < _ENOUGH_VOXELS:
        return 0.0
    down = (inner[k, j + 1, i] - inner[k, j - 1, i]) / (2 * volume.spacing[1])
    across = (inner[k, j, i + 1] - inner[k, j, i - 1]) / (2 * volume.spacing[0])
    steepest = float(np.percentile(np.hypot(down, across), _STEEPEST))
    # The difference over two pixels is a blur of its own (1/3 of a squared pixel), and so is the pixel (1/12).
    variance = 1 / (2 * np.pi * steepest**2) - 5 / 12 * volume.spacing[0] * volume.spacing[1] if steepest > 0 else 0.0
    return _UPRIGHT * float(np.sqrt(max(variance, 0.0)))


def sharpened(array: np.ndarray, blur_mm: float, volume: Volume) -> np.ndarray:
    """``array`` [k, j, i] (float32) on the grid of ``volume`` without a Gaussian blur of ``blur_mm`` in the plane.

    A Wiener filter, slice by slice: N. Wiener, Extrapolation, Interpolation, and Smoothing of Stationary Time Series
    (1949).
    """
    if blur_mm <= 0:
        return array
    rows, columns = (fft.next_fast_len(n + 2 * _RIM, real=True) for n in array.shape[1:])
    down, across = (blur_mm / volume.spacing[axis] for axis in (1, 0))
    fade = np.exp(-2 * np.pi**2 * ((down * fft.fftfreq(rows)[:, None]) ** 2 + (across * fft.rfftfreq(columns)) ** 2))
    gain = (fade * (1 + _NOISE) / (fade**2 + _NOISE)).astype(np.float32)
    after = [(_RIM, n - size - _RIM) for n, size in zip((rows, columns), array.shape[1:])]
    result = np.empty_like(array)
    for source, target in zip(array, result):
        waves = fft.rfft2(np.pad(source, after, mode="edge"))
        waves *= gain
        target[:] = fft.irfft2(waves, (rows, columns))[_RIM : _RIM + target.shape[0], _RIM : _RIM + target.shape[1]]
    return result
