"""The editor's segments: which one is selected, and how what the tools ask for is done to them as one undo step."""

from types import SimpleNamespace

import slicer
import vtk


def selectedName(editorNode) -> str | None:
    """Name of the selected segment, None where there is none; "" for the second one of the same name."""
    segmentationNode = editorNode.GetSegmentationNode() if editorNode else None
    segmentId = editorNode.GetSelectedSegmentID() if segmentationNode else None
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId) if segmentId else None
    if segment is None:
        return None
    name = segment.GetName()
    return name if segmentationNode.GetSegmentation().GetSegmentIdBySegmentName(name) == segmentId else ""


class Kept:
    """How the reader left the tools of a segmentation, for when they come back from another effect."""

    def __init__(self):
        self._segmentation, self._settings = vtk.vtkWeakReference(), None  # the next scene uses the same ids

    def takeFrom(self, controller) -> None:
        """Keep a controller's settings (None: nothing); another time it begins by adding."""
        if controller is not None:
            from cnsifusion.mrml.tools import SETTINGS

            self._segmentation.Set(controller.segmentationNode)
            self._settings = SimpleNamespace(**{name: getattr(controller, name) for name in SETTINGS})
            self._settings.erase = False

    def giveTo(self, controller) -> None:
        """Give them to a new controller of the same segmentation."""
        if self._settings and self._segmentation.Get() is controller.segmentationNode:
            controller.useSettings(self._settings)


def goOn(scriptedEffect, segmentationNode, name: str) -> None:
    """Take the effect up again, on ``name`` or another region: undo took the selected one away and ended it."""
    from cnsifusion.mrml.drawn import segmentIdOf
    from cnsifusion.roi.names import SEGMENTS

    editorNode = scriptedEffect.parameterSetNode()
    if editorNode is None or editorNode.GetSegmentationNode() is not segmentationNode:
        return
    left = next(filter(None, (segmentIdOf(segmentationNode, region) for region in (name, *SEGMENTS))), "")
    if left and selectedName(editorNode) is None and not editorNode.GetActiveEffectName():
        editorNode.SetSelectedSegmentID(left)
        scriptedEffect.selectEffect(scriptedEffect.name)


class Edits:
    """Carries out changes on the editor's segments; while ``running`` it selects them in passing."""

    def __init__(self, scriptedEffect):
        self._effect = scriptedEffect
        self.running = False

    def apply(self, changes, controller) -> None:
        """All changes as one undo step; none where the editor's masking leaves nothing, or the reader says no."""
        from cnsifusion.mrml.editing import carryOut
        from cnsifusion.mrml.limits import NOTHING_LEFT, leaveNothing

        editorNode = self._effect.parameterSetNode()
        nodes = (controller.segmentationNode, controller.volumeNode, controller.geometry)
        if leaveNothing(changes, editorNode, *nodes):
            controller.message = NOTHING_LEFT
            return
        selected, last = editorNode.GetSelectedSegmentID(), None
        self.running = True
        try:
            if self._allSeen(changes, controller.segmentationNode):
                self._effect.saveStateForUndo()
                last = carryOut(changes, *nodes, self._modify)
        finally:
            self.running = False
            # The reader stays on their region: undo may take a new one away, and without a segment the effect ends.
            editorNode.SetSelectedSegmentID(selected or last)

    def _allSeen(self, changes, segmentationNode) -> bool:
        """Whether each region that changes is visible, or the reader wants the change all the same."""
        from cnsifusion.mrml.drawn import segmentIdOf

        for segmentId in filter(None, (segmentIdOf(segmentationNode, change.name) for change in changes)):
            self._effect.parameterSetNode().SetSelectedSegmentID(segmentId)
            if not self._effect.confirmCurrentSegmentVisible():
                return False
        return True

    def _modify(self, segmentId, labelmap, erase, extent) -> None:
        modes = slicer.qSlicerSegmentEditorAbstractEffect
        self._effect.parameterSetNode().SetSelectedSegmentID(segmentId)
        mode = modes.ModificationModeRemove if erase else modes.ModificationModeAdd
        self._effect.modifySelectedSegmentByLabelmap(labelmap, mode, list(extent))
