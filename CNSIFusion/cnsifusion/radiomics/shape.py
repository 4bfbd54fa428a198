"""Shape of a region in one slice (pyradiomics' shape2D): a mesh through the midpoints between in and out."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist

from cnsifusion.radiomics.counts import ratio

NAMES_2D = (
    "Elongation", "MajorAxisLength", "MaximumDiameter", "MeshSurface", "MinorAxisLength", "Perimeter",
    "PerimeterSurfaceRatio", "PixelSurface", "Sphericity",
)  # fmt: skip


def axis_lengths(coords: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Principal axis lengths in mm, ascending: 4 sqrt(eigenvalue) of the covariance of the voxel centres."""
    mm = (coords - coords.mean(axis=0)) * spacing
    values = np.linalg.eigvalsh(mm.T @ mm / len(mm))
    return 4 * np.sqrt(np.maximum(values, 0))


def features_2d(ji: np.ndarray, spacing: tuple[float, float]) -> dict[str, float]:
    """The 9 features of the pixels ``ji`` (n, 2) of one slice; ``spacing`` of j and i in mm."""
    low = ji.min(axis=0) - 1
    mask = np.zeros(np.ptp(ji, axis=0) + 3, bool)
    mask[tuple((ji - low).T)] = True
    dj, di = spacing
    square = mask[:-1, :-1] + 2 * mask[:-1, 1:] + 4 * mask[1:, 1:] + 8 * mask[1:, :-1]
    kinds = np.bincount(square.ravel(), minlength=16)
    corner = kinds[[1, 2, 4, 8, 7, 11, 13, 14]].sum() + 2 * kinds[[5, 10]].sum()
    perimeter = corner * np.hypot(dj, di) / 2 + kinds[[3, 12]].sum() * di + kinds[[6, 9]].sum() * dj
    corners_in = np.array([bin(k).count("1") for k in range(16)])
    covered = np.array([0, 1 / 8, 1 / 2, 7 / 8, 1])[corners_in]
    covered[[5, 10]] = 1 / 4  # two opposite corners are cut off apart
    surface = float(kinds @ covered) * dj * di
    minor, major = axis_lengths(ji, np.array(spacing))
    return {
        "Elongation": float(ratio(minor, major)),
        "MajorAxisLength": major,
        "MaximumDiameter": _diameter_2d(mask, spacing),
        "MeshSurface": surface,
        "MinorAxisLength": minor,
        "Perimeter": perimeter,
        "PerimeterSurfaceRatio": perimeter / surface,
        "PixelSurface": len(ji) * dj * di,
        "Sphericity": 2 * np.sqrt(np.pi * surface) / perimeter,
    }


def _diameter_2d(mask: np.ndarray, spacing: tuple[float, float]) -> float:
    """Largest distance between mesh vertices: midpoints of neighbouring pixels one of which is in the region."""
    j, i = np.nonzero(mask[1:] != mask[:-1])
    vertical = np.stack([j + 0.5, i], axis=1)
    j, i = np.nonzero(mask[:, 1:] != mask[:, :-1])
    points = np.concatenate([vertical, np.stack([j, i + 0.5], axis=1)])
    order = np.lexsort(points.T[::-1])
    points = points[order]
    line = points[:, 0]
    ends = np.concatenate([[True], line[1:] != line[:-1]])
    outer = points[ends | np.append(ends[1:], True)]  # only the outermost points of each row can be the farthest
    return float(pdist(outer * spacing).max())
