"""The voxels of one segment on its volume's canonical grid, wherever and however Slicer keeps them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import vtk
from slicer import (
    vtkMRMLTransformNode,
    vtkOrientedImageData,
    vtkOrientedImageDataResample,
    vtkSegmentationConverter,
)
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from cnsifusion.mrml.volumes import NodeGeometry, worldMatrix
from cnsifusion.roi.tools.result import ToolResult, nothing

LABELMAP = vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


def segmentIdOf(segmentationNode, name: str) -> str:
    """Id of the segment with this name, "" where there is none."""
    return segmentationNode.GetSegmentation().GetSegmentIdBySegmentName(name) or ""


class Remembered:
    """What was read from segments, by :func:`stamp`: Slicer copies a segment's voxels for it, in several threads, and
    on a busy computer the face waits for each of them.
    """

    _SIZE = 64

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}

    def get(self, stamp: Hashable, read: Callable[[], Any]) -> Any:
        """What ``read()`` gave when the stamp was new."""
        if stamp not in self._known:
            while len(self._known) >= self._SIZE:
                del self._known[next(iter(self._known))]
            self._known[stamp] = read()
        return self._known[stamp]


def stamp(segmentationNode, segmentId: str) -> Hashable:
    """Changes whenever the segment's voxels do: Slicer's undo history, too, goes by the labelmap's time stamp, which no
    two labelmaps share. None where the segment holds nothing.
    """
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    labelmap = segment.GetRepresentation(LABELMAP)
    return None if labelmap is None else (labelmap.GetMTime(), labelmap.GetExtent(), segment.GetLabelValue())


def segmentWindow(segmentationNode, name: str, volumeNode, geometry: NodeGeometry) -> ToolResult:
    """The protocol's segment as a bool window of the canonical grid: what is drawn, or that nothing is."""
    segmentId = segmentIdOf(segmentationNode, name)
    piece = take(segmentationNode, segmentId, volumeNode) if segmentId else None
    piece = _inside(piece, geometry.nodeShape) if piece is not None else None
    if piece is None or not piece[0].any():
        return nothing(f"Nothing of {name} is drawn.")
    values, first = piece
    return ToolResult(geometry.toCanonical(values), geometry.originFromNode(first, values.shape))


def segmentMask(segmentationNode, segmentId: str, volumeNode, geometry: NodeGeometry | None = None) -> np.ndarray:
    """One segment as a bool array [k, j, i] on the volume's canonical grid."""
    return whole(take(segmentationNode, segmentId, volumeNode), geometry or NodeGeometry(volumeNode))


def milliliters(segmentationNode, segmentId: str) -> float:
    """What a segment holds on its own grid, wherever that lies."""
    image = vtkOrientedImageData()
    piece = voxelsOf(image) if segmentationNode.GetBinaryLabelmapRepresentation(segmentId, image) else None
    x, y, z = image.GetSpacing()
    return round(int(np.count_nonzero(piece[0])) * x * y * z / 1000, 4) if piece is not None else 0.0


#: A segment's voxels (bool, a copy, [k, j, i]) and the node index (k, j, i) of the first.
Piece = tuple[np.ndarray, tuple[int, int, int]]


def take(segmentationNode, segmentId: str, volumeNode) -> Piece | None:
    """A segment's voxels on the volume's own grid, None where there are none; BadInput under a non-linear transform."""
    image = vtkOrientedImageData()
    if not segmentationNode.GetBinaryLabelmapRepresentation(segmentId, image):
        return None
    return voxelsOf(_onVolumeGrid(image, segmentationNode, volumeNode))


def voxelsOf(image) -> Piece | None:
    """What an oriented image holds, None where it is empty."""
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    if i1 < i0 or j1 < j0 or k1 < k0:
        return None
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1]) > 0
    return (values, (k0, j0, i0)) if values.any() else None


def whole(piece: Piece | None, geometry: NodeGeometry) -> np.ndarray:
    """A piece as a bool array [k, j, i] of the whole canonical grid."""
    array = np.zeros(geometry.nodeShape, bool)
    piece = _inside(piece, geometry.nodeShape) if piece is not None else None
    if piece is not None:
        values, first = piece
        array[tuple(slice(start, start + n) for start, n in zip(first, values.shape))] = values
    return geometry.toCanonical(array)


def orientedImage(array: np.ndarray, extent: tuple[int, ...], volumeNode):
    """A labelmap (uint8) with ``array`` [k, j, i] at ``extent`` of the volume node's own grid."""
    image = vtkOrientedImageData()
    image.SetExtent(*extent)
    scalars = numpy_to_vtk(array.astype(np.uint8).ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    image.SetImageToWorldMatrix(matrix)
    return image


def _onVolumeGrid(image, segmentationNode, volumeNode):
    reference = orientedImage(np.zeros((1, 1, 1)), (0, 0, 0, 0, 0, 0), volumeNode)
    extent = volumeNode.GetImageData().GetExtent()
    reference.SetExtent(extent)
    sameTransform = segmentationNode.GetParentTransformNode() == volumeNode.GetParentTransformNode()
    if sameTransform and vtkOrientedImageDataResample.DoGeometriesMatchIgnoreOrigin(reference, image):
        offset = np.array(reference.GetOrigin()) - np.array(image.GetOrigin())
        if np.abs(offset).max() < 1e-3 * min(reference.GetSpacing()):
            return image
    transform = vtk.vtkGeneralTransform()
    for node in (segmentationNode, volumeNode):
        worldMatrix(node)  # refuses a non-linear transform
    vtkMRMLTransformNode.GetTransformBetweenNodes(
        segmentationNode.GetParentTransformNode(), volumeNode.GetParentTransformNode(), transform
    )
    resampled = vtkOrientedImageData()
    vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        image, reference, resampled, False, False, transform
    )
    return resampled


def _inside(piece: Piece, shape: tuple[int, ...]) -> Piece | None:
    """The part of a piece that lies in the image, None where there is none."""
    values, first = piece
    low = [max(-start, 0) for start in first]
    high = [min(n, size - start) for n, size, start in zip(values.shape, shape, first)]
    if any(h <= lo for lo, h in zip(low, high)):
        return None
    cut = values[tuple(slice(lo, h) for lo, h in zip(low, high))]
    return cut, (first[0] + low[0], first[1] + low[1], first[2] + low[2])
