"""Which plane of the image a slice view shows (the tools work along the image's own slices), and bringing it there."""

from __future__ import annotations

import numpy as np

from cnsifusion.imaging import Grid
from cnsifusion.mrml.volumes import matrixToArray

AXIAL, SAGITTAL, CORONAL, OBLIQUE = "axial", "sagittal", "coronal", "oblique"
#: Cosine of the largest angle (0.8 degrees) at which a view of ordinary size still stays within one slice.
_ALIGNED = 0.9999


def bringTo(sliceNode, lps: tuple[float, float, float]) -> None:
    """Bring a slice view to a position (LPS, mm): to its slice, and to its middle where it would lie out of sight."""
    ras = (-lps[0], -lps[1], lps[2])
    sliceNode.JumpSliceByOffsetting(*ras)
    x, y = (np.linalg.inv(matrixToArray(sliceNode.GetXYToRAS())) @ (*ras, 1.0))[:2]
    width, height, _depth = sliceNode.GetDimensions()
    if not (0 <= x < width and 0 <= y < height):
        sliceNode.JumpSliceByCentering(*ras)


def viewPlane(sliceNode, grid: Grid) -> str:
    """``axial`` | ``sagittal`` | ``coronal`` along the canonical axes (i, j, k = L, P, S), else ``oblique``."""
    normal = matrixToArray(sliceNode.GetSliceToRAS())[:3, 2] * (-1, -1, 1)
    cosines = np.abs(normal / np.linalg.norm(normal) @ grid.matrix)
    axis = int(np.argmax(cosines))
    return (SAGITTAL, CORONAL, AXIAL)[axis] if cosines[axis] > _ALIGNED else OBLIQUE
