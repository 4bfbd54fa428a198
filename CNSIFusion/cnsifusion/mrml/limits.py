"""Where drawing may change voxels: Slicer's own masking, intensity range and overwrite mode, set on an editor node.

On the desktop the reader sets these in the Segment Editor itself; the browser's page offers them with these words. Both
faces ask before they open an undo step whether the limits leave anything of an action (:func:`leaveNothing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from slicer import vtkMRMLSegmentationNode, vtkMRMLSegmentEditorNode, vtkOrientedImageData
from vtk.util.numpy_support import vtk_to_numpy

from cnsifusion.mrml.drawn import segmentIdOf
from cnsifusion.mrml.editing import Change, modifier
from cnsifusion.mrml.volumes import NodeGeometry
from cnsifusion.roi.names import SEGMENTS

ANYWHERE, OUTSIDE = "anywhere", "outside the other regions"
_INSIDE = "inside "
#: What happens to the other regions where one is drawn over them, and Slicer's mode for it.
OVERWRITE = {
    "keep others": vtkMRMLSegmentEditorNode.OverwriteNone,
    "cut others": vtkMRMLSegmentEditorNode.OverwriteAllSegments,
    "cut visible ones": vtkMRMLSegmentEditorNode.OverwriteVisibleSegments,
}
KEEP = "keep others"
NOTHING_LEFT = "Nothing changed: the limits of drawing (place or brightness) leave nothing here."


@dataclass(frozen=True)
class Limits:
    """``where`` is one of :func:`places`, ``overwrite`` a key of OVERWRITE.

    ``brightness`` is the lowest and highest value (the image's own units) that may change; None for any.
    """

    where: str = ANYWHERE
    overwrite: str = KEEP
    brightness: tuple[float, float] | None = None

    @property
    def text(self) -> str:
        """The limits in a line for the reader."""
        line = f"{self.where}, {self.overwrite}"
        return line + (", brightness {:.0f} to {:.0f}".format(*self.brightness) if self.brightness else "")

    def applyTo(self, editorNode, segmentationNode) -> str:
        """Set them on a segment editor node; returns why nothing can be drawn at all, "" where it can."""
        inside = self.where.removeprefix(_INSIDE) if self.where.startswith(_INSIDE) else ""
        segmentId = segmentIdOf(segmentationNode, inside) if inside else ""
        if inside and not segmentId:
            return f"Drawing is limited to the inside of {inside}, which is not drawn."
        wasModifying = editorNode.StartModify()
        editorNode.SetOverwriteMode(OVERWRITE[self.overwrite])
        editorNode.SetMaskSegmentID(segmentId)
        editorNode.SetMaskMode(self._maskMode(bool(inside)))
        editorNode.SetSourceVolumeIntensityMask(self.brightness is not None)
        if self.brightness is not None:
            editorNode.SetSourceVolumeIntensityMaskRange(*self.brightness)
        editorNode.EndModify(wasModifying)
        return ""

    def _maskMode(self, inside: bool) -> int:
        if inside:
            return vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment
        if self.where == OUTSIDE:
            # Of the visible ones: the ventricles' parts are hidden segments, and lie where the ventricles do.
            return vtkMRMLSegmentationNode.EditAllowedOutsideVisibleSegments
        return vtkMRMLSegmentationNode.EditAllowedEverywhere


def places(segmentationNode) -> list[str]:
    """What ``where`` may be in a segmentation (None for none yet)."""
    present = [name for name in SEGMENTS if segmentationNode is not None and segmentIdOf(segmentationNode, name)]
    return [ANYWHERE, OUTSIDE, *(_INSIDE + name for name in present)]


def leaveNothing(changes: Sequence[Change], editorNode, segmentationNode, volumeNode, geometry: NodeGeometry) -> bool:
    """Whether the limits set on a segment editor node leave no voxel of the changes: there is nothing to do or undo."""
    anywhere = editorNode.GetMaskMode() == vtkMRMLSegmentationNode.EditAllowedEverywhere
    if anywhere and not editorNode.GetSourceVolumeIntensityMask():
        return not any(change.mask.any() for change in changes)
    return not any(_left(change, editorNode, segmentationNode, volumeNode, geometry).any() for change in changes)


def _left(change: Change, editorNode, segmentationNode, volumeNode, geometry: NodeGeometry) -> np.ndarray:
    """The change's voxels, on the volume node's own axes, where Slicer would let it work."""
    labelmap, (i0, i1, j0, j1, k0, k1) = modifier(change.mask, change.origin, volumeNode, geometry)
    left = _array(labelmap) > 0
    if change.erase and editorNode.GetMaskMode() == vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment:
        return left  # Slicer's rule: it erases everywhere then, and gives what lies inside to that region
    if editorNode.GetMaskMode() != vtkMRMLSegmentationNode.EditAllowedEverywhere:
        closed, edited = vtkOrientedImageData(), segmentIdOf(segmentationNode, change.name)
        inside = editorNode.GetMaskSegmentID() or ""
        segmentationNode.GenerateEditMask(closed, editorNode.GetMaskMode(), labelmap, edited, inside)
        left &= _array(closed) == 0
    if editorNode.GetSourceVolumeIntensityMask():
        low, high = editorNode.GetSourceVolumeIntensityMaskRange()
        values = _array(volumeNode.GetImageData())[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1]
        left &= (low <= values) & (values <= high)
    return left


def _array(image) -> np.ndarray:
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
