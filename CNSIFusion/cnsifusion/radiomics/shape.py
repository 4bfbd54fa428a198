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
    down, right = np.stack(np.nonzero(np.diff(mask, axis=0)), axis=1), np.stack(np.nonzero(np.diff(mask)), axis=1)
    points = np.concatenate([2 * down + (1, 0), 2 * right + (0, 1)])
    return float(pdist(outermost(points) * (np.array(spacing) / 2)).max())


def outermost(points: np.ndarray) -> np.ndarray:
    """Of whole-numbered ``points`` (n, d) the first and last on every line along the last axis: the farthest two are
    among them.
    """
    ordered = points[np.lexsort(points.T[::-1])]
    changes = np.any(ordered[1:, :-1] != ordered[:-1, :-1], axis=1)
    return ordered[np.append(True, changes) | np.append(changes, True)]
