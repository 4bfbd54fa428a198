"""Neighbouring grey tone difference (Amadasun & King 1989; pyradiomics' definitions)."""

from __future__ import annotations

import numpy as np

NAMES = ("Busyness", "Coarseness", "Complexity", "Contrast", "Strength")


def features(level: np.ndarray, count: np.ndarray, difference: np.ndarray) -> dict[str, float]:
    """The 5 features of one instance from the rows of its matrix.

    ``level`` (L,): grey levels present; ``count`` (L,): voxels of each; ``difference`` (L,): sum over them of
    |level - mean level of the neighbours|, where a voxel without neighbours adds 0.
    """
    voxels, present = count.sum(), len(level)
    p = count / voxels
    weighted, total = float(p @ difference), float(difference.sum())
    apart = np.abs(level[:, None] - level)
    if present > 1:
        mean = p @ level
        contrast = 2 * float(p @ (level - mean) ** 2) * total / voxels / (present * (present - 1))
        spread = float(np.abs(level * p - (level * p)[:, None]).sum())
        strength = 2 * float(p @ (apart**2).sum(axis=1))
    else:
        contrast = spread = strength = 0.0
    share = (p * difference)[:, None] / (p[:, None] + p)
    return {
        "Busyness": weighted / spread if spread else 0.0,
        "Coarseness": 1 / weighted if weighted else 1e6,
        "Complexity": 2 * float((apart * share).sum()) / voxels,
        "Contrast": contrast,
        "Strength": strength / total if total else 0.0,
    }
