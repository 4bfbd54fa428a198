"""First order statistics (pyradiomics' definitions), for every region of many images at once."""

from __future__ import annotations

import numpy as np

from cnsifusion.radiomics.counts import entropy, ratio

NAMES = (
    "10Percentile", "90Percentile", "Energy", "Entropy", "InterquartileRange", "Kurtosis", "Maximum",
    "MeanAbsoluteDeviation", "Mean", "Median", "Minimum", "Range", "RobustMeanAbsoluteDeviation", "RootMeanSquared",
    "Skewness", "StandardDeviation", "TotalEnergy", "Uniformity", "Variance",
)  # fmt: skip


def features(values: np.ndarray, levels: np.ndarray, shift: float, voxel_volume: float) -> dict[str, np.ndarray]:
    """The 19 features of one region, (images,) each.

    ``values``: (images, n) intensities; ``levels``: (images, n) grey levels from 1; ``shift``: voxelArrayShift;
    ``voxel_volume``: mm3. RobustMeanAbsoluteDeviation is NaN where no value lies between the 10th and 90th percentile.
    """
    x = np.sort(values.astype(float), axis=1)
    n = x.shape[1]
    p10, p25, median, p75, p90 = (_percentile(x, q) for q in (10, 25, 50, 75, 90))
    mean = x.mean(axis=1)
    flat = x[:, :1] == x[:, -1:]
    centred = np.where(flat, 0.0, x - mean[:, None])  # a flat region has no moments, whatever its mean rounds to
    squared = centred * centred
    m2, m3, m4 = (power.mean(axis=1) for power in (squared, squared * centred, squared * squared))
    scale = np.where(m2 == 0, 1.0, m2)
    inside = (x >= p10[:, None]) & (x <= p90[:, None])
    inner_count = inside.sum(axis=1)
    inner_mean = ratio(np.where(inside, x, 0).sum(axis=1), inner_count)
    robust = ratio(np.where(inside, np.abs(x - inner_mean[:, None]), 0).sum(axis=1), inner_count)
    energy = ((x + shift) ** 2).sum(axis=1)
    p = [np.bincount(row)[1:] / n for row in levels]
    return {
        "10Percentile": p10,
        "90Percentile": p90,
        "Energy": energy,
        "Entropy": np.array([entropy(q).sum() for q in p]),
        "InterquartileRange": p75 - p25,
        "Kurtosis": m4 / scale**2,
        "Maximum": x[:, -1],
        "MeanAbsoluteDeviation": np.abs(centred).mean(axis=1),
        "Mean": mean,
        "Median": median,
        "Minimum": x[:, 0],
        "Range": x[:, -1] - x[:, 0],
        "RobustMeanAbsoluteDeviation": robust,
        "RootMeanSquared": np.sqrt(energy / n),
        "Skewness": m3 / scale**1.5,
        "StandardDeviation": np.sqrt(m2),
        "TotalEnergy": energy * voxel_volume,
        "Uniformity": np.array([(q**2).sum() for q in p]),
        "Variance": m2,
    }


def _percentile(x: np.ndarray, percent: float) -> np.ndarray:
    """Percentile of each sorted row of ``x``, linear between ranks: the same arithmetic as numpy's."""
    at = percent / 100 * (x.shape[1] - 1)
    low = int(at)
    high = min(low + 1, x.shape[1] - 1)
    step, t = x[:, high] - x[:, low], at - low
    return np.where(t >= 0.5, x[:, high] - step * (1 - t), x[:, low] + step * t)
