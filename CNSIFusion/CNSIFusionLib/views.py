"""Slicer's slice views: show the case's image, its heat map, a place in it. Without a main window nothing happens."""

import slicer
from slicer import vtkMRMLLayoutNode, vtkMRMLSliceNode


def sliceNodes() -> list:
    """The slice nodes of the layout's views."""
    manager = slicer.app.layoutManager()
    return [manager.sliceWidget(name).mrmlSliceNode() for name in manager.sliceViewNames()] if manager else []


def showVolume(volumeNode) -> None:
    """The volume in all slice views, along its own slices, and nothing else over it."""
    for composite in _composites():
        composite.SetForegroundVolumeID(None)
        composite.SetBackgroundVolumeID(volumeNode.GetID())
    alignWith(volumeNode)
    slicer.util.resetSliceViews()


def alignWith(volumeNode) -> None:
    """Turn the slice views along the volume's own slices."""
    for node in sliceNodes():
        node.RotateToVolumePlane(volumeNode)


def showHeat(heatNode, shown: bool, opacity: float) -> None:
    """Lay a heat map over the image or take it away; another foreground of the reader's stays."""
    if heatNode is None:
        return
    for composite in _composites():
        if shown:
            composite.SetForegroundVolumeID(heatNode.GetID())
            composite.SetForegroundOpacity(opacity)
        elif composite.GetForegroundVolumeID() == heatNode.GetID():
            composite.SetForegroundVolumeID(None)


def showOnly(segmentationNode) -> None:
    """Hide the other cases' regions, so that nothing of one patient lies over another."""
    from cnsifusion.mrml.case import CaseState

    for case in CaseState.all(slicer.mrmlScene):
        node = case.segmentation
        if node is not None and node.GetDisplayNode():
            node.GetDisplayNode().SetVisibility(node is segmentationNode)


def jumpTo(lps: tuple) -> None:
    """Bring all slice views to a position (LPS, mm)."""
    vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, -lps[0], -lps[1], lps[2], vtkMRMLSliceNode.OffsetJumpSlice)


def setLargeAxial(large: bool, former: int) -> int:
    """The axial view alone, or the layout that was there before; returns the layout to go back to."""
    manager = slicer.app.layoutManager()
    if manager is None:
        return former
    single = vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
    if large:
        before = manager.layout
        manager.setLayout(single)
        return before if before != single else former
    if manager.layout == single:
        manager.setLayout(former)
    return former


def _composites() -> list:
    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
