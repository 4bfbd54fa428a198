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
        for node in _maps(case):
            _keepMap(case, node, node in own)


def showMap(case: CaseState, shown: bool) -> None:
    """Lay the case's chosen map over the image, or take it away.

    In the views that the reader left it in, at first in all; another foreground of the reader's is not taken away.
    """
    if shown:
        for view in _views(case):
            _lay(view, case, case.shownMap)
    else:
        _take(case, *_maps(case))


def _keepRegions(display, own: bool) -> None:
    if own and display.GetAttribute(_TAKEN):
        display.SetVisibility(True)
        display.RemoveAttribute(_TAKEN)
    elif not own and display.GetVisibility():
        display.SetVisibility(False)
        display.SetAttribute(_TAKEN, "true")


def _keepMap(case: CaseState, node, own: bool) -> None:
    """Another foreground that the reader chose in between stays."""
    if own and node.GetAttribute(_TAKEN):
        for view in _views(case):
            if not view.GetForegroundVolumeID():
                _lay(view, case, node)
        node.RemoveAttribute(_TAKEN)
    elif not own and _take(case, node):
        node.SetAttribute(_TAKEN, "true")


def _maps(case: CaseState) -> list:
    return [node for node in (case.logMap, case.heatMap) if node is not None]


def _views(case: CaseState) -> list:
    """The views that a map of the case lies in, else those it was last in, else all."""
    every = nodesByClass(case.scene, "vtkMRMLSliceCompositeNode")
    return _over(case, *_maps(case)) or [view for view in every if view.GetID() in case.mapViews] or every


def _over(case: CaseState, *maps) -> list:
    ids = [node.GetID() for node in maps]
    return [v for v in nodesByClass(case.scene, "vtkMRMLSliceCompositeNode") if v.GetForegroundVolumeID() in ids]


def _lay(view, case: CaseState, node) -> None:
    view.SetForegroundVolumeID(node.GetID())
    view.SetForegroundOpacity(case.heatMapOpacity)


def _take(case: CaseState, *maps) -> bool:
    """Take maps out of the views, which are kept in mind; whether there was any."""
    over = _over(case, *maps)
    if over:
        case.mapViews = [view.GetID() for view in over]
    for view in over:
        view.SetForegroundVolumeID(None)
    return bool(over)
