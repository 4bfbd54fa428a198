"""Ventricular parts after an edit: every voxel of the ventricles belongs to the part it is nearest to."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def assign_parts(ventricles: np.ndarray, parts: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Part labels (uint8 [k, j, i], see names.PARTS) of exactly the voxels in ``ventricles``.

    Voxels that have a label in ``parts`` keep it, the others get that of the nearest labelled voxel (mm, ``spacing``
    ordered i, j, k). Without any label in ``parts`` all stay 0 (part unknown).
    """
    kept = np.where(ventricles, parts, 0).astype(np.uint8)
    missing = ventricles & (kept == 0)
    if not missing.any() or not parts.any():
        return kept
    both = np.nonzero(ventricles | (parts > 0))
    window = tuple(slice(int(a.min()), int(a.max()) + 1) for a in both)
    nearest = ndimage.distance_transform_edt(
        parts[window] == 0, sampling=spacing[::-1], return_distances=False, return_indices=True
    )
    inside = missing[window]
    kept[window][inside] = parts[window][tuple(nearest)][inside]
    return kept
