"""Where drawing may change voxels: Slicer's own masking, intensity range and overwrite mode, set on an editor node.

On the desktop the reader sets these in the Segment Editor itself; the browser's page offers them with these words.
"""

from __future__ import annotations

from dataclasses import dataclass

from slicer import vtkMRMLSegmentationNode, vtkMRMLSegmentEditorNode

from cnsifusion.mrml.drawn import segmentIdOf
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
            return vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments
        return vtkMRMLSegmentationNode.EditAllowedEverywhere


def places(segmentationNode) -> list[str]:
    """What ``where`` may be in a segmentation (None for none yet)."""
    present = [name for name in SEGMENTS if segmentationNode is not None and segmentIdOf(segmentationNode, name)]
    return [ANYWHERE, OUTSIDE, *(_INSIDE + name for name in present)]
