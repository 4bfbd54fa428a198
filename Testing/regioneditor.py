"""For tests and scripts: a reader's actions through Slicer's Segment Editor logic, without any view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from slicer import vtkMRMLSegmentEditorNode, vtkSlicerSegmentEditorLogic

from cnsifusion.mrml.editing import Change, carryOut
from cnsifusion.mrml.volumes import NodeGeometry

_UNDO_STATES = 30


class RegionEditor:
    """Edits one segmentation on one volume with undo and redo, without any view."""

    def __init__(self, scene, segmentationNode, volumeNode):
        self.volumeNode, self.segmentationNode = volumeNode, segmentationNode
        self.geometry = NodeGeometry(volumeNode)
        self.node = vtkMRMLSegmentEditorNode()
        self.node.SetOverwriteMode(vtkMRMLSegmentEditorNode.OverwriteNone)  # PVS lie inside the sub-lentiform region
        self.node.SetSaveWithScene(False)
        scene.AddNode(self.node)
        self.logic = vtkSlicerSegmentEditorLogic()
        self.logic.SetMRMLScene(scene)
        self.logic.SetSegmentEditorNode(self.node)
        self.logic.SetSegmentationNode(segmentationNode)
        self.logic.SetSourceVolumeNode(volumeNode)
        self.logic.SetMaximumNumberOfUndoStates(_UNDO_STATES)
        self.logic.UpdateReferenceGeometryImage()
        self.logic.UpdateAlignedSourceVolume()

    def apply(self, name: str, mask: np.ndarray, origin: tuple[int, int, int], erase: bool = False) -> bool:
        """Add the mask to the protocol's segment (or erase it) as one undo step; an empty mask does nothing (False)."""
        return self.applyAll([Change(name, mask, origin, erase)])

    def applyAll(self, changes: Sequence[Change]) -> bool:
        """All changes as one undo step; False, and no step, where no mask holds a voxel."""
        if not any(change.mask.any() for change in changes):
            return False
        self.logic.SaveStateForUndo()
        carryOut(changes, self.segmentationNode, self.volumeNode, self.geometry, self._modify)
        return True

    def undo(self) -> bool:
        """Take back the last action; False when there is none."""
        possible = self.logic.CanUndo()
        if possible:
            self.logic.Undo()
        return possible

    def redo(self) -> bool:
        """Do the last undone action again; False when there is none."""
        possible = self.logic.CanRedo()
        if possible:
            self.logic.Redo()
        return possible

    def close(self) -> None:
        """Take the editor's node out of the scene."""
        self.logic.SetSegmentationNode(None)
        self.logic.SetSourceVolumeNode(None)
        if self.node.GetScene():
            self.node.GetScene().RemoveNode(self.node)

    def _modify(self, segmentId: str, labelmap, erase: bool, extent: tuple[int, ...]) -> None:
        self.node.SetSelectedSegmentID(segmentId)
        mode = self.logic.ModificationModeRemove if erase else self.logic.ModificationModeAdd
        self.logic.UpdateMaskLabelmap()
        self.logic.ModifySegmentByLabelmap(self.segmentationNode, segmentId, labelmap, mode, extent, True, False)
