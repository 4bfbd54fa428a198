"""What the scanner does to the ideal image: coil shading, point spread, Rician noise, storage as integers."""

from __future__ import annotations

import numpy as np
from scipy import fft

from cnsifusion.imaging.grid import Grid
from cnsifusion.simulation.settings import SiteProtocol


def coil_shading(rng: np.random.Generator, grid: Grid, amplitude: float) -> list[np.ndarray]:
    """A smooth multiplicative field as three vectors (k, j, i) whose outer product it is; mean about 1.

    Second order along each axis: brighter towards the coil elements around the head, lopsided by chance.
    """
    factors = []
    for size in grid.shape:
        x = np.linspace(-1, 1, size)
        bowl, slope = rng.uniform(0.2, 0.6), rng.uniform(-0.4, 0.4)
        factors.append(np.exp(amplitude * (bowl * (x**2 - 1 / 3) + slope * x)).astype(np.float32))
    return factors


def point_spread(
    size: tuple[int, int], site: SiteProtocol, acquired_pixel: float
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """In-plane k-space windows along rows and columns, and the padded transform size (rows, columns).

    The window keeps the acquired matrix's band (rectangular, hence slight ringing) with a raised-cosine taper over the
    outer ``filter_taper`` part; the rest of the image's matrix is zero-filled, as scanners interpolate.
    """
    padded = tuple(fft.next_fast_len(n) for n in size)
    windows = []
    for n in padded:
        share = np.abs(fft.fftfreq(n, site.pixel)) * 2 * acquired_pixel  # 1 at the band's edge
        taper = max(site.filter_taper, 1e-6)
        ramp = 0.5 + 0.5 * np.cos(np.pi * np.clip((share - (1 - taper)) / taper, 0, 1) * 0.8)
        windows.append(np.where(share <= 1, ramp, 0.0).astype(np.float32))
    return windows[0], windows[1], (padded[0], padded[1])


def acquire(
    ideal: np.ndarray, shading: list[np.ndarray], site: SiteProtocol, noise: float, acquired_pixel: float,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """The stored image (float32 holding uint16 values) of an ideal one [k, j, i] where white matter is 1.

    ``shading``: see ``coil_shading``.
    ``noise``: standard deviation of each complex channel relative to white matter, after the k-space window.
    """
    rows, columns, padded = point_spread(ideal.shape[1:], site, acquired_pixel)
    # White noise loses power in the window; scale it so that `noise` is what remains in the image.
    kept = float(np.sqrt(np.mean(rows**2) * np.mean(columns**2)))
    scale = site.intensity_scale * np.exp(rng.normal(0, 0.08))
    stored = np.empty_like(ideal)
    for k, plane in enumerate(ideal):
        shaded = plane * (shading[0][k] * shading[1][:, None] * shading[2])
        noisy = np.zeros(padded, np.complex64)
        noisy.real[: plane.shape[0], : plane.shape[1]] = shaded
        noisy += (noise / kept) * _complex_noise(rng, padded)
        spectrum = fft.fft2(noisy, overwrite_x=True)
        spectrum *= rows[:, None]
        spectrum *= columns
        magnitude = np.abs(fft.ifft2(spectrum, overwrite_x=True)[: plane.shape[0], : plane.shape[1]])
        stored[k] = np.clip(np.rint(magnitude * scale), 0, 65535)
    return stored


def _complex_noise(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
