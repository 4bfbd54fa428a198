"""The outline of a tool's mask along pixel edges, as lines for a slice view: exactly what a click would change."""

from __future__ import annotations

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray

from cnsifusion.imaging import Grid
from cnsifusion.mrml.volumes import matrixToArray

NO_EDGES = np.zeros((0, 2, 3))
#: Half the size (mm) of the mark at a point that can be dragged.
_MARK_MM = 0.9


def outline(mask: np.ndarray, origin: tuple[int, int, int], sliceIndex: int, grid: Grid) -> np.ndarray:
    """Edges (n, 2, 3) in LPS mm around the mask's pixels on one axial slice of the canonical grid.

    ``mask`` is a bool window [k, j, i] whose first voxel lies at ``origin`` (k, j, i).
    """
    k = sliceIndex - origin[0]
    if not 0 <= k < mask.shape[0]:
        return NO_EDGES
    picture = np.pad(mask[k], 1).astype(np.int8)
    rows, columns = np.nonzero(np.diff(picture, axis=1))  # edges between left and right neighbours
    upright = np.stack([[columns, rows - 0.5], [columns, rows + 0.5]], 0) + np.array([0.5, 0.0])[None, :, None]
    rows, columns = np.nonzero(np.diff(picture, axis=0))
    level = np.stack([[columns - 0.5, rows], [columns + 0.5, rows]], 0) + np.array([0.0, 0.5])[None, :, None]
    ji = np.concatenate([upright, level], axis=2).transpose(2, 0, 1) - 1.0 + np.array([origin[2], origin[1]])
    return grid.to_lps(np.concatenate([ji, np.full((*ji.shape[:2], 1), float(sliceIndex))], axis=2))


def polyline(points: np.ndarray, sliceIndex: int, grid: Grid) -> np.ndarray:
    """Edges of the closed line through ``points`` (n, 2), continuous (i, j), on one axial slice."""
    corners = grid.to_lps(np.column_stack([points, np.full(len(points), float(sliceIndex))]))
    return np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)


def marks(points: np.ndarray, sliceIndex: int, grid: Grid) -> np.ndarray:
    """Edges of a small square around each of ``points`` (n, 2), continuous (i, j), on one axial slice."""
    half = _MARK_MM / np.array(grid.spacing[:2])
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
    squares = [polyline(point + corners, sliceIndex, grid) for point in points]
    return np.concatenate(squares) if squares else NO_EDGES


def viewLines(edges: np.ndarray, sliceNode) -> vtk.vtkPolyData:
    """Edges (n, 2, 3) in LPS mm as line cells in the slice view's pixels, for a vtkPolyDataMapper2D."""
    points = _inView(edges, sliceNode)
    points[:, 2] = 0
    count = len(edges)
    cells = vtk.vtkCellArray()
    cells.SetData(
        numpy_to_vtkIdTypeArray(np.arange(0, 2 * count + 1, 2), deep=True),
        numpy_to_vtkIdTypeArray(np.arange(2 * count), deep=True),
    )
    data = vtk.vtkPolyData()
    vtkPoints = vtk.vtkPoints()
    vtkPoints.SetData(numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    data.SetPoints(vtkPoints)
    data.SetLines(cells)
    return data


def viewPath(edges: np.ndarray, sliceNode, height: int) -> str:
    """Edges (n, 2, 3) in LPS mm as an SVG path in the pixels of a slice view of ``height``, from its upper left."""
    points = _inView(edges, sliceNode)[:, :2] + 0.5
    ends = np.round(np.column_stack([points[:, 0], height - points[:, 1]]), 1).reshape(-1, 4)
    return "".join(f"M{a:g} {b:g}L{c:g} {d:g}" for a, b, c, d in ends)


def _inView(edges: np.ndarray, sliceNode) -> np.ndarray:
    toXy = np.linalg.inv(matrixToArray(sliceNode.GetXYToRAS()))
    return edges.reshape(-1, 3) * (-1, -1, 1) @ toXy[:3, :3].T + toXy[:3, 3]
