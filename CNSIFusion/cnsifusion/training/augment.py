"""Altered copies of patches that respect anatomy: small rotations, intensity, noise and a smooth bias.

Patches of right-sided regions are cut mirrored (medial is always one way), which is the flip with the side exchanged;
only patches of mid-line parts are flipped here.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import rotate

_MAX_DEGREES, _GAIN_SD, _BIAS_SD, _NOISE_SD = 6.0, 0.02, 0.02, 0.02


def augment(patches: np.ndarray, side: np.ndarray, random: np.random.Generator, turn: bool = True) -> np.ndarray:
    """One altered copy of each patch (n, c, h, w); ``side`` (n,) is left | right | none; ``turn`` also moves pixels.

    Intensities change as signal would: gain and bias act on the signal above air (about -4 in patch units), noise is
    0.2 robust SD of white matter.
    """
    out = np.empty_like(patches)
    rows, columns = np.meshgrid(*[np.linspace(-1, 1, n) for n in patches.shape[2:]], indexing="ij")
    for n, patch in enumerate(patches):
        angle = random.uniform(-_MAX_DEGREES, _MAX_DEGREES) if turn else 0.0
        turned = rotate(patch[0], angle, reshape=False, order=1, mode="nearest")
        slopes = random.normal(0, _BIAS_SD, 2)
        gain = (1 + random.normal(0, _GAIN_SD)) * (1 + slopes[0] * rows + slopes[1] * columns)
        out[n, 0] = (turned + 4.0) * gain - 4.0 + random.normal(0, _NOISE_SD, turned.shape)
        if patch.shape[0] > 1:
            out[n, 1] = rotate(patch[1], angle, reshape=False, order=0, mode="constant")
            if not out[n, 1].any():
                out[n, 1] = patch[1]
        if turn and side[n] == "none" and random.random() < 0.5:
            out[n] = out[n, :, :, ::-1]
    return out
