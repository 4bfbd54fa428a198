"""Slicer's slice views: show the case's image, its heat map, a place in it. Without a main window nothing happens."""

from collections.abc import Callable

import qt
import slicer
from slicer import vtkMRMLLayoutNode

from cnsifusion.mrml.alignment import OBLIQUE, bringTo, viewPlane
from cnsifusion.mrml.beside import LinkedSlices
from cnsifusion.mrml.volumes import NodeGeometry

#: Time for the mouse between the drawing of one view and the next.
_TURN_MILLISECONDS = 20


def sliceNodes() -> list:
    """The slice nodes of the layout's views."""
    manager = slicer.app.layoutManager()
    return [manager.sliceWidget(name).mrmlSliceNode() for name in manager.sliceViewNames()] if manager else []


class Turns:
    """Has what changed drawn view after view and the mouse heard in between: together the views hold it up for long."""

    def __init__(self):
        self._waiting = []
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_TURN_MILLISECONDS)
        self._timer.connect("timeout()", self._next)

    def take(self, change: Callable[[], None]) -> None:
        """Make a change that is drawn in turns; while those of a former change last, they go on as they are."""
        manager = slicer.app.layoutManager()
        if manager and not self._waiting:
            self._waiting = [manager.sliceWidget(name).sliceView() for name in manager.sliceViewNames()]
            for view in self._waiting:
                view.pauseRender()
            self._timer.start()  # it fires when the event loop is back
        change()

    def end(self) -> None:
        """Let all views draw as they like."""
        self._timer.stop()
        while self._waiting:
            self._waiting.pop().resumeRender()

    def _next(self) -> None:
        view = self._waiting.pop(0)
        view.resumeRender()
        view.forceRender()  # now: what it would plan for later could meet the next one's turn
        if self._waiting:
            self._timer.start()


def showVolume(volumeNode) -> None:
    """The volume in all slice views, along its own slices, and nothing else over it."""
    for composite in _composites():
        composite.SetForegroundVolumeID(None)
        composite.SetBackgroundVolumeID(volumeNode.GetID())
    alignWith(volumeNode)
    slicer.util.resetSliceViews()


def showsAlready(volumeNode) -> bool:
    """Whether all views on the screen show the volume along its own slices, as those of a saved scene do."""
    grid, manager = NodeGeometry(volumeNode).grid, slicer.app.layoutManager()
    shown = [manager.sliceWidget(name) for name in manager.sliceViewNames()] if manager else []
    return all(
        widget.mrmlSliceCompositeNode().GetBackgroundVolumeID() == volumeNode.GetID()
        and viewPlane(widget.mrmlSliceNode(), grid) != OBLIQUE
        for widget in shown
        if widget.mrmlSliceNode().IsMappedInLayout()
    )


def imagesShown() -> list:
    """The volume nodes in the slice views on the screen, each once: Slicer shows what it loads in all of them.

    Those laid over another image too, where anything of them can be seen; the results' own maps are no images.
    """
    manager = slicer.app.layoutManager()
    found = []
    for widget in map(manager.sliceWidget, manager.sliceViewNames()) if manager else []:
        if widget.mrmlSliceNode().IsMappedInLayout():  # views of other layouts keep what they last showed
            layers = widget.mrmlSliceCompositeNode()
            found.append(layers.GetBackgroundVolumeID())
            if layers.GetForegroundVolumeID() and layers.GetForegroundOpacity() > 0:
                found += [layers.GetForegroundVolumeID()] if layers.GetForegroundVolumeID() not in _maps() else []
    nodes = [slicer.mrmlScene.GetNodeByID(name) for name in dict.fromkeys(found) if name]
    return [node for node in nodes if node is not None]


def alignWith(volumeNode) -> None:
    """Turn the slice views along the volume's own slices."""
    for node in sliceNodes():
        node.RotateToVolumePlane(volumeNode)


class Beside:
    """Another series of the patient in a second view, scrolling and zooming with the axial one."""

    def __init__(self):
        self._node = self._link = None
        self._formerLayout = vtkMRMLLayoutNode.SlicerLayoutFourUpView

    def show(self, volumeNode, imageNode) -> None:
        """Put ``volumeNode`` beside the image; None gives the former layout back, aligned with ``imageNode``."""
        manager = slicer.app.layoutManager()
        if manager is None or volumeNode is self._node:
            return
        if self._link is not None:
            self._link.close()
            self._link = None
        if volumeNode is None:
            manager.setLayout(self._formerLayout)
            self._background(imageNode)
            if imageNode is not None:
                manager.sliceWidget("Yellow").mrmlSliceNode().SetOrientationToSagittal()
                alignWith(imageNode)
        else:
            if self._node is None:
                self._formerLayout = manager.layout
            manager.setLayout(vtkMRMLLayoutNode.SlicerLayoutSideBySideView)
            # A series that was just loaded lies in every view, those of the former layout too.
            for view in manager.sliceViewNames():
                if view == "Red" or self._composite(view).GetBackgroundVolumeID() == volumeNode.GetID():
                    self._background(imageNode, view)
            self._background(volumeNode)
            self._link = LinkedSlices(*(manager.sliceWidget(name).mrmlSliceNode() for name in ("Red", "Yellow")))
        self._node = volumeNode

    def _background(self, volumeNode, view: str = "Yellow") -> None:
        self._composite(view).SetBackgroundVolumeID(volumeNode.GetID() if volumeNode else None)

    @staticmethod
    def _composite(view: str):
        return slicer.app.layoutManager().sliceWidget(view).sliceLogic().GetSliceCompositeNode()


def offerNoMaps(*selectors) -> None:
    """Leave the results' own maps out of selectors of images."""
    maps = _maps()
    for selector in selectors:
        model = selector.sortFilterProxyModel()
        if list(model.hiddenNodeIDs) != maps:
            model.hiddenNodeIDs = maps


def jumpTo(lps: tuple) -> None:
    """Bring all slice views to a position (LPS, mm)."""
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        bringTo(node, lps)


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


def _maps() -> list:
    """The node ids of all results' maps."""
    from cnsifusion.mrml.case import CaseState

    return [node.GetID() for case in CaseState.all(slicer.mrmlScene) for node in (case.logMap, case.heatMap) if node]


def _composites() -> list:
    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
