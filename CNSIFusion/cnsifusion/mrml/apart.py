"""Regions and maps lie over images of their own patient alone, in whatever module the reader shows another one."""

from __future__ import annotations

from cnsifusion.mrml.case import CaseState, nodesByClass

#: Marks what was taken out of the views here, not by the reader: that alone is given back.
_TAKEN = "CNSIFusion.TakenFromViews"


def keepApart(scene, whose: CaseState | None) -> None:
    """Take the regions and maps of all cases but ``whose`` out of the views, and give back to them what is its own."""
    own = (whose.segmentation, whose.logMap, whose.heatMap) if whose is not None else ()
    for case in CaseState.all(scene):
        if case.segmentation is not None and case.segmentation.GetDisplayNode() is not None:
            _keepRegions(case.segmentation.GetDisplayNode(), case.segmentation in own)
        for node in (case.logMap, case.heatMap):
            if node is not None:
                _keepMap(node, node in own, case.heatMapOpacity)


def _keepRegions(display, own: bool) -> None:
    if own and display.GetAttribute(_TAKEN):
        display.SetVisibility(True)
        display.RemoveAttribute(_TAKEN)
    elif not own and display.GetVisibility():
        display.SetVisibility(False)
        display.SetAttribute(_TAKEN, "true")


def _keepMap(node, own: bool, opacity: float) -> None:
    """Another foreground that the reader chose in between stays."""
    views = nodesByClass(node.GetScene(), "vtkMRMLSliceCompositeNode")
    over = [view for view in views if view.GetForegroundVolumeID() == node.GetID()]
    if own and node.GetAttribute(_TAKEN):
        for view in views:
            if not view.GetForegroundVolumeID():
                view.SetForegroundVolumeID(node.GetID())
                view.SetForegroundOpacity(opacity)
        node.RemoveAttribute(_TAKEN)
    elif not own and over:
        for view in over:
            view.SetForegroundVolumeID(None)
        node.SetAttribute(_TAKEN, "true")
