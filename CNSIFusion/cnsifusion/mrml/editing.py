"""One reader's action on a segment: a tool's mask through Slicer's Segment Editor logic, undoable as one step.

Masking, overwrite mode and intensity range are the editor node's and are honoured by Slicer's own logic. The desktop
and the browser bring their own undo machinery; both use :func:`modifier`. :class:`RegionEditor` is the plain one for
scripts and tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from slicer import vtkMRMLSegmentEditorNode, vtkSlicerSegmentEditorLogic

from cnsifusion.mrml.segmentation import ensureSegment, markEdited, orientedImage
from cnsifusion.mrml.volumes import NodeGeometry

_UNDO_STATES = 30


@dataclass(frozen=True, eq=False)
class Change:
    """What a tool asks for: voxels to add to one of the protocol's segments, or to erase from it.

    ``mask`` is a bool window [k, j, i] whose first voxel lies at ``origin`` (k, j, i) of the canonical grid. ``reason``
    says why the reader rejects a region that is erased as a whole.
    """

    name: str
    mask: np.ndarray
    origin: tuple[int, int, int]
    erase: bool = False
    reason: str = ""


def carryOut(
    changes: Sequence[Change],
    segmentationNode,
    volumeNode,
    geometry: NodeGeometry,
    modify: Callable[[str, object, bool, tuple[int, ...]], None],
) -> str:
    """Make the changes with the face's own ``modify(segmentId, labelmap, erase, extent)``; returns the last segment.

    The caller opens the undo step around it: a new segment, voxels and provenance come and go together.
    """
    segmentId = ""
    for change in changes:
        segmentId = ensureSegment(segmentationNode, change.name)
        labelmap, extent = modifier(change.mask, change.origin, volumeNode, geometry)
        modify(segmentId, labelmap, change.erase, extent)
        markEdited(segmentationNode, segmentId, change.reason)
    return segmentId


def modifier(mask: np.ndarray, origin: tuple[int, int, int], volumeNode, geometry: NodeGeometry | None = None):
    """A tool's mask as a modifier labelmap of just its window, and the window's extent on the volume node.

    ``mask`` is a bool array [k, j, i] whose first voxel lies at ``origin`` (k, j, i) of the canonical grid. Pass both
    to ``ModifySegmentByLabelmap`` (or trame-slicer's ``apply_labelmap``): without the extent Slicer scans the image.
    """
    geometry = geometry or NodeGeometry(volumeNode)
    extent = geometry.extentToNode(origin, mask.shape)
    return orientedImage(geometry.toNode(mask), extent, volumeNode), extent


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
