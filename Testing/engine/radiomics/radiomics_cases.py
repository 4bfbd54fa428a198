"""Simulated images and regions for the radiomics tests: no file, the same numbers everywhere."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.radiomics import RegionMask

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def oblique(degrees: float = 14.0) -> tuple[float, ...]:
    """Axes turned about i and then about k."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_i = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    about_k = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return tuple((about_i @ about_k).ravel())


def image(
    shape: tuple[int, int, int] = (10, 60, 70),
    spacing: tuple[float, float, float] = (0.6, 0.7, 4.0),
    direction: tuple[float, ...] = IDENTITY,
    dtype: type = np.float32,
    seed: int = 0,
) -> Volume:
    """A smooth random image with structure at several scales, in normalised units; ``spacing`` ordered i, j, k."""
    rng = np.random.default_rng(seed)
    fine = gaussian_filter(rng.normal(size=shape), (0.5, 1.5, 1.5)) * 3000
    coarse = gaussian_filter(rng.normal(size=shape), (1, 6, 6)) * 8000
    array = fine + coarse + rng.normal(size=shape) * 20 + 300
    return Volume(array.astype(dtype), Grid(shape[::-1], spacing, (-12.0, 31.0, 7.0), direction))


def discs(volume: Volume, radii: tuple[float, ...] = (3.2, 6.5, 12.0, 17.0), seed: int = 1) -> list[RegionMask]:
    """Ragged discs, one slice each."""
    rng = np.random.default_rng(seed)
    count, height, width = volume.array.shape
    jj, ii = np.ogrid[:height, :width]
    regions = []
    for n, radius in enumerate(radii):
        centre = rng.uniform(0.35, 0.65, 2) * (height, width)
        mask = ((jj - centre[0]) ** 2 + (ii - centre[1]) ** 2 < radius**2) & (rng.random((height, width)) < 0.95)
        regions.append(RegionMask(f"disc {n}", mask, int(rng.integers(1, count - 1)), {"radius": radius, "number": n}))
    return regions


def solid(volume: Volume, seed: int = 2) -> RegionMask:
    """A ragged three-dimensional blob that touches the border of the image."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=volume.array.shape), (1.0, 4.0, 4.0))
    return RegionMask("solid", field > np.quantile(field, 0.8))
