"""The CNSI effect of Slicer's Segment Editor: glue between its events and the tools that the browser uses as well."""

from pathlib import Path

import qt
import slicer
import vtk
from SegmentEditorEffects import AbstractScriptedSegmentEditorLabelEffect
from slicer.i18n import tr as _

from CNSISegmentEditorLib.buttons import OtherButtons
from CNSISegmentEditorLib.edits import Edits, Kept, goOn, selectedName
from CNSISegmentEditorLib.options import Options
from CNSISegmentEditorLib.outline import OutlinePipeline
from CNSISegmentEditorLib.watching import Watch

#: Of two quick clicks Qt makes a press and a double click, which enlarges the view where nobody takes it.
_PRESS = (vtk.vtkCommand.LeftButtonPressEvent, vtk.vtkCommand.LeftButtonDoubleClickEvent)
_RELEASE = vtk.vtkCommand.LeftButtonReleaseEvent
_MOVE, _LEAVE, _KEY = vtk.vtkCommand.MouseMoveEvent, vtk.vtkCommand.LeaveEvent, vtk.vtkCommand.KeyPressEvent
_WHEEL = {vtk.vtkCommand.MouseWheelForwardEvent: 1, vtk.vtkCommand.MouseWheelBackwardEvent: -1}
#: After an edit (or undo, redo, another effect's) the list of foci is read anew, not at each of many in a row.
_REDRAW_MILLISECONDS = 150


class SegmentEditorEffect(AbstractScriptedSegmentEditorLabelEffect):
    """Hover shows what a click would change; click or drag changes it, as one undo step."""

    def __init__(self, scriptedEffect):
        scriptedEffect.name = "CNSI"  # an identifier: never translated
        scriptedEffect.title = _("CNSI regions")
        AbstractScriptedSegmentEditorLabelEffect.__init__(self, scriptedEffect)
        self.controller = None
        self._edits = Edits(scriptedEffect)
        self._buttons = OtherButtons()
        self._kept = Kept()
        self._options = None
        self._outlines = {}
        self._hovered = None
        self._pressedIn = None
        self.segmentName = ""
        self._watch = Watch(self._onEditorNode, self._onSegmentModified, self._onPlace)
        self._changedTimer = qt.QTimer()
        self._changedTimer.setSingleShot(True)
        self._changedTimer.setInterval(_REDRAW_MILLISECONDS)
        self._changedTimer.connect("timeout()", self._onSegmentsChanged)

    def clone(self):
        """A new effect of the same kind, for another editor."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        copy = effects.qSlicerSegmentEditorScriptedLabelEffect(None)
        copy.setPythonSource(Path(__file__).as_posix())
        return copy

    def icon(self):
        """The picture on the editor's button."""
        return qt.QIcon(str(Path(__file__).with_name("SegmentEditorEffect.png")))

    def helpText(self):
        """What the mouse and the keys do."""
        return "<html>" + _(  # the editor shows what stands before <br>, the rest on demand
            "Hover on axial slices: see what a click does<br>"
            "<ul style='margin: 0'><li><b>Click or drag:</b> add or erase it: one undo step.</li>"
            "<li><b>Shift + wheel:</b> the tool's tolerance.</li>"
            "<li><b>E:</b> switch between adding and erasing.</li></ul>"
        )

    # The editor's life cycle

    def setupOptionsFrame(self):
        """Build the controls; nothing of the scene is touched."""
        self._options = Options(self)

    def setMRMLDefaults(self):
        """The effect keeps its choices in the controller's case, none in the editor node."""

    def updateGUIFromMRML(self):
        """The editor node changed: perhaps another segment is selected."""
        if self._options is None or not self.scriptedEffect.active() or self._edits.running:
            return
        if self.controller is None or self._nodes() != (self.controller.segmentationNode, self.controller.volumeNode):
            self._begin()
        if self.controller is None:
            return
        self._followSelection()
        self._options.draw()

    def updateMRMLFromGUI(self):
        """Nothing is kept in the editor node."""

    def activate(self):
        """The reader chose the effect."""
        if self._options is not None:
            self._begin()
            self._options.bringIntoSight()

    def deactivate(self):
        """Another effect was chosen, or none: leave nothing behind. Where undo took the region, go on with another."""
        active, regions = self.controller is not None, self._nodes()[0]
        self._end()
        if active and regions is not None and selectedName(self.scriptedEffect.parameterSetNode()) is None:
            qt.QTimer.singleShot(0, lambda: goOn(self.scriptedEffect, regions, self.segmentName))

    def cleanup(self):
        """The editor goes away; may come after deactivate() or instead of it."""
        self._end()
        if self._options is not None:
            self._options.cleanup()
            self._options = None

    def sourceVolumeNodeChanged(self):
        """Another image."""
        if self._options is not None and self.scriptedEffect.active():
            self._begin()

    def referenceGeometryChanged(self):
        """Another grid."""
        self.sourceVolumeNodeChanged()

    def layoutChanged(self):
        """Other views: the outlines of the old ones are gone with them."""
        self._removeOutlines()

    # Events

    def processInteractionEvents(self, callerInteractor, eventId, viewWidget):
        """True where the event is used up; what comes with a modifier and a button belongs to the view."""
        if self.controller is None or viewWidget.className() != "qMRMLSliceWidget":
            return False
        shift = callerInteractor.GetShiftKey()
        others = callerInteractor.GetControlKey() or callerInteractor.GetAltKey()
        if self._pressedIn is not None and (eventId == _KEY or eventId in _WHEEL):
            return True  # a stroke keeps its settings, and stays on its slice
        if self._buttons.areIn(eventId):
            return self._buttons.usedUp(eventId, self._pressedIn is not None)
        if eventId in _WHEEL:
            return bool(shift and not others) and self._turn(_WHEEL[eventId], viewWidget)
        if eventId == _KEY:
            return not (shift or others) and self._key(callerInteractor.GetKeySym(), viewWidget)
        if eventId == _LEAVE:
            self._leave()
            return False
        if eventId == _RELEASE:
            return self._release(viewWidget)
        if eventId in _PRESS:
            return not (shift or others) and self._press(callerInteractor.GetEventPosition(), viewWidget)
        if eventId == _MOVE:
            return self._move(callerInteractor.GetEventPosition(), viewWidget)
        return False

    def processViewNodeEvents(self, callerViewNode, eventId, viewWidget):
        """The view shows another slice: what was previewed no longer holds."""
        if self.controller is None or not callerViewNode or not callerViewNode.IsA("vtkMRMLSliceNode"):
            return
        if self._hovered and self._hovered[0] is viewWidget and self._pressedIn is None:
            self._preview(viewWidget, self._hovered[1])
        elif viewWidget in self._outlines and self._pressedIn is None:  # a focus of the list was outlined
            self._outlines[viewWidget].draw(None, None)

    def _move(self, xy, viewWidget) -> bool:
        if self._pressedIn is not None and self._pressedIn is not viewWidget:
            return True
        self._hovered = (viewWidget, tuple(xy))
        if self._pressedIn is not None:
            self._draw(viewWidget, self.controller.drag(self._lps(xy, viewWidget)))
            return True
        self._options.handKeysTo(viewWidget)
        self._preview(viewWidget, xy)
        return False  # the view's own hover (data probe, crosshair) goes on

    def _press(self, xy, viewWidget) -> bool:
        if not self._ready():
            return False
        if not self._usable(viewWidget):
            return True
        if self.scriptedEffect.confirmCurrentSegmentVisible() != self.scriptedEffect.ConfirmedWithoutDialog:
            self.clearOutlines()  # the button was let go over the question: the stroke begins with the next press
            return True
        self._pressedIn = viewWidget
        self.run(lambda: self._draw(viewWidget, self.controller.press(self._lps(xy, viewWidget))))
        return True

    def _release(self, viewWidget) -> bool:
        if self._pressedIn is None:
            return False
        pressedIn, self._pressedIn = self._pressedIn, None
        self.run(self.controller.release)
        if self._hovered and self._hovered[0] is pressedIn:
            self._preview(*self._hovered)
        return True

    def _turn(self, steps: int, viewWidget) -> bool:
        from cnsifusion.mrml.tools import TOOLS

        if not self._ready() or not TOOLS[self.controller.tool].slider:
            return False
        self.controller.turn(steps)
        if self._hovered and self._hovered[0] is viewWidget:
            self._preview(*self._hovered)
        self._options.draw()
        return True

    def _key(self, key: str, viewWidget) -> bool:
        if key not in ("e", "E"):
            return False
        self.controller.erase = not self.controller.erase
        self.controller.forget()
        if self._hovered and self._hovered[0] is viewWidget:
            self._preview(*self._hovered)
        self._options.draw()
        return True

    def _leave(self) -> None:
        if self._pressedIn is None:
            self._hovered = None
            self.controller.leave()
            self.clearOutlines()

    # What the controller asks for, and what is shown of it

    def apply(self, changes) -> None:
        """Carry out what the controller asks for."""
        self._edits.apply(changes, self.controller)

    def onWhole(self, action) -> None:
        """``action(controller)`` on the selected region, where it is one of the protocol's and can be seen."""
        if self.controller is not None and self._ready() and self.scriptedEffect.confirmCurrentSegmentVisible():
            self.clearOutlines()
            self.run(lambda: action(self.controller))

    def selectSegment(self, name: str) -> None:
        """Make the protocol's segment the selected one, empty if it is new."""
        from cnsifusion.mrml.segmentation import ensureSegment

        segmentId = ensureSegment(self.controller.segmentationNode, name)
        self.scriptedEffect.parameterSetNode().SetSelectedSegmentID(segmentId)

    def alignViews(self) -> None:
        """Turn the slice views along the image's own slices."""
        manager = slicer.app.layoutManager()
        for name in manager.sliceViewNames() if manager else []:
            manager.sliceWidget(name).mrmlSliceNode().RotateToVolumePlane(self.controller.volumeNode)

    def point(self, lps) -> None:
        """Bring the slice views to a place (LPS, mm), and outline there what a click would change: many lie close."""
        from cnsifusion.mrml.alignment import AXIAL, bringTo, viewPlane

        manager = slicer.app.layoutManager()
        for name in manager.sliceViewNames() if manager else []:
            view = manager.sliceWidget(name)
            bringTo(view.mrmlSliceNode(), lps)
            if viewPlane(view.mrmlSliceNode(), self.controller.geometry.grid) == AXIAL:
                self._draw(view, self.controller.hover(lps))

    def clearOutlines(self) -> None:
        """Take what is previewed away."""
        for outline in self._outlines.values():
            outline.draw(None, None)

    def _begin(self) -> None:
        self._end()
        self._watch.start(self.scriptedEffect.parameterSetNode())
        try:
            self.controller = self._makeController()
        except ImportError as error:
            text = _("The module CNSIFusion installs what the tools need ({name}).")
            self._options.explain(text.format(name=error.name))
        if self.controller is None:
            return
        self._kept.giveTo(self.controller)
        self._chooseSegment(selectedName(self.scriptedEffect.parameterSetNode()) or "")
        self._options.compare()

    def _makeController(self):
        """The tools on the editor's nodes, or None after saying why there are none."""
        from cnsifusion.errors import CNSIFusionError
        from cnsifusion.mrml.tools import ToolController
        from cnsifusion.mrml.volumes import checkMovedAlike

        segmentation, volume = self._nodes()
        if segmentation is None or volume is None:
            self._options.explain(_("Choose a segmentation and its source volume first."))
            return None
        try:
            checkMovedAlike(segmentation, volume)
            return ToolController(segmentation, volume, self.apply)
        except CNSIFusionError as error:
            self._options.explain(_(str(error)))
            return None

    def _nodes(self) -> tuple:
        node = self.scriptedEffect.parameterSetNode()
        return (node.GetSegmentationNode(), node.GetSourceVolumeNode()) if node else (None, None)

    def _followSelection(self) -> None:
        """Work on what is selected now, under the name that it has now."""
        name = selectedName(self.scriptedEffect.parameterSetNode())
        if name is not None and name != self.segmentName:
            self._chooseSegment(name)
            self.clearOutlines()

    def _chooseSegment(self, name: str) -> None:
        """Work on the selected segment, with a tool that makes sense for it."""
        from cnsifusion.mrml.tools import MOVE, NONE, OUTLINE, SPLINE
        from cnsifusion.roi.names import SEGMENTS

        self.segmentName = name
        if name not in SEGMENTS:
            return
        self.controller.segmentName = name
        self.controller.forget()
        if self.controller.tool not in (OUTLINE, SPLINE, MOVE):  # these serve every region alike
            self.controller.tool = next(key for key in self.controller.available if key != NONE)

    def _ready(self) -> bool:
        """Whether a tool is chosen and the selected segment is one of the protocol's; says so where it is not."""
        from cnsifusion.mrml.tools import NONE
        from cnsifusion.roi.names import SEGMENTS

        self._followSelection()
        if self.segmentName not in SEGMENTS:
            self._options.explain(_("Choose one of the protocol's regions above."))
            return False
        return self.controller.tool != NONE

    def _onEditorNode(self, *_arguments) -> None:
        if selectedName(self.scriptedEffect.parameterSetNode()) not in (None, self.segmentName):
            self.updateGUIFromMRML()

    def _onPlace(self, *_arguments) -> None:
        """The image or the regions lie elsewhere now, or hold other voxels: begin anew with the same settings."""
        former = self.controller
        self._begin()
        if former is not None and self.controller is not None:
            self.controller.useSettings(former)
            self._options.draw()

    def _onSegmentModified(self, *_arguments) -> None:
        if not self._changedTimer.active:
            self._changedTimer.start()

    def _onSegmentsChanged(self) -> None:
        if self.controller is not None and self._pressedIn is None:
            self.controller.forget()
            self._options.compare()

    def _end(self) -> None:
        self._changedTimer.stop()
        self._watch.stop()
        self._removeOutlines()
        self._kept.takeFrom(self.controller)
        self._hovered = self._pressedIn = self.controller = None

    def _removeOutlines(self) -> None:
        for outline in self._outlines.values():
            outline.remove()
        self._outlines = {}

    def _usable(self, viewWidget) -> bool:
        from cnsifusion.mrml.alignment import AXIAL, OBLIQUE, viewPlane

        plane = viewPlane(self.scriptedEffect.viewNode(viewWidget), self.controller.geometry.grid)
        reason = ""
        if plane == OBLIQUE:
            reason = _("This view is not aligned with the image's slices.")
        elif plane != AXIAL:
            reason = _("The tools work on axial slices: use the axial view.")
        self._options.showAlignment(reason, offer=plane == OBLIQUE)
        return not reason

    def _preview(self, viewWidget, xy) -> None:
        edges = None
        if self._ready() and self._usable(viewWidget):
            edges = self.controller.hover(self._lps(xy, viewWidget))
            self._options.showMessage()
        self._draw(viewWidget, edges)

    def _draw(self, viewWidget, edges) -> None:
        if viewWidget not in self._outlines:
            self._outlines[viewWidget] = OutlinePipeline(self.scriptedEffect, viewWidget)
        self._outlines[viewWidget].draw(edges, self.controller.color())

    def _lps(self, xy, viewWidget) -> tuple:
        x, y, z = self.xyToRas(xy, viewWidget)
        return (-x, -y, z)

    def run(self, action) -> None:
        """Do what changes the segment; an expected error becomes the effect's message."""
        from cnsifusion.errors import CNSIFusionError

        fault = ""
        try:
            action()
        except CNSIFusionError as error:
            fault = str(error)
        self._options.draw()
        if fault:
            self._options.explain(_(fault))
